/**
 * The packed package's types in every kind of project: versions of TypeScript, ways to resolve modules, module systems, installed
 * TypeBox packages, with and without `exactOptionalPropertyTypes`, all declarations of the package checked. Installs the versions of
 * TypeScript in a temporary folder. Exits with 1 when a cell does not compile. `npm run bench -- types-matrix [version of TypeScript]`.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import type * as TypeScript from 'typescript'
import { compileWith } from '../support/compiler.js'
import { install, manifest, pack } from '../support/package.js'
import { TYPEBOXES, writeProgram, type Cell } from '../support/published-types.js'

const VERSIONS = process.argv[3] === undefined ? ['5.5', '5.9', '6.0', '7.0'] : [process.argv[3]]

/** What a compiler says of the app's own modules and of the package's declarations. Those of other packages are not its concern. */
type Compiler = (app: string, cell: Cell) => Promise<string[]>

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-types-')))
try {
  await main()
} finally {
  rmSync(folder, { recursive: true })
}

async function main (): Promise<void> {
  const tarball = await pack(folder)
  const apps = new Map(TYPEBOXES.map(typebox => {
    const app = join(folder, `app-${typebox.replace('/', '-')}`)
    install(tarball, app, name => !/typebox/.test(name))
    return [typebox, app] as const
  }))
  let failed = 0
  for (const version of VERSIONS) {
    const compile = compilerOf(version)
    const passed = { node16: 0, nodenext: 0, bundler: 0 }
    const all = cells(version)
    for (const cell of all) {
      const app = apps.get(cell.typebox)!
      writeProgram(app, cell, Object.keys(manifest.exports))
      const complaints = await compile(app, cell)
      if (complaints.length === 0) passed[cell.resolution]++
      else console.log(`TypeScript ${version}`, JSON.stringify(cell), complaints)
    }
    const each = all.length / 3
    console.log(`TypeScript ${version}: ${Object.entries(passed).map(([name, count]) => `${name} ${count} of ${each}`).join(', ')}`)
    failed += all.length - passed.node16 - passed.nodenext - passed.bundler
  }
  console.log(failed === 0 ? 'all kinds of project compile' : `${failed} kinds of project do not compile`)
  if (failed > 0) process.exitCode = 1
}

function cells (version: string): Cell[] {
  const result: Cell[] = []
  for (const resolution of ['node16', 'nodenext', 'bundler'] as const) {
    for (const type of ['module', 'commonjs'] as const) {
      for (const typebox of TYPEBOXES) {
        for (const exactOptionalPropertyTypes of [true, false]) {
          const importsEsm = type === 'module' || resolution === 'bundler' || (resolution === 'nodenext' && Number(version) >= 5.8)
          result.push({ resolution, type, typebox, exactOptionalPropertyTypes, importsEsm })
        }
      }
    }
  }
  return result
}

function compilerOf (version: string): Compiler {
  const home = join(folder, `typescript-${version}`)
  mkdirSync(home)
  writeFileSync(join(home, 'package.json'), '{}')
  execFileSync('npm', ['install', `typescript@~${version}.0`, '--no-audit', '--no-fund', '--prefer-offline'], { cwd: home, stdio: 'ignore' })
  const installed = join(home, 'node_modules/typescript')
  return Number(version) >= 7 ? program(join(installed, 'bin/tsc')) : library(createRequire(installed)('typescript'))
}

/** The compiler in Go, which has no interface but its program. */
function program (tsc: string): Compiler {
  return async app => {
    const complaints = await compileWith([process.execPath, tsc], app)
    return complaints.filter(({ file }) => !file.startsWith('..')).map(({ file, line, message }) => `${file}(${line}): ${message}`)
  }
}

/** The compiler in JavaScript: parses what the cells have in common once, and checks only what is asked for. */
function library (ts: typeof TypeScript): Compiler {
  const parsed = new Map<string, TypeScript.SourceFile>()
  return async (app, { resolution }) => {
    const { config } = ts.readConfigFile(join(app, 'tsconfig.json'), ts.sys.readFile)
    const { options, fileNames, errors } = ts.parseJsonConfigFileContent(config, ts.sys, app)
    const host = ts.createCompilerHost(options)
    host.getCurrentDirectory = () => app
    const { getSourceFile } = host
    host.getSourceFile = (file, ...rest) => {
      if (file.startsWith(app + sep)) return getSourceFile(file, ...rest)
      const key = `${resolution} ${file}`
      const source = parsed.get(key) ?? getSourceFile(file, ...rest)
      if (source !== undefined) parsed.set(key, source)
      return source
    }
    const program = ts.createProgram(fileNames, options, host)
    const own = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(app + sep))
    const found = [
      ...errors,
      ...program.getOptionsDiagnostics(),
      ...program.getGlobalDiagnostics(),
      ...own.flatMap(file => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])
    ]
    return found.map(one => ts.formatDiagnostic(one, host).trim())
  }
}

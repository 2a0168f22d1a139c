/**
 * The packed package's types in every kind of project: versions of TypeScript, ways to resolve modules, module systems, installed
 * TypeBox packages, with and without `exactOptionalPropertyTypes`, all declarations checked. Installs the versions of TypeScript in a
 * temporary folder. Exits with 1 when a cell does not compile. `npm run bench -- types-matrix [version of TypeScript]`.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileWith, type Complaint } from '../support/compiler.js'
import { install, manifest, pack } from '../support/package.js'
import { TYPEBOXES, writeProgram, type Cell } from '../support/published-types.js'

const VERSIONS = process.argv[3] === undefined ? ['5.5', '5.9', '6.0', '7.0'] : [process.argv[3]]

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
  let [passed, failed] = [0, 0]
  for (const version of VERSIONS) {
    const tsc = installCompiler(version)
    for (const cell of cells(version)) {
      const app = apps.get(cell.typebox)!
      writeProgram(app, cell, Object.keys(manifest.exports))
      const complaints = (await compileWith([process.execPath, tsc], app)).filter(isOurs)
      if (complaints.length === 0) passed++
      else failed++
      if (complaints.length > 0) console.log(`TypeScript ${version}`, JSON.stringify(cell), complaints)
    }
    console.log(`TypeScript ${version}: done`)
  }
  console.log(`${passed} of ${passed + failed} kinds of project compile`)
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

/** Those of links are the faults of other packages. */
function isOurs ({ file }: Complaint): boolean {
  return !file.startsWith('..')
}

/** The path of its `tsc`. */
function installCompiler (version: string): string {
  const home = join(folder, `typescript-${version}`)
  mkdirSync(home)
  writeFileSync(join(home, 'package.json'), '{}')
  execFileSync('npm', ['install', `typescript@~${version}.0`, '--no-audit', '--no-fund', '--prefer-offline'], { cwd: home, stdio: 'ignore' })
  return join(home, 'node_modules/typescript/bin/tsc')
}

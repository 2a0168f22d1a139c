/**
 * What the types cost: the compiler's check time for an app of 500 tasks, for each schema library, and how much of it goes into
 * refusing unions of names. Counted in instantiations, which do not depend on what else runs on the machine. Run it with
 * `npm run bench -- types [library]`.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { LIBRARIES, callsSource, handlersSource, registrySource } from './types-app.js'

const TASKS = 500
/** Runs of each app; the least time counts, since other programs only ever add to it. */
const RUNS = 2
/** Instantiations with the union check over those without it. */
const GOAL = 1.1

const UNION_CHECK = 'true extends (string extends keyof M ? false : IsUnion<N>) ? never : Late<InputOf<SchemaOf<M[N]>, F>>'

/** Makes the compiler measure CPU time instead of the wall clock's, so that what else runs on the machine counts for little. */
const CPU_CLOCK =
  'data:text/javascript,performance.now = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 }'

const root = resolve(import.meta.dirname, '../..')
const tsc = createRequire(import.meta.url).resolve('typescript/lib/tsc.js')
const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-types-'))

try {
  emitDeclarations(join(folder, 'dist'))
  const chosen = process.argv[3] === undefined ? Object.keys(LIBRARIES) : [process.argv[3]]
  const rows = Object.fromEntries(chosen.map(library => [library, row(library)]))
  console.log(`${TASKS} tasks, each with a handler and two calls, one more in each handler; the least of ${RUNS} runs`)
  console.table(rows)
  console.log(`goal: a ratio of at most ${GOAL}`)
  if (Object.values(rows).some(({ ratio }) => ratio > GOAL)) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true })
}

function row (library: string) {
  const refused = writeApp(library, 'refused', text => text)
  const passed = writeApp(library, 'passed', withoutUnionCheck)
  const [withCheck, without] = [checkOften(refused), checkOften(passed)]
  return {
    'check time (CPU s)': withCheck.checkSeconds,
    'without union check (s)': without.checkSeconds,
    instantiations: withCheck.instantiations,
    'without union check': without.instantiations,
    ratio: Number((withCheck.instantiations / without.instantiations).toFixed(3)),
    'memory (MB)': Math.round(withCheck.memoryKb / 1024)
  }
}

function checkOften (app: string): Figures {
  const runs = Array.from({ length: RUNS }, () => check(app))
  return { ...runs[0]!, checkSeconds: Math.min(...runs.map(run => run.checkSeconds)) }
}

interface Figures {
  readonly checkSeconds: number
  readonly instantiations: number
  readonly memoryKb: number
}

/** The declarations that users get. */
function emitDeclarations (outDir: string): void {
  execFileSync(
    process.execPath,
    [
      tsc,
      '-p',
      join(root, 'tsconfig.build.json'),
      '--noCheck',
      '--emitDeclarationOnly',
      '--sourceMap',
      'false',
      '--inlineSources',
      'false',
      '--outDir',
      outDir
    ],
    { stdio: 'inherit' }
  )
}

/** An app with its own copy of the package's declarations. */
function writeApp (library: string, variant: string, editDefinitions: (text: string) => string): string {
  const schemas = LIBRARIES[library]
  if (schemas === undefined) throw new Error(`no library '${library}'; there are ${Object.keys(LIBRARIES).join(', ')}`)
  const app = join(folder, `${library} ${variant}`)
  mkdirSync(app)
  cpSync(join(folder, 'dist'), join(app, 'dist'), { recursive: true })
  const definitions = join(app, 'dist/registry/definitions.d.ts')
  writeFileSync(definitions, editDefinitions(readFileSync(definitions, 'utf8')))
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { rootDir: '.', paths: { 'fastify-cloud-tasks': ['./dist/index.d.ts'] } },
    include: ['*.ts'],
    exclude: []
  }))
  writeFileSync(join(app, 'tasks.ts'), registrySource(TASKS, schemas))
  writeFileSync(join(app, 'handlers.ts'), handlersSource(TASKS))
  writeFileSync(join(app, 'calls.ts'), callsSource(TASKS))
  return app
}

function withoutUnionCheck (text: string): string {
  const without = text.replace(UNION_CHECK, 'Late<InputOf<SchemaOf<M[N]>, F>>')
  if (without === text) throw new Error('lib/registry/definitions.ts refuses unions in another way than this benchmark knows')
  return without
}

/** Throws when the app does not type-check: figures of a broken app would say nothing. */
function check (app: string): Figures {
  const output = execFileSync(process.execPath, ['--import', CPU_CLOCK, tsc, '-p', app, '--extendedDiagnostics'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const figure = (label: string): number => {
    const [, value] = new RegExp(`^${label}:\\s+([\\d.]+)`, 'm').exec(output) ?? []
    if (value === undefined) throw new Error(`the compiler did not report: ${label}`)
    return Number(value)
  }
  return { checkSeconds: figure('Check time'), instantiations: figure('Instantiations'), memoryKb: figure('Memory used') }
}

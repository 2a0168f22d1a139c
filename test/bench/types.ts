/**
 * What the types cost: the compiler's check time for an app of 500 tasks, and how much of it goes into refusing unions of
 * names. Both variants run in turns, so that a machine that slows down slows both. Run it with `npx tsx test/bench/types.ts`.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { callsSource, handlersSource, registrySource } from './types-app.js'

const TASKS = 500
const MAX_RUNS = 9
const BUDGET_MS = 55_000
/** Union check over no union check. */
const GOAL = 1.6

const UNION_CHECK = 'true extends (string extends keyof M ? false : IsUnion<N>) ? never : PayloadOf<M[N]>'

/** Makes the compiler tell CPU time instead of the wall clock's, so that what else runs on the machine counts for little. */
const CPU_CLOCK = 'data:text/javascript,performance.now = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 }'

const root = resolve(import.meta.dirname, '../..')
const tsc = createRequire(import.meta.url).resolve('typescript/lib/tsc.js')
const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-types-'))

try {
  const startedAt = performance.now()
  emitDeclarations(join(folder, 'dist'))
  const variants = [
    { name: 'unions refused', folder: writeApp('refused', text => text), runs: [] as Figures[] },
    { name: 'unions pass', folder: writeApp('pass', withoutUnionCheck), runs: [] as Figures[] }
  ] as const
  check(variants[0].folder) // Warms the disk's cache.

  for (let run = 1, lastMs = 0; run <= MAX_RUNS && performance.now() - startedAt + lastMs < BUDGET_MS; run++) {
    const runAt = performance.now()
    for (const variant of run % 2 === 1 ? variants : variants.toReversed()) variant.runs.push(check(variant.folder))
    lastMs = performance.now() - runAt
  }

  console.log(`${TASKS} tasks, each with a handler and two calls, one more in each handler; medians of ${variants[0].runs.length} runs in turns`)
  console.table(Object.fromEntries(variants.map(({ name, runs }) => [name, {
    'check time (CPU s)': Number(median(runs.map(run => run.checkSeconds)).toFixed(2)),
    'least (s)': Math.min(...runs.map(run => run.checkSeconds)),
    'most (s)': Math.max(...runs.map(run => run.checkSeconds)),
    instantiations: median(runs.map(run => run.instantiations)),
    'memory (MB)': Math.round(median(runs.map(run => run.memoryKb)) / 1024)
  }])))
  const [refused, pass] = variants.map(({ runs }) => median(runs.map(run => run.checkSeconds))) as [number, number]
  console.log(`ratio ${(refused / pass).toFixed(2)}; goal: at most ${GOAL}`)
  if (refused / pass > GOAL) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true })
}

interface Figures {
  readonly checkSeconds: number
  readonly instantiations: number
  readonly memoryKb: number
}

/** The declarations that users get. */
function emitDeclarations (outDir: string): void {
  execFileSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json'), '--noCheck', '--emitDeclarationOnly', '--sourceMap', 'false', '--inlineSources', 'false', '--outDir', outDir], { stdio: 'inherit' })
}

/** An app with its own copy of the package's declarations. */
function writeApp (name: string, editRegistry: (text: string) => string): string {
  const app = join(folder, name)
  mkdirSync(app)
  cpSync(join(folder, 'dist'), join(app, 'dist'), { recursive: true })
  writeFileSync(join(app, 'dist/registry/registry.d.ts'), editRegistry(readFileSync(join(app, 'dist/registry/registry.d.ts'), 'utf8')))
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  writeFileSync(join(app, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { rootDir: '.', paths: { 'fastify-cloud-tasks': ['./dist/index.d.ts'] } },
    include: ['*.ts'],
    exclude: []
  }))
  writeFileSync(join(app, 'tasks.ts'), registrySource(TASKS))
  writeFileSync(join(app, 'handlers.ts'), handlersSource(TASKS))
  writeFileSync(join(app, 'calls.ts'), callsSource(TASKS))
  return app
}

function withoutUnionCheck (text: string): string {
  const without = text.replace(UNION_CHECK, 'PayloadOf<M[N]>')
  if (without === text) throw new Error('lib/registry.ts refuses unions in another way than this benchmark knows')
  return without
}

/** Throws when the app does not type-check: figures of a broken app would say nothing. */
function check (app: string): Figures {
  const output = execFileSync(process.execPath, ['--import', CPU_CLOCK, tsc, '-p', app, '--extendedDiagnostics'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const figure = (label: string): number => {
    const [, value] = new RegExp(`^${label}:\\s+([\\d.]+)`, 'm').exec(output) ?? []
    if (value === undefined) throw new Error(`the compiler did not report: ${label}`)
    return Number(value)
  }
  return { checkSeconds: figure('Check time'), instantiations: figure('Instantiations'), memoryKb: figure('Memory used') }
}

function median (values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

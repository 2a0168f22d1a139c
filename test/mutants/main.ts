/**
 * `npm run mutants -- PATTERN...`: changes the code of `lib/` in small ways, one at a time, and runs the tests that reach the change.
 * Prints the changes that no test notices, and each file's share of noticed ones. A pattern is a room (`engine`), a file
 * (`engine/transitions.ts`) or lines of one (`engine/transitions.ts:20-60`). The tests are those of the same room, without the few that
 * start many processes; `--tests GLOB` names others. `--sample PERCENT` tries only some changes, the same ones each time;
 * `--concurrency N` is the number of processes, 2 by default.
 *
 * Prose is not changed (a text of three words and more, with what it includes), nor are calls of a logger: tests check codes and facts.
 * A code is a text too, so other texts are changed. What no test can notice is marked in the code, with the reason:
 * `// Stryker disable next-line EqualityOperator: …`.
 *
 * Needs `npm ci --prefix test/mutants` once. Tests run inside a process that keeps `lib/` loaded (`test-run.js`), so they must undo what
 * they do to their process. What runs while a module loads, or once in a process, is tried in a process of its own.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chosen } from './sample.js'

interface Mutant {
  readonly id: string
  readonly status: string
  readonly mutatorName: string
  readonly replacement: string
  readonly location: { readonly start: Place, readonly end: Place }
}

/** Both count from 1. */
interface Place { readonly line: number, readonly column: number }

interface Report { readonly files: Record<string, { readonly source: string, readonly mutants: readonly Mutant[] }> }

const root = join(import.meta.dirname, '../..')
const stryker = join(import.meta.dirname, 'node_modules/@stryker-mutator/core/bin/stryker.js')

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    tests: { type: 'string', multiple: true },
    sample: { type: 'string', default: '100' },
    concurrency: { type: 'string', default: '2' }
  }
})
const missing = positionals.find(pattern => !existsSync(join(root, 'lib', fileOf(pattern))))
if (positionals.length === 0) {
  fail('usage: npm run mutants -- ROOM|FILE[:FROM-TO]... [--tests GLOB]... [--sample PERCENT] [--concurrency N]')
} else if (!(Number(values.sample) > 0) || !(Number(values.concurrency) >= 1)) {
  fail('--sample is a percentage above 0, --concurrency a number from 1')
} else if (missing !== undefined) {
  fail(`there is no lib/${fileOf(missing)}`)
} else if (!existsSync(stryker)) {
  fail('the tools are not installed: npm ci --prefix test/mutants')
} else {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-mutants-'))
  try {
    process.exitCode = run(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function run (folder: string): number {
  const config = join(folder, 'stryker.conf.json')
  const report = join(folder, 'report.json')
  writeFileSync(config, JSON.stringify({
    testRunner: 'in-process',
    plugins: [join(import.meta.dirname, 'runner.js')],
    ignorers: ['prose'],
    mutate: positionals.map(mutated),
    testFiles: values.tests ?? [...new Set(positionals.flatMap(testsOf))],
    sample: Number(values.sample),
    warnings: { unknownOptions: false },
    coverageAnalysis: 'perTest',
    ignorePatterns: ['/dist', '/test/**/node_modules', '/.git', '/.tap'],
    concurrency: Number(values.concurrency),
    timeoutFactor: 3,
    reporters: ['json', 'progress-append-only'],
    logLevel: 'warn',
    jsonReporter: { fileName: report },
    allowConsoleColors: false,
    tempDirName: join(folder, 'work')
  }))
  const { status } = spawnSync(process.execPath, [stryker, 'run', config], { cwd: root, stdio: 'inherit' })
  if (existsSync(report)) console.log(textOf(JSON.parse(readFileSync(report, 'utf8'))))
  return status ?? 1
}

/** Without the lines. */
function fileOf (pattern: string): string {
  return pattern.replace(/:\d+-\d+$/, '')
}

function mutated (pattern: string): string {
  return statSync(join(root, 'lib', fileOf(pattern))).isDirectory() ? `lib/${pattern}/**/*.ts` : `lib/${pattern}`
}

/** Tests mirror the rooms. */
function testsOf (pattern: string): string[] {
  const [room] = pattern.split('/')
  return room === fileOf(pattern) && room!.endsWith('.ts')
    ? ['test/!(bundle|example|package|readme|docs|code-blocks|imports).test.ts']
    : [`test/${room!}/**/!(crash|damage|process|typescript).test.ts`]
}

/** What survived, and a table of all files. */
function textOf (report: Report): string {
  const lines: string[] = []
  const rows: Array<Array<string | number>> = [['file', 'mutants', 'noticed', 'of them timeouts', 'survived', 'score']]
  const total = { noticed: 0, timeouts: 0, survived: 0 }
  for (const [file, { source, mutants }] of Object.entries(report.files)) {
    const tried = mutants.filter(({ id, status }) => status !== 'Ignored' && chosen(id, Number(values.sample)))
    const survivors = tried.filter(({ status }) => status !== 'Killed' && status !== 'Timeout')
    const timeouts = tried.filter(({ status }) => status === 'Timeout').length
    if (tried.length === 0) continue
    for (const mutant of survivors) lines.push(changeOf(file, source, mutant))
    rows.push(rowOf(file, tried.length - survivors.length, timeouts, survivors.length))
    total.noticed += tried.length - survivors.length
    total.timeouts += timeouts
    total.survived += survivors.length
  }
  if (rows.length > 2) rows.push(rowOf('all', total.noticed, total.timeouts, total.survived))
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => String(row[column]).length)))
  const table = rows.map(row => row.map((cell, column) => column === 0
    ? String(cell).padEnd(widths[column]!)
    : String(cell).padStart(widths[column]!)).join('  '))
  return ['', ...lines, ...table].join('\n')
}

function rowOf (file: string, noticed: number, timeouts: number, survived: number): Array<string | number> {
  return [file, noticed + survived, noticed, timeouts, survived, `${Math.round(noticed / (noticed + survived) * 100)} %`]
}

/** The place, the code before and the code after. */
function changeOf (file: string, source: string, { status, mutatorName, replacement, location: { start, end } }: Mutant): string {
  const code = source.split('\n').slice(start.line - 1, end.line)
  code[code.length - 1] = code.at(-1)!.slice(0, end.column - 1)
  code[0] = code[0]!.slice(start.column - 1)
  const reason = status === 'Survived' ? '' : status === 'NoCoverage' ? ', which no test reaches' : `, ${status}`
  return `${file}:${start.line}:${start.column} ${mutatorName}${reason}\n  - ${short(code.join(' '))}\n  + ${short(replacement)}`
}

function short (code: string): string {
  const line = code.replace(/\s+/g, ' ')
  return line.length > 120 ? `${line.slice(0, 117)}...` : line
}

function fail (message: string): void {
  console.error(message)
  process.exitCode = 2
}

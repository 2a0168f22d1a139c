/**
 * `npm run mutants -- PATTERN...`: changes the code of `lib/` in small ways, one at a time, and runs the tests that reach the change.
 * Prints the changes that no test notices, and each file's share of noticed ones. A pattern is a room (`engine`), a file
 * (`engine/transitions.ts`) or lines of one (`engine/transitions.ts:20-60`). The tests are those of the same room, without the few that
 * start many processes; `--tests GLOB` names others. A change takes about two seconds of CPU, so take a room or a file at a time.
 * Needs `npm ci --prefix test/mutants` once. What no test can notice is marked in the code, with the reason:
 * `// Stryker disable next-line EqualityOperator: …`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '../..')
const stryker = join(import.meta.dirname, 'node_modules/@stryker-mutator/core/bin/stryker.js')

const { positionals, values } = parseArgs({ allowPositionals: true, options: { tests: { type: 'string', multiple: true } } })
const missing = positionals.find(pattern => !existsSync(join(root, 'lib', fileOf(pattern))))
if (positionals.length === 0) {
  fail('usage: npm run mutants -- ROOM|FILE[:FROM-TO]... [--tests GLOB], for example: npm run mutants -- engine/transitions.ts')
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
  writeFileSync(config, JSON.stringify({
    testRunner: 'tap',
    plugins: ['@stryker-mutator/tap-runner'],
    mutate: positionals.map(mutated),
    tap: {
      testFiles: values.tests ?? [...new Set(positionals.flatMap(testsOf))],
      nodeArgs: ['--import=./test/loader/register.js', '-r', '{{hookFile}}', '{{testFile}}'],
      forceBail: true
    },
    coverageAnalysis: 'perTest',
    ignorePatterns: ['/dist', '/test/**/node_modules', '/.git'],
    concurrency: 2,
    timeoutFactor: 3,
    reporters: ['clear-text'],
    allowConsoleColors: false,
    tempDirName: join(folder, 'work')
  }))
  return spawnSync(process.execPath, [stryker, 'run', config], { cwd: root, stdio: 'inherit' }).status ?? 1
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
    ? ['test/*.test.ts', '!test/{bundle,example,package,readme}.test.ts']
    : [`test/${room!}/**/*.test.ts`, '!test/**/{crash,process,typescript}.test.ts', '!test/**/browser/*.test.ts']
}

function fail (message: string): void {
  console.error(message)
  process.exitCode = 2
}

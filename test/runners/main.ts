/**
 * `npm run runners`: installs vitest and jest in a temporary folder, beside the package as it is published, and runs the recipes of
 * docs/testing.md by them: jest both with ES modules and with everything translated to CommonJS. Exits with 1 when one fails.
 * The version of Node.js decides what is run; for others: `npx -p node@22 -- npm run runners`, `npx -p node@24 -- npm run runners`.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pack } from '../support/package.js'

const [MAJOR, MINOR] = process.versions.node.split('.').map(Number) as [number, number]

/** Vitest 5 requires Node.js 22.12, 24 or 26. */
const VITEST = (MAJOR === 22 && MINOR >= 12) || MAJOR === 24 || MAJOR >= 26 ? 'vitest@^5.0.0' : 'vitest@^4.0.0'
const RUNNERS = [VITEST, 'jest@^30.0.0', '@jest/globals@^30.0.0', '@swc/jest@^0.2.0', '@swc/core@^1.0.0', 'tap@^21.0.0']
const PACKAGES = ['fastify@^5.12.0', '@sinclair/typebox@^0.34.0']

/** As docs/testing.md says. */
const JEST_ESM = 'export default { transform: {} }'
const JEST_TRANSFORMED = `module.exports = {
  transform: { '^.+\\\\.[cm]?[jt]s$': '@swc/jest' },
  transformIgnorePatterns: ['/node_modules/(?!(fastify-cloud-tasks|cookie|jose)/)']
}`

/** Fastify's `inject` requires an ES module, which jest can do from that version of Node.js on. */
const REQUIRES_ESM = MAJOR > 24 || (MAJOR === 24 && MINOR >= 9)

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-runners-')))
try {
  const tarball = await pack(folder)
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  npm(['install', '--no-audit', '--no-fund', '--prefer-offline', tarball, ...PACKAGES, ...RUNNERS], folder)
  const esm = project('esm', 'module', { 'jest.config.js': JEST_ESM })
  const cjs = project('cjs', 'commonjs', { 'jest.config.js': JEST_TRANSFORMED })
  console.log(`Node.js ${process.versions.node}, ${['tap', 'vitest', 'jest'].map(name => `${name} ${versionOf(name)}`).join(', ')}`)
  run('node:test', process.execPath, ['--test', 'node-test.test.js'], esm)
  run('tap', join(folder, 'node_modules/.bin/tap'), ['run', '--disable-coverage', '--allow-empty-coverage', 'tap.test.js'], esm)
  run('vitest', join(folder, 'node_modules/.bin/vitest'), ['run', 'vitest.test.js'], esm)
  if (!REQUIRES_ESM) withoutInject(join(esm, 'jest.test.js'))
  const jestEsm = `jest, ES modules${REQUIRES_ESM ? '' : ', without inject'}`
  run(jestEsm, join(folder, 'node_modules/.bin/jest'), ['jest.test.js'], esm, { NODE_OPTIONS: '--experimental-vm-modules' })
  run('jest, translated', join(folder, 'node_modules/.bin/jest'), ['jest.test.js'], cjs)
} finally {
  rmSync(folder, { recursive: true })
}

function project (name: string, type: string, files: Readonly<Record<string, string>>): string {
  const place = join(folder, name)
  mkdirSync(place)
  cpSync(join(import.meta.dirname, 'recipes'), place, { recursive: true })
  writeFileSync(join(place, 'package.json'), JSON.stringify({ type }))
  for (const [file, text] of Object.entries(files)) writeFileSync(join(place, file), text)
  return place
}

/** Replaces the requests of a test by calls of `enqueue`. */
function withoutInject (file: string): void {
  const call = /app\.inject\(\{ method: 'POST', url: '\/orders', payload: (\{.*\}) \}\)/g
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replaceAll(call, "(({ order, ...options }) => app.enqueue('send-receipt', { order }, options))($1)"))
}

function versionOf (name: string): string {
  return (JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')) as { version: string }).version
}

function npm (args: string[], cwd: string): void {
  execFileSync('npm', args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
}

function run (name: string, program: string, args: string[], cwd: string, environment: Readonly<Record<string, string>> = {}): void {
  const { NODE_OPTIONS, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, env: { ...env, ...environment }, encoding: 'utf8', timeout: 120_000 })
  console[status === 0 ? 'log' : 'error'](status === 0 ? `ok ${name}` : `FAILED ${name}\n${stdout}${stderr}`)
  if (status !== 0) process.exitCode = 1
}

/**
 * Runs files of tests inside this process: Fastify, tap and `lib/` are loaded once, and a run takes some ten milliseconds where
 * a process takes a second and more. Started as a program (`node test-run.js FILE...`), it ends with 1 when a test fails.
 */
import { register } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

/**
 * A test that waits while nothing keeps the process alive waits forever. Some work is not among the active resources: LMDB's, and that of
 * the thread pool, which takes CPU time. Counted in checks, which take longer on a busy machine.
 */
const IDLE_MS = 1500
const CHECK_MS = 25
const WORK_US = 1000

const Test = await testClass()
register('../loader/hooks.js', import.meta.url)
register('./hooks.js', import.meta.url)
globalThis.tapRuns = new Map()
let runs = 0
let fail = () => {}
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.removeAllListeners(event)
  process.on(event, error => { fail(`${event}: ${error?.message ?? error}`) })
}

/** What failed first, undefined when all tests passed. Resolves once the clean-up of the tests is done. */
export async function runFile (file) {
  const run = ++runs
  const env = { ...process.env }
  const { exit } = process
  const idle = resources()
  const root = new Test({ name: file, bail: true })
  globalThis.tapRuns.set(run, root)
  root.resume()
  const ended = new Promise(resolve => { root.once('end', resolve) })
  const failed = new Promise(resolve => { fail = resolve })
  process.exit = code => { fail(`process.exit(${code})`) }
  const stopped = new AbortController()
  try {
    root.runMain(() => {})
    return await Promise.race([failed, finish(), hang(idle, stopped.signal)])
  } finally {
    stopped.abort()
    if (!root.results) {
      try {
        root.endAll()
      } catch {
        // tap throws 'bailout' to leave the test.
      }
      await Promise.race([ended, sleep(IDLE_MS)])
    }
    if (!root.results?.ok) await settle(idle)
    globalThis.tapRuns.delete(run)
    process.exit = exit
    process.exitCode = undefined
    restore(env)
  }

  async function finish () {
    try {
      await import(`${pathToFileURL(file).href}?run=${run}`)
    } catch (error) {
      return `import: ${error?.message}`
    }
    root.end(Symbol.for('implicit end'))
    await ended
    return root.results.ok ? undefined : root.results.bailout || 'a test failed'
  }
}

/** Resolves when nothing but `idle` has kept the process alive for a while. */
async function hang (idle, signal) {
  for (let idleMs = 0; idleMs < IDLE_MS; idleMs += CHECK_MS) {
    const before = process.cpuUsage()
    await sleep(CHECK_MS, undefined, { ref: false })
    if (signal.aborted) return
    const { user, system } = process.cpuUsage(before)
    if (busy(idle) || user + system > WORK_US) idleMs = 0
  }
  return 'a test never ends'
}

/** Failed tests may still close what they opened. */
async function settle (idle) {
  for (let tries = 0; tries < 8 && busy(idle); tries++) await sleep(CHECK_MS, undefined, { ref: false })
}

function busy (idle) {
  const now = resources()
  return Object.keys(now).some(type => now[type] > (idle[type] ?? 0))
}

function resources () {
  const count = {}
  for (const type of process.getActiveResourcesInfo()) count[type] = (count[type] ?? 0) + 1
  return count
}

/** tap's own root test must neither send its time limit to Stryker nor end the process after it. */
async function testClass () {
  const { send } = process
  process.send = undefined
  const { Test, t } = await import('tap')
  t.setTimeout(0)
  process.send = send
  return Test
}

function restore (env) {
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name]
  Object.assign(process.env, env)
}

if (process.argv[1] === import.meta.filename) {
  for (const file of process.argv.slice(2)) {
    const failure = await runFile(file)
    if (failure !== undefined) {
      console.error(`${file}: ${failure}`)
      process.exit(1)
    }
  }
  process.exit(0)
}

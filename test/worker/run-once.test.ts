import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { TaskContext } from '../../lib/index.js'
import { UNKNOWN_LIMITS, retryLimits } from '../../lib/worker/limits/retry-limits.js'
import { runHandler } from '../../lib/worker/run-once.js'
import { Runs } from '../../lib/worker/run.js'
import { gate } from '../support/app.js'

const NOW = Date.parse('2030-01-01T00:00:00Z')
const storage = new AsyncLocalStorage<string>()

function setUp (options: object = {}) {
  const clock = new ManualClock(NOW)
  const scope = storage.run('app', () => new AsyncResource('test'))
  const children: unknown[][] = []
  const log = { child (...given: unknown[]) { children.push(given); return log } } as never
  const parts = {
    app: { name: 'app' },
    config: { queue: 'default', logLevel: undefined, ...options },
    clock,
    scope,
    runs: new Runs(clock, scope),
    limits: { knownLimits: (queue: string) => queue === 'mail' ? retryLimits('queue', { maxAttempts: 3 }) : UNKNOWN_LIMITS },
    signal: undefined as AbortSignal | undefined
  }
  const run = async (handler: unknown, { task = {}, attempt, signal }: { task?: object, attempt?: number, signal?: AbortSignal } = {}) =>
    await runHandler({ ...parts, signal } as never, { name: 'work', handler, ...task } as never, { n: 1 }, log, attempt)
  return { clock, parts, children, run }
}

t.test('a handler that is run without a queue has the context of an attempt without one', async t => {
  const { run, children, parts } = setUp()
  let seen: { app: unknown, payload: unknown, task: TaskContext, store: unknown } | undefined
  const handler = function (this: unknown, payload: unknown, task: TaskContext) {
    seen = { app: this, payload, task, store: storage.getStore() }
    return 'value'
  }
  t.strictSame(await storage.run('caller', async () => await run(handler)), { result: 'done', value: 'value' })
  t.strictSame([seen?.app, seen?.payload, seen?.store], [parts.app, { n: 1 }, 'app'])
  t.match(seen?.task.id, /^run-[0-9a-f]{8}-[0-9a-f-]{27}$/)
  t.hasStrict(seen?.task, {
    name: 'work',
    queue: 'default',
    attempt: 1,
    retryCount: 0,
    executionCount: 0,
    maxAttempts: undefined,
    isLastAttempt: false,
    scheduledTime: new Date(NOW),
    deadline: new Date(NOW + 600_000),
    request: undefined
  })
  t.strictSame(children, [])
  await run(handler, { task: { queue: 'mail', dispatchDeadlineSeconds: 30 }, attempt: 3 })
  t.hasStrict(seen?.task, {
    queue: 'mail', attempt: 3, retryCount: 2, maxAttempts: 3, isLastAttempt: true, deadline: new Date(NOW + 30_000)
  })
})

t.test('it logs at the level of the task routes', async t => {
  const { run, children } = setUp({ logLevel: 'warn' })
  await run(() => {})
  t.strictSame(children, [[{}, { level: 'warn' }]])
})

t.test('it ends as it would in a queue, and has no deadline', async t => {
  const { run, clock } = setUp()
  const error = new Error('boom')
  t.strictSame(await run(() => { throw error }), { result: 'failed', error })
  t.equal((await run((_: unknown, task: TaskContext) => task.drop('unwanted'))).result, 'dropped')
  const started = gate()
  run(async () => {
    started.open()
    await new Promise(() => {})
  })
  await started.opened
  t.equal(clock.pending, 0)
})

t.test('its signal aborts with that of its caller, which is left alone afterwards', async t => {
  const { run } = setUp()
  const caller = new AbortController()
  const started = gate()
  let reason: unknown
  const ended = run(async (_: unknown, { signal }: TaskContext) => {
    signal.addEventListener('abort', () => { reason = signal.reason })
    started.open()
    await new Promise<void>(resolve => { signal.addEventListener('abort', () => { resolve() }) })
  }, { signal: caller.signal })
  await started.opened
  caller.abort()
  t.equal((await ended).result, 'done')
  t.equal((reason as { code: string }).code, 'FST_TASKS_ABORTED')

  const idle = new AbortController()
  let signal: AbortSignal | undefined
  await run((_: unknown, task: TaskContext) => { signal = task.signal }, { signal: idle.signal })
  idle.abort()
  t.equal(signal?.aborted, false)
})

t.test('a closing server waits for it', async t => {
  const { run, parts } = setUp()
  const go = gate()
  const ended = run(async () => { await go.opened })
  let drained = false
  const drain = parts.runs.drain(1000, true).then(() => { drained = true })
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(drained, false)
  go.open()
  await Promise.all([ended, drain])
})

t.test('a task without a handler is refused', async t => {
  await t.rejects(setUp().run(undefined), { code: 'FST_TASKS_NO_HANDLER' })
})

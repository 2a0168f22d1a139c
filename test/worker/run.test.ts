import { AsyncResource } from 'node:async_hooks'
import t, { type Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { AttemptContext } from '../../lib/worker/context.js'
import { UNKNOWN_LIMITS, retryLimits } from '../../lib/worker/limits/retry-limits.js'
import { Runs } from '../../lib/worker/run.js'
import { gate } from '../support/app.js'

function setUp () {
  const clock = new ManualClock()
  const runs = new Runs(clock, new AsyncResource('test'))
  const headers = { id: '1', queue: 'q', retryCount: 0, executionCount: 0, scheduledAt: 0 }
  const context = () =>
    new AttemptContext({ name: 'work', headers, limits: retryLimits('queue', { maxAttempts: 1 }), deadlineAt: 0, log: undefined as never })
  const run = async (handler: (payload: unknown, task: AttemptContext) => unknown, task: AttemptContext, deadlineMs: number = 60_000) =>
    await runs.attempt(async () => await runs.run(undefined as never, handler as never, {}, task, deadlineMs))
  return { clock, runs, context, run }
}

const never = async () => await new Promise(() => {})

t.test('a run', async t => {
  t.test('ends at its deadline, and its signal aborts with the same error', async t => {
    const { clock, context, run } = setUp()
    const task = context()
    const signal = task.signal
    const ended = run(never, task)
    await clock.advance(59_999)
    t.equal(signal.aborted, false)
    await clock.advance(1)
    const { result, error } = await ended as { result: string, error: { code: string, explanation: string } }
    t.equal(result, 'deadline')
    t.equal(error.code, 'FST_TASKS_DEADLINE_EXCEEDED')
    t.equal(error.explanation, "An attempt of task 'work' exceeded its deadline of 60 s")
    t.equal(signal.reason, error)
  })

  t.test('that ended at its deadline is not changed by what its handler does afterwards', async t => {
    for (const late of [async () => 'too late', async () => { throw new Error('too late') }]) {
      const { clock, context, run } = setUp()
      const go = gate()
      const ended = run(async () => {
        await go.opened
        return await late()
      }, context())
      await clock.advance(60_000)
      go.open()
      await clock.settle()
      t.equal((await ended).result, 'deadline')
    }
  })

  t.test('leaves no timer, whichever way it ends', async t => {
    const { clock, context, run } = setUp()
    for (const [handler, result] of [
      [() => 1, 'done'],
      [() => { throw new Error('boom') }, 'failed'],
      [(_: unknown, task: AttemptContext) => task.drop('unwanted'), 'dropped']
    ] as const) {
      t.equal((await run(handler, context())).result, result)
      t.equal(clock.pending, 0)
    }
  })

  t.test('without a deadline sets no timer', async t => {
    const { clock, context, run } = setUp()
    const started = gate()
    run(async () => {
      started.open()
      await never()
    }, context(), Infinity)
    await started.opened
    t.equal(clock.pending, 0)
  })
})

t.test('a signal that is asked for after the run was aborted has aborted, with the first reason', async t => {
  const { context } = setUp()
  const task = context()
  const [first, second] = [new Error('first'), new Error('second')]
  task.abort(first)
  task.abort(second)
  t.equal(task.signal.aborted, true)
  t.equal(task.signal.reason, first)
  const early = context()
  const { signal } = early
  early.abort(first)
  early.abort(second)
  t.equal(signal.reason, first)
})

t.test('draining', async t => {
  const codeOf = (result: unknown) => (result as { error: { code: string } }).error.code

  t.test('starts no more handlers', async t => {
    const { runs, context, run } = setUp()
    await runs.drain(1000, false)
    const result = await run(() => { t.fail('must not run') }, context())
    t.equal(result.result, 'aborted')
    t.equal(codeOf(result), 'FST_TASKS_ABORTED')
  })

  t.test('waits for those that run, and ends with the last of them', async t => {
    const { clock, runs, context, run } = setUp()
    const gates = [gate(), gate()]
    const ended = gates.map(async ({ opened }) => await run(async () => { await opened }, context()))
    let drained = false
    const drain = runs.drain(1000, false).then(() => { drained = true })
    gates[0]?.open()
    await clock.settle()
    t.equal(drained, false)
    gates[1]?.open()
    await drain
    t.strictSame((await Promise.all(ended)).map(({ result }) => result), ['done', 'done'])
    t.equal(clock.pending, 0, 'no timer is left')
  })

  t.test('aborts those that outlive the grace period, each with a reason, and leaves no timer', async t => {
    const { clock, runs, context, run } = setUp()
    const tasks = [context(), context()]
    const ended = tasks.map(async task => await run(never, task))
    const drain = runs.drain(1000, false)
    await clock.advance(999)
    t.strictSame(tasks.map(task => task.signal.aborted), [false, false])
    await clock.advance(1)
    await drain
    const results = await Promise.all(ended)
    t.strictSame(results.map(({ result }) => result), ['aborted', 'aborted'])
    t.strictSame(tasks.map(task => task.signal.reason), results.map(result => (result as { error: Error }).error))
    t.equal(clock.pending, 0)
  })
})

t.test('work within the grace period is waited for, and left alone when a closing server stops waiting', async t => {
  const { clock, runs, context, run } = setUp()
  await runs.withinGrace('no promise')
  await t.rejects(runs.withinGrace(Promise.reject(new Error('boom'))), { message: 'boom' })
  const waiting = runs.withinGrace(never())
  run(never, context())
  const drain = runs.drain(1000, false)
  await clock.advance(1000)
  await drain
  await waiting
  await runs.withinGrace(never())
  await t.rejects(runs.withinGrace(Promise.reject(new Error('late'))), { message: 'late' })
})

t.test('the limits of an attempt may become known while it runs', async t => {
  const check = (t: Test, maxAttempts: number | undefined, maxRetrySeconds: number, expected: [number | undefined, boolean]) => {
    const task = setUp().context()
    task.limits = retryLimits('queue', { ...(maxAttempts === undefined ? {} : { maxAttempts }), maxRetrySeconds })
    t.strictSame([task.maxAttempts, task.isLastAttempt], expected)
  }
  check(t, 1, 0, [1, true])
  check(t, 2, 0, [2, false])
  check(t, -1, 0, [undefined, false])
  check(t, 1, 60, [1, false])
  check(t, undefined, 0, [undefined, false])
})

t.test('a task is postponed to a time within 30 days, to the millisecond', async t => {
  const now = Date.parse('2030-01-01T00:00:00Z')
  const MONTH = 2_592_000
  const clock = new ManualClock(now)
  const headers = { id: '1', queue: 'q', retryCount: 0, executionCount: 0, scheduledAt: 0 }
  const parts = { name: 'work', headers, clock, limits: UNKNOWN_LIMITS, deadlineAt: 0, log: undefined as never }
  const context = () => new AttemptContext(parts)
  for (const [delay, until] of [
    [0, now], [1.5, now + 1500], [MONTH, now + MONTH * 1000], [new Date(now), now], [new Date(now + MONTH * 1000), now + MONTH * 1000]
  ] as const) {
    const task = context()
    t.throws(() => task.retryAfter(delay), { code: 'FST_TASKS_POSTPONED' })
    const { result, error, ...rest } = task.ending!
    t.strictSame([result, rest], ['postponed', { until, reason: undefined }])
  }
  for (const delay of [
    -1, MONTH + 1, NaN, Infinity, '5', undefined, null, new Date(NaN), new Date(now - 1), new Date(now + MONTH * 1000 + 1)
  ]) {
    const task = context()
    t.throws(() => task.retryAfter(delay as number), { code: 'FST_TASKS_INVALID_DELAY' })
    t.equal(task.ending, undefined)
  }
})

t.test('the first of drop and retryAfter counts, and reasons are texts', async t => {
  const { context } = setUp()
  const task = context()
  t.throws(() => task.drop(5 as never), { code: 'FST_TASKS_DROPPED' })
  const first = task.ending
  t.hasStrict(first, { result: 'dropped', reason: '5' })
  t.throws(() => task.retryAfter(1), { code: 'FST_TASKS_DROPPED' })
  t.throws(() => task.drop('again'), { code: 'FST_TASKS_DROPPED' })
  t.equal(task.ending, first)
  const postponed = context()
  t.throws(() => postponed.retryAfter(1, 7 as never), { code: 'FST_TASKS_POSTPONED' })
  t.throws(() => postponed.drop('again'), { code: 'FST_TASKS_POSTPONED' })
  t.hasStrict(postponed.ending, { result: 'postponed', reason: '7' })
})

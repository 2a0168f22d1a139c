import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { AttemptContext } from '../../lib/worker/context.js'
import { retryLimits } from '../../lib/worker/limits/retry-limits.js'
import { Runs } from '../../lib/worker/run.js'
import { gate } from '../support/app.js'

function setUp (scope = new AsyncResource('test')) {
  const clock = new ManualClock()
  const runs = new Runs(clock, scope)
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

t.test('a client that disconnects', async t => {
  const setUpConnection = () => {
    let hangUp = (): void => {}
    return { connection: { onHangUp (listener: () => void) { hangUp = listener } } as never, hangUp: () => { hangUp() } }
  }

  t.test('ends the run, and its signal aborts with the same error', async t => {
    const { clock, runs, context } = setUp()
    const { connection, hangUp } = setUpConnection()
    const task = context()
    const ended = runs.run(undefined as never, never as never, {}, task, 60_000, connection)
    t.equal(task.signal.aborted, false)
    hangUp()
    const { result, error } = await ended as { result: string, error: { code: string } }
    t.strictSame([result, error.code], ['disconnected', 'FST_TASKS_DISCONNECTED'])
    t.equal(task.signal.reason, error)
    t.equal(clock.pending, 0)
  })

  t.test('before the run leaves the work to the next attempt', async t => {
    const { clock, runs, context } = setUp()
    const gone = { onHangUp (listener: () => void) { listener() } } as never
    const { result } = await runs.run(undefined as never, (() => { t.fail('must not run') }) as never, {}, context(), 60_000, gone)
    t.equal(result, 'disconnected')
    t.equal(clock.pending, 0)
  })

  t.test('after the run changes nothing', async t => {
    const { runs, context } = setUp()
    const { connection, hangUp } = setUpConnection()
    const task = context()
    const ended = await runs.run(undefined as never, (() => 'value') as never, {}, task, 60_000, connection)
    hangUp()
    t.strictSame(ended, { result: 'done', value: 'value' })
  })
})

t.test('a handler is called with its instance as `this`, its payload and its context', async t => {
  const { runs, context } = setUp()
  const [app, payload, task] = [{}, {}, context()]
  let seen: unknown[] = []
  await runs.run(app as never, function (this: unknown, ...given: unknown[]) { seen = [this, ...given] }, payload, task, Infinity)
  t.equal(seen.length, 3)
  t.ok(seen[0] === app && seen[1] === payload && seen[2] === task)
})

t.test('draining', async t => {
  const codeOf = (result: unknown) => (result as { error: { code: string } }).error.code

  t.test('starts no more handlers', async t => {
    const { runs, context, run } = setUp()
    await runs.drain(1000, false)
    const result = await run(() => { t.fail('must not run') }, context())
    t.equal(result.result, 'aborted')
    t.equal(codeOf(result), 'FST_TASKS_ABORTED')
    t.strictSame([runs.draining, runs.closed], [true, true])
  })

  t.test('starts handlers until the grace period ends where it admits them, and aborts them with the others', async t => {
    const { clock, runs, context, run } = setUp()
    t.strictSame([runs.draining, runs.closed], [false, false])
    await runs.drain(1000, true)
    t.strictSame([runs.draining, runs.closed], [true, false])
    t.equal(clock.pending, 0, 'without attempts nothing waits')
    await clock.advance(400)
    t.equal((await run(() => 1, context())).result, 'done')
    t.equal(clock.pending, 0)
    const task = context()
    const ended = run(never, task)
    await clock.advance(599)
    t.strictSame([task.signal.aborted, runs.closed], [false, false])
    await clock.advance(1)
    t.equal(codeOf(await ended), 'FST_TASKS_ABORTED')
    t.equal(runs.closed, true)
    t.equal((await run(() => { t.fail('must not run') }, context())).result, 'aborted')
    t.equal(clock.pending, 0)
  })

  t.test('waits for attempts that are settled after their handler has ended, however they end', async t => {
    for (const error of [undefined, new Error('boom')]) {
      const { runs } = setUp()
      const go = gate()
      const attempt = runs.attempt(async () => {
        await go.opened
        if (error !== undefined) throw error
        return 'settled'
      }).catch((reason: unknown) => reason)
      let drained = false
      const drain = runs.drain(1000, false).then(() => { drained = true })
      await new Promise(resolve => { setImmediate(resolve) })
      t.equal(drained, false)
      go.open()
      await drain
      t.equal(await attempt, error ?? 'settled')
    }
  })

  t.test('aborts in the async context of the server, not in that of its close', async t => {
    const storage = new AsyncLocalStorage<string>()
    const { clock, runs, context, run } = setUp(storage.run('server', () => new AsyncResource('test')))
    const task = context()
    let seen: string | undefined
    task.signal.addEventListener('abort', () => { seen = storage.getStore() })
    run(never, task)
    const drain = storage.run('closer', async () => { await runs.drain(1000, false) })
    await clock.advance(1000)
    await drain
    t.equal(seen, 'server')
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

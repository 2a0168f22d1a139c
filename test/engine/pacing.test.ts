import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { httpRequest, parent, queue, startEngine } from '../support/engine-harness.js'

const day = 24 * 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('at most 64 dispatches start in a turn of the event loop, and queues take turns', async t => {
  const { engine, clock, attempts } = await startEngine({ started: false })
  const other = `${parent}/queues/other`
  await engine.createQueue(other)
  for (let i = 0; i < 90; i++) await engine.createTask(queue, { httpRequest })
  for (let i = 0; i < 10; i++) await engine.createTask(other, { httpRequest })
  engine.start()
  t.equal(attempts.length, 64)
  t.same(attempts.slice(0, 6).map(attempt => attempt.queue), ['q', 'other', 'q', 'other', 'q', 'other'])
  t.equal(attempts.filter(attempt => attempt.queue === 'other').length, 10, 'a long queue does not starve a short one')
  await clock.turn()
  t.equal(attempts.length, 100)
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test('rate and concurrency hold, and changes of them apply at once', async t => {
  const { engine, clock, attempts } = await startEngine()
  await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 1, maxConcurrentDispatches: 12 } })
  for (let i = 0; i < 60; i++) await engine.createTask(queue, { httpRequest })
  await clock.settle()
  t.equal(attempts.length, 10, 'the burst')
  await clock.advance(1000)
  t.equal(attempts.length, 11)
  await clock.advance(5000)
  t.equal(attempts.length, 12, 'the concurrency')
  t.same(engine.counts(queue), { waiting: 48, running: 12 })
  await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 1, maxConcurrentDispatches: 100 } })
  t.equal(attempts.length, 16, 'the tokens saved up in 5 seconds, less one')
  await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 500 } })
  await clock.advance(2)
  t.equal(attempts.length, 17)
  await clock.advance(86)
  t.equal(attempts.length, 60)
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test('a paused queue accepts tasks and dispatches none until it is resumed', async t => {
  const { engine, clock, attempts, last } = await startEngine()
  await engine.createTask(queue, { httpRequest })
  t.match(await engine.pauseQueue(queue), { state: 'PAUSED' })
  t.match(await engine.pauseQueue(queue), { state: 'PAUSED' }, 'again is fine')
  const { name } = await engine.createTask(queue, { httpRequest })
  await attempts[0]!.answer(200)
  await clock.advance(day)
  t.equal(attempts.length, 1)
  await engine.runTask(name)
  t.equal(attempts.length, 2, 'RunTask dispatches it nevertheless')
  await last().answer(500)
  await clock.advance(day)
  t.equal(attempts.length, 2)
  t.match(await engine.resumeQueue(queue), { state: 'RUNNING' })
  t.equal(attempts.length, 3)
  await last().answer(200)
  await engine.close()
})

t.test('runTask dispatches now and counts the next attempt from the call', async t => {
  const { engine, clock, attempts, last } = await startEngine()
  await engine.updateQueue(queue, { rateLimits: { maxConcurrentDispatches: 1 } })
  const { name } = await engine.createTask(queue, { ...named('t'), scheduleAt: clock.now() + day })
  await engine.createTask(queue, named('busy'))
  const calledAt = clock.now()
  t.match(await engine.runTask(name), { dispatchCount: 1, lastAttempt: { dispatchAt: calledAt } })
  t.equal(attempts.length, 2)
  t.same(engine.counts(queue), { waiting: 0, running: 2 })
  await clock.advance(40)
  await last().answer(500)
  t.equal(engine.getTask(name).scheduleAt, calledAt + 100)
  await attempts[0]!.answer(200)
  await clock.advance(60)
  t.match(last().task, { name, dispatchCount: 2 })
  await last().answer(200)
  await t.rejects(engine.runTask(name), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  await t.rejects(engine.runTask(`${queue}/tasks/never`), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  await engine.close()
})

t.test('two attempts of one task at a time settle as one task', async t => {
  const { engine, clock, attempts } = await startEngine()
  await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
  const { name } = await engine.createTask(queue, { httpRequest })
  t.equal((await engine.runTask(name)).dispatchCount, 2)
  await attempts[0]!.answer(404)
  t.match(engine.getTask(name), { dispatchCount: 2, responseCount: 1 }, 'the other may yet succeed, so it is not given up')
  await clock.advance(day / 24 / 12)
  t.equal(attempts.length, 2, 'nor due before the other has ended')
  await attempts[1]!.answer(200)
  t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })

  const second = await engine.createTask(queue, { httpRequest })
  await engine.runTask(second.name)
  await attempts[3]!.answer(200)
  t.throws(() => engine.getTask(second.name), { code: 'NOT_FOUND' })
  await attempts[2]!.answer(500)
  t.throws(() => engine.getTask(second.name), { code: 'NOT_FOUND' }, 'a late failure does not bring it back')

  const third = await engine.createTask(queue, { httpRequest })
  await engine.runTask(third.name)
  await attempts[4]!.answer(500)
  await attempts[5]!.answer(500)
  t.throws(() => engine.getTask(third.name), { code: 'NOT_FOUND' }, 'given up once both have failed')
  t.same(engine.counts(queue), { waiting: 0, running: 0 })
  await engine.close()
})

t.test('a queue that is paused, purged or deleted while it is ready dispatches no more', async t => {
  for (const change of ['pauseQueue', 'purgeQueue', 'deleteQueue'] as const) {
    const { engine, clock, attempts } = await startEngine({ started: false })
    for (let task = 0; task < 200; task++) await engine.createTask(queue, { httpRequest })
    engine.start()
    t.equal(attempts.length, 64)
    const changed = engine[change](queue)
    // Pausing applies once it is stored, which takes no turn here.
    for (let tick = 0; tick < 20; tick++) await Promise.resolve()
    await clock.settle()
    await changed
    t.equal(attempts.length, 64, change)
    for (const attempt of attempts) await attempt.answer(200)
    t.equal(attempts.length, 64, change)
    await engine.close()
    t.equal(clock.pending, 0)
  }
})

t.test('tasks that are due at the same time are dispatched in the order of their creation', async t => {
  const { engine, clock, attempts } = await startEngine()
  const scheduleAt = clock.now() + 1000
  const ids = Array.from({ length: 30 }, (_, index) => `t${index}`)
  for (const id of ids) await engine.createTask(queue, { ...named(id), scheduleAt })
  await clock.advance(1000)
  t.strictSame(attempts.map(({ task }) => task.name), ids.map(id => `${queue}/tasks/${id}`))
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test('a held engine dispatches nothing by itself until its release, whether it starts before or after', async t => {
  for (const held of ['before', 'after']) {
    const { engine, clock, attempts } = await startEngine({ started: held === 'after' })
    engine.hold()
    const { name } = await engine.createTask(queue, { httpRequest })
    if (held === 'before') engine.start()
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 1000 })
    await clock.advance(day)
    t.strictSame([attempts.length, clock.pending], [0, 0])
    await engine.runTask(name)
    t.equal(attempts.length, 1)
    engine.release()
    t.equal(attempts.length, 2)
    for (const attempt of attempts) await attempt.answer(200)
    await engine.close()
  }
})

t.test('a held engine that is not started runs a task on request, one that is not held does not', async t => {
  const { engine, attempts } = await startEngine({ started: false })
  const { name } = await engine.createTask(queue, { httpRequest })
  await t.rejects(engine.runTask(name), { code: 'UNAVAILABLE' })
  engine.hold()
  await engine.runTask(name)
  t.equal(attempts.length, 1)
  await attempts[0]!.answer(200)
  await engine.close()
})

t.test('queues that were ready when the engine stopped, and are resumed after the next start, dispatch', async t => {
  const { engine, attempts } = await startEngine({ started: false })
  const queues = ['q', 'second', 'third', 'late'].map(id => `${parent}/queues/${id}`)
  for (const name of queues) await engine.updateQueue(name)
  for (const name of queues.slice(0, 3)) {
    for (let task = 0; task < 30; task++) await engine.createTask(name, { httpRequest })
  }
  engine.start()
  // The turn's share ends in the middle of a round, and the last queue is ready for the next one.
  await engine.createTask(queues[3]!, { httpRequest })
  t.equal(attempts.length, 64)
  const stopped = engine.stop()
  for (const name of queues) await engine.pauseQueue(name)
  engine.start()
  for (const name of queues) {
    const expected = attempts.length + engine.counts(name).waiting
    await engine.resumeQueue(name)
    t.equal(attempts.length, expected, name)
  }
  t.equal(attempts.length, 91)
  for (const attempt of attempts) await attempt.answer(200)
  await stopped
  await engine.close()
})

t.test('an engine that is stopped by what it dispatches starts no further attempt', async t => {
  const stops: Array<Promise<void>> = []
  const { engine, clock } = await startEngine({
    started: false,
    async dispatch () {
      stops.push(engine.stop())
      return { status: 200 }
    }
  })
  for (let task = 0; task < 3; task++) await engine.createTask(queue, { httpRequest })
  engine.start()
  await clock.settle()
  t.strictSame([stops.length, engine.counts(queue), clock.pending], [1, { waiting: 2, running: 0 }, 0])
  engine.start()
  t.equal(stops.length, 2)
  await Promise.all(stops)
  await engine.close()
})

t.test('releasing an engine that is not started dispatches nothing', async t => {
  const { engine, clock, attempts } = await startEngine({ started: false })
  engine.hold()
  await engine.createTask(queue, { httpRequest })
  engine.release()
  await clock.advance(day)
  t.strictSame([attempts.length, clock.pending], [0, 0])
  engine.start()
  t.equal(attempts.length, 1)
  await attempts[0]!.answer(200)
  await engine.close()
})

t.test('an engine that is stopped in the middle of a turn dispatches the rest after the next start', async t => {
  const { engine, clock, attempts } = await startEngine({ started: false })
  for (let task = 0; task < 100; task++) await engine.createTask(queue, { httpRequest })
  engine.start()
  engine.start()
  t.equal(attempts.length, 64)
  const stopped = engine.stop()
  await clock.settle()
  t.strictSame([attempts.length, engine.counts(queue).waiting], [64, 36])
  engine.start()
  t.equal(attempts.length, 100, 'a new start has a new share of the turn')
  for (const attempt of attempts) await attempt.answer(200)
  await stopped
  await engine.close()
})

t.test('handlers that take long keep a turn short: after 5 ms no more attempt starts in it', async t => {
  let dispatched = 0
  const clock = new ManualClock()
  const { engine } = await startEngine({
    clock,
    started: false,
    async dispatch () {
      dispatched++
      clock.step(2)
      return { status: 200 }
    }
  })
  for (let task = 0; task < 10; task++) await engine.createTask(queue, { httpRequest })
  engine.start()
  t.equal(dispatched, 4, 'the fourth starts 6 ms after the first, and is the last')
  await clock.turn()
  t.equal(dispatched, 8)
  await clock.settle()
  t.equal(dispatched, 10)
  await engine.close()
})

t.test('a timer is replaced only by one that fires at least a millisecond earlier', async t => {
  let timers = 0
  class CountingClock extends ManualClock {
    override setTimeout (callback: () => void, ms: number): unknown {
      timers++
      return super.setTimeout(callback, ms)
    }
  }
  const { engine, clock, attempts } = await startEngine({ clock: new CountingClock() })
  const now = clock.now()
  for (const [ms, count] of [[20_000, 1], [20_000, 1], [19_999, 2], [30_000, 2]] as const) {
    await engine.createTask(queue, { httpRequest, scheduleAt: now + ms })
    t.equal(timers, count, String(ms))
  }
  await clock.advance(19_998)
  t.equal(attempts.length, 0)
  await clock.advance(1)
  t.equal(attempts.length, 1)
  await engine.purgeQueue(queue)
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test('a queue that is deleted while the engine is stopped leaves no timer after the next start', async t => {
  const { engine, clock } = await startEngine()
  await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 1000 })
  await engine.stop()
  await engine.deleteQueue(queue)
  engine.start()
  t.equal(clock.pending, 0)
  await engine.close()
})

import t from 'tap'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { Retention } from '../../lib/engine/expiry.js'
import { TaskEntry } from '../../lib/engine/memory/task-queue.js'
import { FragileStore, httpRequest, queue, startEngine } from '../support/engine-harness.js'

const day = 24 * 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('a task is given up after its last attempt, or 31 days after creation', async t => {
  const { engine, clock, attempts, last } = await startEngine()
  await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
  const { name } = await engine.createTask(queue, { httpRequest })
  await last().answer(500)
  await clock.advance(100)
  await last().answer(500)
  t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
  clock.pass(day)
  await clock.settle()
  t.equal(attempts.length, 2)

  await engine.updateQueue(queue, {
    retryConfig: { maxAttempts: -1, minBackoffSeconds: 20 * 24 * 3600, maxBackoffSeconds: 20 * 24 * 3600 }
  })
  const old = await engine.createTask(queue, named('old'))
  await last().answer(500)
  clock.pass(20 * day)
  await clock.settle()
  await last().answer(500)
  t.equal(attempts.length, 4)
  clock.pass(old.createdAt + 31 * day - 1 - clock.now())
  t.equal(engine.getTask(old.name).dispatchCount, 2)
  await clock.advance(1)
  t.throws(() => engine.getTask(old.name), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  t.same(engine.counts(queue), { waiting: 0, running: 0 })

  await engine.pauseQueue(queue)
  const paused = await engine.createTask(queue, named('paused'))
  clock.pass(31 * day)
  t.same(engine.listTasks(queue).tasks, [])
  t.throws(() => engine.getTask(paused.name), { code: 'NOT_FOUND' })
  await engine.createTask(queue, named('old'))
  await engine.close()
})

t.test('a task that is deleted or purged, or whose queue is, ignores the result of its attempt', async t => {
  for (const end of ['deleteTask', 'purgeQueue', 'deleteQueue'] as const) {
    for (const status of [200, 500]) {
      const { engine, clock, store, attempts, last } = await startEngine({ queueTombstoneMs: 0 })
      const { name } = await engine.createTask(queue, named('t'))
      await engine[end](end === 'deleteTask' ? name : queue)
      if (end === 'deleteQueue') await engine.createQueue(queue)
      await last().answer(status)
      await clock.advance(day)
      t.equal(attempts.length, 1)
      t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
      t.equal(store.getTask(name), undefined)
      t.same(engine.counts(queue), { waiting: 0, running: 0 })
      await engine.close()
    }
  }
})

t.test('purge removes existing tasks in slices, and no later ones', async t => {
  const { engine, clock, store } = await startEngine({ started: false, store: new FragileStore() })
  for (let i = 0; i < 1200; i++) await engine.createTask(queue, named(`t${i}`))
  let done = false
  const purge = engine.purgeQueue(queue).then(stored => {
    done = true
    return stored
  })
  t.same(engine.listTasks(queue).tasks, [])
  t.throws(() => engine.getTask(`${queue}/tasks/t1199`), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  await t.rejects(engine.createTask(queue, named('t1198')), { code: 'ALREADY_EXISTS' })
  const later = await engine.createTask(queue, named('later'))
  await Promise.resolve()
  t.equal(done, false, 'some are still in the store')
  t.equal([...(await store.load()).tasks].length, 699, 'without the first slice of 500, and two whose names were needed')
  await clock.settle()
  t.match(await purge, { purgedAt: clock.now(), state: 'RUNNING' })
  t.equal(store.calls.filter(call => call === 'removeTask').length, 1200, 'each once')
  t.same([...(await store.load()).tasks].map(task => task.name), [later.name])
  t.same(engine.listTasks(queue).tasks.map(task => task.name), [later.name])
  await engine.close()
})

t.test('tasks that have outlived their retention', async t => {
  const expired: Array<[string, number]> = []
  const aged = async (options: Parameters<typeof startEngine>[0] = {}) => {
    expired.length = 0
    const reports: unknown[] = []
    const set = await startEngine({
      onExpired: task => { expired.push([task.name.slice(queue.length + 7), task.dispatchCount]) },
      reportExpired: report => { reports.push(report) },
      ...options
    })
    return { ...set, reports }
  }

  t.test('are reported once a second, with their number and the names of the first, and passed on once each', async t => {
    const { engine, clock, attempts, reports } = await aged()
    await engine.pauseQueue(queue)
    for (let task = 0; task < 25; task++) await engine.createTask(queue, named(`t${task}`))
    clock.pass(31 * day)
    t.strictSame([reports, expired], [[], []])
    await engine.resumeQueue(queue)
    await clock.settle()
    t.equal(expired.length, 25)
    t.strictSame(expired.slice(0, 2), [['t0', 0], ['t1', 0]])
    await clock.advance(1000)
    t.strictSame(reports, [{ count: 25, names: Array.from({ length: 10 }, (_, task) => `${queue}/tasks/t${task}`) }])
    t.equal(attempts.length, 0)
    t.strictSame(engine.counts(queue), { waiting: 0, running: 0 })
    await engine.close()
    t.equal(reports.length, 1)
    t.equal(clock.pending, 0)
  })

  t.test('are looked up without effect while the store cannot read them, and dropped once it can', async t => {
    const { engine, clock, store, errors, reports } = await aged()
    await engine.pauseQueue(queue)
    const { name } = await engine.createTask(queue, named('a'))
    const ends: string[][] = []
    engine.observe({ ended (...end) { ends.push(end) } })
    clock.pass(31 * day)
    store.getTask = () => { throw new Error('bad record') }
    t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
    t.strictSame([expired, engine.backlog(queue).tasks], [[], 1])
    store.getTask = MemoryStore.prototype.getTask
    t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
    await clock.advance(1000)
    t.strictSame([expired, errors.length, reports.length, engine.backlog(queue).tasks], [[['a', 0]], 1, 1, 0])
    t.strictSame(ends, [[name, 'expired']])
    await engine.close()
  })

  t.test('are reported at the latest when the engine stops', async t => {
    const { engine, clock, reports } = await aged()
    await engine.pauseQueue(queue)
    await engine.createTask(queue, named('a'))
    clock.pass(31 * day)
    t.throws(() => engine.getTask(`${queue}/tasks/a`), { code: 'NOT_FOUND' })
    await engine.close()
    t.match(reports, [{ count: 1 }])
    t.strictSame(expired, [['a', 0]])
  })

  t.test('after failed attempts are passed on with these, but not when the last one has ended them', async t => {
    const { engine, clock, last, reports } = await aged()
    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
    await engine.createTask(queue, { ...named('old'), dispatchDeadlineMs: 15_000 })
    const first = last()
    clock.set(clock.now() + 9 * day)
    for (let week = 0; week < 3; week++) {
      await engine.createTask(queue, named(`w${week}`)).then(async () => {
        await last().answer(200)
        clock.set(clock.now() + 9 * day)
      })
    }
    await first.answer(500)
    t.strictSame(expired, [['old', 1]])
    await engine.createTask(queue, named('given-up'))
    await last().answer(500)
    await clock.advance(100)
    for (let week = 0; week < 4; week++) clock.set(clock.now() + 9 * day)
    await last().answer(500)
    t.strictSame(expired, [['old', 1]])
    await clock.advance(1000)
    t.match(reports, [{ count: 1 }])
    await engine.close()
  })

  t.test('have a slot while they are passed on, and errors of that are reported', async t => {
    let running = 0
    let most = 0
    const errors: unknown[] = []
    const { engine, clock } = await aged({
      onError: (error, where) => { errors.push([(error as Error).message, where]) },
      async onExpired () {
        most = Math.max(most, ++running)
        await new Promise(resolve => { setImmediate(resolve) })
        running--
        throw new Error('not today')
      }
    })
    await engine.updateQueue(queue, { rateLimits: { maxConcurrentDispatches: 3 } })
    await engine.pauseQueue(queue)
    for (let task = 0; task < 20; task++) await engine.createTask(queue, named(`t${task}`))
    clock.pass(31 * day)
    await engine.resumeQueue(queue)
    while (errors.length < 20) await clock.advance(1000)
    t.equal(most, 3)
    t.strictSame(errors, Array.from({ length: 20 }, (_, task) => ['not today', { during: 'expire', name: `${queue}/tasks/t${task}` }]))
    await engine.close()
  })

  t.test('are not passed on when their end could not be stored, which the next start would do', async t => {
    const store = new FragileStore()
    const { engine, clock } = await aged({ store })
    await engine.pauseQueue(queue)
    await engine.createTask(queue, named('a'))
    clock.pass(31 * day)
    store.broken.add('removeTask')
    await engine.resumeQueue(queue)
    await clock.settle()
    t.strictSame(expired, [])
    // Killed here.
    store.broken.clear()
    const next = await aged({ store, clock, keepQueue: true })
    await next.clock.settle()
    t.strictSame(expired, [['a', 0]])
    await next.engine.close()
  })

  t.test('are not dropped while an attempt runs, so RunTask starts another', async t => {
    const { engine, clock, attempts } = await aged()
    const { name } = await engine.createTask(queue, named('old'))
    for (let week = 0; week < 4; week++) {
      clock.set(clock.now() + 9 * day)
      engine.listTasks(queue)
      await engine.createTask(queue, named(`w${week}`))
      await attempts.at(-1)!.answer(200)
    }
    t.equal((await engine.runTask(name)).dispatchCount, 2)
    t.equal(engine.running(name), 2)
    t.strictSame(expired, [])
    for (const attempt of attempts) await attempt.answer(200)
    t.strictSame(expired, [])
    await engine.close()
  })

  t.test('are run instead while the clock is not believed, because it has jumped by weeks', async t => {
    const errors: unknown[][] = []
    const { engine, clock, attempts, last, reports } = await aged({ onError: (...error) => { errors.push(error) } })
    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 3 } })
    await engine.createTask(queue, { ...named('a'), scheduleAt: clock.now() + 3_600_000 })
    clock.set(clock.now() + 60 * day)
    await clock.advance(60_000)
    t.equal(attempts.length, 1)
    await last().answer(500)
    t.equal(attempts.length, 1, 'its retries wait for their backoff')
    await clock.advance(100)
    t.equal(attempts.length, 2)
    await last().answer(200)
    t.strictSame(errors.map(([, where]) => where), [{ during: 'expire' }])
    t.match(errors[0], [{ message: /^The clock says .*, 60 days after the last time that is known; tasks older than 31 days are run/ }])
    t.strictSame([expired, reports], [[], []])
    await engine.close()
  })

  t.test('are run at a start at which the clock is weeks ahead of the store, and dropped where it is not', async t => {
    for (const [ahead, dropped] of [[40 * day, false], [11 * day, false], [9 * day, true], [-day, true]] as const) {
      const clock = new ManualClock()
      const store = new MemoryStore()
      const first = await aged({ store, clock, started: false })
      await first.engine.createTask(queue, named('a'))
      await first.engine.close()
      clock.set(clock.now() + 40 * day)
      const load = store.load.bind(store)
      store.load = async () => ({ ...await load(), lastKnownAt: clock.now() - ahead })
      const next = await aged({ store, clock, keepQueue: true })
      await clock.settle()
      t.equal(next.attempts.length, dropped ? 0 : 1, `${ahead / day} days`)
      t.equal(next.errors.length, dropped ? 0 : 1)
      t.equal(expired.length, dropped ? 1 : 0)
      for (const attempt of next.attempts) await attempt.answer(200)
      await next.engine.close()
    }
  })

  t.test('do not free their names at a start at which the clock is weeks ahead', async t => {
    const clock = new ManualClock()
    const store = new MemoryStore()
    const first = await aged({ store, clock })
    await first.engine.createTask(queue, named('done'))
    await first.last().answer(200)
    await first.engine.close()
    const lastKnownAt = clock.now()
    const load = store.load.bind(store)
    store.load = async () => ({ ...await load(), lastKnownAt })
    clock.set(clock.now() + 60 * day)
    const next = await aged({ store, clock, keepQueue: true })
    await t.rejects(next.engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })
    await clock.advance(3_600_000)
    await next.engine.createTask(queue, named('done'))
    await next.last().answer(200)
    await next.engine.close()
  })
})

t.test('a retry that would be due after the retention is due at its end', async t => {
  const { engine, clock, last } = await startEngine()
  await engine.updateQueue(queue, { retryConfig: { minBackoffSeconds: 40 * 86_400, maxBackoffSeconds: 40 * 86_400 } })
  const { createdAt } = await engine.createTask(queue, named('a'))
  clock.pass(1000)
  await last().answer(500)
  t.equal(engine.firstDueAt(queue), createdAt + 31 * day)
  t.strictSame(engine.backlog(queue), { tasks: 1, firstDueAt: createdAt + 31 * day })
  await engine.close()
})

t.test('a wall clock is trusted up to ten days ahead of the last trusted time, and doubts are reported once', async t => {
  const createdAt = Date.parse('2029-01-01T00:00:00Z')
  const old = new TaskEntry({ name: `${queue}/tasks/old`, scheduleAt: createdAt, createdAt })
  const recent = new TaskEntry({ name: `${queue}/tasks/recent`, scheduleAt: createdAt, createdAt: createdAt + 10_000 * day })
  for (const [lastKnown, passed, jump, trusted] of [
    [0, 0, 10 * day, true], [0, 0, 10 * day + 1, false], [0, 5 * day, 10 * day, true], [0, 5 * day, 10 * day + 1, false],
    [-10 * day, 0, 0, true], [-10 * day - 1, 0, 0, false], [-10 * day - 1, 1000, 0, false], [day, 0, -100 * day, true],
    [undefined, 0, 0, true]
  ] as const) {
    const clock = new ManualClock()
    const doubts: string[] = []
    const retention = new Retention(clock, error => { doubts.push(error.message) })
    const begin = clock.now()
    clock.pass(day)
    const lastKnownAt = lastKnown === undefined ? undefined : clock.now() + lastKnown
    const isTrusted = lastKnownAt === undefined || lastKnownAt + 10 * day >= clock.now()
    t.equal(retention.begin(lastKnownAt), isTrusted ? begin + day : lastKnownAt)
    clock.pass(passed)
    clock.set(clock.now() + jump)
    const row = `${lastKnown} ${passed} ${jump}`
    for (let time = 0; time < 2; time++) t.equal(retention.hasExpired(old, clock.now()), trusted, row)
    t.equal(retention.hasExpired(recent, clock.now()), false)
    t.equal(doubts.length, trusted ? 0 : 1, row)
  }
})

t.test('a task is past its retention 31 days after the second in which it was created', async t => {
  const clock = new ManualClock()
  const retention = new Retention(clock, () => {})
  const createdAt = clock.now() - 31 * day
  const entry = new TaskEntry({ name: `${queue}/tasks/a`, scheduleAt: createdAt + 40 * day, createdAt: createdAt + 999 })
  t.strictSame([entry.expiresAt, entry.dueAt], [clock.now(), clock.now()])
  t.equal(retention.hasExpired(entry, clock.now()), true)
  t.equal(retention.hasExpired(new TaskEntry({ name: 'x', scheduleAt: 0, createdAt: createdAt + 1000 }), clock.now()), false)
  t.equal(new TaskEntry({ name: 'x', scheduleAt: 5, createdAt }).dueAt, 5)
})

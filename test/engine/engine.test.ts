import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { Engine } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { FragileStore, httpRequest, parent, queue, stage } from '../support/engine-harness.js'

const day = 24 * 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })
const appEngineHttpRequest = { relativeUri: '/work', body: Buffer.from('x') }

t.test('a task on an idle queue is dispatched as soon as it is stored, with no timer in between', async t => {
  const { engine, clock, attempts } = await stage()
  const task = await engine.createTask(queue, { httpRequest })
  t.equal(attempts.length, 1)
  t.match(attempts[0], { queue: 'q', deadlineMs: 600_000, deadlineAt: clock.now() + 600_000, task: { name: task.name, dispatchCount: 1 } })
  t.match(engine.getTask(task.name), { dispatchCount: 1, lastAttempt: { dispatchAt: clock.now() } }, 'its state shows while it runs')
  t.same(engine.counts(queue), { waiting: 0, running: 1 })
  await attempts[0]!.answer(204)
  t.same(engine.counts(queue), { waiting: 0, running: 0 })
  t.throws(() => engine.getTask(task.name), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  await engine.close()
  t.equal(clock.pending, 0)
})

for (const [kind, request, counts, prefix, reason] of [
  ['HTTP', { httpRequest }, [0, 0, 1, 2, 2, 3], 'X-CloudTasks-', ''],
  ['App Engine', { appEngineHttpRequest }, [0, 1, 2, 3, 4, 5], 'X-AppEngine-', 'App Error']
] as const) {
  t.test(`the headers of ${kind} attempts are those recorded from production`, async t => {
    const { engine, clock, attempts, last } = await stage()
    await engine.createTask(queue, { ...named('t'), ...request, ...(kind === 'HTTP' ? {} : { httpRequest: undefined }) } as never)
    const statuses = [503, 404, 429, 500, 302, 200]
    for (const [i, status] of statuses.entries()) {
      const { headers, task } = last()
      t.equal(attempts.length, i + 1)
      t.match(headers, {
        [`${prefix}QueueName`]: 'q',
        [`${prefix}TaskName`]: 't',
        [`${prefix}TaskRetryCount`]: String(i),
        [`${prefix}TaskExecutionCount`]: String(counts[i]),
        [`${prefix}TaskETA`]: (task.scheduleAt / 1000).toFixed(6),
        [`${prefix}TaskPreviousResponse`]: i === 0 ? undefined : String(statuses[i - 1]),
        [`${prefix}TaskRetryReason`]: i === 0 ? undefined : reason
      })
      await last().answer(status)
      await clock.advance(100 * 2 ** i)
    }
    t.equal(attempts.length, 6)
    await engine.close()
  })
}

t.test('a retry is due a backoff after the end of the failed attempt', async t => {
  const { engine, clock, attempts, last } = await stage()
  const { name } = await engine.createTask(queue, { httpRequest })
  const start = clock.now()
  await clock.advance(5000)
  await last().answer(503)
  t.match(engine.getTask(name), {
    scheduleAt: start + 5100,
    dispatchCount: 1,
    responseCount: 1,
    executionCount: 0,
    previousResponse: 503,
    firstAttempt: { dispatchAt: start },
    lastAttempt: {
      dispatchAt: start,
      responseAt: start + 5000,
      responseStatus: { code: 14, message: 'UNAVAILABLE(14): HTTP status code 503' }
    }
  })
  await clock.advance(99)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  t.equal(last().task.firstAttempt?.dispatchAt, start)
  await last().answer(200)
  await engine.close()
})

t.test('tasks that are due later wait for one timer, which never runs for more than a minute', async t => {
  const { engine, clock, attempts, last } = await stage()
  await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 3_600_000 })
  t.equal(clock.pending, 1)
  t.equal(clock.nextTimerAt, clock.now() + 60_000)
  await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 1000 })
  t.equal(clock.pending, 1)
  await clock.advance(999)
  t.equal(attempts.length, 0)
  await clock.advance(1)
  t.equal(attempts.length, 1)
  await last().answer(200)
  await clock.advance(3_600_000 - 1001)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  await last().answer(200)
  await engine.close()
})

/** Tokens of a queue with a low rate, at first. */
const BURST = 10

t.test('when the wall clock jumps', async t => {
  t.test('ahead, what is overdue is dispatched within a minute, without any other event', async t => {
    const { engine, clock, attempts, last } = await stage()
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 3_600_000 })
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 30 * day })
    clock.set(clock.now() + 2 * 3_600_000)
    await clock.advance(59_999)
    t.equal(attempts.length, 0)
    await clock.advance(1)
    t.equal(attempts.length, 1)
    await last().answer(200)
    clock.set(clock.now() + 30 * day)
    await clock.advance(60_000)
    t.equal(attempts.length, 2)
    await last().answer(200)
    await engine.close()
  })

  t.test('ahead, a task that comes in afterwards is still dispatched at its time', async t => {
    const { engine, clock, attempts, last } = await stage()
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 20_000 })
    clock.set(clock.now() + 10_000)
    await engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 5000 })
    await clock.advance(5000)
    t.equal(attempts.length, 1)
    await last().answer(200)
    await engine.close()
  })

  t.test('back, a queue that waits for a token goes on at its rate', async t => {
    const { engine, clock, attempts } = await stage()
    await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 1 } })
    await engine.pauseQueue(queue)
    for (let task = 0; task < BURST + 2; task++) await engine.createTask(queue, { httpRequest })
    clock.set(clock.now() + 2 * day)
    await engine.resumeQueue(queue)
    await clock.settle()
    t.equal(attempts.length, BURST)
    clock.set(clock.now() - day)
    await clock.advance(1000)
    t.equal(attempts.length, BURST + 1)
    clock.set(clock.now() - day / 2)
    await clock.advance(1000)
    t.equal(attempts.length, BURST + 2)
    for (const attempt of attempts) await attempt.answer(200)
    await engine.close()
  })

  t.test('ahead, a rate limit still holds', async t => {
    const { engine, clock, attempts } = await stage()
    await engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 1 } })
    for (let task = 0; task < BURST + 2; task++) await engine.createTask(queue, { httpRequest })
    clock.set(clock.now() + day)
    await engine.createTask(queue, { httpRequest })
    await clock.settle()
    t.equal(attempts.length, BURST)
    await clock.advance(1000)
    t.equal(attempts.length, BURST + 1)
    await engine.purgeQueue(queue)
    for (const attempt of attempts) await attempt.answer(200)
    await engine.close()
  })

  t.test('the deadline of an attempt stays where it was', async t => {
    const { engine, clock } = await stage()
    const { name } = await engine.createTask(queue, { ...named('a'), dispatchDeadlineMs: 15_000 })
    clock.set(clock.now() + day)
    await clock.advance(14_999)
    t.equal(engine.running(name), 1)
    clock.set(clock.now() - 2 * day)
    await clock.advance(1)
    t.equal(engine.running(name), 0)
    await engine.close()
  })
})

t.test('before start tasks are only stored, after stop as well, and stop waits for what runs', async t => {
  const { engine, clock, attempts, last } = await stage({ started: false })
  const { name } = await engine.createTask(queue, { httpRequest })
  await clock.advance(day)
  t.equal(attempts.length, 0)
  await t.rejects(engine.runTask(name), { code: 'UNAVAILABLE' })
  engine.start()
  t.equal(attempts.length, 1)
  let stopped = false
  const stop = engine.stop().then(() => { stopped = true })
  await engine.createTask(queue, { httpRequest })
  await clock.advance(1000)
  t.equal(attempts.length, 1)
  t.equal(stopped, false)
  await last().answer(500)
  await stop
  await clock.advance(day)
  t.equal(attempts.length, 1, 'a retry that is due waits for the next start')
  t.equal(clock.pending, 0)
  engine.start()
  t.equal(attempts.length, 3)
  for (const attempt of attempts.slice(1)) await attempt.answer(200)
  await engine.close()
  await t.rejects(engine.createTask(queue, { httpRequest }), { code: 'UNAVAILABLE' })
  t.throws(() => engine.getQueue(queue), { code: 'UNAVAILABLE' })
  t.same(engine.counts(queue), { waiting: 0, running: 0 })
})

t.test('a dispatcher that never answers loses its slot at the deadline, and its late answer is ignored', async t => {
  const { engine, clock, attempts } = await stage()
  await engine.updateQueue(queue, { rateLimits: { maxConcurrentDispatches: 1 }, retryConfig: { maxAttempts: 2 } })
  const { name } = await engine.createTask(queue, { ...named('slow'), dispatchDeadlineMs: 15_000 })
  await engine.createTask(queue, named('next'))
  await clock.advance(14_999)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  t.match(engine.getTask(name), {
    previousResponse: 0,
    responseCount: 0,
    executionCount: 0,
    lastAttempt: { responseAt: undefined, responseStatus: { code: 4, message: /^DEADLINE_EXCEEDED\(4\)/ } }
  })
  await attempts[0]!.answer(200)
  t.equal(engine.getTask(name).dispatchCount, 1, 'still there')
  await attempts[1]!.answer(200)
  await clock.advance(100)
  t.match(attempts[2], { task: { name }, headers: { 'X-CloudTasks-TaskPreviousResponse': '504' } })
  await attempts[2]!.answer(200)
  await engine.close()
})

t.test('an App Engine task without a deadline of its own has ten minutes', async t => {
  const { engine, clock, attempts } = await stage()
  await engine.createTask(queue, { appEngineHttpRequest })
  await clock.advance(600_000)
  t.equal(attempts[0]!.deadlineMs, 600_000)
  await clock.advance(100)
  t.match(attempts[1]!.headers, { 'X-AppEngine-TaskPreviousResponse': '0', 'X-AppEngine-TaskRetryReason': 'Instance Unavailable' })
  await attempts[1]!.answer(200)
  await engine.close()
})

t.test('whatever the dispatcher does wrong is reported and counts as no response', async t => {
  const failure = new Error('connection refused')
  const wrong = [
    () => {
      throw failure
    },
    async () => {
      throw failure
    },
    async () => ({ status: 42 }),
    async () => undefined as never,
    async () => ({ status: 0 })
  ]
  for (const [i, dispatch] of wrong.entries()) {
    const { engine, errors } = await stage({ dispatch })
    const { name } = await engine.createTask(queue, { httpRequest })
    await new Promise(resolve => { setImmediate(resolve) })
    t.match(engine.getTask(name), { previousResponse: 0, responseCount: 0, lastAttempt: { responseStatus: { code: 14 } } })
    t.equal(errors.length, i === 4 ? 0 : 1)
    if (i < 2) t.equal(errors[0], failure)
    await engine.close()
  }
})

t.test('a name is taken while its task exists and for a while after', async t => {
  const { engine, clock, last } = await stage({ taskTombstoneMs: 60_000 })
  await engine.createTask(queue, named('t'))
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS', message: 'Requested entity already exists' })
  await last().answer(200)
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS', message: /existed too recently/ })
  t.throws(() => engine.getTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  await t.rejects(engine.deleteTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: /^The task no longer exists/ })
  await engine.createQueue(`${parent}/queues/other`)
  await engine.createTask(`${parent}/queues/other`, { name: `${parent}/queues/other/tasks/t`, httpRequest })
  await last().answer(200)
  await clock.advance(59_999)
  await t.rejects(engine.createTask(queue, named('t')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  t.throws(() => engine.getTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  await engine.createTask(queue, named('t'))
  await last().answer(200)
  await engine.close()
})

t.test('every way for a task to end leaves its name taken', async t => {
  const { engine, clock, last } = await stage()
  await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
  const later = { scheduleAt: clock.now() + 5000 }
  await engine.createTask(queue, named('exhausted'))
  await last().answer(500)
  await clock.advance(100)
  await last().answer(500)
  await engine.createTask(queue, { ...named('deleted'), ...later })
  await engine.deleteTask(`${queue}/tasks/deleted`)
  await engine.createTask(queue, { ...named('purged'), ...later })
  await engine.purgeQueue(queue)
  for (const id of ['exhausted', 'deleted', 'purged']) {
    await t.rejects(engine.createTask(queue, named(id)), { code: 'ALREADY_EXISTS', message: /existed too recently/ }, id)
  }
  await engine.close()
})

t.test('ids that the service picked are remembered only on request', async t => {
  for (const rememberGeneratedNames of [false, true]) {
    const { engine, last } = await stage({ rememberGeneratedNames })
    const { name } = await engine.createTask(queue, { httpRequest })
    await last().answer(200)
    t.throws(() => engine.getTask(name), {
      code: 'NOT_FOUND',
      message: rememberGeneratedNames ? /existed recently/ : 'Requested entity was not found.'
    })
    await engine.close()
  }
})

t.test('forgotten names leave the store too', async t => {
  const { engine, clock, store, last } = await stage({ taskTombstoneMs: 60_000 })
  for (let i = 0; i < 20; i++) {
    await engine.createTask(queue, named(`t${i}`))
    await last().answer(200)
  }
  const remembered = async (): Promise<number> => [...(await store.load()).tombstones].length
  t.equal(await remembered(), 20)
  await clock.advance(180_000)
  for (let i = 0; i < 3; i++) {
    await engine.createTask(queue, { httpRequest })
    await last().answer(200)
  }
  t.equal(await remembered(), 0)
  await engine.close()
})

t.test('a second task of a name that is being stored shares the first one\'s fate', async t => {
  const { engine, clock, store, errors, attempts } = await stage({ store: new FragileStore() })
  let open = () => {}
  const shut = () => { store.gate = new Promise(resolve => { open = resolve }) }

  shut()
  let all = Promise.allSettled([1, 2, 3].map(() => engine.createTask(queue, named('stored'))))
  await clock.settle()
  t.equal(store.calls.includes('putTask'), false)
  t.throws(() => engine.getTask(`${queue}/tasks/stored`), { code: 'NOT_FOUND' }, 'not there before it is stored')
  store.gate = undefined
  open()
  t.match(await all, [
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'ALREADY_EXISTS' } },
    { status: 'rejected', reason: { code: 'ALREADY_EXISTS' } }
  ])
  t.equal(store.calls.filter(call => call === 'putTask').length, 1)

  shut()
  store.broken.add('putTask')
  all = Promise.allSettled([1, 2].map(() => engine.createTask(queue, named('failed'))))
  await clock.settle()
  open()
  store.gate = undefined
  // The second goes on by itself once the first has failed; by then the store works again.
  store.putTask = async function (task) {
    this.broken.delete('putTask')
    return await FragileStore.prototype.putTask.call(this, task)
  }
  t.match(await all, [
    { status: 'rejected', reason: { code: 'UNAVAILABLE', cause: { message: 'putTask broke' } } },
    { status: 'fulfilled' }
  ])
  t.equal(engine.getTask(`${queue}/tasks/failed`).dispatchCount, 1)
  t.same(errors, [], 'whoever asked has the error')
  for (const attempt of attempts) await attempt.answer(200)
  await engine.close()
})

t.test('at most 64 dispatches start in a turn of the event loop, and queues take turns', async t => {
  const { engine, clock, attempts } = await stage({ started: false })
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
  const { engine, clock, attempts } = await stage()
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

t.test('a paused queue takes tasks and dispatches none until it is resumed', async t => {
  const { engine, clock, attempts, last } = await stage()
  await engine.createTask(queue, { httpRequest })
  t.match(await engine.pauseQueue(queue), { state: 'PAUSED' })
  t.match(await engine.pauseQueue(queue), { state: 'PAUSED' }, 'again is fine')
  const { name } = await engine.createTask(queue, { httpRequest })
  await attempts[0]!.answer(200)
  await clock.advance(day)
  t.equal(attempts.length, 1)
  await engine.runTask(name)
  t.equal(attempts.length, 2, 'RunTask does not mind')
  await last().answer(500)
  await clock.advance(day)
  t.equal(attempts.length, 2)
  t.match(await engine.resumeQueue(queue), { state: 'RUNNING' })
  t.equal(attempts.length, 3)
  await last().answer(200)
  await engine.close()
})

t.test('runTask dispatches now and counts the next attempt from the call', async t => {
  const { engine, clock, attempts, last } = await stage()
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
  const { engine, clock, attempts } = await stage()
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

t.test('a task is given up after its last attempt, or 31 days after creation', async t => {
  const { engine, clock, attempts, last } = await stage()
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

t.test('a task that is deleted or purged, or whose queue is, ignores what its attempt comes to', async t => {
  for (const end of ['deleteTask', 'purgeQueue', 'deleteQueue'] as const) {
    for (const status of [200, 500]) {
      const { engine, clock, store, attempts, last } = await stage({ queueTombstoneMs: 0 })
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

t.test('purge takes what was there, in slices, and nothing that came after', async t => {
  const { engine, clock, store } = await stage({ started: false })
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
  t.ok([...(await store.load()).tasks].length > 500)
  await clock.settle()
  t.match(await purge, { purgedAt: clock.now(), state: 'RUNNING' })
  t.same([...(await store.load()).tasks].map(task => task.name), [later.name])
  t.same(engine.listTasks(queue).tasks.map(task => task.name), [later.name])
  await engine.close()
})

t.test('queues refuse what production refuses, in its words', async t => {
  const { engine, clock } = await stage({ queueTombstoneMs: 7 * day })
  const missing = `${parent}/queues/missing`
  await t.rejects(engine.createQueue(queue), { code: 'ALREADY_EXISTS', message: 'Queue already exists' })
  const named = /^Queue name must be formatted: "projects\/<PROJECT_ID>\/locations\/<LOCATION_ID>\/queues\/<QUEUE_ID>"\.$/
  await t.rejects(engine.createQueue('q'), { code: 'INVALID_ARGUMENT', message: named })
  await t.rejects(engine.createQueue(missing, { rateLimits: { maxDispatchesPerSecond: 501 } }), { code: 'INVALID_ARGUMENT' })
  const notFound = {
    code: 'NOT_FOUND',
    message: 'Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.'
  }
  await t.rejects(engine.pauseQueue(missing), notFound)
  await t.rejects(engine.resumeQueue(missing), notFound)
  await t.rejects(engine.purgeQueue(missing), notFound)
  await t.rejects(engine.createTask(missing, { httpRequest }), notFound)
  t.throws(() => engine.getQueue(missing), notFound)
  t.throws(() => engine.listTasks(missing), notFound)
  await t.rejects(engine.deleteQueue(missing), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })
  await t.rejects(engine.createTask('q', { httpRequest }), { code: 'INVALID_ARGUMENT', message: named })
  await t.rejects(engine.createTask(queue, {}), { code: 'INVALID_ARGUMENT' })
  await t.rejects(engine.createTask(queue, { httpRequest: { ...httpRequest, body: Buffer.alloc(2 ** 20) } }), {
    code: 'INVALID_ARGUMENT',
    message: 'Task size too large'
  })
  t.throws(() => engine.getTask('t'), { code: 'INVALID_ARGUMENT', message: /^Task name must be formatted/ })
  t.throws(() => engine.getTask(`${queue}/tasks/a b`), { code: 'INVALID_ARGUMENT', message: /^Task ID "a b"/ })
  t.throws(() => engine.getTask(`${missing}/tasks/a`), { code: 'NOT_FOUND', message: 'Requested entity was not found.' })

  await engine.deleteQueue(queue)
  t.throws(() => engine.getQueue(queue), notFound)
  const recent = {
    code: 'FAILED_PRECONDITION',
    message: 'The queue cannot be created because a queue with this name existed too recently.'
  }
  await t.rejects(engine.createQueue(queue), recent)
  await t.rejects(engine.updateQueue(queue), recent)
  await clock.advance(7 * day)
  t.match(await engine.createQueue(queue), { name: queue, state: 'RUNNING' })
  const both = await Promise.allSettled([engine.createQueue(missing), engine.createQueue(missing)])
  t.match(both, [{ status: 'fulfilled' }, { status: 'rejected', reason: { code: 'ALREADY_EXISTS' } }])
  await engine.close()
})

t.test('changes of a queue that are asked for at once all hold', async t => {
  const { engine } = await stage()
  await Promise.all([
    engine.pauseQueue(queue),
    engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 7 } }),
    engine.purgeQueue(queue)
  ])
  t.match(engine.getQueue(queue), { state: 'PAUSED', settings: { rateLimits: { maxDispatchesPerSecond: 7 } }, purgedAt: Number })
  await engine.close()
})

t.test('queues are listed in lexicographic order, page by page', async t => {
  const { engine } = await stage()
  for (const id of ['b', 'a', 'c']) await engine.createQueue(`${parent}/queues/${id}`)
  await engine.createQueue('projects/p/locations/other/queues/x')
  const ids = (page: { queues: ReadonlyArray<{ name: string }> }): string => page.queues.map(queue => queue.name.at(-1)).join('')
  t.equal(ids(engine.listQueues(parent)), 'abcq')
  const first = engine.listQueues(parent, { pageSize: 3 })
  t.equal(ids(first), 'abc')
  const second = engine.listQueues(parent, { pageSize: 3, pageToken: first.nextPageToken! })
  t.equal(ids(second), 'q')
  t.equal(second.nextPageToken, undefined)
  t.throws(() => engine.listQueues(parent, { pageToken: 'nonsense' }), { code: 'INVALID_ARGUMENT' })
  t.throws(() => engine.listQueues('nowhere'), { code: 'INVALID_ARGUMENT' })
  await engine.close()
})

t.test('a page of tasks ends early at 3 MiB, has one task at least, and its token leads on', async t => {
  const { engine } = await stage({ started: false })
  const megabyte = Buffer.alloc(1_048_000)
  for (let i = 0; i < 8; i++) {
    await engine.createTask(queue, { name: `${queue}/tasks/large${i}`, httpRequest: { url: 'https://example.com/', body: megabyte } })
  }
  for (let i = 0; i < 5; i++) await engine.createTask(queue, named(`small${i}`))
  const pages: string[][] = []
  let pageToken = ''
  do {
    const { tasks, nextPageToken = '' } = engine.listTasks(queue, { pageToken })
    pages.push(tasks.map(task => task.name))
    pageToken = nextPageToken
  } while (pageToken !== '')
  t.ok(pages.every(names => names.filter(name => name.includes('large')).length <= 3))
  t.ok(pages.every(names => names.length > 0))
  t.equal(new Set(pages.flat()).size, 13)
  t.equal(pages.flat().length, 13)
  t.equal(engine.listTasks(queue, {}, () => 10 * 1024 * 1024).tasks.length, 1)
  await engine.close()
})

t.test('tasks are listed page by page, each once, while others come and go', async t => {
  const { engine, clock } = await stage({ started: false })
  for (let i = 0; i < 2500; i++) await engine.createTask(queue, named(`t${i}`))
  const first = engine.listTasks(queue)
  t.equal(first.tasks.length, 1000)
  const before = engine.listTasks(queue, { pageToken: first.nextPageToken! })
  t.equal(before.tasks.length, 1000)
  for (const gone of [0, 500, 999]) await engine.deleteTask(before.tasks[gone]!.name)
  const second = engine.listTasks(queue, { pageToken: first.nextPageToken! })
  t.equal(second.tasks.length, 997, 'a token can be asked for again, and shows no task that is gone by then')
  const third = engine.listTasks(queue, { pageToken: second.nextPageToken!, pageSize: 5000 })
  t.equal(third.nextPageToken, undefined)
  const seen = [first, second, third].flatMap(page => page.tasks.map(task => task.name))
  t.equal(seen.length, 2497)
  t.equal(new Set(seen).size, 2497)
  t.equal(engine.listTasks(queue, { pageSize: 7 }).tasks.length, 7)
  t.throws(() => engine.listTasks(queue, { pageToken: 'nonsense' }), { code: 'INVALID_ARGUMENT' })
  await engine.createQueue(`${parent}/queues/other`)
  t.throws(() => engine.listTasks(`${parent}/queues/other`, { pageToken: first.nextPageToken! }), { code: 'INVALID_ARGUMENT' })
  await clock.advance(2 * 3600 * 1000)
  t.throws(() => engine.listTasks(queue, { pageToken: first.nextPageToken! }), { code: 'INVALID_ARGUMENT' }, 'a token lasts two hours')
  await engine.close()
})

t.test('what a store refuses after an attempt is reported, true in memory, and stored with the next settle', async t => {
  const { engine, clock, store, errors, attempts, last } = await stage({ store: new FragileStore() })
  const done = await engine.createTask(queue, named('done'))
  const retried = await engine.createTask(queue, named('retried'))
  store.broken.add('removeTask').add('putTask')
  await attempts[0]!.answer(200)
  await attempts[1]!.answer(500)
  t.match(
    errors,
    [{ message: 'removeTask broke' }, { message: 'putTask broke' }],
    'the removal was tried again meanwhile, and of its two errors one is reported'
  )
  t.throws(() => engine.getTask(done.name), { code: 'NOT_FOUND' })
  t.match(engine.getTask(retried.name), { dispatchCount: 1, previousResponse: 500 })
  t.match(store.getTask(retried.name), { dispatchCount: 0 })
  t.ok(store.getTask(done.name))

  store.broken.clear()
  await engine.createTask(queue, named('other'))
  await last().answer(200)
  t.match(store.getTask(retried.name), { dispatchCount: 1, previousResponse: 500 })
  t.equal(store.getTask(done.name), undefined)
  await t.rejects(engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })

  store.broken.add('removeTask')
  await clock.advance(100)
  await last().answer(200)
  t.ok(store.getTask(retried.name))
  store.broken.clear()
  await engine.close()
  t.equal(store.getTask(retried.name), undefined, 'closing tries once more')
})

t.test('a change that the store refuses did not happen', async t => {
  const { engine, clock, store, attempts, last } = await stage({ store: new FragileStore() })
  const waiting = await engine.createTask(queue, { ...named('waiting'), scheduleAt: clock.now() + 1000 })
  const running = await engine.createTask(queue, named('running'))
  for (const method of ['putTask', 'removeTask', 'putQueue', 'removeQueue']) store.broken.add(method)
  const refused = { code: 'UNAVAILABLE' }
  await t.rejects(engine.createTask(queue, named('new')), refused)
  await t.rejects(engine.deleteTask(waiting.name), refused)
  await t.rejects(engine.pauseQueue(queue), refused)
  await t.rejects(engine.createQueue(`${parent}/queues/new`), refused)
  t.throws(() => engine.getQueue(`${parent}/queues/new`), { code: 'NOT_FOUND' })
  for (const [i, remove] of [() => engine.deleteTask(running.name), () => engine.deleteQueue(queue)].entries()) {
    let open = () => {}
    store.gate = new Promise(resolve => { open = resolve })
    const removal = t.rejects(remove(), refused)
    await clock.settle()
    t.throws(() => engine.getTask(running.name), { code: 'NOT_FOUND' }, 'gone while it looks like success')
    await attempts[i]!.answer(500)
    open()
    store.gate = undefined
    await removal
    t.match(engine.getTask(running.name), { dispatchCount: i + 2 }, 'back, and dispatched anew, since nobody knows what came of it')
    await clock.settle()
  }
  store.broken.clear()
  t.equal(engine.getQueue(queue).state, 'RUNNING')
  t.equal(engine.getTask(waiting.name).dispatchCount, 0)
  await clock.advance(1000)
  t.same(attempts.slice(2).map(attempt => attempt.task.name).sort(), [running.name, waiting.name].sort(), 'both are dispatched')
  await engine.createTask(queue, named('new'))
  for (const attempt of attempts) await attempt.answer(200)
  t.equal(last().task.name, `${queue}/tasks/new`)
  await engine.close()
})

t.test('a task that the store has lost is reported, not dispatched', async t => {
  const { engine, clock, store, errors, attempts, last } = await stage()
  const { name } = await engine.createTask(queue, { ...named('lost'), scheduleAt: clock.now() + 1000 })
  await store.removeTask(name)
  await clock.advance(1000)
  t.equal(attempts.length, 0)
  t.match(errors, [{ message: /has lost task/ }])

  const unreadable = await engine.createTask(queue, { ...named('unreadable'), scheduleAt: clock.now() + 1000 })
  store.getTask = () => { throw new Error('bad record') }
  await clock.advance(1000)
  t.match(errors[1], { message: 'bad record' })
  store.getTask = MemoryStore.prototype.getTask
  await clock.advance(1000)
  t.equal(last().task.name, unreadable.name, 'tried again after a second')
  await last().answer(200)
  await engine.close()
})

t.test('an engine that is opened on what another left behind goes on where that one stood', async t => {
  const store = new MemoryStore()
  const clock = new ManualClock()
  const first = await stage({ store, clock, queueTombstoneMs: 7 * day })
  await first.engine.createQueue(`${parent}/queues/gone`)
  await first.engine.deleteQueue(`${parent}/queues/gone`)
  await first.engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 5 } })
  await first.engine.createTask(queue, named('done'))
  await first.last().answer(200)
  await first.engine.createTask(queue, named('failed'))
  await first.last().answer(500)
  await first.engine.createTask(queue, named('running'))
  const generated = await first.engine.createTask(queue, { httpRequest, scheduleAt: clock.now() + 1000 })
  // Not closed: this is a crash while `running` runs.

  const attempts: string[] = []
  const second = new Engine({
    store,
    clock,
    dispatch: async ({ task }) => {
      attempts.push(`${task.name.slice(queue.length + 7)} ${task.dispatchCount}`)
      return { status: 200 }
    }
  })
  await second.open()
  t.match(second.getQueue(queue), { settings: { rateLimits: { maxDispatchesPerSecond: 5 } } })
  await t.rejects(second.createTask(queue, named('done')), { code: 'ALREADY_EXISTS', message: /too recently/ })
  await t.rejects(second.createTask(queue, named('failed')), { code: 'ALREADY_EXISTS', message: 'Requested entity already exists' })
  await t.rejects(second.createQueue(`${parent}/queues/gone`), { code: 'FAILED_PRECONDITION' })
  t.same(second.counts(queue), { waiting: 3, running: 0 })
  second.start()
  await clock.advance(1000)
  t.same(attempts, ['running 1', 'failed 2', `${generated.name.slice(queue.length + 7)} 1`])
  t.throws(
    () => second.getTask(generated.name),
    { message: 'Requested entity was not found.' },
    'its id was generated, so it is not remembered'
  )
  await second.close()
})

t.test('an observer hears of every step of a task, and what it throws changes nothing', async t => {
  const { engine, clock, last, errors } = await stage()
  await engine.updateQueue(queue, { retryConfig: { maxAttempts: 2 } })
  const heard: unknown[] = []
  const stop = engine.observe({
    added: task => {
      heard.push(['added', task.name.slice(queue.length + 7)])
    },
    started: ({ task }) => {
      heard.push(['started', task.dispatchCount])
    },
    attempted: ({ how, retryAt, error }) => {
      heard.push(['attempted', how, retryAt === undefined ? undefined : retryAt - clock.now(), (error as Error | undefined)?.message])
    },
    ended: (name, why) => {
      heard.push(['ended', name.slice(queue.length + 7), why])
    },
    emptied: name => {
      heard.push(['emptied', name])
    },
    changed: name => {
      heard.push(['changed', name])
    }
  })
  engine.observe({ added () { throw new Error('a bad observer') } })
  await engine.createTask(queue, named('a'))
  await last().answer(503)
  await clock.advance(100)
  await last().fail(new Error('no route'))
  t.same(heard.splice(0), [
    ['added', 'a'],
    ['started', 1],
    ['attempted', 503, 100, undefined],
    ['started', 2],
    ['attempted', 'unreachable', undefined, 'no route'],
    ['ended', 'a', 'givenUp']
  ])
  await engine.pauseQueue(queue)
  await engine.createTask(queue, named('b'))
  await engine.deleteTask(`${queue}/tasks/b`)
  await engine.purgeQueue(queue)
  t.same(heard.splice(0), [['changed', queue], ['added', 'b'], ['ended', 'b', 'deleted'], ['emptied', queue], ['changed', queue]])
  t.match(errors.map(error => (error as Error).message), ['a bad observer', 'no route', 'a bad observer'])
  stop()
  await engine.resumeQueue(queue)
  t.same(heard, [])
  await engine.close()
})

t.test('all that an engine starts runs in the async context in which it was made', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: string[] = []
  const note = (what: string): void => { seen.push(`${what} ${storage.getStore()}`) }
  const { engine, clock } = await storage.run('maker', async () => await stage({
    dispatch: async () => {
      note('dispatch')
      return { status: 500 }
    },
    onError: () => { note('onError') }
  }))
  engine.observe({
    added () { note('added'); throw new Error('a bad observer') },
    started () { note('started') },
    attempted () { note('attempted') },
    ended () { note('ended') }
  })
  await storage.run('caller', async () => {
    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 3 } })
    await engine.createTask(queue, named('a'))
    await clock.settle()
    await engine.runTask(`${queue}/tasks/a`)
    await clock.advance(1000)
    await engine.createTask(queue, { ...named('b'), scheduleAt: clock.now() + 1000 })
    await engine.deleteTask(`${queue}/tasks/b`)
    await engine.close()
  })
  t.strictSame([...new Set(seen)].sort(), [
    'added maker',
    'attempted maker',
    'dispatch maker',
    'ended maker',
    'onError maker',
    'started maker'
  ])
})

t.test('an attempt that was not delivered counts as not made', async t => {
  const undelivered = async () => await Promise.resolve('undelivered' as const)

  t.test('its task is as it was before, and due again after a second', async t => {
    const dispatched: number[] = []
    const { engine, clock, store, errors } = await stage({
      dispatch: async ({ task }) => {
        dispatched.push(task.dispatchCount)
        return await undelivered()
      }
    })
    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 1 } })
    const task = await engine.createTask(queue, named('a'))
    await clock.settle()
    t.strictSame(engine.getTask(task.name), task)
    t.strictSame(store.getTask(task.name), task)
    t.strictSame(engine.counts(queue), { waiting: 1, running: 0 })
    await clock.advance(999)
    t.strictSame(dispatched, [1])
    await clock.advance(1)
    t.strictSame(dispatched, [1, 1])
    await engine.close()
    t.strictSame(errors, [])
  })

  t.test('its earlier attempts still count', async t => {
    const answers = [{ status: 500 }, 'undelivered' as const]
    const { engine, clock } = await stage({ dispatch: async () => answers.shift() ?? { status: 200 } })
    const { name } = await engine.createTask(queue, named('a'))
    await clock.settle()
    const failed = engine.getTask(name)
    t.equal(failed.dispatchCount, 1)
    await clock.advance(100)
    t.strictSame([answers.length, engine.getTask(name)], [0, failed])
    await engine.close()
  })

  t.test('another attempt of the task that runs meanwhile counts', async t => {
    const answers: Array<(answer: { status: number } | 'undelivered') => void> = []
    const { engine, clock } = await stage({ dispatch: async () => await new Promise(resolve => { answers.push(resolve) }) })
    const { name } = await engine.createTask(queue, named('a'))
    await engine.runTask(name)
    t.equal(engine.getTask(name).dispatchCount, 2)
    answers[0]!('undelivered')
    await clock.settle()
    t.strictSame([engine.getTask(name).dispatchCount, engine.running(name)], [1, 1])
    answers[1]!({ status: 500 })
    await clock.settle()
    t.match(engine.getTask(name), { dispatchCount: 1, responseCount: 1, previousResponse: 500 })
    await engine.close()
  })

  t.test('what the store has refused before is still stored later', async t => {
    const store = new FragileStore()
    const answers = [{ status: 500 }, 'undelivered' as const]
    const { engine, clock } = await stage({ store, dispatch: async () => answers.shift() ?? { status: 200 } })
    const { name } = await engine.createTask(queue, named('a'))
    store.broken.add('putTask')
    await clock.advance(200)
    t.equal(answers.length, 0)
    store.broken.delete('putTask')
    await engine.stop()
    t.match(store.getTask(name), { dispatchCount: 1, previousResponse: 500 })
    await engine.close()
  })

  t.test('observers are told, and a deleted task stays deleted', async t => {
    let answer = (_: 'undelivered'): void => {}
    const { engine, clock } = await stage({ dispatch: async () => await new Promise(resolve => { answer = resolve }) })
    const heard: string[] = []
    engine.observe({
      started () { heard.push('started') },
      undelivered ({ task }) { heard.push(`undelivered ${task.dispatchCount}`) },
      attempted () { heard.push('attempted') },
      ended (_, why) { heard.push(why) }
    })
    const { name } = await engine.createTask(queue, named('a'))
    await engine.deleteTask(name)
    answer('undelivered')
    await clock.settle()
    t.strictSame(heard, ['started', 'deleted', 'undelivered 1'])
    t.strictSame(engine.counts(queue), { waiting: 0, running: 0 })
    t.throws(() => engine.getTask(name), { code: 'NOT_FOUND' })
    await engine.close()
  })
})

t.test('tasks that have outlived their retention', async t => {
  const expired: Array<[string, number]> = []
  const aged = async (options: Parameters<typeof stage>[0] = {}) => {
    expired.length = 0
    const reports: unknown[] = []
    const set = await stage({
      onExpired: task => { expired.push([task.name.slice(queue.length + 7), task.dispatchCount]) },
      reportExpired: report => { reports.push(report) },
      ...options
    })
    return { ...set, reports }
  }

  t.test('are reported once a second, with their number and the names of the first, and each is passed on once', async t => {
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
    const { engine, clock, errors } = await aged({
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
    t.match(errors, Array.from({ length: 20 }, () => ({ message: 'not today' })))
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

  t.test('are run instead while the clock is not believed, because it has jumped by weeks', async t => {
    const { engine, clock, attempts, errors, last, reports } = await aged()
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
    t.match(errors, [{ message: /^The clock says .*, 60 days after the last time that is known; tasks older than 31 days are run/ }])
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

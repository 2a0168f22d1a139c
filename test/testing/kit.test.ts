import { AsyncLocalStorage } from 'node:async_hooks'
import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { nextTurn } from '../../lib/clock/clock.js'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions, type TaskHandlers } from '../../lib/index.js'
import { Arrivals } from '../../lib/testing/arrivals.js'
import { testTasks } from '../../lib/testing/index.js'
import { create, gate } from '../support/app.js'

const tasks = defineTasks({
  receipt: { payload: Type.Object({ order: Type.Integer() }), queue: 'mail' },
  charge: { payload: Type.Object({ order: Type.Integer() }) },
  elsewhere: { payload: Type.Object({}) }
})
/** For a schema that only has to exist. */
type Schema = { readonly '~standard': { readonly types?: { readonly input: unknown, readonly output: unknown } } }
type Handlers = Partial<TaskHandlers<typeof tasks>>

/** An app whose tasks a kit has taken over; `ran` says what its handlers were called with. */
async function tested (t: Test, handlers: Handlers = {}, options: Partial<CloudTasksOptions<typeof tasks>> = {}) {
  const ran: string[] = []
  const noted = (name: string) => ({ order }: { order: number }, { attempt }: { attempt: number }) => {
    ran.push(`${name} ${order}.${attempt}`)
  }
  const all: Handlers = { receipt: noted('receipt'), charge: noted('charge'), ...handlers }
  const { app, log } = await create(t, { tasks, handlers: all, ...options } as CloudTasksOptions<typeof tasks>)
  const kit = testTasks(app, tasks)
  return { app, kit, ran, log, ...tasksOf(app, tasks) }
}

t.test('nothing is dispatched automatically, neither before nor after the kit is made or the app is ready', async t => {
  const ran: number[] = []
  const { app } = await create(t, { tasks, handlers: { receipt: ({ order }) => { ran.push(order) } } })
  const { enqueue } = tasksOf(app, tasks)
  await enqueue('receipt', { order: 1 })
  const kit = testTasks(app, tasks)
  await enqueue('receipt', { order: 2 })
  await app.ready()
  await enqueue('receipt', { order: 3 })
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(ran, [])
  t.strictSame(kit.enqueued().map(({ payload }) => payload), [{ order: 1 }, { order: 2 }, { order: 3 }])
  await kit.drain()
  t.strictSame(ran, [1, 2, 3])
  t.strictSame(kit.enqueued(), [])
})

t.test('a kit that is created before the plugin has loaded holds all its tasks', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const kit = testTasks(app, tasks)
  t.throws(() => kit.enqueued(), { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /await app\.ready\(\)/ })
  t.throws(() => testTasks(app, tasks), { code: 'FST_TASKS_KIT_EXISTS' })
  let ran = 0
  app.register(async scope => {
    await scope.register(cloudTasks, { tasks, transport: 'local', handlers: { charge: () => { ran++ } } })
    scope.addHook('onReady', async () => { await tasksOf(scope, tasks).enqueue('charge', { order: 1 }) })
  })
  t.equal((await kit.drain()).length, 1, 'it waits for the app to be ready')
  t.equal(ran, 1)
})

t.test('drain runs what is due and what that enqueues, and leaves what is scheduled or has no handler here', async t => {
  const receipt: Handlers['receipt'] = async ({ order }) => { await tasksOf(app, tasks).enqueue('charge', { order }) }
  const { app, kit, ran, enqueue } = await tested(t, { receipt })
  await enqueue('receipt', { order: 1 }, { id: 'one' })
  await enqueue('receipt', { order: 2 }, { scheduleDelaySeconds: 60 })
  const { id } = await enqueue('elsewhere', {}, { headers: { 'x-tenant': 'a' } })
  const attempts = await kit.drain()
  t.strictSame(attempts.map(({ id, ...attempt }) => attempt), [
    { task: 'receipt', queue: 'mail', attempt: 1, result: 'done', status: 204, error: undefined, retryTime: undefined },
    { task: 'charge', queue: 'default', attempt: 1, result: 'done', status: 204, error: undefined, retryTime: undefined }
  ])
  t.strictSame(ran, ['charge 1.1'])
  t.strictSame(kit.enqueued().map(({ name }) => name), ['receipt', 'elsewhere'])
  const [elsewhere] = kit.enqueued('elsewhere')
  t.match(elsewhere, { id, name: 'elsewhere', payload: {}, queue: 'default', attempts: 0 })
  t.strictSame(elsewhere!.headers, { 'x-tenant': 'a' })
  t.strictSame(await kit.drain(), [])
})

t.test('drain with scheduled moves the clock through schedules and backoff, up to onExhausted', async t => {
  const ended: unknown[] = []
  const charge: Handlers['charge'] = (_, { attempt, maxAttempts, isLastAttempt }) => {
    throw new Error(`${attempt}/${maxAttempts} ${isLastAttempt}`)
  }
  const { kit, enqueue } = await tested(t, { charge }, {
    queues: { default: { retryConfig: { maxAttempts: 3, minBackoffSeconds: 10, maxDoublings: 5 } } },
    onExhausted: (payload, error, task) => { ended.push([payload, (error as Error).message, task.attempt]) }
  })
  const before = kit.clock.now()
  await enqueue('charge', { order: 1 }, { scheduleDelaySeconds: 3600 })
  const attempts = await kit.drain({ scheduled: true })
  t.strictSame(attempts.map(({ attempt, result, status, error }) => [attempt, result, status, (error as Error).message]), [
    [1, 'retry', 500, '1/3 false'], [2, 'retry', 500, '2/3 false'], [3, 'retry', 500, '3/3 true']
  ])
  t.strictSame(ended, [[{ order: 1 }, '3/3 true', 3]])
  const passed = kit.clock.now() - before
  t.ok(passed >= 3_630_000 && passed < 3_640_000, `${passed} ms`)
  t.equal(attempts[0]!.retryTime!.getTime() < kit.clock.now(), true)
  t.strictSame(attempts.map(({ retryTime }) => retryTime === undefined), [false, false, true], 'the last has no time of a retry')
  t.strictSame(kit.enqueued(), [])
})

t.test('drain ends by an error where a task enqueues itself forever', async t => {
  const again = async ({ order }: { order: number }) => { await tasksOf(app, tasks).enqueue('charge', { order: order + 1 }) }
  const { app, kit, enqueue } = await tested(t, { charge: again })
  await enqueue('charge', { order: 0 })
  const unbounded = { code: 'FST_TASKS_DRAIN_UNBOUNDED', message: /^drain\(\) has run 5 attempts, the last of task 'charge'/ }
  await t.rejects(kit.drain({ maxAttempts: 5 }), unbounded)
  t.strictSame(kit.enqueued().map(({ payload }) => payload), [{ order: 5 }])
  await t.rejects(kit.advance('1s', { maxAttempts: 2 }), { code: 'FST_TASKS_DRAIN_UNBOUNDED', message: /^advance\(\) has run 2 attempts/ })
  t.strictSame(kit.enqueued().map(({ payload }) => payload), [{ order: 7 }])
})

t.test('advance runs what falls due on the way, in its order, and nothing else', async t => {
  const { kit, ran, enqueue } = await tested(t)
  await enqueue('charge', { order: 2 }, { scheduleDelaySeconds: 7200 })
  await enqueue('charge', { order: 1 }, { scheduleTime: new Date(kit.clock.now() + 3_600_000) })
  await kit.advance('59m')
  t.strictSame(ran, [])
  await kit.advance('1m')
  t.strictSame(ran, ['charge 1.1'])
  await kit.advance(3_600_000)
  t.strictSame(ran, ['charge 1.1', 'charge 2.1'])
  await kit.advance(new Date(kit.clock.now() + 1000))
})

t.test('a fake Date alone moves the clock, while handlers wait for timers of their own', async t => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() })
  t.teardown(() => { mock.timers.reset() })
  const { kit, enqueue } = await tested(t, { charge: async () => { await new Promise(resolve => { setTimeout(resolve, 1) }) } })
  await enqueue('charge', { order: 1 }, { scheduleDelaySeconds: 3600 })
  mock.timers.tick(3_599_999)
  t.strictSame(await kit.drain(), [])
  mock.timers.tick(1)
  t.match(await kit.drain(), [{ result: 'done' }])
})

t.test('retries that fall due while the clock is moved run, too', async t => {
  const charge: Handlers['charge'] = ({ order }, { attempt }) => {
    ran.push(`${order}.${attempt}`)
    if (attempt < 3) throw new Error('not yet')
  }
  const { kit, ran, enqueue } = await tested(t, { charge })
  await enqueue('charge', { order: 1 })
  t.strictSame((await kit.advance('5s')).map(({ result }) => result), ['retry', 'retry', 'done'])
  t.strictSame(ran, ['1.1', '1.2', '1.3'])
})

t.test('moving the clock past a deadline aborts the handler and ends the attempt with 504', async t => {
  // An uptime at which sums of times have rounding errors.
  const uptime = mock.method(performance, 'now', () => 1_000_000.001)
  const { app, kit, enqueue } = await tested(t, {
    charge: async (_, { signal }) => {
      await new Promise((resolve, reject) => { signal.onabort = () => { reject(signal.reason) } })
    }
  }, { queues: { default: { retryConfig: { maxAttempts: 1 } } } })
  uptime.mock.restore()
  // Attempts take long to reach their handlers.
  app.addHook('preHandler', async () => { for (let turn = 0; turn < 100; turn++) await nextTurn() })
  const exceeded = { result: 'retry', status: 504, error: { code: 'FST_TASKS_DEADLINE_EXCEEDED' } }

  await t.test('of deliver', async t => {
    const delivered = kit.deliver('charge', { order: 1 })
    let ended = false
    delivered.finally(() => { ended = true })
    await kit.advance(599_999)
    t.equal(ended, false)
    await kit.advance(1)
    t.hasStrict(await delivered, exceeded)
  })

  await t.test('of several at once', async t => {
    const delivered = [kit.deliver('charge', { order: 1 }), kit.deliver('charge', { order: 2 })]
    await kit.advance('10m')
    for (const attempt of delivered) t.hasStrict(await attempt, exceeded)
  })

  await t.test('of drain', async t => {
    await enqueue('charge', { order: 1 })
    const drained = kit.drain()
    await kit.advance('10m')
    t.hasStrict(await drained, [exceeded])
    t.strictSame(kit.enqueued(), [])
  })
})

t.test('moving the clock past a deadline ends an asynchronous validation that never settles', async t => {
  const validate = async () => await new Promise<never>(() => {})
  const payload = { '~standard': { version: 1, vendor: 'test', validate } } as object as Schema
  const { app } = await create(t, { tasks: defineTasks({ endless: { payload } }), handlers: { endless: () => {} } })
  const kit = testTasks(app)
  const delivered = kit.deliver('endless', {})
  await kit.advance('10m')
  t.hasStrict(await delivered, { result: 'retry', status: 504, error: { code: 'FST_TASKS_DEADLINE_EXCEEDED' } })
})

t.test('the clock moves when all attempts have arrived or ended, or a limit of real time has passed', async t => {
  const key = { id: 'a', queue: 'q', attempt: 1 }
  const arrivals = new Arrivals(1)
  await arrivals.all()
  const one = arrivals.depart(key)
  const two = arrivals.depart()
  await arrivals.all()
  const patient = new Arrivals(2 ** 31 - 1)
  t.strictSame([one, two], [{ task: key }, { task: undefined }])
  let again = false
  arrivals.all().then(() => { again = true })
  for (let i = 0; i < 5; i++) await Promise.resolve()
  t.equal(again, true, 'those that were waited for once are not waited for again')
  const events: string[] = []
  const [ends, arrives] = [patient.depart(), patient.depart()]
  const waits = [patient.all(), patient.all()].map(async all => { await all; events.push('all') })
  arrives.task = key
  patient.end(ends)
  patient.arrived({ ...key, queue: 'other' })
  patient.arrived({ ...key, id: 'other' })
  await nextTurn()
  events.push('arrived')
  patient.arrived(key)
  await Promise.all(waits)
  t.strictSame(events, ['arrived', 'all', 'all'])
})

t.test('deliver makes one attempt through the route, with the number that it is given', async t => {
  const seen: unknown[] = []
  const exhausted: number[] = []
  const { kit } = await tested(t, {
    charge: (payload, task) => {
      const { id, queue, attempt, isLastAttempt, previousResponse, request } = task
      seen.push({ payload, id: typeof id, queue, attempt, isLastAttempt, previousResponse, header: request?.headers['x-tenant'] })
      if (attempt === 2) task.drop('enough')
      if (attempt >= 3) throw new Error('no')
    }
  }, {
    queues: { default: { retryConfig: { maxAttempts: 3 } } },
    onExhausted: (payload, error, { attempt }) => { exhausted.push(attempt) }
  })
  t.match(await kit.deliver('charge', { order: 7 }), { task: 'charge', attempt: 1, result: 'done', status: 204 })
  const dropped = await kit.deliver('charge', { order: 7 }, { attempt: 2, headers: { 'x-tenant': 'a' } })
  t.match(dropped, { result: 'dropped', status: 200 })
  const inMail = await kit.deliver('charge', { order: 7 }, { attempt: 3, queue: 'mail' })
  t.match(inMail, { queue: 'mail', result: 'retry', status: 500, error: { message: 'no' } })
  t.strictSame(exhausted, [], 'the queue mail allows more attempts')
  t.match(await kit.deliver('charge', { order: 7 }, { attempt: 3 }), { queue: 'default', result: 'retry', status: 500 })
  t.strictSame(exhausted, [3])
  t.match(seen, [
    { payload: { order: 7 }, id: 'string', queue: 'default', attempt: 1, isLastAttempt: false, previousResponse: undefined },
    { attempt: 2, header: 'a', previousResponse: 500 }, { attempt: 3, queue: 'mail' }, { attempt: 3, isLastAttempt: true }
  ])
  t.strictSame(kit.enqueued(), [])
})

t.test('deliver sends an invalid payload, which gets 400, and rejects what cannot be delivered', async t => {
  const { kit, ran } = await tested(t)
  const invalid = await kit.deliver('charge', { order: 'seven' } as never)
  t.match(invalid, { result: 'retry', status: 400, error: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  t.strictSame(ran, [])
  await t.rejects(kit.deliver('elsewhere', {}), { code: 'FST_TASKS_NO_HANDLER' })
  await t.rejects(kit.deliver('chrage' as never, {} as never), { code: 'FST_TASKS_NOT_REGISTERED', message: /did you mean 'charge'/ })
  await t.rejects(kit.deliver('charge', undefined as never), { code: 'FST_TASKS_PAYLOAD_NOT_JSON' })
})

t.test('an attempt that a hook of the app answers is rejected', async t => {
  const { app, kit, enqueue, ran } = await tested(t)
  app.addHook('onRequest', async (request, reply) => { await reply.code(418).send() })
  await enqueue('charge', { order: 1 })
  t.match(await kit.drain(), [{ result: 'refused', status: 418, error: undefined }])
  t.strictSame(ran, [])
  t.match(kit.enqueued('charge'), [{ attempts: 1 }])
})

t.test('clear removes what waits and frees ids', async t => {
  const { kit, enqueue, ran } = await tested(t)
  await enqueue('charge', { order: 1 }, { id: 'one' })
  await kit.drain()
  await enqueue('receipt', { order: 1 }, { id: 'two', scheduleDelaySeconds: 60 })
  t.equal((await enqueue('charge', { order: 1 }, { id: 'one' })).duplicate, true)
  const cleared = kit.clear()
  t.strictSame(kit.enqueued(), [], 'at once')
  await cleared
  t.equal((await enqueue('charge', { order: 2 }, { id: 'one' })).duplicate, false)
  t.equal((await enqueue('receipt', { order: 2 }, { id: 'two' })).duplicate, false)
  await kit.drain()
  t.strictSame(ran, ['charge 1.1', 'charge 2.1', 'receipt 2.1'])
})

t.test('tasks of a paused queue stay until it is resumed', async t => {
  const { app, kit, enqueue, ran } = await tested(t)
  await app.ready()
  await enqueue('receipt', { order: 1 })
  await app.tasks.pauseQueue('mail')
  t.strictSame(await kit.drain({ scheduled: true }), [])
  await app.tasks.resumeQueue('mail')
  await kit.drain()
  t.strictSame(ran, ['receipt 1.1'])
})

t.test('drain waits for attempts that were under way before the kit', async t => {
  const { open, opened } = gate()
  const started = gate()
  const { app } = await create(t, { tasks, handlers: { charge: async () => { started.open(); await opened } } })
  await app.ready()
  await tasksOf(app, tasks).enqueue('charge', { order: 1 })
  await started.opened
  const kit = testTasks(app, tasks)
  const drained = kit.drain().then(() => 'drained')
  t.equal(await Promise.race([drained, new Promise(resolve => setImmediate(resolve, 'waits'))]), 'waits')
  open()
  t.equal(await drained, 'drained')
})

t.test('handlers run in the async context of the registration, not in that of the test', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const { kit, enqueue } = await tested(t, { charge: () => { seen.push(storage.getStore()) } })
  await storage.run('test', async () => {
    await enqueue('charge', { order: 1 })
    await kit.drain()
    await kit.deliver('charge', { order: 1 })
  })
  t.strictSame(seen, [undefined, undefined])
})

t.test('once it is disposed of, dispatching continues and the clock is the process\'s', async t => {
  const done = gate()
  const { app, kit, enqueue } = await tested(t, { charge: () => { done.open() } })
  await app.ready()
  await kit.advance('30d')
  await enqueue('charge', { order: 1 })
  await kit.dispose()
  await kit.dispose()
  await enqueue('charge', { order: 2 })
  await done.opened
  const { scheduleTime } = await enqueue('receipt', { order: 1 })
  t.ok(Math.abs(scheduleTime.getTime() - Date.now()) < 60_000)
  const second = testTasks(app, tasks)
  t.throws(() => testTasks(app), { code: 'FST_TASKS_KIT_EXISTS' })
  await second.dispose()
})

t.test('using disposes of a kit', async t => {
  const { app } = await create(t, { tasks })
  {
    using kit = testTasks(app, tasks)
    t.strictSame(kit.enqueued(), [])
  }
  {
    await using kit = testTasks(app, tasks)
    t.strictSame(kit.enqueued(), [])
  }
  testTasks(app)
})

t.test('closing the app ends its kit and aborts a handler that hangs after the grace period', async t => {
  const started = gate()
  const { app, kit } = await tested(t, {
    charge: async (_, { signal }) => { started.open(); await new Promise(resolve => { signal.onabort = resolve }) }
  }, { closeGraceSeconds: 0 })
  const delivered = kit.deliver('charge', { order: 1 })
  await started.opened
  await app.close()
  t.match(await delivered, { result: 'retry', status: 503 })
  await t.rejects(kit.drain(), { code: 'FST_TASKS_KIT_DISPOSED' })
})

t.test('of several registrations the tasks, or the instance, choose one', async t => {
  const others = defineTasks({ report: { payload: Type.Object({}) } })
  const app = Fastify()
  t.teardown(() => app.close())
  const ran: string[] = []
  let inner!: FastifyInstance
  app.register(async scope => {
    inner = scope
    await scope.register(cloudTasks, { tasks, transport: 'local', handlers: { charge: () => { ran.push('charge') } } })
  }, { prefix: '/a' })
  app.register(async scope => {
    await scope.register(cloudTasks, { tasks: others, transport: 'local', handlers: { report: () => { ran.push('report') } } })
    scope.get('/', async () => { await tasksOf(scope, others).enqueue('report', {}) })
  }, { prefix: '/b' })
  await app.ready()
  t.throws(() => testTasks(app), { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /several registrations/ })
  const third = defineTasks({ other: { payload: Type.Object({}) } })
  t.throws(() => testTasks(app, third), { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /with these tasks/ })
  const kit = testTasks(app, others)
  const first = testTasks<typeof tasks>(inner)
  await app.inject('/b/')
  await tasksOf(inner, tasks).enqueue('charge', { order: 1 })
  kit.assertEnqueued('report')
  await kit.drain()
  t.strictSame(ran, ['report'])
  await first.drain()
  t.strictSame(ran, ['report', 'charge'])
})

t.test('several registrations without a choice end the start of an app whose kit came first', async t => {
  const app = Fastify()
  const kit = testTasks(app)
  t.teardown(() => app.close())
  const register = async (scope: FastifyInstance) => { await scope.register(cloudTasks, { tasks, transport: 'local' }) }
  for (const prefix of ['/a', '/b']) app.register(register, { prefix })
  await t.rejects(kit.drain(), { code: 'FST_TASKS_KIT_UNAVAILABLE' })
})

t.test('tasks from a directory are tested as well, and stay there', async t => {
  const directory = t.testdir()
  const options = { tasks, local: { directory }, handlers: { charge: () => {} } }
  const first = await create(t, options)
  await tasksOf(first.app, tasks).enqueue('charge', { order: 1 })
  await tasksOf(first.app, tasks).enqueue('receipt', { order: 2 })
  await first.app.close()
  const second = await create(t, options)
  const kit = testTasks(second.app, tasks)
  await second.app.ready()
  t.strictSame(kit.enqueued().map(({ payload }) => payload), [{ order: 1 }, { order: 2 }])
  t.equal((await kit.drain()).length, 1)
  await second.app.close()
  const third = await create(t, options)
  t.match(testTasks(third.app, tasks).enqueued(), [{ name: 'receipt' }])
})

t.test('kits of several apps in one process have times and tasks of their own', async t => {
  const [one, two] = await Promise.all([tested(t), tested(t)])
  await Promise.all([one.enqueue('charge', { order: 1 }), two.enqueue('charge', { order: 2 })])
  await Promise.all([one.kit.advance('1h'), two.kit.drain()])
  t.strictSame([one.ran, two.ran], [['charge 1.1'], ['charge 2.1']])
  t.ok(one.kit.clock.now() - two.kit.clock.now() > 3_500_000)
})

t.test('app.tasks.run accepts the number of an attempt', async t => {
  const { run } = await tested(t, { charge: (_, { attempt, isLastAttempt }) => [attempt, isLastAttempt] as never }, {
    queues: { default: { retryConfig: { maxAttempts: 3 } } }
  })
  t.strictSame(await run('charge', { order: 1 }), [1, false])
  t.strictSame(await run('charge', { order: 1 }, { attempt: 3 }), [3, true])
  const code = 'FST_TASKS_INVALID_ENQUEUE_OPTION'
  await t.rejects(run('charge', { order: 1 }, { attempt: 0 }), { code, message: /'attempt' must be/ })
  await t.rejects(run('charge', { order: 1 }, { attemp: 1 } as never), { code, message: /did you mean 'attempt'/ })
})

import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { taskId } from '../lib/enqueue.js'
import { defineTasks, tasksOf, type AttemptEvent, type CloudTasksOptions, type EnqueueEvent } from '../lib/index.js'
import { testTasks } from '../lib/testing/index.js'
import { start, watchAttempts } from './support/app.js'

const tasks = defineTasks({ mail: { payload: Type.Object({ to: Type.String() }), queue: 'mail' } })
const once: CloudTasksOptions['queues'] = { mail: { retryConfig: { maxAttempts: 1 } } }

/** What is published on a tracing channel: each event with the name under which it was published, and a copy of what it was then. */
function record<E extends object> (t: Test, name: string) {
  const names: string[] = []
  const events: E[] = []
  const copies: E[] = []
  const note = (name: string) => (event: E): void => {
    names.push(name)
    events.push(event)
    copies.push({ ...event })
  }
  const channel = tracingChannel<unknown, E>(name)
  const subscribers = {
    start: note('start'),
    end: note('end'),
    asyncStart: note('asyncStart'),
    asyncEnd: note('asyncEnd'),
    error: note('error')
  }
  channel.subscribe(subscribers)
  t.teardown(() => { channel.unsubscribe(subscribers) })
  return { channel, names, events, copies }
}

t.test('a call of enqueue is one object from start to asyncEnd, with all its keys from the beginning', async t => {
  const { names, events, copies } = record<EnqueueEvent>(t, 'fastify-cloud-tasks:enqueue')
  const { app } = await start(t, { tasks })
  const { scheduleTime } = await tasksOf(app, tasks).enqueue('mail', { to: 'ada' }, { id: '7' })
  t.strictSame(names, ['start', 'end', 'asyncStart', 'asyncEnd'])
  t.equal(new Set(events).size, 1)
  const known = { task: 'mail', queue: 'mail', batch: false, duplicate: false, failures: [], error: undefined }
  t.hasStrict(copies[0], { ...known, id: undefined, scheduleTime: undefined, sent: 0 })
  t.hasStrict(copies[3], { ...known, id: taskId('mail', '7'), scheduleTime, sent: 1 })
  t.strictSame(Object.keys(copies[3]!).filter(key => key !== 'result'), Object.keys(copies[0]!))
})

t.test('a duplicate is a result, and a rejected payload an error', async t => {
  const { names, copies } = record<EnqueueEvent>(t, 'fastify-cloud-tasks:enqueue')
  const { app } = await start(t, { tasks })
  const { enqueue } = tasksOf(app, tasks)
  await enqueue('mail', { to: 'ada' }, { id: '7' })
  await enqueue('mail', { to: 'ada' }, { id: '7' })
  t.hasStrict(copies.at(-1), { duplicate: true, error: undefined })
  names.length = 0
  await t.rejects(enqueue('mail', {} as never))
  t.strictSame(names, ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.hasStrict(copies.at(-1), { task: 'mail', queue: 'mail', id: undefined, sent: 0, error: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  for (const bad of [
    ['unknown', {}],
    ['mail', { to: 'a' }, { queue: 'no queue!' }],
    ['mail', { to: 'a' }, null]
  ] as Array<[string, object, never]>) {
    await t.rejects(app.enqueue(...(bad as Parameters<typeof app.enqueue>)))
    t.equal(copies.at(-1)?.queue, bad[0] === 'mail' ? 'mail' : 'default', 'a queue that cannot be is not published')
  }
})

t.test('enqueueMany is one event, whose items fail alone', async t => {
  const { names, copies } = record<EnqueueEvent>(t, 'fastify-cloud-tasks:enqueue')
  const { app } = await start(t, { tasks })
  const { enqueueMany } = tasksOf(app, tasks)
  await enqueueMany('mail', [{ payload: { to: 'ada' } }, { payload: {} as never }, { payload: { to: 'bob' }, queue: 'default' }])
  t.strictSame(names, ['start', 'end', 'asyncStart', 'asyncEnd'])
  t.hasStrict(copies.at(-1), {
    task: 'mail',
    queue: 'mail',
    batch: true,
    id: undefined,
    sent: 2,
    failures: [{ code: 'FST_TASKS_INVALID_PAYLOAD' }],
    error: undefined
  })
  function * broken () { yield { payload: { to: 'ada' } }; throw new Error('no more') }
  await t.rejects(enqueueMany('mail', broken()), { message: 'no more' })
  t.hasStrict(copies.at(-1), { batch: true, sent: 1 })
  t.equal((copies.at(-1)!.error as Error).message, 'no more')
})

t.test('a subscriber adds headers to each task, also of a batch, and wraps the call in its own function', async t => {
  const storage = new AsyncLocalStorage<string>()
  const { channel } = record<EnqueueEvent>(t, 'fastify-cloud-tasks:enqueue')
  const sent: unknown[] = []
  const begin = (event: EnqueueEvent): void => {
    event.headersOf = task => {
      sent.push({ ...task, inside: storage.getStore() })
      return { 'x-sent': String(sent.length) }
    }
    event.around = async work => await storage.run('inside', work)
  }
  channel.start.subscribe(begin as never)
  t.teardown(() => { channel.start.unsubscribe(begin as never) })
  const seen: unknown[] = []
  const attempts = watchAttempts(t)
  const { app } = await start(t, { tasks, handlers: { mail: (_, task) => { seen.push(task.request?.headers['x-sent']) } } })
  await tasksOf(app, tasks).enqueue('mail', { to: 'ada' }, { id: 'a' })
  await tasksOf(app, tasks).enqueueMany('mail', [{ payload: { to: 'bob' } }, { payload: { to: 'eve' } }])
  await attempts.ended(3)
  t.strictSame(sent, [
    { queue: 'mail', id: taskId('mail', 'a'), bodySize: 12, inside: 'inside' },
    { queue: 'mail', id: undefined, bodySize: 12, inside: 'inside' },
    { queue: 'mail', id: undefined, bodySize: 12, inside: 'inside' }
  ])
  t.strictSame(seen.sort(), ['1', '2', '3'])
})

t.test('an attempt is one object from start to asyncEnd', async t => {
  const { names, events, copies } = record<AttemptEvent>(t, 'fastify-cloud-tasks:attempt')
  const attempts = watchAttempts(t)
  const { app } = await start(t, { tasks, queues: once, handlers: { mail: ({ to }, task) => { if (to === 'drop') task.drop('unwanted') } } })
  const { id } = await tasksOf(app, tasks).enqueue('mail', { to: 'ada' })
  await attempts.ended(1)
  t.strictSame(names, ['start', 'end', 'asyncStart', 'asyncEnd'])
  t.equal(new Set(events).size, 1)
  t.hasStrict(copies[0], {
    task: 'mail',
    id,
    queue: 'mail',
    attempt: 1,
    bodySize: 12,
    trace: undefined,
    result: undefined,
    status: undefined,
    exhausted: false,
    error: undefined
  })
  t.hasStrict(copies[3], { id, result: 'done', status: 204, exhausted: false, error: undefined })
  t.ok(copies[3]!.durationMs > 0)
  await tasksOf(app, tasks).enqueue('mail', { to: 'drop' })
  await attempts.ended(2)
  t.hasStrict(copies.at(-1), { result: 'dropped', status: 200, error: undefined })
})

t.test('error is published whenever an attempt is to be retried, and asyncEnd once onExhausted has run', async t => {
  const order: string[] = []
  const { names, copies, channel } = record<AttemptEvent>(t, 'fastify-cloud-tasks:attempt')
  const ended = (): void => { order.push('asyncEnd') }
  channel.asyncEnd.subscribe(ended)
  t.teardown(() => { channel.asyncEnd.unsubscribe(ended) })
  const thrown = new Error('no luck')
  const { app } = await start(t, {
    tasks,
    queues: once,
    onExhausted: () => { order.push('onExhausted') },
    handlers: { async mail () { throw thrown } }
  })
  const kit = testTasks(app, tasks)

  await tasksOf(app, tasks).enqueue('mail', { to: 'ada' })
  await kit.drain()
  t.strictSame(names, ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.equal(copies[2]!.error, thrown)
  t.hasStrict(copies[2], { result: 'retry', status: 500, exhausted: true })
  t.strictSame(order, ['onExhausted', 'asyncEnd'])

  names.length = 0
  const { statusCode } = await app.inject({ method: 'POST', url: '/tasks/mail', payload: {} })
  t.equal(statusCode, 401)
  t.strictSame(names, [], 'a call that is refused is no attempt')
})

t.test('error is published at a deadline, although the handler never settles', async t => {
  const { names, copies } = record<AttemptEvent>(t, 'fastify-cloud-tasks:attempt')
  const { app } = await start(t, { tasks, handlers: { mail: async () => await new Promise(() => {}) } })
  const kit = testTasks(app, tasks)
  const attempt = kit.deliver('mail', { to: 'ada' })
  await kit.advance('10m')
  t.equal((await attempt).status, 504)
  t.strictSame(names, ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.hasStrict(copies.at(-1), { result: 'retry', status: 504 })
  t.equal((copies.at(-1)!.error as { code: string }).code, 'FST_TASKS_DEADLINE_EXCEEDED')
})

t.test('an invalid payload is an attempt, and so is a handler that throws undefined', async t => {
  const { copies, names } = record<AttemptEvent>(t, 'fastify-cloud-tasks:attempt')
  const { app } = await start(t, {
    tasks,
    auth: false,
    handlers: {
      async mail () {
        // eslint-disable-next-line no-throw-literal
        throw undefined
      }
    }
  })
  t.equal((await app.inject({ method: 'POST', url: '/tasks/mail', payload: {} })).statusCode, 400)
  t.hasStrict(copies.at(-1), { result: 'retry', status: 400, error: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  names.length = 0
  t.equal((await app.inject({ method: 'POST', url: '/tasks/mail', payload: { to: 'ada' } })).statusCode, 500)
  t.strictSame(names, ['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  t.hasStrict(copies.at(-1), { result: 'retry', status: 500, error: undefined })
})

t.test('a subscriber runs the attempt inside a function of its own, and puts fields on its log lines', async t => {
  const storage = new AsyncLocalStorage<string>()
  const { channel } = record<AttemptEvent>(t, 'fastify-cloud-tasks:attempt')
  const begin = (event: AttemptEvent): void => {
    event.logFields = { traceId: 'abc' }
    event.around = async work => await storage.run('inside', work)
  }
  channel.start.subscribe(begin as never)
  t.teardown(() => { channel.start.unsubscribe(begin as never) })
  const attempts = watchAttempts(t)
  const seen: unknown[] = []
  const { app, log } = await start(t, {
    tasks,
    onDropped: () => { seen.push(storage.getStore()) },
    handlers: {
      mail: (_, task) => {
        seen.push(storage.getStore())
        task.log.info('by the log')
        task.request?.log.info('by the request')
        task.drop('unwanted')
      }
    }
  })
  await tasksOf(app, tasks).enqueue('mail', { to: 'ada' })
  await attempts.ended(1)
  t.strictSame(seen, ['inside', 'inside'])
  t.strictSame(
    log.filter(({ msg }) => ['by the log', 'by the request', 'task dropped'].includes(msg)).map(({ traceId }) => traceId),
    ['abc', 'abc', 'abc']
  )
})

t.test('the trace headers of a task are shown for verified callers only', async t => {
  const { channel } = record<EnqueueEvent>(t, 'fastify-cloud-tasks:enqueue')
  const begin = (event: EnqueueEvent): void => {
    event.headersOf = () => ({ 'fastify-cloud-tasks-traceparent': 'parent', 'fastify-cloud-tasks-tracestate': 'state' })
  }
  channel.start.subscribe(begin as never)
  t.teardown(() => { channel.start.unsubscribe(begin as never) })
  for (const [auth, trace] of [[undefined, { parent: 'parent', state: 'state' }], [false, undefined]] as const) {
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks, handlers: { mail: () => {} }, ...(auth === undefined ? undefined : { auth }) })
    await tasksOf(app, tasks).enqueue('mail', { to: 'ada' })
    t.strictSame((await attempts.ended(1))[0]!.trace, trace)
  }
})

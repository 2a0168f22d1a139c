import { AsyncResource } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../../lib/cloud-tasks/limits.js'
import { MAX_TASK_BYTES } from '../../../lib/cloud-tasks/size.js'
import { OneTimeSecrets } from '../../../lib/delivery/one-time-secrets.js'
import { RESULT_HEADER } from '../../../lib/delivery/headers.js'
import { resolveConfig } from '../../../lib/options/config.js'
import { LmdbStore } from '../../../lib/store/lmdb/lmdb-store.js'
import { MemoryStore } from '../../../lib/store/memory-store.js'
import { StoreError } from '../../../lib/store/store-error.js'
import { ClosedTransport } from '../../../lib/transport/closed.js'
import { LocalTransport, type LocalTransportOptions } from '../../../lib/transport/local.js'
import type { OutgoingTask } from '../../../lib/transport/transport.js'
import { gate, type LogLine } from '../../support/app.js'
import { folder } from '../../support/folder.js'

const PARENT = 'projects/demo/locations/us-central1'
const DAY = 86_400_000

const outgoing: OutgoingTask = {
  id: undefined,
  method: 'POST',
  path: '/work',
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{}'),
  scheduleAt: undefined,
  dispatchDeadlineMs: undefined
}

interface Setting extends Partial<Pick<LocalTransportOptions, 'queueIds' | 'createsQueues' | 'onExpired' | 'clock'>> {
  readonly options?: object
  readonly pluginTimeout?: number
  /** Answers an attempt. @default 204 from the task route */
  readonly route?: (request: IncomingMessage, response: ServerResponse) => void
}

const done = (_request: IncomingMessage, response: ServerResponse) => { response.writeHead(204, { [RESULT_HEADER]: 'done' }).end() }

/** The embedded queue of an app that consists of one route, not open yet. */
function create (t: Test, { options = {}, route = done, pluginTimeout = 0, ...rest }: Setting = {}) {
  const log: LogLine[] = []
  const add = (level: number) => (fields: object, msg: string) => { log.push({ level, msg, ...fields }) }
  const app = {
    prefix: '',
    server: {},
    initialConfig: { pluginTimeout },
    routing: route,
    log: { info: add(30), warn: add(40), error: add(50), fatal: add(60) }
  }
  const config = resolveConfig({ tasks: {}, transport: 'local', project: 'demo', location: 'us-central1', ...options } as never, {}, true)
  const clock = new ManualClock()
  const transport = new LocalTransport({
    app: app as never, config, clock, scope: new AsyncResource('test'), secrets: new OneTimeSecrets(), onExpired: async () => {}, queueIds: [], ...rest
  })
  t.teardown(async () => {
    const state = { closed: false }
    const closing = transport.close().finally(() => { state.closed = true })
    while (!state.closed) await clock.advance(0)
    await closing
  })
  return { transport, log, clock }
}

async function start (t: Test, setting: Setting = {}) {
  const created = create(t, setting)
  await created.transport.open()
  await created.transport.opened()
  return created
}

t.test('tasks are created, read, listed, found and deleted by their short ids', async t => {
  const { transport, clock } = await start(t)
  const now = clock.now()
  t.strictSame(await transport.createTask('default', { ...outgoing, id: 'a' }), { outcome: 'created', id: 'a', scheduleAt: now })
  t.strictSame(await transport.createTask('default', { ...outgoing, id: 'a' }), { outcome: 'duplicate' })
  const httpRequest = { url: 'http://localhost/other', httpMethod: 'PUT' } as const
  t.strictSame(await transport.putTask('default', 'b-copy', { httpRequest }, now + 5000), { outcome: 'created', id: 'b-copy', scheduleAt: now + 5000 })
  t.strictSame(await transport.putTask('default', 'c', { httpRequest }), { outcome: 'created', id: 'c', scheduleAt: now })
  t.strictSame(await transport.putTask('default', 'c', { httpRequest }), { outcome: 'duplicate' })

  t.hasStrict(await transport.readTask('default', 'a'), {
    outcome: 'read', task: { name: `${PARENT}/queues/default/tasks/a`, httpRequest: { httpMethod: 'POST', body: outgoing.body } }
  })
  t.strictSame(await transport.readTask('default', 'none'), { outcome: 'gone' })

  const first = await transport.listTasks('default', 2) as { outcome: string, tasks: Array<{ id: string }>, nextPageToken: string }
  const second = await transport.listTasks('default', 2, first.nextPageToken) as typeof first
  t.strictSame([...first.tasks, ...second.tasks].map(({ id }) => id).sort(), ['a', 'b-copy', 'c'])
  t.strictSame([first.tasks.length, second.nextPageToken], [2, undefined])

  t.strictSame(await transport.findTask('default', ['-none', '-copy']), { outcome: 'found', id: 'b-copy' })
  t.strictSame(await transport.findTask('default', ['-none']), { outcome: 'notFound' })
  t.strictSame(await transport.findTask('none', ['-copy']), { outcome: 'notFound' })

  t.strictSame(await transport.deleteTask('default', 'a'), { outcome: 'deleted' })
  t.strictSame(await transport.deleteTask('default', 'a'), { outcome: 'notFound' })
})

t.test('many tasks are stored in one write, and each has its own outcome', async t => {
  const { transport } = await start(t)
  let writes = 0
  const { putTasks } = MemoryStore.prototype
  t.intercept(MemoryStore.prototype, 'putTasks', {
    async value (this: MemoryStore, ...args: Parameters<typeof putTasks>) { writes++; await putTasks.apply(this, args) }
  })
  const large = { ...outgoing, body: Buffer.alloc(MAX_TASK_BYTES) }
  const sent = await transport.createTasks('default', [large, { ...outgoing, id: 'a' }, large, { ...outgoing, id: 'a' }, { ...outgoing, id: 'b' }])
  t.strictSame(sent.map(one => [one.outcome, (one as { id?: string }).id]), [
    ['tooLarge', undefined], ['created', 'a'], ['tooLarge', undefined], ['duplicate', undefined], ['created', 'b']
  ])
  t.equal(writes, 1)
})

t.test('a queue that does not exist is named, with the option that creates it', async t => {
  const { transport } = await start(t)
  const missing = { outcome: 'queueNotFound', hint: "add it to the option 'queues', as in queues: { 'none': {} }" }
  t.strictSame(await transport.createTask('none', outgoing), missing)
  t.strictSame(await transport.createTasks('none', [outgoing, outgoing]), [missing, missing])
  t.strictSame(await transport.putTask('none', 'x', {}), missing)
  t.strictSame(await transport.listTasks('none', 10), missing)
  t.strictSame(await transport.deleteTask('none', 'x'), missing)
  const details = { code: 'FST_TASKS_QUEUE_NOT_FOUND', explanation: `Queue 'none' does not exist; ${missing.hint}` }
  await t.rejects(transport.inspection.setState('none', 'PAUSED'), details)
  await t.rejects(transport.inspection.setState('a_b', 'PAUSED'), { code: 'FST_TASKS_QUEUE_NOT_FOUND' })
  t.throws(() => transport.inspection.page('none', {}), details)
})

t.test('queues come from the options and the registry, and others only where they are created on demand', async t => {
  const queues = { fast: { retryConfig: { maxAttempts: 3 } } }
  const options = { queue: 'usual', queues, deadLetterQueue: 'dead' }
  const { transport } = await start(t, { options, queueIds: ['mail'] })
  t.strictSame(Object.keys(transport.inspection.counts()).sort(), ['dead', 'fast', 'mail', 'usual'])
  const settingsOf = (id: string, { engine, queueName } = transport) => engine.getQueue(queueName.call(transport, id)).settings
  t.equal(settingsOf('fast').retryConfig.maxAttempts, 3)
  t.equal(settingsOf('dead').retryConfig.maxAttempts, -1)
  t.strictSame(settingsOf('mail'), DEFAULT_QUEUE_SETTINGS)
  t.strictSame(Object.values(transport.inspection.counts()).map(({ state }) => state).sort(), ['PAUSED', 'RUNNING', 'RUNNING', 'RUNNING'])
  t.equal(transport.inspection.counts()['dead']!.state, 'PAUSED')

  const onDemand = await start(t, { createsQueues: true })
  t.hasStrict(await onDemand.transport.createTask('new', outgoing), { outcome: 'created' })
  t.strictSame(Object.keys(onDemand.transport.inspection.counts()).sort(), ['default', 'new'])
  t.strictSame(await onDemand.transport.deleteTask('new', 'x'), { outcome: 'notFound' })
})

t.test('a task that a copy would not fit beside is too large', async t => {
  const { transport } = await start(t)
  const sized = (length: number): OutgoingTask => ({ ...outgoing, id: 'x', body: Buffer.alloc(length) })
  const large = await transport.createTask('default', sized(MAX_TASK_BYTES)) as { outcome: string, bytes: number, limit: number }
  t.strictSame([large.outcome, large.limit], ['tooLarge', MAX_TASK_BYTES - 2048])
  const largest = MAX_TASK_BYTES - (large.bytes - large.limit)
  t.strictSame(await transport.createTask('default', sized(largest + 1)), { outcome: 'tooLarge', bytes: large.limit + 1, limit: large.limit })
  t.hasStrict(await transport.createTask('default', sized(largest)), { outcome: 'created' })
  const copy = { url: 'http://localhost/x', body: Buffer.alloc(MAX_TASK_BYTES) }
  t.hasStrict(await transport.putTask('default', 'y', { httpRequest: copy }), { outcome: 'tooLarge', limit: MAX_TASK_BYTES }, 'a copy may use the reserve')
})

t.test('what the store cannot do is a failure with its reason', async t => {
  const { transport } = await start(t)
  const full = new StoreError('full', 'no space is left on the disk')
  t.intercept(MemoryStore.prototype, 'putTask', { value: async () => { throw full } })
  t.intercept(MemoryStore.prototype, 'putQueue', { value: async () => { throw full } })
  const failed = await transport.createTask('default', outgoing) as { outcome: string, problem: string, cause: { code: string } }
  t.strictSame([failed.outcome, failed.problem], ['failed', 'The embedded queue cannot use its store: no space is left on the disk'])
  t.equal(failed.cause.code, 'FST_TASKS_STORE_UNAVAILABLE')
  await t.rejects(transport.inspection.setState('default', 'PAUSED'), { code: 'FST_TASKS_STORE_UNAVAILABLE' })

  t.hasStrict(await transport.createTask('default', { ...outgoing, scheduleAt: systemClock.now() + 1e13 }), { outcome: 'failed', cause: { code: 'INVALID_ARGUMENT' } })
})

t.test('a page has the state of each task, and rejects a token of another queue', async t => {
  const answering = gate()
  const { transport, clock } = await start(t, { route: (...call) => { answering.opened.then(() => { done(...call) }) } })
  const now = clock.now()
  await transport.createTask('default', { ...outgoing, id: 'a', scheduleAt: now + 5000 })
  await transport.createTask('default', { ...outgoing, id: 'b' })
  transport.start()
  await clock.advance(1500)
  const { tasks } = transport.inspection.page('default', {})
  const common = { queue: 'default', path: '/tasks/work', createTime: new Date(now) }
  t.strictSame([...tasks].sort((one, other) => one.id < other.id ? -1 : 1), [
    { id: 'a', state: 'waiting', attempts: 0, scheduleTime: new Date(now + 5000), ...common },
    { id: 'b', state: 'running', attempts: 1, scheduleTime: new Date(now), ...common }
  ])
  t.throws(() => transport.inspection.page('default', { pageToken: 'x' }), { code: 'FST_TASKS_INVALID_PAGE' })
  t.hasStrict(transport.inspection.counts(), { default: { waiting: 1, running: 1, oldestDueSeconds: 0 } })
  await transport.inspection.setState('default', 'PAUSED')
  await clock.advance(7500)
  t.strictSame(transport.inspection.counts(), { default: { waiting: 1, running: 1, oldestDueSeconds: 4, state: 'PAUSED' } })
  await transport.inspection.setState('default', 'RUNNING')
  t.equal(transport.inspection.counts()['default']!.state, 'RUNNING')
  answering.open()
})

t.test('tasks that were lost with the memory are logged on close, and none is accepted from stop on', async t => {
  const { transport, log, clock } = await start(t, { options: { queues: { other: {} } } })
  for (const queue of ['default', 'default', 'other']) await transport.createTask(queue, { ...outgoing, scheduleAt: clock.now() + DAY })
  await transport.stop()
  t.strictSame(await transport.createTask('default', outgoing), { outcome: 'closing' })
  t.strictSame(await transport.createTasks('default', [outgoing]), [{ outcome: 'closing' }])
  t.strictSame(await transport.putTask('default', 'x', {}), { outcome: 'closing' })
  t.strictSame(log, [])
  await transport.close()
  t.strictSame(log.map(({ level, waiting }) => ({ level, waiting })), [{ level: 40, waiting: 3 }])
  const empty = await start(t)
  await empty.transport.close()
  t.strictSame(empty.log, [])
})

t.test('with a directory, tasks are accepted until the close, and are not lost', async t => {
  const { transport, log } = await start(t, { options: { local: { directory: await folder(t) } } })
  await transport.stop()
  t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
  await transport.close()
  t.strictSame(await transport.createTask('default', outgoing), { outcome: 'closing' })
  t.strictSame(log, [])
})

t.test('an opening that takes long is awaited for a quarter, then for half of the plugin timeout', async t => {
  const loaded = gate()
  t.intercept(MemoryStore.prototype, 'load', { value: () => loaded.opened })
  const waits: number[] = []
  const cleared: unknown[] = []
  t.intercept(systemClock, 'setTimeout', { value: (callback: () => void, ms: number) => { queueMicrotask(callback); return waits.push(ms) } })
  t.intercept(systemClock, 'clearTimeout', { value: (timer: unknown) => { cleared.push(timer) } })
  const { transport, log } = create(t, { pluginTimeout: 8000 })
  await transport.open()
  t.strictSame([transport.inspection.ready, transport.opening instanceof Promise], [false, true])
  await transport.opened()
  t.strictSame(waits, [2000, 4000])
  t.strictSame(cleared, [1, 2])
  t.strictSame(log.map(({ level }) => level), [40])
  t.throws(() => transport.inspection.counts(), { code: 'FST_TASKS_STORE_UNAVAILABLE' })
  t.strictSame(await transport.findTask('default', ['x']), { outcome: 'notFound' })
  loaded.open()
})

t.test('while it opens, calls wait, and tasks run once it is open', async t => {
  const loaded = gate()
  const { load } = MemoryStore.prototype
  t.intercept(MemoryStore.prototype, 'load', { async value (this: MemoryStore) { await loaded.opened; return await load.call(this) } })
  const answered = gate()
  const { transport, clock } = create(t, { pluginTimeout: 4, route: (request, response) => { done(request, response); answered.open() } })
  await transport.open()
  transport.start()
  const calls = Promise.all([
    transport.readTask('default', 'x'), transport.listTasks('default', 1), transport.deleteTask('default', 'x'),
    transport.inspection.setState('default', 'RUNNING'), transport.createTask('default', outgoing), transport.createTasks('default', [outgoing])
  ])
  loaded.open()
  t.strictSame((await calls).flat().map(result => (result as { outcome?: string } | undefined)?.outcome), [
    'gone', 'listed', 'notFound', undefined, 'created', 'created'
  ])
  t.strictSame([transport.inspection.ready, transport.opening], [true, undefined])
  await clock.advance(0)
  await answered.opened
})

t.test('an opening that fails in time rejects, and one that fails later is logged unless the server closes', async t => {
  for (const closing of [false, true]) {
    const loaded = gate()
    t.intercept(MemoryStore.prototype, 'load', { value: async () => { await loaded.opened; throw new StoreError('damaged', 'it is damaged') } })
    const { transport, log } = create(t, { pluginTimeout: 4 })
    await transport.open()
    await transport.opened()
    const stopped = closing ? transport.stop() : undefined
    loaded.open()
    t.hasStrict(await transport.createTask('default', outgoing), { outcome: closing ? 'closing' : 'failed' })
    t.hasStrict(await transport.createTasks('default', [outgoing, outgoing]), Array(2).fill({ outcome: closing ? 'closing' : 'failed' }))
    t.hasStrict(await transport.readTask('default', 'x'), { outcome: 'failed', problem: 'The embedded queue cannot use its store: it is damaged' })
    await stopped
    t.strictSame(log.map(({ level }) => level), closing ? [40] : [40, 60])
  }
  t.intercept(MemoryStore.prototype, 'load', { value: async () => { throw new StoreError('damaged', 'it is damaged') } })
  const { transport } = create(t)
  await t.rejects(transport.open(), { code: 'FST_TASKS_STORE_UNAVAILABLE', explanation: /it is damaged$/ })
  t.intercept(MemoryStore.prototype, 'load', { value: async () => { throw new RangeError('a bug') } })
  await t.rejects(create(t).transport.open(), { name: 'RangeError' })
})

t.test('an opening that fails leaves its directory to the next', async t => {
  const directory = await folder(t)
  const failing = t.intercept(LmdbStore.prototype, 'putQueue', { value: async () => { throw new StoreError('full', 'no space is left') } })
  await t.rejects(create(t, { options: { local: { directory } } }).transport.open(), { code: 'FST_TASKS_STORE_UNAVAILABLE' })
  failing.restore()
  const { transport } = await start(t, { options: { local: { directory } } })
  t.equal(transport.inspection.ready, true)
})

t.test('a server that closes as soon as its queue is open starts no attempt', async t => {
  const loaded = gate()
  const { load } = MemoryStore.prototype
  t.intercept(MemoryStore.prototype, 'load', { async value (this: MemoryStore) { await loaded.opened; return await load.call(this) } })
  let attempts = 0
  const { transport, clock } = create(t, { pluginTimeout: 4, route: (...call) => { attempts++; done(...call) } })
  await transport.open()
  const sent = transport.createTask('default', outgoing)
  const stopped = transport.opening!.then(async () => { await transport.stop() })
  transport.start()
  loaded.open()
  t.hasStrict(await sent, { outcome: 'created' })
  await stopped
  await clock.advance(1000)
  t.equal(attempts, 0)
})

t.test('a queue paused by an earlier run is logged, unless it is for dead letters or of another location', async t => {
  const options = { local: { directory: await folder(t) }, queues: { a: {}, b: {} }, deadLetterQueue: 'dead' }
  const elsewhere = await start(t, { options: { ...options, location: 'us-central1-b' } })
  await elsewhere.transport.inspection.setState('b', 'PAUSED')
  await elsewhere.transport.close()
  const first = await start(t, { options })
  await first.transport.inspection.setState('a', 'PAUSED')
  await first.transport.createTask('a', outgoing)
  await first.transport.close()
  const { transport, log } = await start(t, { options: { ...options, queues: {} } })
  t.strictSame(log.map(({ level, queue, waiting }) => ({ level, queue, waiting })), [{ level: 40, queue: 'a', waiting: 1 }])
  t.strictSame(Object.keys(transport.inspection.counts()).sort(), ['a', 'b', 'dead', 'default'], 'queues of the directory count, too')
  t.hasStrict(await transport.createTask('b', outgoing), { outcome: 'queueNotFound' }, 'but accept no tasks')
})

t.test('tasks older than 31 days are dropped, reported to the app, logged and published', async t => {
  const events: unknown[] = []
  const listen = (event: unknown) => { events.push(event) }
  subscribe('fastify-cloud-tasks:expired', listen)
  t.teardown(() => { unsubscribe('fastify-cloud-tasks:expired', listen) })
  const expired: string[] = []
  const { transport, log, clock } = await start(t, { onExpired: async (task, path) => { expired.push(`${task.name} ${path}`) } })
  await transport.inspection.setState('default', 'PAUSED')
  await transport.createTask('default', { ...outgoing, id: 'a' })
  transport.start()
  clock.pass(31 * DAY)
  await transport.inspection.setState('default', 'RUNNING')
  while (events.length === 0) await clock.advance(1000)
  t.strictSame(expired, [`${PARENT}/queues/default/tasks/a /tasks/work`])
  t.strictSame(log.map(({ level, count, ids }) => ({ level, count, ids })), [{ level: 50, count: 1, ids: ['a'] }])
  t.strictSame(events, [{ count: 1, ids: ['a'] }])
})

t.test('a task that is not in a queue is delivered once, as the given attempt', async t => {
  const seen: unknown[] = []
  const { transport } = await start(t, {
    route (request, response) {
      seen.push([request.method, request.url, request.headers['x-cloudtasks-taskretrycount'], request.headers['x-cloudtasks-taskpreviousresponse']])
      done(request, response)
    }
  })
  t.strictSame(await transport.deliverOnce('default', { ...outgoing, id: 'a' }, 1), { status: 204 })
  t.strictSame(await transport.deliverOnce('default', { ...outgoing, method: 'PUT' }, 3), { status: 204 })
  t.strictSame(seen, [['POST', '/tasks/work', '0', undefined], ['PUT', '/tasks/work', '2', '500']])
  t.strictSame(transport.inspection.counts()['default']!.waiting, 0)
})

t.test('an error of the engine is logged', async t => {
  const { transport, log, clock } = await start(t)
  await transport.createTask('default', outgoing)
  t.intercept(MemoryStore.prototype, 'removeTask', { value: async () => { throw new StoreError('full', 'no space') } })
  transport.start()
  while (log.length === 0) await clock.advance(1)
  t.strictSame(log.map(({ level, msg }) => ({ level, msg })), [{ level: 50, msg: 'embedded queue error' }])
})

t.test('a process that is not a server rejects every task, and opens nothing', async t => {
  const transport = new ClosedTransport()
  await transport.open()
  await transport.opened()
  transport.start()
  transport.warmUp()
  for (const call of [transport.createTask(), transport.deleteTask(), transport.readTask(), transport.putTask(), transport.listTasks()]) {
    const { outcome, problem, cause } = await call as { outcome: string, problem: string, cause: unknown }
    t.strictSame([outcome, problem.includes('CLOUD_TASKS_EMULATOR_HOST'), cause], ['failed', true, undefined])
  }
  t.strictSame(await transport.findTask(), { outcome: 'notFound' })
  t.strictSame([transport.inspection, transport.createTasks, transport.retrySettings], [undefined, undefined, undefined])
  await transport.stop()
  await transport.close()
})

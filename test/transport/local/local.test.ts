import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../../lib/cloud-tasks/limits.js'
import { MAX_TASK_BYTES } from '../../../lib/cloud-tasks/size.js'
import { MemoryStore } from '../../../lib/store/memory-store.js'
import { StoreError } from '../../../lib/store/store-error.js'
import { ClosedTransport } from '../../../lib/transport/closed.js'
import type { OutgoingTask } from '../../../lib/transport/transport.js'
import { gate } from '../../support/app.js'
import { folder } from '../../support/folder.js'
import { done, outgoing, PARENT, startTransport } from '../../support/local-transport.js'

const DAY = 86_400_000

t.test('tasks are created, read, listed, found and deleted by their short ids', async t => {
  const { transport, clock } = await startTransport(t)
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
  const { transport } = await startTransport(t)
  let writes = 0
  const { putTasks } = MemoryStore.prototype
  t.intercept(MemoryStore.prototype, 'putTasks', {
    async value (this: MemoryStore, ...args: Parameters<typeof putTasks>) { writes++; await putTasks.apply(this, args) }
  })
  const large = { ...outgoing, body: Buffer.alloc(MAX_TASK_BYTES) }
  const sent = await transport.createTasks('default', [large, { ...outgoing, id: 'a' }, large, { ...outgoing, id: 'a' }, { ...outgoing, id: 'b' }])
  t.strictSame(sent.map(one => [one.outcome, (one as { id?: string, limit?: number }).id ?? (one as { limit?: number }).limit]), [
    ['tooLarge', MAX_TASK_BYTES - 2048], ['created', 'a'], ['tooLarge', MAX_TASK_BYTES - 2048], ['duplicate', undefined], ['created', 'b']
  ])
  t.equal(writes, 1)
})

t.test('a queue that does not exist is named, with the option that creates it', async t => {
  const { transport } = await startTransport(t)
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
  const { transport } = await startTransport(t, { options, queueIds: ['mail'] })
  t.strictSame(Object.keys(transport.inspection.counts()).sort(), ['dead', 'fast', 'mail', 'usual'])
  const settingsOf = (id: string, { engine, queueName } = transport) => engine.getQueue(queueName.call(transport, id)).settings
  t.equal(settingsOf('fast').retryConfig.maxAttempts, 3)
  t.equal(settingsOf('dead').retryConfig.maxAttempts, -1)
  t.strictSame(settingsOf('mail'), DEFAULT_QUEUE_SETTINGS)
  t.strictSame(Object.values(transport.inspection.counts()).map(({ state }) => state).sort(), ['PAUSED', 'RUNNING', 'RUNNING', 'RUNNING'])
  t.equal(transport.inspection.counts()['dead']!.state, 'PAUSED')

  const onDemand = await startTransport(t, { createsQueues: true })
  t.hasStrict(await onDemand.transport.createTask('new', outgoing), { outcome: 'created' })
  t.strictSame(Object.keys(onDemand.transport.inspection.counts()).sort(), ['default', 'new'])
  t.strictSame(await onDemand.transport.deleteTask('new', 'x'), { outcome: 'notFound' })
  t.strictSame(settingsOf('new', onDemand.transport), DEFAULT_QUEUE_SETTINGS)

  for (const name of [`${PARENT}/queues/former`, 'projects/other/locations/us-central1/queues/theirs']) await transport.engine.updateQueue(name)
  const ids = Object.keys(transport.inspection.counts()).sort()
  t.strictSame(ids, ['dead', 'fast', 'former', 'mail', 'usual'], 'those that a directory has for this project as well')
  t.hasStrict(await transport.createTask('former', outgoing), { outcome: 'queueNotFound' })
})

t.test('queues have the project of the options, or a name for it', async t => {
  for (const [project, name] of [['demo', `${PARENT}/queues/q`], [undefined, 'projects/local/locations/us-central1/queues/q']] as const) {
    t.equal((await startTransport(t, { options: { project } })).transport.queueName('q'), name)
  }
})

t.test('a task that a copy would not fit beside is too large', async t => {
  const { transport } = await startTransport(t)
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
  const { transport, clock } = await startTransport(t)
  const full = new StoreError('full', 'no space is left on the disk')
  const bug = new RangeError('a bug')
  await transport.putTask('default', 'a', { httpRequest: { url: 'http://localhost/x' } }, clock.now() + DAY)
  const problem = 'The embedded queue cannot use its store: no space is left on the disk'
  for (const [error, failure] of [
    [bug, { outcome: 'failed', problem: 'the embedded queue failed', cause: bug }], [full, { outcome: 'failed', problem }]
  ] as const) {
    const unreadable = t.intercept(MemoryStore.prototype, 'getTask', { value: () => { throw error } })
    t.hasStrict(await transport.readTask('default', 'a'), failure)
    unreadable.restore()
  }
  t.intercept(MemoryStore.prototype, 'removeTask', { value: async () => { throw full } })
  t.hasStrict(await transport.deleteTask('default', 'a'), { outcome: 'failed', problem })
  t.intercept(MemoryStore.prototype, 'putTask', { value: async () => { throw full } })
  t.intercept(MemoryStore.prototype, 'putQueue', { value: async () => { throw full } })
  const failed = await transport.createTask('default', outgoing) as { outcome: string, problem: string, cause: { code: string } }
  t.strictSame([failed.outcome, failed.problem], ['failed', problem])
  t.equal(failed.cause.code, 'FST_TASKS_STORE_UNAVAILABLE')
  await t.rejects(transport.inspection.setState('default', 'PAUSED'), { code: 'FST_TASKS_STORE_UNAVAILABLE' })

  t.intercept(MemoryStore.prototype, 'putQueue', { value: async () => { throw new Error('a bug') } })
  await t.rejects(transport.inspection.setState('default', 'PAUSED'), { code: 'UNAVAILABLE' })
  t.hasStrict(await transport.createTask('default', { ...outgoing, scheduleAt: systemClock.now() + 1e13 }), { outcome: 'failed', cause: { code: 'INVALID_ARGUMENT' } })
})

t.test('a page has the state of each task, and rejects a token of another queue', async t => {
  const answering = gate()
  const { transport, clock } = await startTransport(t, { route: (...call) => { answering.opened.then(() => { done(...call) }) } })
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
  for (const [error, expected] of [[new StoreError('closed', 'no'), { code: 'FST_TASKS_STORE_UNAVAILABLE' }], [new RangeError('no'), { name: 'RangeError' }]] as const) {
    const unreadable = t.intercept(MemoryStore.prototype, 'getTask', { value: () => { throw error } })
    t.throws(() => transport.inspection.page('default', {}), expected)
    unreadable.restore()
  }
  t.hasStrict(transport.inspection.counts(), { default: { waiting: 1, running: 1, oldestDueSeconds: 0 } })
  await transport.inspection.setState('default', 'PAUSED')
  await clock.advance(7500)
  t.strictSame(transport.inspection.counts(), { default: { waiting: 1, running: 1, oldestDueSeconds: 4, state: 'PAUSED' } })
  await transport.inspection.setState('default', 'RUNNING')
  t.equal(transport.inspection.counts()['default']!.state, 'RUNNING')
  answering.open()
})

t.test('tasks that were lost with the memory are logged on close, and none is accepted from stop on', async t => {
  const { transport, log, clock } = await startTransport(t, { options: { queues: { other: {} } } })
  for (const queue of ['default', 'default', 'other']) await transport.createTask(queue, { ...outgoing, scheduleAt: clock.now() + DAY })
  await transport.stop()
  t.strictSame(await transport.createTask('default', outgoing), { outcome: 'closing' })
  t.strictSame(await transport.createTasks('default', [outgoing]), [{ outcome: 'closing' }])
  t.strictSame(await transport.putTask('default', 'x', {}), { outcome: 'closing' })
  t.strictSame(log, [])
  await transport.close()
  t.strictSame(log.map(({ level, waiting }) => ({ level, waiting })), [{ level: 40, waiting: 3 }])
  const empty = await startTransport(t)
  await empty.transport.close()
  t.strictSame(empty.log, [])
})

t.test('with a directory, tasks are accepted until the close, and are not lost', async t => {
  const { transport, log } = await startTransport(t, { options: { local: { directory: await folder(t) } } })
  await transport.stop()
  t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
  await transport.close()
  t.strictSame(await transport.createTask('default', outgoing), { outcome: 'closing' })
  t.strictSame(log, [])
})

t.test('tasks older than 31 days are dropped, reported to the app, logged and published', async t => {
  const events: unknown[] = []
  const listen = (event: unknown) => { events.push(event) }
  subscribe('fastify-cloud-tasks:expired', listen)
  t.teardown(() => { unsubscribe('fastify-cloud-tasks:expired', listen) })
  const expired: string[] = []
  const { transport, log, clock } = await startTransport(t, { onExpired: async (task, path) => { expired.push(`${task.name} ${path}`) } })
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
  const { transport } = await startTransport(t, {
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
  const { transport, log, clock } = await startTransport(t)
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

import t from 'tap'
import type { NewQueueSettings, QueueSettings } from '../../lib/cloud-tasks/task.js'
import { withStoredDefaults } from '../../lib/cloud-tasks/new-task.js'
import { MAX_TASK_BYTES, storedSize } from '../../lib/cloud-tasks/size.js'
import { pageSize } from '../../lib/engine/memory/task-pages.js'
import { FragileStore, httpRequest, parent, queue, startEngine } from '../support/engine-harness.js'

const day = 24 * 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('queues reject what production rejects, with its messages', async t => {
  const { engine, clock } = await startEngine({ queueTombstoneMs: 7 * day })
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
  await t.rejects(engine.createTask('q', {}), { code: 'INVALID_ARGUMENT', message: named })
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

t.test('concurrent changes of a queue all apply', async t => {
  const { engine } = await startEngine()
  await Promise.all([
    engine.pauseQueue(queue),
    engine.updateQueue(queue, { rateLimits: { maxDispatchesPerSecond: 7 } }),
    engine.purgeQueue(queue)
  ])
  t.match(engine.getQueue(queue), { state: 'PAUSED', settings: { rateLimits: { maxDispatchesPerSecond: 7 } }, purgedAt: Number })
  await engine.close()
})

t.test('queues are listed in lexicographic order, page by page', async t => {
  const { engine } = await startEngine()
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
  const { engine } = await startEngine({ started: false })
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
  const { engine, clock } = await startEngine({ started: false })
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

t.test('a filtered list of queues has full pages, and its token leads to the next queue that matches', async t => {
  const { engine } = await startEngine()
  for (const id of ['a1', 'b2', 'c1', 'd1', 'e2']) await engine.createQueue(`${parent}/queues/${id}`)
  for (const place of ['s', '-a']) await engine.createQueue(`${parent}${place}/queues/f1`)
  const matches = ({ name }: { name: string }): boolean => name.endsWith('1')
  const ids = (page: { queues: ReadonlyArray<{ name: string }> }): string[] => page.queues.map(queue => queue.name.slice(-2))
  const first = engine.listQueues(parent, { pageSize: 2, matches })
  t.strictSame(ids(first), ['a1', 'c1'])
  const second = engine.listQueues(parent, { pageSize: 2, matches, pageToken: first.nextPageToken! })
  t.strictSame([ids(second), second.nextPageToken], [['d1'], undefined])
  t.strictSame(ids(engine.listQueues(parent, { pageSize: 3, matches })), ['a1', 'c1', 'd1'])
  t.equal(engine.listQueues(parent, { pageSize: 3, matches }).nextPageToken, undefined, 'no token without a further match')
  t.strictSame(engine.locations(), [parent, `${parent}-a`, `${parent}s`])
  await engine.close()
})

t.test('a page size that is absent, zero, negative or too large means the maximum', async t => {
  t.strictSame([undefined, 0, -1, 11, 10, 1].map(asked => pageSize(asked, 10)), [10, 10, 10, 10, 10, 1])
})

t.test('a page holds tasks of exactly 3 MiB, and the oldest of more than a hundred iterations is given up', async t => {
  const { engine } = await startEngine({ started: false })
  for (let i = 0; i < 4; i++) await engine.createTask(queue, named(`t${i}`))
  t.equal(engine.listTasks(queue, {}, () => 1024 * 1024).tasks.length, 3)
  t.equal(engine.listTasks(queue, {}, () => 1024 * 1024 + 1).tasks.length, 2)
  const tokens = Array.from({ length: 101 }, () => engine.listTasks(queue, { pageSize: 1 }).nextPageToken!)
  t.throws(() => engine.listTasks(queue, { pageToken: tokens[0]! }), { code: 'INVALID_ARGUMENT' })
  t.equal(engine.listTasks(queue, { pageToken: tokens[1]! }).tasks.length, 3)
  await engine.close()
})

t.test('updateQueues creates and changes many queues, and writes only those that change', async t => {
  const store = new FragileStore()
  const { engine } = await startEngine({ store })
  const other = `${parent}/queues/other`
  const settings = { rateLimits: { maxDispatchesPerSecond: 7 } }
  store.calls.length = 0
  await engine.updateQueues(new Map<string, NewQueueSettings>([[queue, {}], [other, settings]]))
  t.strictSame(store.calls, ['putQueue'])
  t.equal(engine.getQueue(other).settings.rateLimits.maxDispatchesPerSecond, 7)
  t.equal(engine.getQueue(other).state, 'RUNNING')
  t.equal((await engine.updateQueue(`${parent}/queues/third`)).state, 'RUNNING')
  store.calls.pop()
  await engine.updateQueues(new Map([[queue, settings], [other, settings]]))
  t.strictSame(store.calls, ['putQueue', 'putQueue'])
  t.equal(engine.getQueue(queue).settings.rateLimits.maxDispatchesPerSecond, 7)
  await t.rejects(engine.updateQueues(new Map([['q', {}]])), { code: 'INVALID_ARGUMENT' })
  await engine.close()
})

t.test('a policy is replaced by what the change returns, and stays as it is when that throws', async t => {
  const { engine } = await startEngine()
  t.strictSame((await engine.setQueuePolicy(queue, policy => ({ was: policy }))).policy, { was: undefined })
  await t.rejects(engine.setQueuePolicy(queue, () => { throw new Error('no') }), { message: 'no' })
  t.strictSame((await engine.setQueuePolicy(queue, policy => ({ was: policy }))).policy, { was: { was: undefined } })
  await engine.close()
})

t.test('a function of the current settings changes them, and a missing queue has none', async t => {
  const { engine } = await startEngine()
  const seen: unknown[] = []
  const change = (settings: QueueSettings | undefined): NewQueueSettings => {
    seen.push(settings?.rateLimits.maxDispatchesPerSecond)
    return { rateLimits: { maxDispatchesPerSecond: 7 } }
  }
  for (const name of [queue, `${parent}/queues/new`, queue]) {
    t.equal((await engine.updateQueue(name, change)).settings.rateLimits.maxDispatchesPerSecond, 7)
  }
  t.strictSame(seen, [500, undefined, 7])
  await engine.close()
})

t.test('a task of the maximum size is stored, one that is a byte larger is not', async t => {
  const { engine, clock } = await startEngine({ started: false })
  const sized = (length: number) => ({ ...named('a'), httpRequest: { ...httpRequest, body: Buffer.alloc(length) } })
  const largest = 1_000_000 + MAX_TASK_BYTES - storedSize(withStoredDefaults(queue, sized(1_000_000), clock.now()))
  await t.rejects(engine.createTask(queue, sized(largest + 1)), { code: 'INVALID_ARGUMENT', message: 'Task size too large' })
  t.equal(storedSize(await engine.createTask(queue, sized(largest))), MAX_TASK_BYTES)
  await engine.close()
})

t.test('what an engine knows of its queues and tasks without reading its store', async t => {
  const { engine, clock } = await startEngine({ started: false })
  const empty = `${parent}/queues/empty`
  await engine.createQueue(empty)
  const scheduleAt = clock.now() + 1000
  await engine.createTask(queue, { ...named('later'), scheduleAt })
  await engine.createTask(queue, { ...named('sooner'), scheduleAt: scheduleAt - 500 })
  t.strictSame(engine.queues().map(({ name }) => name), [queue, empty])
  t.strictSame([engine.findQueue(queue)?.name, engine.findQueue(`${parent}/queues/none`)], [queue, undefined])
  t.equal(engine.findTask(empty, () => true), undefined)
  t.equal(engine.findTask(queue, name => name.endsWith('later')), `${queue}/tasks/later`)
  t.equal(engine.findTask(queue, name => name.endsWith('none')), undefined)
  t.strictSame([engine.firstDueAt(queue), engine.firstDueAt(empty)], [scheduleAt - 500, undefined])
  t.strictSame(engine.backlog(queue), { tasks: 2, firstDueAt: scheduleAt - 500 })
  t.strictSame(engine.backlog(empty), { tasks: 0, firstDueAt: undefined })
  await engine.pauseQueue(empty)
  t.strictSame([engine.state(queue), engine.state(empty)], ['RUNNING', 'PAUSED'])
  t.equal(engine.clock, clock)
  await engine.close()
  t.strictSame([engine.state(empty), engine.firstDueAt(queue)], ['PAUSED', scheduleAt - 500])
  t.strictSame(engine.counts(queue), { waiting: 2, running: 0 })
})

t.test('closing waits for a change of a queue that is being stored', async t => {
  const store = new FragileStore()
  const { engine, clock } = await startEngine({ store })
  let open = (): void => {}
  store.gate = new Promise(resolve => { open = resolve })
  store.calls.length = 0
  const { close } = store
  store.close = async () => { store.calls.push('close'); await close.call(store) }
  const paused = engine.pauseQueue(queue)
  const closing = engine.close()
  await clock.settle()
  t.strictSame(store.calls, [])
  open()
  await Promise.all([paused, closing])
  t.strictSame(store.calls, ['putQueue', 'close'])
})

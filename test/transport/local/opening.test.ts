import { readdirSync } from 'node:fs'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { countsChannel } from '../../../lib/events.js'
import { defineTasks } from '../../../lib/index.js'
import { LmdbStore } from '../../../lib/store/lmdb/lmdb-store.js'
import { MemoryStore } from '../../../lib/store/memory-store.js'
import { StoreError } from '../../../lib/store/store-error.js'
import { create, gate, start } from '../../support/app.js'
import { createTransport, done, outgoing, startTransport } from '../../support/local-transport.js'
import { folder } from '../../support/folder.js'

const tasks = defineTasks({ work: { payload: Type.Object({}) } })

/** Far more than a boot takes, so that it is never reached: see `skipWaits`. */
const pluginTimeout = 120_000

/** Lets the waits for an opening, which are shares of `pluginTimeout`, end at once. */
function skipWaits (t: Test) {
  const { setTimeout } = systemClock
  t.intercept(systemClock, 'setTimeout', {
    value: (callback: () => void, ms: number) => setTimeout(callback, [pluginTimeout / 4, pluginTimeout / 2].includes(ms) ? 0 : ms)
  })
}

/** Has every store wait for `opened` before it loads, or while it does. */
function slowStores (t: Test) {
  skipWaits(t)
  const { open, opened } = gate()
  const load = LmdbStore.prototype.load
  let begun = (): void => {}
  const loading = new Promise<void>(resolve => { begun = resolve })
  t.intercept(LmdbStore.prototype, 'load', {
    async value (this: LmdbStore, ...args: Parameters<typeof load>) {
      begun()
      await opened
      return await load.apply(this, args)
    }
  })
  return { open, loading }
}

t.test('a directory that takes longer than pluginTimeout opens in the background, and tasks wait for it', async t => {
  const { open } = slowStores(t)
  const ran = gate()
  const { app, log } = await create(
    t,
    {
      tasks,
      local: { directory: await folder(t) },
      handlers: {
        work: async () => {
          ran.open()
        }
      }
    },
    () => {},
    { pluginTimeout }
  )
  await app.ready()
  t.equal(log.filter(line => line.msg.includes('still opening')).length, 1)
  t.throws(() => app.tasks.counts(), { code: 'FST_TASKS_STORE_UNAVAILABLE', explanation: /still being opened/ })
  countsChannel.publish({ add () { t.fail('a queue that is not open is not counted') } })
  const enqueued = app.enqueue('work' as never, {} as never)
  const paused = app.tasks.resumeQueue()
  open()
  t.match(await enqueued, { duplicate: false })
  await paused
  await ran.opened
  t.same(Object.keys(app.tasks.counts()), ['default'])
})

t.test('an error while opening in the background is logged as fatal, and all tasks are rejected', async t => {
  skipWaits(t)
  const { open, opened } = gate()
  t.intercept(LmdbStore.prototype, 'load', {
    value: async () => {
      await opened
      throw new StoreError('damaged', 'tasks.mdb is damaged')
    }
  })
  const { app, log } = await create(t, { tasks, local: { directory: await folder(t) } }, () => {}, { pluginTimeout })
  await app.ready()
  open()
  await t.rejects(app.enqueue('work' as never, {} as never), { code: 'FST_TASKS_SEND_FAILED', explanation: /tasks\.mdb is damaged/ })
  await t.rejects(app.tasks.delete('work' as never, 'x'), { code: 'FST_TASKS_SEND_FAILED' })
  await t.rejects(app.tasks.pauseQueue(), { code: 'FST_TASKS_STORE_UNAVAILABLE' })
  t.same(log.filter(line => line.level === 60).map(line => line.msg), ['the embedded queue failed to open; all tasks are rejected'])
})

t.test('within pluginTimeout, the boot fails with it', async t => {
  t.intercept(LmdbStore.prototype, 'load', { value: async () => { throw new StoreError('damaged', 'tasks.mdb is damaged') } })
  const directory = await folder(t)
  await t.rejects(create(t, { tasks, local: { directory } }), {
    code: 'FST_TASKS_STORE_UNAVAILABLE',
    explanation: /tasks\.mdb is damaged/
  })
})

t.test('a server that closes while its directory is being opened leaves it to the next', async t => {
  const directory = await folder(t)
  for (const when of ['before', 'while']) {
    const { open, loading } = slowStores(t)
    const { app } = await create(t, { tasks, local: { directory } }, () => {}, { pluginTimeout })
    await app.ready()
    await loading
    if (when === 'while') open()
    const enqueued = app.enqueue('work' as never, {} as never)
    const closed = app.close()
    open()
    await t.rejects(enqueued, { code: /FST_TASKS_(?:SEND_FAILED|CLOSING)/ })
    await closed
    t.notOk(readdirSync(directory).includes('owner.json'), `${when} it loads`)
  }
  const { app } = await start(t, { tasks, local: { directory } })
  t.match(await app.enqueue('work' as never, {} as never), { duplicate: false })
})

t.test('a store that loads many tasks can be closed in between', async t => {
  const directory = await folder(t)
  const first = await start(t, { tasks, local: { directory }, handlers: {} })
  await Promise.all(Array.from({ length: 3000 }, () => first.app.enqueue('work' as never, {} as never)))
  await first.app.close()
  const store = new LmdbStore({ directory })
  let closed: Promise<void> | undefined
  const loading = (async () => { await store.load(() => { closed ??= store.close() }) })()
  await t.rejects(loading, { name: 'StoreError', problem: 'closed' })
  await closed
  t.notOk(readdirSync(directory).includes('owner.json'))
  const { app } = await start(t, { tasks, local: { directory } })
  t.hasStrict(app.tasks.counts(), { default: { waiting: 3000, running: 0, state: 'RUNNING' } })
})

t.test('opening logs how far it is, once a second', async t => {
  let now = 0
  t.intercept(systemClock, 'monotonic', { value: () => now })
  const load = LmdbStore.prototype.load
  t.intercept(LmdbStore.prototype, 'load', {
    async value (this: LmdbStore, ...[onProgress]: Parameters<typeof load>) {
      for (; now < 2500; now += 100) onProgress!({ step: 'checking tasks.mdb', done: now, total: 2500 })
      return await load.call(this, onProgress)
    }
  })
  const { log } = await start(t, { tasks, local: { directory: await folder(t) } })
  t.match(log.filter(line => line.step !== undefined), [
    { msg: 'opening the embedded queue: checking tasks.mdb', done: 1000, total: 2500 }, { done: 2000 }
  ])
  t.equal(log.filter(line => line.step !== undefined).length, 2)
})

t.test('a queue whose settings did not change is not written again', async t => {
  const directory = await folder(t)
  const written: string[] = []
  const putQueue = LmdbStore.prototype.putQueue
  t.intercept(LmdbStore.prototype, 'putQueue', {
    value (this: LmdbStore, ...args: Parameters<typeof putQueue>) {
      written.push(args[0].name.slice(args[0].name.lastIndexOf('/') + 1))
      return putQueue.apply(this, args)
    }
  })
  const run = async (queues: Record<string, object>) => {
    const { app } = await start(t, { tasks, queues, local: { directory } })
    await app.close()
    return written.splice(0).sort()
  }
  t.same(await run({ a: {}, b: { retryConfig: { maxAttempts: 3 } } }), ['a', 'b', 'default'])
  t.same(await run({ a: {}, b: { retryConfig: { maxAttempts: 3 } } }), [])
  t.same(await run({ a: {}, b: { retryConfig: { maxAttempts: 4 } }, c: {} }), ['b', 'c'])
})

t.test('a queue that is paused over a restart is logged on startup, shown in counts, and can be resumed', async t => {
  const directory = await folder(t)
  const first = await start(t, { tasks, queues: { slow: {} }, local: { directory } })
  await first.app.tasks.pauseQueue('slow')
  await first.app.tasks.pauseQueue()
  await first.app.enqueue('work' as never, {} as never, { queue: 'slow', id: 'a' })
  t.hasStrict(first.app.tasks.counts(), {
    default: { waiting: 0, running: 0, state: 'PAUSED' },
    slow: { waiting: 1, running: 0, state: 'PAUSED' }
  })
  await t.rejects(first.app.tasks.pauseQueue('none'), { code: 'FST_TASKS_QUEUE_NOT_FOUND', explanation: /'none'/ })
  await first.app.tasks.resumeQueue()
  await first.app.close()

  const ran = gate()
  const { app, log } = await start(t, { tasks, local: { directory }, handlers: { work: async () => { ran.open() } } })
  const warnings = log.filter(line => line.level === 40 && line.waiting !== undefined)
  t.strictSame(warnings.map(({ queue, waiting }) => ({ queue, waiting })), [{ queue: 'slow', waiting: 1 }])
  t.match(warnings[0]!.msg, /app\.tasks\.resumeQueue\('slow'\)/)
  t.hasStrict(
    app.tasks.counts(),
    { default: { waiting: 0, running: 0, state: 'RUNNING' }, slow: { waiting: 1, running: 0, state: 'PAUSED' } },
    'also one that the options no longer name'
  )
  await app.tasks.resumeQueue('slow')
  await ran.opened
  t.equal(app.tasks.counts()['slow']!.state, 'RUNNING')
})

t.test('in memory, a queue can be paused as well', async t => {
  const { app } = await start(t, { tasks })
  await app.tasks.pauseQueue()
  t.equal(app.tasks.counts()['default']!.state, 'PAUSED')
})

t.test('an opening that takes long is awaited for a quarter, then for half of the plugin timeout', async t => {
  const loaded = gate()
  t.intercept(MemoryStore.prototype, 'load', { value: () => loaded.opened })
  const waits: number[] = []
  const cleared: unknown[] = []
  t.intercept(systemClock, 'setTimeout', { value: (callback: () => void, ms: number) => { queueMicrotask(callback); return waits.push(ms) } })
  t.intercept(systemClock, 'clearTimeout', { value: (timer: unknown) => { cleared.push(timer) } })
  const { transport, log } = createTransport(t, { pluginTimeout: 8000 })
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
  const { transport, clock } = createTransport(t, {
    pluginTimeout: 4, route: (request, response) => { done(request, response); answered.open() }
  })
  await transport.open()
  transport.start()
  const calls = Promise.all([
    transport.readTask('default', 'x'), transport.listTasks('default', 1), transport.deleteTask('default', 'x'),
    transport.inspection.setState('default', 'RUNNING'), transport.createTask('default', outgoing),
    transport.createTasks('default', [outgoing])
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
    const { transport, log } = createTransport(t, { pluginTimeout: 4 })
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
  const { transport } = createTransport(t)
  await t.rejects(transport.open(), { code: 'FST_TASKS_STORE_UNAVAILABLE', explanation: /it is damaged$/ })
  t.intercept(MemoryStore.prototype, 'load', { value: async () => { throw new RangeError('a bug') } })
  const failed = createTransport(t).transport
  await t.rejects(failed.open(), { name: 'RangeError' })
  const { outcome, cause } = await failed.deleteTask('default', 'x') as { outcome: string, cause: unknown }
  t.strictSame([outcome, cause instanceof RangeError], ['failed', true])
})

t.test('an opening that fails leaves its directory to the next', async t => {
  const directory = await folder(t)
  const failing = t.intercept(LmdbStore.prototype, 'putQueue', { value: async () => { throw new StoreError('full', 'no space is left') } })
  await t.rejects(createTransport(t, { options: { local: { directory } } }).transport.open(), { code: 'FST_TASKS_STORE_UNAVAILABLE' })
  failing.restore()
  const { transport } = await startTransport(t, { options: { local: { directory } } })
  t.equal(transport.inspection.ready, true)
})

t.test('a server that closes as soon as its queue is open starts no attempt', async t => {
  const loaded = gate()
  const { load } = MemoryStore.prototype
  t.intercept(MemoryStore.prototype, 'load', { async value (this: MemoryStore) { await loaded.opened; return await load.call(this) } })
  let attempts = 0
  const { transport, clock } = createTransport(t, { pluginTimeout: 4, route: (...call) => { attempts++; done(...call) } })
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
  const elsewhere = await startTransport(t, { options: { ...options, location: 'us-central1-b' } })
  await elsewhere.transport.inspection.setState('b', 'PAUSED')
  await elsewhere.transport.close()
  const first = await startTransport(t, { options })
  await first.transport.inspection.setState('a', 'PAUSED')
  await first.transport.createTask('a', outgoing)
  await first.transport.close()
  const { transport, log } = await startTransport(t, { options: { ...options, queues: {} } })
  t.strictSame(log.map(({ level, queue, waiting }) => ({ level, queue, waiting })), [{ level: 40, queue: 'a', waiting: 1 }])
  t.strictSame(Object.keys(transport.inspection.counts()).sort(), ['a', 'b', 'dead', 'default'], 'queues of the directory count, too')
  t.hasStrict(await transport.createTask('b', outgoing), { outcome: 'queueNotFound' }, 'but accept no tasks')
})

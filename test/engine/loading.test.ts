import t from 'tap'
import { nextTurn } from '../../lib/clock/clock.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { Engine, type LoadProgress } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { httpRequest, parent, queue, startEngine } from '../support/engine-harness.js'

const hour = 3600 * 1000
const named = (id: string) => ({ name: `${queue}/tasks/${id}`, httpRequest })

t.test('a stored tombstone lasts no longer than the configured time, even if the clock was set back', async t => {
  const store = new MemoryStore()
  const clock = new ManualClock()
  const first = await startEngine({ store, clock })
  await first.engine.createTask(queue, named('done'))
  await first.last().answer(200)
  await first.engine.createQueue(`${parent}/queues/gone`)
  await first.engine.deleteQueue(`${parent}/queues/gone`)
  await first.engine.close()
  clock.set(clock.now() - 30 * 24 * hour)
  const { engine } = await startEngine({ store, clock, keepQueue: true, started: false })
  await clock.advance(hour - 1)
  await t.rejects(engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  await engine.createTask(queue, named('done'))
  await clock.advance(7 * 24 * hour - hour - 1)
  await t.rejects(engine.createQueue(`${parent}/queues/gone`), { code: 'FAILED_PRECONDITION' })
  await clock.advance(1)
  await engine.createQueue(`${parent}/queues/gone`)
  await engine.close()
})

t.test('a stored tombstone that has less time left lasts only that time', async t => {
  const store = new MemoryStore()
  const clock = new ManualClock()
  const first = await startEngine({ store, clock })
  await first.engine.createTask(queue, named('done'))
  await first.last().answer(200)
  await first.engine.close()
  await clock.advance(hour - 1000)
  const { engine } = await startEngine({ store, clock, keepQueue: true, started: false })
  await t.rejects(engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1000)
  await engine.createTask(queue, named('done'))
  await engine.close()
})

t.test("a stored tombstone of a deleted queue's task lasts the usual time", async t => {
  const store = new MemoryStore()
  const first = await startEngine({ store, queueTombstoneMs: 0 })
  await first.engine.createTask(queue, named('done'))
  await first.last().answer(200)
  await first.engine.deleteQueue(queue)
  await first.engine.close()
  const { engine, clock } = await startEngine({ store, clock: first.clock, started: false })
  await clock.advance(hour - 1)
  await t.rejects(engine.createTask(queue, named('done')), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  await engine.createTask(queue, named('done'))
  await engine.close()
})

t.test('a task whose queue is missing in the store is reported, and the others are loaded', async t => {
  const store = new MemoryStore()
  const first = await startEngine({ store, started: false })
  await first.engine.createTask(queue, named('a'))
  await first.engine.close()
  const lost = `${parent}/queues/lost/tasks/b`
  await store.putTask({ ...named('b'), name: lost, scheduleAt: 0, createdAt: 0, dispatchCount: 0, responseCount: 0, executionCount: 0 })
  const reported: unknown[] = []
  const onError = (error: unknown, where: object): void => { reported.push([(error as Error).message, where]) }
  const { engine } = await startEngine({ store, keepQueue: true, started: false, onError })
  t.strictSame(reported, [[`The store has no queue for task ${lost}`, { during: 'load', name: lost }]])
  t.strictSame(engine.counts(queue), { waiting: 1, running: 0 })
  await engine.close()
})

t.test('a long load reports every thousand tasks, with the total', async t => {
  const store = new MemoryStore()
  const first = await startEngine({ store, started: false })
  await first.engine.createTasks(queue, Array.from({ length: 2500 }, () => ({ httpRequest })))
  await first.engine.close()
  const load = store.load.bind(store)
  store.load = async () => ({ ...await load(), taskCount: 2500 })
  const progress: LoadProgress[] = []
  const engine = new Engine({ store, dispatch: async () => ({ status: 200 }) })
  await engine.open(step => { progress.push(step) })
  t.strictSame(progress, [
    { step: 'loading tasks', done: 1000, total: 2500 },
    { step: 'loading tasks', done: 2000, total: 2500 }
  ])
  t.strictSame(engine.counts(queue), { waiting: 2500, running: 0 })
  await engine.close()
})

t.test('closing an engine while it loads makes open reject, and closes the store once', async t => {
  const full = new MemoryStore()
  const first = await startEngine({ store: full, started: false })
  await first.engine.createTasks(queue, Array.from({ length: 2500 }, () => ({ httpRequest })))
  await first.engine.close()
  for (const [after, read] of [[0, 1000], [1000, 2000], [2499, 2500]] as const) {
    const state = await full.load()
    let closing: Promise<void> | undefined
    let closed = 0
    let loaded = 0
    const tasks = function * () {
      for (const task of state.tasks) {
        if (loaded++ === after) closing = engine.close()
        yield task
      }
    }
    const store = new MemoryStore()
    store.load = async () => ({ ...state, tasks: tasks() })
    store.close = async () => { closed++ }
    const engine = new Engine({ store, dispatch: async () => ({ status: 200 }) })
    await t.rejects(engine.open(), { code: 'UNAVAILABLE' })
    await closing
    t.strictSame([closed, loaded], [1, read])
    t.throws(() => engine.getQueue(queue), { code: 'UNAVAILABLE' })
  }
})

t.test('close waits for a store that fails to load, whose error only the caller of open gets', async t => {
  let fail = (_: Error): void => {}
  const store = new MemoryStore()
  store.load = async () => await new Promise((_resolve, reject) => { fail = reject })
  const engine = new Engine({ store, dispatch: async () => ({ status: 200 }) })
  const opening = t.rejects(engine.open(), { message: 'cannot be read' })
  let closed = false
  const closing = engine.close().then(() => { closed = true })
  await nextTurn()
  t.equal(closed, false)
  fail(new Error('cannot be read'))
  await Promise.all([opening, closing])
})

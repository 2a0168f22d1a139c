import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { taskId } from '../lib/enqueue.js'
import { defineTasks, tasksOf } from '../lib/index.js'
import { MemoryStore } from '../lib/store/memory-store.js'
import { start, watchAttempts } from './support/app.js'

const tasks = defineTasks({ count: { payload: Type.Object({ n: Type.Integer() }), queue: 'counts' } })
const COUNT = 1700

/** Sizes of the writes of tasks from now on: a number for each. */
function watchWrites (t: Test): number[] {
  const writes: number[] = []
  const { putTask, putTasks } = MemoryStore.prototype
  MemoryStore.prototype.putTask = function (task) {
    writes.push(1)
    return putTask.call(this, task)
  }
  MemoryStore.prototype.putTasks = function (tasks) {
    writes.push(tasks.length)
    return putTasks.call(this, tasks)
  }
  t.teardown(() => { Object.assign(MemoryStore.prototype, { putTask, putTasks }) })
  return writes
}

t.test('enqueueMany stores its items in a few writes, answers in their order, and all of them run', async t => {
  const attempts = watchAttempts(t)
  const writes = watchWrites(t)
  const seen = new Set<number>()
  const { app } = await start(t, { tasks, handlers: { count: ({ n }: { n: number }) => { seen.add(n) } } })
  const results = await tasksOf(app, tasks).enqueueMany('count', Array.from({ length: COUNT }, (_, n) => ({ payload: { n }, id: `${n}` })))
  t.same(results.map(result => result.status === 'fulfilled' && result.value.id), Array.from({ length: COUNT }, (_, n) => taskId('count', `${n}`)))
  t.same(writes, [500, 500, 500, 200])
  await attempts.ended(COUNT)
  t.equal(seen.size, COUNT)
})

t.test('enqueueMany reads its items no further ahead than two writes', async t => {
  const { app } = await start(t, { tasks })
  let [read, ahead] = [0, 0]
  const items = function * (): Generator<{ payload: { n: number } }> {
    for (; read < COUNT; read++) {
      ahead = Math.max(ahead, read - app.tasks.counts().counts!.waiting)
      yield { payload: { n: read } }
    }
  }
  await tasksOf(app, tasks).enqueueMany('count', items())
  t.equal(app.tasks.counts().counts!.waiting, COUNT)
  t.ok(ahead < 1000, String(ahead))
})

t.test('enqueueMany ends a write where its payloads are large', async t => {
  const writes = watchWrites(t)
  const { app } = await start(t, { tasks: defineTasks({ blob: { payload: Type.String() } }) })
  await app.tasks.enqueueMany('blob', Array.from({ length: 9 }, () => ({ payload: 'x'.repeat(300_000) })))
  t.same(writes, [4, 4, 1])
})

t.test('enqueueMany lets a duplicate, a wrong queue and a task that is too large end alone', async t => {
  const { app } = await start(t, { tasks: defineTasks({ any: { payload: Type.Unknown() } }) })
  await app.enqueue('any', 0, { id: 'there' })
  const results = await app.tasks.enqueueMany('any', [
    { payload: 1, id: 'there' },
    { payload: 2, queue: 'nowhere' },
    { payload: 'x'.repeat(1_046_600) },
    { payload: 3, id: 'twice' },
    { payload: 4, id: 'twice' },
    { payload: undefined },
    { payload: 5, scheduleDelaySeconds: 60 }
  ])
  t.match(results, [
    { value: { id: taskId('any', 'there'), duplicate: true } },
    { reason: { code: 'FST_TASKS_QUEUE_NOT_FOUND' } },
    { reason: { code: 'FST_TASKS_TOO_LARGE' } },
    { value: { id: taskId('any', 'twice'), duplicate: false } },
    { value: { id: taskId('any', 'twice'), duplicate: true } },
    { reason: { code: 'FST_TASKS_PAYLOAD_NOT_JSON' } },
    { value: { duplicate: false } }
  ])
})

t.test('enqueueMany keeps what it read before its source broke', async t => {
  const { app } = await start(t, { tasks })
  const items = function * (): Generator<{ payload: { n: number } }> {
    for (let n = 0; n < 600; n++) yield { payload: { n } }
    throw new Error('the source broke')
  }
  await t.rejects(app.tasks.enqueueMany('count', items()), { message: 'the source broke' })
  t.equal(app.tasks.counts().counts!.waiting, 600)
})

t.test('enqueueMany has a bounded number of asynchronous validations under way', async t => {
  let [open, most] = [0, 0]
  const payload = {
    '~standard': {
      version: 1,
      vendor: 'test',
      async validate (value: { n: number }) {
        most = Math.max(most, ++open)
        await new Promise(resolve => setImmediate(resolve))
        open--
        return value.n === 7 ? { issues: [{ message: 'is seven', path: ['n'] }] } : { value }
      }
    }
  }
  const { app } = await start(t, { tasks: defineTasks({ count: { payload: payload as object } }), enqueueConcurrency: 3 })
  const results = await app.tasks.enqueueMany('count', Array.from({ length: 20 }, (_, n) => ({ payload: { n } })))
  t.match(results[7], { status: 'rejected', reason: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 19)
  t.equal(most, 3)
})

t.test('enqueueMany rejects every item once the server has closed', async t => {
  const { app } = await start(t, { tasks })
  await app.close()
  const results = await app.tasks.enqueueMany('count', [{ payload: { n: 1 } }, { payload: { n: 'one' } }])
  t.match(results, [{ reason: { code: 'FST_TASKS_CLOSING' } }, { reason: { code: 'FST_TASKS_INVALID_PAYLOAD' } }])
})

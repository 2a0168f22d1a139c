import { Type } from '@sinclair/typebox'
import t from 'tap'
import { defineTasks, tasksOf } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ order: Type.Integer() }) } })

t.test('a postponed task waits as a copy that drain runs by the clock', async t => {
  const seen: unknown[] = []
  const { app } = await create<typeof tasks>(t, {
    tasks,
    handlers: {
      work (_, task) {
        seen.push([task.attempt, task.postponements, task.originalId])
        if (task.postponements < 2) task.retryAfter(3600, 'busy')
      }
    }
  })
  const kit = testTasks(app, tasks)
  const { id } = await tasksOf(app, tasks).enqueue('work', { order: 1 })
  t.match(await kit.drain(), [{ id, result: 'postponed', status: 200, retryTime: undefined }])
  const [copy] = kit.enqueued('work')
  t.not(copy!.id, id)
  kit.assertEnqueued('work', { order: 1 }, { scheduleTime: new Date(kit.clock.now() + 3_600_000), times: 1 })
  t.strictSame(await kit.advance('59m'), [])
  t.strictSame((await kit.drain({ scheduled: true })).map(({ result }) => result), ['postponed', 'done'])
  t.strictSame(seen, [[1, 0, id], [1, 1, id], [1, 2, id]])
  kit.refuteEnqueued('work')
})

t.test('deliver to a handler that postpones leaves nothing enqueued, as its task is in no queue', async t => {
  const { app } = await create<typeof tasks>(t, { tasks, handlers: { work: (_, task) => task.retryAfter(60) } })
  const kit = testTasks(app, tasks)
  const { result, status } = await kit.deliver('work', { order: 1 })
  t.strictSame([result, status], ['postponed', 200])
  t.strictSame(kit.enqueued(), [])
})

t.test('a dead letter is not enqueued any more, until it is replayed', async t => {
  let broken = true
  const { app } = await create<typeof tasks>(t, {
    tasks,
    deadLetterQueue: 'dead-letters',
    queues: { default: { retryConfig: { maxAttempts: 3 } } },
    handlers: { work () { if (broken) throw new Error('no luck') } }
  })
  const kit = testTasks(app, tasks)
  const { id } = await tasksOf(app, tasks).enqueue('work', { order: 1 })
  t.strictSame((await kit.drain({ scheduled: true })).map(({ result }) => result), ['retry', 'retry', 'retry'])
  t.strictSame(kit.enqueued(), [])
  const { letters } = await app.tasks.deadLetters.list()
  t.match(letters, [{ task: 'work', taskId: id, attempts: 3, error: { message: 'no luck' } }])
  broken = false
  await app.tasks.deadLetters.replay(letters[0]!.id)
  kit.assertEnqueued('work', { order: 1 })
  t.match(await kit.drain(), [{ attempt: 1, result: 'done' }])
})

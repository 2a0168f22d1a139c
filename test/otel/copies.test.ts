import { trace } from '@opentelemetry/api'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { startSdk } from './sdk.js'

const tasks = defineTasks({ work: { payload: Type.Object({}), queue: 'jobs' } })

t.test('copies of a task link to the producer: the successor of retryAfter, and the replay of a dead letter', async t => {
  const sdk = startSdk(t)
  const app = Fastify()
  t.teardown(() => app.close())
  const exhausted: Array<string | undefined> = []
  let broken = true
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    deadLetterQueue: 'dead-letters',
    queues: { jobs: { retryConfig: { maxAttempts: 1 } } },
    onExhausted: () => { exhausted.push(trace.getActiveSpan()?.spanContext().spanId) },
    handlers: {
      work (_, task) {
        if (task.postponements === 0) task.retryAfter(3600, 'the service is busy')
        if (broken) throw new Error('no luck')
      }
    }
  })
  const kit = testTasks(app, tasks)
  await tasksOf(app, tasks).enqueue('work', {})
  await kit.drain({ scheduled: true })
  broken = false
  const { letters: [letter] } = await app.tasks.deadLetters.list()
  await app.tasks.deadLetters.replay(letter!.id)
  await kit.drain()

  const spans = sdk.spans()
  const [send, ...others] = spans.filter(({ kind }) => kind === 'PRODUCER')
  t.strictSame(others, [], 'a copy is no message of its own')
  const processed = spans.filter(({ kind }) => kind === 'CONSUMER')
  t.strictSame(processed.map(({ attributes }) => [attributes['fastify_cloud_tasks.result'], attributes['http.response.status_code']]), [
    ['postponed', 200], ['retry', 500], ['done', 204]
  ])
  t.strictSame(processed[0]!.status, { code: 0 }, 'to be postponed is no error')
  t.strictSame(processed.map(({ links }) => links), [[send!.spanId], [send!.spanId], [send!.spanId]])
  t.strictSame(exhausted, [processed[1]!.spanId], "the attempt's span is the active one in onExhausted")
})

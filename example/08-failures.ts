/**
 * Tasks that do not succeed at once: one is postponed because a third party asks for it, one fails until it becomes a dead letter, which
 * is replayed once the cause is gone. The test kit moves the clock through an hour and the backoff, so that nothing waits.
 */
import assert from 'node:assert/strict'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from 'fastify-cloud-tasks'
import { testTasks } from 'fastify-cloud-tasks/testing'

const tasks = defineTasks({
  'call-webhook': { payload: Type.Object({ url: Type.String() }) },
  'import-file': { payload: Type.Object({ file: Type.String() }) }
})
let uploaded = false

const app = Fastify()
await app.register(cloudTasks, {
  tasks,
  transport: 'local',
  deadLetterQueue: 'dead-letters',
  queues: { default: { retryConfig: { maxAttempts: 3, minBackoffSeconds: 10 } } },
  handlers: {
    async 'call-webhook' (_, task) {
      if (task.postponements === 0) task.retryAfter(3600, 'answered 429')
    },
    async 'import-file' ({ file }) {
      if (!uploaded) throw new Error(`${file} is not uploaded yet`)
    }
  }
})
const { enqueue, deadLetters } = tasksOf(app, tasks)
const kit = testTasks(app, tasks)

await enqueue('call-webhook', { url: 'https://partner.example/hook' })
assert.deepEqual(await run(), ['call-webhook 1: postponed', 'call-webhook 1: done'])

await enqueue('import-file', { file: 'customers.csv' })
assert.deepEqual(await run(), ['import-file 1: retry', 'import-file 2: retry', 'import-file 3: retry'])

const { letters } = await deadLetters.list()
assert.equal(letters.length, 1)
console.log('dead letter:', letters[0])

uploaded = true
console.log('replay:', await deadLetters.replay({ task: 'import-file' }))
assert.deepEqual(await run(), ['import-file 1: done'])
assert.deepEqual((await deadLetters.list()).letters, [])
await app.close()

/** Runs what is enqueued, now and later. */
async function run (): Promise<string[]> {
  const attempts = await kit.drain({ scheduled: true })
  return attempts.map(({ task, attempt, result, retryTime }) => {
    console.log(`${task}, attempt ${attempt}: ${result}${retryTime === undefined ? '' : `, again at ${retryTime.toISOString()}`}`)
    return `${task} ${attempt}: ${result}`
  })
}

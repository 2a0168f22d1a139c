/**
 * Tasks that do not succeed at once: one is postponed because a third party asks for it, one fails until it becomes a dead letter, which
 * is replayed once the cause is gone.
 */
import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type AttemptEvent } from 'fastify-cloud-tasks'

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
  queues: { default: { retryConfig: { maxAttempts: 3, minBackoffSeconds: 0.05 } } },
  handlers: {
    async 'call-webhook' (_, task) {
      if (task.postponements === 0) task.retryAfter(0.5, 'answered 429')
    },
    async 'import-file' ({ file }) {
      if (!uploaded) throw new Error(`${file} is not uploaded yet`)
    }
  }
})
await app.ready()
const { enqueue, deadLetters } = tasksOf(app, tasks)

let attempts = attemptsUntil('done')
await enqueue('call-webhook', { url: 'https://partner.example/hook' })
assert.deepEqual(await attempts, ['call-webhook 1: postponed', 'call-webhook 1: done'])

attempts = attemptsUntil('exhausted')
await enqueue('import-file', { file: 'customers.csv' })
assert.deepEqual(await attempts, ['import-file 1: retry', 'import-file 2: retry', 'import-file 3: exhausted'])

const { letters } = await deadLetters.list()
assert.equal(letters.length, 1)
console.log('dead letter:', letters[0])

uploaded = true
attempts = attemptsUntil('done')
console.log('replay:', await deadLetters.replay({ task: 'import-file' }))
assert.deepEqual(await attempts, ['import-file 1: done'])
assert.deepEqual((await deadLetters.list()).letters, [])
await app.close()

/** The attempts that end from now on, up to the first with that result. */
async function attemptsUntil (result: 'done' | 'exhausted'): Promise<string[]> {
  return await new Promise(resolve => {
    const attempts: string[] = []
    subscribe('tracing:fastify-cloud-tasks:attempt:asyncEnd', function ended (message) {
      const event = message as AttemptEvent
      const outcome = event.exhausted ? 'exhausted' : event.result
      console.log(`${event.task}, attempt ${event.attempt}: ${outcome}`)
      attempts.push(`${event.task} ${event.attempt}: ${outcome}`)
      if (outcome !== result) return
      unsubscribe('tracing:fastify-cloud-tasks:attempt:asyncEnd', ended)
      resolve(attempts)
    })
  })
}

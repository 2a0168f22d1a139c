/** Payload schemas of several libraries in one registry: each types `enqueue` and its handler, and is checked at both ends. */
import assert from 'node:assert/strict'
import { type } from 'arktype'
import Fastify from 'fastify'
import * as v from 'valibot'
import * as z from 'zod'
import cloudTasks, { defineTasks, tasksOf } from 'fastify-cloud-tasks'

const tasks = defineTasks({
  'send-receipt': { payload: z.object({ order: z.string(), email: z.email(), paidAt: z.coerce.date() }) },
  'make-thumbnail': { payload: v.object({ photo: v.string(), width: v.optional(v.number(), 320) }) },
  'sync-customer': { payload: type({ customer: 'number.integer' }) }
})

const app = Fastify()
await app.register(cloudTasks, {
  tasks,
  transport: 'local',
  handlers: {
    // What the schema makes of the payload reaches the handler, a Date and a default here; the queue keeps the JSON that was enqueued.
    'send-receipt': async ({ order, paidAt }) => `receipt of ${order}, paid in ${paidAt.getUTCFullYear()}`,
    'make-thumbnail': async ({ photo, width }) => `${photo} at ${width}`,
    'sync-customer': async ({ customer }) => `customer ${customer + 1} is the next`
  }
})
await app.ready()
const { run, enqueue, list } = tasksOf(app, tasks)

const results = [
  await run('send-receipt', { order: '42', email: 'ada@example.com', paidAt: '2026-11-26T12:00:00Z' }),
  await run('make-thumbnail', { photo: 'cat.jpg' }),
  await run('sync-customer', { customer: 7 })
]
console.log(results)
assert.deepEqual(results, ['receipt of 42, paid in 2026', 'cat.jpg at 320', 'customer 8 is the next'])

await assert.rejects(enqueue('send-receipt', { order: '42', email: 'ada', paidAt: 0 }), (error: Error & { code: string }) => {
  console.log(error.code, error.message)
  return error.code === 'FST_TASKS_INVALID_PAYLOAD' && error.message.includes('payload/email')
})
const described = list().filter(({ schema }) => schema !== undefined).map(({ name }) => name)
console.log('with a JSON Schema for documents and forms:', described.join(', '))
assert.deepEqual(described, ['sync-customer'])
await app.close()

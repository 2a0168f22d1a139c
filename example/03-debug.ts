/** Debugging without a queue: `app.tasks.run` calls the handler here and now, so a breakpoint in it simply stops. */
import assert from 'node:assert/strict'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type TaskHandlers } from 'fastify-cloud-tasks'

const tasks = defineTasks({
  'total-order': { payload: Type.Object({ prices: Type.Array(Type.Number()), currency: Type.String({ default: 'EUR' }) }) },
  'fail-loudly': { payload: Type.Object({}) }
})

const handlers: TaskHandlers<typeof tasks> = {
  async 'total-order' ({ prices, currency }) { return `${prices.reduce((sum, price) => sum + price, 0)} ${currency}` },
  async 'fail-loudly' () { throw new RangeError('this very error reaches you, stack and all') }
}

const app = Fastify()
await app.register(cloudTasks, { tasks, handlers, transport: 'local' })
const client = tasksOf(app, tasks)

console.table(client.list().map(({ name, method, path, queue, handler }) => ({ name, method, path, queue, handler })))

const total = await client.run('total-order', { prices: [3, 4.5], currency: 'EUR' })
console.log('total-order returned:', total)
assert.equal(total, '7.5 EUR')

await assert.rejects(client.run('fail-loudly', {}), error => {
  console.log('fail-loudly threw:', error)
  return error instanceof RangeError
})

await assert.rejects(client.run('total-order', { prices: ['three'] } as never), (error: Error & { code: string }) => {
  console.log(error.code, error.message)
  return error.code === 'FST_TASKS_INVALID_PAYLOAD'
})
await app.close()

/** Debugging without a queue: `app.tasks.run` calls the handler here and now, so a breakpoint in it simply stops. */
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
console.log('total-order returned:', await client.run('total-order', { prices: [3, 4.5], currency: 'EUR' }))
for (const attempt of [
  () => client.run('fail-loudly', {}),
  () => client.run('total-order', { prices: ['three'] } as never)
]) {
  await attempt().catch((error: Error & { code?: string }) => { console.log(`${error.name} ${error.code ?? ''} ${error.message}`) })
}
await app.close()

/** An app as its tests see it: `build()` makes one, and does not listen. See `06-testing.test.ts`. */
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type TaskHandlers } from 'fastify-cloud-tasks'

export const tasks = defineTasks({
  'charge-card': { payload: Type.Object({ order: Type.String(), cents: Type.Integer() }) },
  'send-receipt': { payload: Type.Object({ order: Type.String() }) },
  'ask-for-review': { payload: Type.Object({ order: Type.String() }) }
})

/** What the app works with, so that a test can pass its own. */
export interface Services {
  charge (order: string, cents: number): Promise<void>
  mail (text: string): Promise<void>
}

export async function build (services: Services): Promise<FastifyInstance> {
  const app = Fastify()
  const handlers: TaskHandlers<typeof tasks> = {
    async 'charge-card' ({ order, cents }, task) {
      if (cents === 0) task.drop('nothing to charge')
      await services.charge(order, cents)
      await tasksOf(app, tasks).enqueue('send-receipt', { order }, { id: order })
    },
    async 'send-receipt' ({ order }) { await services.mail(`receipt ${order}`) },
    async 'ask-for-review' ({ order }) { await services.mail(`how was ${order}?`) }
  }
  await app.register(cloudTasks, {
    tasks,
    handlers,
    queues: { default: { retryConfig: { maxAttempts: 4, minBackoffSeconds: 60 } } },
    onExhausted: async payload => { await services.mail(`cannot charge ${(payload as { order: string }).order}`) }
  })
  app.post<{ Body: { order: string, cents: number } }>('/orders', async (request, reply) => {
    const { order, cents } = request.body
    const { enqueue } = tasksOf(app, tasks)
    await enqueue('charge-card', { order, cents }, { id: order })
    await enqueue('ask-for-review', { order }, { scheduleDelaySeconds: 7 * 86_400 })
    return reply.code(202).send({ accepted: true })
  })
  return app
}

if (process.argv[1] === import.meta.filename) {
  const app = await build({ charge: async () => {}, mail: async () => {} })
  console.table(tasksOf(app, tasks).list().map(({ name, path, queue }) => ({ name, path, queue })))
  await app.close()
}

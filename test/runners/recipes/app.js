import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks } from 'fastify-cloud-tasks'

const tasks = defineTasks({ 'send-receipt': { payload: Type.Object({ order: Type.String() }) } })

export async function build () {
  const app = Fastify()
  app.decorate('sent', [])
  await app.register(cloudTasks, { tasks, handlers: { 'send-receipt': async ({ order }) => { app.sent.push(order) } } })
  app.post('/orders', async ({ body: { order, scheduleDelaySeconds = 0 } }) => {
    return await app.enqueue('send-receipt', { order }, { id: order, scheduleDelaySeconds })
  })
  return app
}

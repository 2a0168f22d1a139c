/** This package the whole way: `app.enqueue` with validation, the directory, the route by loopback, the handler. */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { WIDTH } from './contenders.js'

/** @type {import('./contenders.js').Open} */
export async function open ({ directory, build }, handler) {
  const { default: cloudTasks, defineTasks, tasksOf } = await import(build)
  const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer(), text: Type.String() }) } })
  const app = Fastify()
  await app.register(cloudTasks, {
    tasks,
    handlers: { work: handler },
    transport: 'local',
    local: { directory },
    queues: { default: { rateLimits: { maxDispatchesPerSecond: 1_000_000, maxConcurrentDispatches: WIDTH } } }
  })
  const { enqueue } = tasksOf(app, tasks)
  return {
    add: payload => enqueue('work', payload),
    // Until the server is ready the embedded queue only stores.
    work: () => app.ready(),
    close: () => app.close()
  }
}

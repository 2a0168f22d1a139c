/**
 * One file of definitions, two services: the producer imports no worker code, the worker runs what it has handlers for.
 * In the cloud they would be two deployments with one queue between them; here each boots to show what it mounts.
 */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from 'fastify-cloud-tasks'

const tasks = defineTasks({
  resize: { payload: Type.Object({ photo: Type.String(), width: Type.Integer({ minimum: 1 }) }) },
  notify: { payload: Type.Object({ user: Type.String() }) }
})

const producer = Fastify()
await producer.register(cloudTasks, { tasks, transport: 'local' })
await producer.ready()
console.log('producer mounts', tasksOf(producer, tasks).list().filter(task => task.handler).length, 'routes')
const wrong = await tasksOf(producer, tasks).enqueueMany('resize', [
  { payload: { photo: 'a.jpg', width: 100 }, scheduleDelaySeconds: 3600, id: 'a' },
  { payload: { photo: 'b.jpg', width: 0 } }
])
console.log('enqueueMany:', wrong.map(one => one.status === 'fulfilled' ? 'queued' : one.reason.message))
console.log('taken back:', await tasksOf(producer, tasks).delete('resize', 'a'))
await producer.close()

const worker = Fastify()
await worker.register(cloudTasks, {
  tasks,
  transport: 'local',
  handlers: {
    async resize ({ photo, width }) {
      return `${photo} at ${width}`
    }
  }
})
await worker.ready()
console.log('worker mounts', tasksOf(worker, tasks).list().filter(task => task.handler).map(task => task.path).join(', '))
await worker.close()

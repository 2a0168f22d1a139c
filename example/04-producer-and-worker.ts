/**
 * One file of definitions, two services: the producer imports no worker code, the worker runs what it has handlers for.
 * In the cloud they would be two deployments with one queue between them; here each boots to show what it mounts.
 */
import assert from 'node:assert/strict'
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
assert.equal(producer.hasRoute({ method: 'POST', url: '/tasks/resize' }), false)
console.log('the producer mounts no route')

const [good, bad] = await tasksOf(producer, tasks).enqueueMany('resize', [
  { payload: { photo: 'a.jpg', width: 100 }, scheduleDelaySeconds: 3600, id: 'a' },
  { payload: { photo: 'b.jpg', width: 0 } }
])
assert.equal(good?.status, 'fulfilled')
assert.ok(bad?.status === 'rejected' && bad.reason.code === 'FST_TASKS_INVALID_PAYLOAD')
console.log(`enqueueMany: one is queued, one is refused: ${bad.reason.message}`)

assert.equal(await tasksOf(producer, tasks).delete('resize', 'a'), true)
console.log('the first is deleted by its id')
await producer.close()

const worker = Fastify()
await worker.register(cloudTasks, { tasks, transport: 'local', handlers: { resize: ({ photo, width }) => `${photo} at ${width}` } })
await worker.ready()
const mounted = tasksOf(worker, tasks).list().filter(task => task.handler).map(task => task.path)
assert.deepEqual(mounted, ['/tasks/resize'])
console.log('the worker mounts', mounted.join())
await worker.close()

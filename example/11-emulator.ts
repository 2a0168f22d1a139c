/**
 * The emulator in front of a worker that is configured as in production: tasks travel over gRPC and HTTP, and each attempt carries a
 * signed token that the worker verifies.
 */
import assert from 'node:assert/strict'
import { createServer, type AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from 'fastify-cloud-tasks'
import { createEmulator } from 'fastify-cloud-tasks/emulator'

const tasks = defineTasks({ 'send-receipt': { payload: Type.Object({ order: Type.String() }) } })

const emulator = createEmulator({ port: 0, queues: ['projects/demo/locations/us-central1/queues/default'] })
console.log('emulator at', await emulator.listen())
Object.assign(process.env, { CLOUD_TASKS_EMULATOR_HOST: emulator.address, METADATA_SERVER_DETECTION: 'none' })

const port = await freePort()
const worker = Fastify()
const ran = new Promise<{ order: string, token: string | undefined }>(resolve => {
  worker.register(cloudTasks, {
    tasks,
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url: `http://127.0.0.1:${port}` },
    auth: 'emulator',
    handlers: { 'send-receipt': async ({ order }, task) => { resolve({ order, token: task.request?.headers.authorization }) } }
  })
})
const url = await worker.listen({ host: '127.0.0.1', port })

const { id } = await tasksOf(worker, tasks).enqueue('send-receipt', { order: '42' })
const { order, token } = await ran
console.log(`task ${id} ran, with a token of ${token?.length ?? 0} characters`)
assert.equal(order, '42')
assert.match(token ?? '', /^Bearer .+\..+\..+$/)

const { status } = await fetch(`${url}/tasks/send-receipt`, { method: 'POST', body: '{"order":"43"}' })
console.log(`a call without a token is answered ${status}`)
assert.equal(status, 401)
await worker.close()
await emulator.close()

/** The emulator has to know where the worker will listen before it does. */
async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => { server.close(resolve) })
  return port
}

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { createEmulator, type Emulator } from '../../lib/emulator/index.js'
import { environment } from '../support/environment.js'

const QUEUE = 'projects/demo/locations/us-central1/queues/default'
const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const tasks = defineTasks({ 'send-receipt': { payload: Type.Object({ order: Type.String() }), path: '/receipt' } })

t.test('tasks that hand-written code has created run in a handler once their audience is listed', async t => {
  const emulator = await startEmulator(t)
  const app = Fastify()
  const ran = new Promise<string>(resolve => {
    const origin = 'https://orders.example.com'
    app.register(cloudTasks, {
      tasks,
      prefix: '/jobs',
      transport: 'cloud',
      project: 'demo',
      location: 'us-central1',
      target: { type: 'http', url: origin, serviceAccountEmail: ACCOUNT },
      auth: { audience: [origin, `${origin}/jobs/receipt`], issuer: emulator.url, jwksUri: `${emulator.url}/jwks` },
      handlers: { 'send-receipt': ({ order }) => { resolve(order) } }
    })
  })
  t.teardown(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  // Without a content type, and with the whole URL as the audience, as Cloud Tasks fills it in.
  const httpRequest = {
    url: `${url}/jobs/receipt`,
    body: Buffer.from('{"order":"42"}'),
    oidcToken: { serviceAccountEmail: ACCOUNT, audience: 'https://orders.example.com/jobs/receipt' }
  }
  await emulator.engine.createTask(QUEUE, { httpRequest })
  t.equal(await ran, '42')
  await emulator.engine.createTask(QUEUE, { name: `${QUEUE}/tasks/waits`, httpRequest, scheduleAt: Date.now() + 3_600_000 })
  t.equal(await tasksOf(app, tasks).delete('send-receipt', 'waits'), true, 'and are deleted by their own id')
})

t.test('a task for a route of another program arrives as JSON with a token for its origin', async t => {
  await startEmulator(t)
  const other = createServer()
  const received = once(other, 'request').then(async ([request, response]: any[]) => {
    const body = Buffer.concat(await request.toArray()).toString()
    response.writeHead(204).end()
    return { url: request.url, headers: request.headers, body }
  })
  await new Promise<void>(resolve => { other.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => { other.close(resolve).closeAllConnections() }))
  const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`

  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cloudTasks, {
    tasks,
    prefix: '',
    transport: 'cloud',
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url, serviceAccountEmail: ACCOUNT }
  })
  await app.ready()
  await tasksOf(app, tasks).enqueue('send-receipt', { order: '42' }, { dispatchDeadlineSeconds: 60 })
  const { headers, ...rest } = await received
  t.strictSame(rest, { url: '/receipt', body: '{"order":"42"}' })
  t.hasStrict(headers, { 'content-type': 'application/json', 'fastify-cloud-tasks-deadline': '60' })
  t.hasStrict(decodeJwt(headers.authorization!.replace('Bearer ', '')), { aud: url, email: ACCOUNT, email_verified: true })
})

async function startEmulator (t: Test): Promise<Emulator> {
  const emulator = createEmulator({ port: 0, queues: [QUEUE] })
  await emulator.listen()
  t.teardown(() => emulator.close())
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: emulator.address })
  return emulator
}

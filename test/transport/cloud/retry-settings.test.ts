import t from 'tap'
import { createEmulator } from '../../../lib/emulator/index.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../../lib/cloud-tasks/limits.js'
import { resolveConfig } from '../../../lib/options/config.js'
import { ClientSource } from '../../../lib/transport/cloud/client.js'
import { CloudRetrySettings } from '../../../lib/transport/cloud/retry-settings.js'

t.test('the settings in Cloud Tasks are read by the official client', async t => {
  const parent = 'projects/demo/locations/us-central1'
  const emulator = createEmulator({ port: 0, queues: [`${parent}/queues/q`] })
  t.teardown(() => emulator.close())
  await emulator.listen()
  const config = resolveConfig(
    { tasks: {}, transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url: 'https://w.example' } },
    { CLOUD_TASKS_EMULATOR_HOST: emulator.address },
    false
  )
  const clients = new ClientSource(config)
  t.teardown(() => clients.close())
  // A call has a limit in real time, which a busy machine can exceed. That it has one is tested in queues.test.ts.
  const patient = <M extends (request: any, options: any) => unknown>(method: M) =>
    (async (request: object) => await method(request, { timeout: 600_000, retry: null })) as unknown as M
  const { client, project } = await clients.open()
  const { client: beta } = await clients.openBeta()
  const read = new CloudRetrySettings(config, {
    open: async () => ({ client: { getQueue: patient(client.getQueue.bind(client)) }, project }),
    openBeta: async () => ({ client: { getTask: patient(beta.getTask.bind(beta)) }, project })
  } as never)
  const { retryConfig } = DEFAULT_QUEUE_SETTINGS

  t.test("a queue's", async t => {
    t.strictSame(await read.ofQueue('q'), { outcome: 'read', retryConfig })
    await emulator.engine.updateQueue(`${parent}/queues/q`, { retryConfig: { maxAttempts: -1, maxRetrySeconds: 90.5 } })
    t.strictSame(await read.ofQueue('q'), { outcome: 'read', retryConfig: { ...retryConfig, maxAttempts: -1, maxRetrySeconds: 90.5 } })
    t.strictSame(await read.ofQueue('missing'), { outcome: 'missing' })
  })

  t.test("a task's own, if it has some", async t => {
    const httpRequest = { url: 'http://127.0.0.1:1/' }
    await emulator.engine.pauseQueue(`${parent}/queues/q`)
    await emulator.engine.createTask(`${parent}/queues/q`, {
      name: `${parent}/queues/q/tasks/own`,
      httpRequest,
      retryConfig: { maxAttempts: 7 }
    })
    await emulator.engine.createTask(`${parent}/queues/q`, { name: `${parent}/queues/q/tasks/plain`, httpRequest })
    t.strictSame(await read.ofTask?.('q', 'own'), { outcome: 'read', retryConfig: { ...retryConfig, maxAttempts: 7 } })
    t.strictSame(await read.ofTask?.('q', 'plain'), { outcome: 'missing' })
    t.strictSame(await read.ofTask?.('q', 'gone'), { outcome: 'missing' })
  })
})

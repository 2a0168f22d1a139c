import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { createEmulator, type Emulator } from '../../lib/emulator/index.js'
import cloudTasks, { type CloudTasksOptions, type TaskDefinitions } from '../../lib/index.js'
import { environment } from './environment.js'
import type { LogLine } from './app.js'
import { freePort } from './free-port.js'

export const PARENT = 'projects/demo/locations/us-central1'

export interface CloudWorker {
  readonly app: FastifyInstance
  readonly emulator: Emulator
  readonly log: LogLine[]
  /** Origin of the worker. */
  readonly url: string
}

/** A worker of the transport `cloud` and the emulator that sends it its tasks, both listening, until the test ends. */
export async function startCloudWorker<M extends TaskDefinitions> (
  t: Test, options: CloudTasksOptions<M>, queues: Readonly<Record<string, object>>, prepare: (emulator: Emulator) => unknown = () => {},
  emulator = createEmulator({ port: 0 })
): Promise<CloudWorker> {
  await emulator.listen()
  for (const [id, retryConfig] of Object.entries(queues)) await emulator.engine.createQueue(`${PARENT}/queues/${id}`, { retryConfig })
  await prepare(emulator)
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: emulator.address })
  const log: LogLine[] = []
  const app = Fastify({ logger: { level: 'info', stream: { write: (line: string) => { log.push(JSON.parse(line)) } } } })
  t.teardown(async () => {
    await app.close()
    await emulator.close()
  })
  const url = `http://127.0.0.1:${await freePort()}`
  await app.register(cloudTasks, {
    transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url }, auth: 'emulator', ...options
  } as CloudTasksOptions)
  await app.listen({ host: '127.0.0.1', port: Number(new URL(url).port) })
  return { app, emulator, log, url }
}

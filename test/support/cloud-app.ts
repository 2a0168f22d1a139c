import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { environment } from './environment.js'
import { echo, startRecordingServer, type RecordingServer, type Reply } from './recording-server.js'

export const tasks = defineTasks({
  mail: { payload: Type.Object({ to: Type.String(), body: Type.Optional(Type.String()) }) },
  change: { path: '/users/change', method: 'PUT', payload: Type.Any(), queue: 'slow', dispatchDeadlineSeconds: 90 }
})

export const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'

export const CLOUD: Partial<CloudTasksOptions> = {
  transport: 'cloud',
  project: 'demo',
  location: 'us-central1',
  target: { type: 'http', url: 'https://worker.example.com', serviceAccountEmail: ACCOUNT }
}

export async function startServer (t: Test): Promise<RecordingServer> {
  const server = await startRecordingServer()
  t.teardown(() => server.close())
  return server
}

/** An app with the plugin on the cloud transport, all of whose calls go to `server`. */
export async function startApp (
  t: Test,
  server: RecordingServer,
  options: Partial<CloudTasksOptions> = {},
  instance: FastifyInstance = Fastify()
): Promise<FastifyInstance> {
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: server.host })
  t.teardown(() => instance.close())
  await instance.register(cloudTasks, { tasks, ...CLOUD, ...options } as CloudTasksOptions)
  await instance.ready()
  return instance
}

/** Lets the server give these answers first, then whatever it gave before. */
export function replies (server: RecordingServer, ...first: Array<Reply | (() => Reply)>): void {
  server.reply = call => {
    const next = first.shift() ?? echo(call)
    return typeof next === 'function' ? next() : next
  }
}

export const turn = async () => await new Promise(resolve => { setImmediate(resolve) })

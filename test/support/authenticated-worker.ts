import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { ACCOUNT, AUDIENCE } from './token-issuer.js'

export const tasks = defineTasks({ count: { payload: Type.Object({ n: Type.Integer() }) } })

export const CLOUD: Partial<CloudTasksOptions> = {
  transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url: AUDIENCE, serviceAccountEmail: ACCOUNT }
}

export interface Worker {
  readonly app: FastifyInstance
  /** Payloads that the handler got. */
  readonly ran: unknown[]
  readonly log: string[]
  call (headers: Record<string, string>, path?: string): Promise<{ status: number, body: string }>
}

export async function startWorker (t: Test, options: Partial<CloudTasksOptions>): Promise<Worker> {
  const log: string[] = []
  const ran: unknown[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { log.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(cloudTasks, {
    tasks,
    handlers: {
      count: (payload: unknown) => {
        ran.push(payload)
      }
    },
    ...options
  } as CloudTasksOptions)
  await app.ready()
  return {
    app,
    ran,
    log,
    async call (headers, path = '/tasks/count') {
      const { statusCode, body } = await app.inject({ method: 'POST', url: path, headers, payload: { n: 1 } })
      return { status: statusCode, body }
    }
  }
}

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import cloudTasks, { type AttemptEvent, type CloudTasksOptions, type TaskDefinitions } from '../../lib/index.js'

/** Log lines of an app, parsed. */
export interface LogLine { readonly level: number, readonly msg: string, readonly [key: string]: unknown }

export interface Started {
  readonly app: FastifyInstance
  readonly log: LogLine[]
}

/** An app with the plugin on the embedded queue, ready, and closed at the end of the test. */
export async function start<M extends TaskDefinitions> (
  t: Test, options: CloudTasksOptions<M>, prepare: (app: FastifyInstance) => unknown = () => {}, server: FastifyServerOptions = {}
): Promise<Started> {
  const created = await create(t, options, prepare, server)
  await created.app.ready()
  return created
}

/** As `start`, but not ready yet. */
export async function create<M extends TaskDefinitions> (
  t: Test, options: CloudTasksOptions<M>, prepare: (app: FastifyInstance) => unknown = () => {}, server: FastifyServerOptions = {}
): Promise<Started> {
  const log: LogLine[] = []
  const app = Fastify({ logger: { level: 'debug', stream: { write: (line: string) => { log.push(JSON.parse(line)) } } }, ...server })
  t.teardown(() => app.close())
  await prepare(app)
  await app.register(cloudTasks, { transport: 'local', ...options } as CloudTasksOptions)
  return { app, log }
}

/** The ends of attempts, in their order, and a way to wait for the next ones. */
export function watchAttempts (t: Test) {
  const ends: AttemptEvent[] = []
  let wake = (): void => {}
  const listener = (event: unknown): void => {
    ends.push(event as AttemptEvent)
    wake()
  }
  subscribe('tracing:fastify-cloud-tasks:attempt:asyncEnd', listener)
  t.teardown(() => { unsubscribe('tracing:fastify-cloud-tasks:attempt:asyncEnd', listener) })
  return {
    ends,
    /** Resolves once `count` attempts have ended since the watch began. */
    async ended (count: number): Promise<AttemptEvent[]> {
      while (ends.length < count) await new Promise<void>(resolve => { wake = resolve })
      return ends
    }
  }
}

/** A promise and its resolver. */
export function gate () {
  let open = (): void => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  return { open, opened }
}

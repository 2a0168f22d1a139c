import { AsyncResource } from 'node:async_hooks'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { RESULT_HEADER } from '../../lib/delivery/headers.js'
import { OneTimeSecrets } from '../../lib/delivery/one-time-secrets.js'
import { resolveConfig } from '../../lib/options/config.js'
import { LocalTransport, type LocalTransportOptions } from '../../lib/transport/local.js'
import type { OutgoingTask } from '../../lib/transport/transport.js'
import type { LogLine } from './app.js'

export const PARENT = 'projects/demo/locations/us-central1'

export const outgoing: OutgoingTask = {
  id: undefined,
  method: 'POST',
  path: '/work',
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{}'),
  scheduleAt: undefined,
  dispatchDeadlineMs: undefined
}

export interface TransportSetting extends Partial<Pick<LocalTransportOptions, 'queueIds' | 'createsQueues' | 'onExpired' | 'clock'>> {
  readonly options?: object
  readonly pluginTimeout?: number
  /** Answers an attempt. @default 204 from the task route */
  readonly route?: (request: IncomingMessage, response: ServerResponse) => void
}

export const done = (_request: IncomingMessage, response: ServerResponse) => { response.writeHead(204, { [RESULT_HEADER]: 'done' }).end() }

/** The embedded queue of an app that consists of one route, not open yet. */
export function createTransport (t: Test, { options = {}, route = done, pluginTimeout = 0, ...rest }: TransportSetting = {}) {
  const log: LogLine[] = []
  const add = (level: number) => (fields: object, msg: string) => { log.push({ level, msg, ...fields }) }
  const app = {
    prefix: '',
    server: {},
    initialConfig: { pluginTimeout },
    routing: route,
    log: { info: add(30), warn: add(40), error: add(50), fatal: add(60) }
  }
  const config = resolveConfig({ tasks: {}, transport: 'local', project: 'demo', location: 'us-central1', ...options } as never, {}, true)
  const clock = new ManualClock()
  const transport = new LocalTransport({
    app: app as never, config, clock, scope: new AsyncResource('test'), secrets: new OneTimeSecrets(), onExpired: async () => {}, queueIds: [], ...rest
  })
  t.teardown(async () => {
    const state = { closed: false }
    const closing = transport.close().finally(() => { state.closed = true })
    while (!state.closed) await clock.advance(0)
    await closing
  })
  return { transport, log, clock }
}

export async function startTransport (t: Test, setting: TransportSetting = {}) {
  const created = createTransport(t, setting)
  await created.transport.open()
  await created.transport.opened()
  return created
}

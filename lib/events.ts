import { channel } from 'node:diagnostics_channel'

/**
 * Diagnostics channels: `node:diagnostics_channel` brings these messages to whoever subscribes, and costs nothing where
 * nobody does. A message has the same keys whether things went well or not. Payloads are never in it.
 */
export interface EnqueueEvent {
  readonly task: string
  /** Undefined when nothing was enqueued and no id was chosen. */
  readonly id: string | undefined
  readonly queue: string
  readonly scheduleTime: Date | undefined
  readonly duplicate: boolean
  readonly error: unknown
}

export interface AttemptStartEvent {
  readonly task: string
  readonly id: string
  readonly queue: string
  readonly attempt: number
}

export interface AttemptEndEvent extends AttemptStartEvent {
  readonly result: 'done' | 'retry' | 'dropped'
  /** What the route answers. */
  readonly status: number
  readonly durationMs: number
  /** True when this was a failure of the last attempt. */
  readonly exhausted: boolean
  readonly error: unknown
}

export interface ExpiredEvent {
  readonly count: number
  /** Ids of the first of them, at most ten. */
  readonly ids: readonly string[]
}

/** `fastify-cloud-tasks:enqueue`: a call of `enqueue` has ended. */
export const enqueueChannel = channel('fastify-cloud-tasks:enqueue')

/** `fastify-cloud-tasks:attempt:start`: a handler is about to run. */
export const attemptStartChannel = channel('fastify-cloud-tasks:attempt:start')

/** `fastify-cloud-tasks:attempt:end`: an attempt is about to be answered. */
export const attemptEndChannel = channel('fastify-cloud-tasks:attempt:end')

/** `fastify-cloud-tasks:expired`: the embedded queue has dropped tasks that were older than 31 days; at most one message a second. */
export const expiredChannel = channel('fastify-cloud-tasks:expired')

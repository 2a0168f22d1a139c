import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Engine } from './engine/engine.js'
import { chainOf } from './instance.js'
import type { PayloadCodec } from './payload.js'
import type { RegisteredTask, Registry } from './registry.js'
import type { RunResult } from './worker/run.js'
import type { AttemptWatchers } from './worker/watchers.js'

/**
 * What the plugin shows to the other parts of this package that live in the same app, such as the console. Not for users:
 * nothing leads here from what the package exports.
 */
export interface Internals {
  /** The instance that the plugin is registered on. */
  readonly app: FastifyInstance
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly watchers: AttemptWatchers
  /** Undefined where the queues are in Google Cloud. */
  readonly local: LocalQueues | undefined
  /** Runs a handler as `app.tasks.run` does, with a payload that was read and with a logger of the caller's. */
  run (task: RegisteredTask, value: unknown, log: FastifyBaseLogger): Promise<RunResult>
}

export interface LocalQueues {
  readonly engine: Engine
  /** Full name of the queue with that short id. */
  queueName (id: string): string
}

/** To be called once, by the plugin. */
export function showInternals (internals: Internals): void {
  byInstance.set(internals.app, internals)
}

/** Of the plugin that `app`, or an instance above it, has. */
export function internalsOf (app: FastifyInstance): Internals | undefined {
  for (const instance of chainOf(app)) {
    const internals = byInstance.get(instance)
    if (internals !== undefined) return internals
  }
  return undefined
}

const byInstance = new WeakMap<object, Internals>()

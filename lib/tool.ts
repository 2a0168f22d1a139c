import type { FastifyInstance } from 'fastify'
import type { Config } from './config.js'
import type { CloudTasksOptions } from './options.js'
import type { PayloadCodec } from './payload.js'
import type { Registry } from './registry.js'

/**
 * A program that loads an app for a look at its tasks or to run one, and not to serve: the command line. It decorates the
 * root instance with itself under `TOOL`, before the app's own plugins load. The plugin then dispatches nothing and tells
 * the tool of every instance that it is registered on, encapsulated ones included, which a tool could not reach otherwise.
 */
export interface Tool {
  /**
   * `closed`: the embedded queue is not opened, so its directory may be held by the process that serves, and what
   * handlers enqueue on it is refused. `open`: it takes tasks. Cloud Tasks takes them in both cases, and is not called before.
   */
  readonly embeddedQueue: 'closed' | 'open'
  /** Aborts the signal of every handler that `app.tasks.run` runs. */
  readonly signal: AbortSignal
  registered (registration: Registration): void
}

/** One use of the plugin. */
export interface Registration {
  readonly app: FastifyInstance
  readonly config: Config
  /** As they were given, without defaults. */
  readonly queues: NonNullable<CloudTasksOptions['queues']>
  readonly registry: Registry
  readonly payloads: PayloadCodec
}

/** The same in every copy of this package: the one that a shell finds need not be the one that the app has. */
export const TOOL: unique symbol = Symbol.for('fastify-cloud-tasks.tool')

/** The tool that loads `app`, if one does. */
export function toolOf (app: FastifyInstance): Tool | undefined {
  return (app as { readonly [TOOL]?: Tool })[TOOL]
}

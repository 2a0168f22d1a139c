import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { SwitchableClock } from './clock/switchable-clock.js'
import type { Engine } from './engine/engine.js'
import { chainOf, rootOf } from './fastify-internals.js'
import type { Config } from './options/config.js'
import type { CloudTasksOptions } from './options/options.js'
import type { PayloadCodec } from './registry/payload.js'
import type { RegisteredTask, Registry } from './registry/registry.js'
import type { SwitchableTransport } from './transport/switchable-transport.js'
import type { RunResult } from './worker/attempt-result.js'
import type { AttemptWatchers } from './worker/watchers.js'

/**
 * One registration of the plugin, for other parts of this package: the console, the test kit and the command line. Not public: no
 * export of the package gives access to it.
 */
export interface PluginHandle {
  /** The instance that the plugin is registered on. */
  readonly app: FastifyInstance
  readonly config: Config
  /** The clock of the registration. A test kit can replace the clock that it delegates to at any time. */
  readonly clock: SwitchableClock
  /** The option `queues` as given, without defaults. */
  readonly queues: NonNullable<CloudTasksOptions['queues']>
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly watchers: AttemptWatchers
  /** The transport of `enqueue`, which a test kit can hold. */
  readonly transport: SwitchableTransport
  /** Undefined where the queues are in Google Cloud, and while a loader keeps the embedded queue closed. */
  readonly local: LocalQueues | undefined
  /** Like `app.tasks.run`, with a parsed payload and the caller's logger. */
  run (task: RegisteredTask, value: unknown, log: FastifyBaseLogger): Promise<RunResult>
}

export interface LocalQueues {
  readonly engine: Engine
  /** Full name of a queue from its short id. */
  queueName (id: string): string
}

/**
 * A program that loads an app to inspect its tasks or to run one, but not to serve requests: the command line. It decorates the root
 * instance with itself under `LOADER` before the app's plugins load. The plugin then dispatches nothing, and passes its handle to the
 * loader, even from encapsulated instances, which a loader cannot access otherwise.
 */
export interface Loader {
  /**
   * `closed`: the embedded queue is not opened, so that another process can use its directory, and rejects tasks. `open`: it accepts
   * tasks. Cloud Tasks accepts tasks in both cases, and is not called before.
   */
  readonly embeddedQueue: 'closed' | 'open'
  /** Aborts the signal of all handlers that are run by `app.tasks.run`. */
  readonly signal: AbortSignal
  registered (handle: PluginHandle): void
}

/** Shared by all copies of this package: the command line's copy can be another one than the app's. */
export const LOADER: unique symbol = Symbol.for('fastify-cloud-tasks.loader')

/** The loader of `app`; undefined in a server. */
export function loaderOf (app: FastifyInstance): Loader | undefined {
  return (app as { readonly [LOADER]?: Loader })[LOADER]
}

/** Makes a registration available to `handleOf`, and to the loader of its app. The plugin calls it once. */
export function expose (handle: PluginHandle): void {
  byInstance.set(handle.app, handle)
  const tree = treeOf(handle.app)
  tree.handles.push(handle)
  loaderOf(handle.app)?.registered(handle)
  for (const listener of tree.listeners) listener(handle)
}

/** All registrations in the server of `app` so far, in order. */
export function registrationsOf (app: FastifyInstance): readonly PluginHandle[] {
  return treeOf(app).handles
}

/** Calls `listener` for each later registration in the server of `app`, which fails if it throws. Returns a function to unsubscribe. */
export function onRegistration (app: FastifyInstance, listener: (handle: PluginHandle) => void): () => void {
  const { listeners } = treeOf(app)
  listeners.add(listener)
  return () => { listeners.delete(listener) }
}

/** The handle of the plugin that is registered on `app` or an instance above it. */
export function handleOf (app: FastifyInstance): PluginHandle | undefined {
  for (const instance of chainOf(app)) {
    const handle = byInstance.get(instance)
    if (handle !== undefined) return handle
  }
  return undefined
}

const byInstance = new WeakMap<object, PluginHandle>()

/** All registrations in one server. */
interface Tree {
  readonly handles: PluginHandle[]
  readonly listeners: Set<(handle: PluginHandle) => void>
}

/** By root instance. */
const trees = new WeakMap<object, Tree>()

function treeOf (app: FastifyInstance): Tree {
  const root = rootOf(app)
  let tree = trees.get(root)
  if (tree === undefined) trees.set(root, tree = { handles: [], listeners: new Set() })
  return tree
}

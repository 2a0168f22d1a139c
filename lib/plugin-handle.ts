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
 * One registration of the plugin, as the other parts of this package reach it: the console in the same app, and the command
 * line that loads an app. Not public: the package exports nothing that leads here.
 */
export interface PluginHandle {
  /** The instance that the plugin is registered on. */
  readonly app: FastifyInstance
  readonly config: Config
  /** The time of everything that the plugin does. A test kit may exchange what it runs by, at any time after the registration. */
  readonly clock: SwitchableClock
  /** The option `queues` as it was given, without defaults. */
  readonly queues: NonNullable<CloudTasksOptions['queues']>
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly watchers: AttemptWatchers
  /** Where `enqueue` sends tasks; a test kit may hold it. */
  readonly transport: SwitchableTransport
  /** Undefined where the queues are in Google Cloud, and where a loader keeps the embedded queue closed. */
  readonly local: LocalQueues | undefined
  /** Runs a handler as `app.tasks.run` does, with a parsed payload and the caller's logger. */
  run (task: RegisteredTask, value: unknown, log: FastifyBaseLogger): Promise<RunResult>
}

export interface LocalQueues {
  readonly engine: Engine
  /** Full name of the queue with that short id. */
  queueName (id: string): string
}

/**
 * A program that loads an app in order to inspect its tasks or to run one, not to serve: the command line. It decorates the
 * root instance with itself under `LOADER` before the app's own plugins load. The plugin then dispatches nothing and hands
 * its handle to the loader, from encapsulated instances too, which a loader could not reach otherwise.
 */
export interface Loader {
  /**
   * `closed`: the embedded queue is not opened, so that another process can hold its directory; what handlers enqueue on it
   * is refused. `open`: it accepts tasks. Cloud Tasks accepts them in both cases, and is not called before.
   */
  readonly embeddedQueue: 'closed' | 'open'
  /** Aborts the signal of every handler that `app.tasks.run` runs. */
  readonly signal: AbortSignal
  registered (handle: PluginHandle): void
}

/** The same in every copy of this package: the copy that a shell finds need not be the one that the app has. */
export const LOADER: unique symbol = Symbol.for('fastify-cloud-tasks.loader')

/** The program that loads `app`; undefined in a server. */
export function loaderOf (app: FastifyInstance): Loader | undefined {
  return (app as { readonly [LOADER]?: Loader })[LOADER]
}

/** Makes a registration reachable by `handleOf`, and known to the loader of its app. The plugin calls it once. */
export function expose (handle: PluginHandle): void {
  byInstance.set(handle.app, handle)
  const tree = treeOf(handle.app)
  tree.handles.push(handle)
  loaderOf(handle.app)?.registered(handle)
  for (const listener of tree.listeners) listener(handle)
}

/** The registrations in the server of `app` so far, in their order. */
export function registrationsOf (app: FastifyInstance): readonly PluginHandle[] {
  return treeOf(app).handles
}

/** Calls `listener` for each further registration in the server of `app`, which fails with what it throws. Returns what ends that. */
export function onRegistration (app: FastifyInstance, listener: (handle: PluginHandle) => void): () => void {
  const { listeners } = treeOf(app)
  listeners.add(listener)
  return () => { listeners.delete(listener) }
}

/** The handle of the plugin that `app`, or an instance above it, has. */
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

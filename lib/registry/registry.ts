import type { TSchema } from '@sinclair/typebox'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { isPlainObject, nearest, oneOf, option, readOptions, string, type Declared } from '../checks.js'
import { deadlineProblem } from '../cloud-tasks/limits.js'
import { isQueueId } from '../cloud-tasks/names.js'
import { FST_TASKS_DUPLICATE_PATH, FST_TASKS_INVALID_DEFINITION, FST_TASKS_INVALID_HANDLER } from '../errors.js'

/** What a task name stands for. No code: a service that only enqueues imports definitions and no worker. */
export interface TaskDefinition<S extends TSchema = TSchema> {
  /** Path of the task's route, relative to the plugin's `prefix`. @default '/' + name */
  readonly path?: string
  /** Method that Cloud Tasks calls the route with: one of those that may carry a body. @default 'POST' */
  readonly method?: TaskMethod
  /** Schema of the payload, checked by the server's own validator compiler at both ends. */
  readonly payload: S
  /** Id of the queue. @default the plugin's `queue` */
  readonly queue?: string
  /** Seconds an attempt may take: 15 to 1800, on App Engine 15 to 86415. @default 600, Cloud Tasks' own */
  readonly dispatchDeadlineSeconds?: number
}

export type TaskMethod = 'POST' | 'PUT' | 'PATCH'

/** All definitions of an app, by name. */
export type TaskDefinitions = Readonly<Record<string, TaskDefinition>>

/** Augment it once per app, and `app.enqueue` knows your tasks everywhere: `interface Register { tasks: typeof tasks }`. */

export interface Register {}

/** The registered definitions; with nothing registered, any name and any payload. */
export type RegisteredTasks = Register extends { tasks: infer M } ? M : Readonly<Record<string, AnyTask>>

interface AnyTask { readonly payload: { readonly static: any } }

// In brackets, so that the compiler does not go through all tasks for each call: that halves its time at 500 tasks.
type PayloadOf<D> = [D] extends [{ readonly payload: { readonly static: infer P } }] ? P : never

type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never

/** The payload of task `N`. A union of names has none: which payload goes with which name would be anybody's guess. */
export type TaskPayload<N extends keyof M, M = RegisteredTasks> =
  true extends (string extends keyof M ? false : IsUnion<N>) ? never : PayloadOf<M[N]>

/** Does the work. `this` is the Fastify instance. What it returns is discarded, except by `app.tasks.run`. */
export type TaskHandler<P = unknown> = (this: FastifyInstance, payload: P, task: TaskContext) => unknown

/** A handler for every task. Wrap it in `Partial` for a process that runs only some of them. */
export type TaskHandlers<M> = { readonly [N in keyof M & string]: TaskHandler<PayloadOf<M[N]>> }

/** What a handler knows of the attempt that it runs for. */
export interface TaskContext {
  /** Name in the registry. */
  readonly name: string
  /** Last part of the name that Cloud Tasks knows the task by; the same in all its attempts. */
  readonly id: string
  readonly queue: string
  /** 1 for the first attempt. */
  readonly attempt: number
  /** Attempts before this one, those without an answer included. */
  readonly retryCount: number
  /** Attempts before this one that were answered; for HTTP targets those answered 5xx are not counted. */
  readonly executionCount: number
  /** When this attempt was due. */
  readonly scheduledTime: Date
  /** HTTP status of the attempt before; undefined on the first. */
  readonly previousResponse: number | undefined
  readonly retryReason: string | undefined
  /** Attempts that the queue's `retryConfig` allows in all; undefined where it sets no limit. */
  readonly maxAttempts: number | undefined
  /**
   * True when a failure of this attempt ends the task. Known from `maxAttempts` alone: where `maxRetrySeconds` is set
   * too, the end also depends on the clock and this stays false.
   */
  readonly isLastAttempt: boolean
  /** When Cloud Tasks stops waiting for this attempt. */
  readonly deadline: Date
  /** Aborts at the deadline, when the caller closes the connection, or when the server closes and the grace period has passed. */
  readonly signal: AbortSignal
  /** Carries `task`, `id` and `attempt` in every line. */
  readonly log: FastifyBaseLogger
  /** The request that brought the attempt; undefined in `app.tasks.run`. */
  readonly request: FastifyRequest | undefined
  /** Ends the task for good: never retried, logged, reported to `onDropped`. Does not return. */
  drop (reason: string): never
}

/** A definition with its defaults filled in. */
export interface RegisteredTask {
  readonly name: string
  readonly path: string
  readonly method: TaskMethod
  readonly payload: TSchema
  readonly queue: string | undefined
  readonly dispatchDeadlineSeconds: number | undefined
  readonly handler: TaskHandler<any> | undefined
}

/** Name -> path, schema and handler, at run time. */
export type Registry = ReadonlyMap<string, RegisteredTask>

/**
 * The tasks of an app. Returns the definitions as they are, frozen, so that names and payloads can be derived from them.
 * @throws FST_TASKS_INVALID_DEFINITION, FST_TASKS_DUPLICATE_PATH
 */
export function defineTasks<const M extends TaskDefinitions> (definitions: M): M {
  createRegistry(definitions)
  for (const definition of Object.values(definitions)) Object.freeze(definition)
  return Object.freeze(definitions)
}

/** Joins definitions and handlers. Throws when they do not go together. */
export function createRegistry (definitions: unknown, handlers: unknown = {}): Registry {
  if (!isPlainObject(definitions)) {
    throw new FST_TASKS_INVALID_DEFINITION("'tasks' must be an object of task definitions by name, as defineTasks returns it")
  }
  if (!isPlainObject(handlers)) throw new FST_TASKS_INVALID_HANDLER("'handlers' must be an object of functions by task name")
  for (const [name, handler] of Object.entries(handlers)) {
    if (!Object.hasOwn(definitions, name)) {
      throw new FST_TASKS_INVALID_HANDLER(`There is a handler for '${name}', but no such task is defined${nearest(name, Object.keys(definitions))}`)
    }
    if (typeof handler !== 'function' && handler !== undefined) {
      throw new FST_TASKS_INVALID_HANDLER(`The handler of task '${name}' must be a function`)
    }
  }

  const registry = new Map<string, RegisteredTask>()
  const byPath = new Map<string, string>()
  for (const [name, definition] of Object.entries(definitions)) {
    const task = complete(name, definition, Object.hasOwn(handlers, name) ? handlers[name] as TaskHandler : undefined)
    const other = byPath.get(task.path)
    if (other !== undefined) throw new FST_TASKS_DUPLICATE_PATH(name, task.path, other)
    byPath.set(task.path, name)
    registry.set(name, task)
  }
  return registry
}

const PATH_RULE = "one that starts with '/' and has only letters, digits, '-', '.', '_', '~' and '/' in it"

/** How each key of a definition is checked, and its default. */
export const definitionOptions = {
  path: string({ valid: isTaskPath, must: `must be ${PATH_RULE}` }),
  method: oneOf(['POST', 'PUT', 'PATCH'], { default: 'POST' }),
  payload: option<TSchema>(value => isSchema(value) ? undefined : 'must be a schema, such as Type.Object({ order: Type.String() })'),
  queue: string({ valid: isQueueId, must: 'must be a queue id: 1 to 100 letters, digits or hyphens' }),
  // The plugin refuses what its target does not allow.
  dispatchDeadlineSeconds: option<number>(value => deadlineProblem(value, undefined))
} satisfies Declared<TaskDefinition>

function complete (name: string, definition: unknown, handler: TaskHandler | undefined): RegisteredTask {
  const refuse = (problem: string) => new FST_TASKS_INVALID_DEFINITION(`Task '${name}': ${problem}`)
  if (name === '' || name.length > 200 || /[\p{Cc}\s]/u.test(name)) throw refuse('a task name has 1 to 200 characters and no white space')
  if (!isPlainObject(definition)) throw refuse('a definition is an object such as { payload: Type.Object({}) }')

  const { path = `/${name}`, method, payload, queue, dispatchDeadlineSeconds } = readOptions(definitionOptions, definition, { refuse })
  if (!isTaskPath(path)) throw refuse(`its name makes no path, so it needs a 'path': ${PATH_RULE}`)
  if (payload === undefined) throw refuse("it needs a 'payload', a schema such as Type.Object({ order: Type.String() })")
  return Object.freeze({ name, path, method, payload, queue, dispatchDeadlineSeconds, handler })
}

/** No parameters, wildcards, queries or dot segments: what is called is exactly what is mounted. */
function isTaskPath (path: string): boolean {
  return path.length <= 1000 && /^(?:\/[A-Za-z0-9._~-]+)+$/.test(path) && !/\/\.{1,2}(?:\/|$)/.test(path)
}

function isSchema (value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import type { InputOf, OutputOf, PayloadSchema } from './schema.js'

/** The definition of a task. It contains no code: a service that only enqueues imports definitions, but no handlers. */
export interface TaskDefinition<S extends PayloadSchema = PayloadSchema> {
  /** Path of the task's route, relative to the plugin's `prefix`. @default '/' + name */
  readonly path?: string
  /** HTTP method of the task's route: one of those that have a body. @default 'POST' */
  readonly method?: TaskMethod
  /**
   * Schema of the payload, validated when a task is enqueued and when it runs: by the schema itself if it is a Standard Schema (Zod,
   * Valibot, ArkType), otherwise by the server's validator compiler.
   */
  readonly payload: S
  /** Id of the queue. @default the plugin's `queue` */
  readonly queue?: string
  /** Time limit of an attempt in seconds: 15 to 1800, on App Engine 15 to 86415. @default 600, as in Cloud Tasks */
  readonly dispatchDeadlineSeconds?: number
  /** `false` to keep no dead letters of this task, such as for sensitive payloads. @default the plugin's `deadLetterQueue` */
  readonly deadLetterQueue?: false
}

export type TaskMethod = 'POST' | 'PUT' | 'PATCH'

/** All definitions of an app, by name. */
export type TaskDefinitions = Readonly<Record<string, TaskDefinition>>

/** Rejects unknown keys in definitions, which an inferred type would accept. */
export type KnownKeys<M> = { readonly [N in keyof M]: { readonly [K in Exclude<keyof M[N], keyof TaskDefinition>]: UnknownKey<K> } }

declare const unknownKey: unique symbol

/** No value has this type; the compiler's error contains the key. */
interface UnknownKey<K> { readonly [unknownKey]: K }

/**
 * Augment it once per app to type `app.enqueue` everywhere: `interface Register { tasks: typeof tasks }`. `typeProvider` is a Fastify
 * type provider, such as `TypeBoxTypeProvider` or `JsonSchemaToTsProvider`. It types payloads whose schema does not contain its type:
 * those of TypeBox 1.x and plain JSON Schema. Without one they are `any`.
 */

export interface Register {}

/** The registered definitions. Without any, all names and payloads are accepted. */
export type RegisteredTasks = Register extends { tasks: infer M }
  ? M
  : Readonly<Record<string, { readonly payload: { readonly static: any } }>>

/** The registered type provider; `unknown` without one. */
export type RegisteredTypeProvider = Register extends { typeProvider: infer F } ? F : unknown

// In brackets, so that the compiler does not go through all tasks for each call.
type SchemaOf<D> = [D] extends [{ readonly payload: infer S }] ? S : never

type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never

/**
 * The payload of task `N` that `enqueue` accepts: `TaskPayload<typeof tasks, 'send-receipt'>`. `never` for a union of names, because
 * the payload must match one name.
 */
export type TaskPayload<M, N extends keyof M, F = RegisteredTypeProvider> =
  true extends (string extends keyof M ? false : IsUnion<N>) ? never : Late<InputOf<SchemaOf<M[N]>, F>>

// The compiler computes the constraint of a payload before it knows the name, which would take seconds for TypeBox 1.x.
type Late<T> = T extends infer P ? P : never

/**
 * The type of one task's handler, for handlers in separate files: `TaskHandler<typeof tasks, 'send-receipt'>`. The handler gets the
 * validated payload, with defaults, coercions and transforms applied.
 */
export type TaskHandler<M, N extends keyof M, F = RegisteredTypeProvider> = HandlerFunction<OutputOf<SchemaOf<M[N]>, F>>

/** A handler for every task. Use `Partial` for a process that runs only some of them. */
export type TaskHandlers<M, F = RegisteredTypeProvider> = { readonly [N in keyof M & string]: TaskHandler<M, N, F> }

/** `this` is the Fastify instance. The return value is discarded, except by `app.tasks.run`. */
export type HandlerFunction<P = unknown> = (this: FastifyInstance, payload: P, task: TaskContext) => unknown

/** The attempt that a handler runs. */
export interface TaskContext {
  /** Name in the registry. */
  readonly name: string
  /** Last segment of the task's name in Cloud Tasks; the same in all attempts. */
  readonly id: string
  readonly queue: string
  /** 1 for the first attempt; 0 for a task that expired before any. */
  readonly attempt: number
  /** Number of previous attempts, including those without a response. */
  readonly retryCount: number
  /** Number of previous attempts with a response; for HTTP targets without those that got a 5xx. */
  readonly executionCount: number
  /** When this attempt was due. */
  readonly scheduledTime: Date
  /** HTTP status of the previous attempt; undefined on the first. */
  readonly previousResponse: number | undefined
  /** App Engine's reason for the retry; undefined on the first attempt and for HTTP targets. */
  readonly retryReason: string | undefined
  /**
   * Maximum number of attempts, from the queue, or from the task's own `retryConfig` if another client has set one. Undefined where it is
   * unlimited, and in Cloud Tasks also where the queue could not be read and is not in the option `queues`.
   */
  readonly maxAttempts: number | undefined
  /**
   * True when the task is not retried if this attempt fails. Derived from `maxAttempts` only: with `maxRetrySeconds` it depends on the
   * service's clock, and this is false.
   */
  readonly isLastAttempt: boolean
  /** When Cloud Tasks considers this attempt failed. */
  readonly deadline: Date
  /** Aborts at the deadline, when the client disconnects, or when the server closes and the grace period is over. */
  readonly signal: AbortSignal
  /** Adds `task`, `id` and `attempt` to every line. */
  readonly log: FastifyBaseLogger
  /** The request of the attempt; undefined in `app.tasks.run`. */
  readonly request: FastifyRequest | undefined
  /** Id of the original task: differs from `id` after the task was postponed or replayed, which creates a new task each time. */
  readonly originalId: string
  /** How often the task was postponed by `retryAfter`. */
  readonly postponements: number
  /** Drops the task: it is never retried, and logged and reported to `onDropped`. Does not return. */
  drop (reason: string): never
  /**
   * Postpones the task: it ends without a failure, and an exact copy, a new task with its own attempts, runs later. Use it for the 429
   * of a third party: there is no backoff, and the queue is not throttled. Does not return. If the copy cannot be created, the attempt
   * fails and is retried.
   * @param delay seconds from now, or a time; at most 30 days ahead. `parseRetryAfter` reads it from an HTTP response
   * @throws FST_TASKS_INVALID_DELAY for a time that is negative, in the past, not a time, or more than 30 days ahead
   */
  retryAfter (delay: number | Date, reason?: string): never
}

import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import type { InputOf, OutputOf, PayloadSchema } from './schema.js'

/** What a task name stands for. No code: a service that only enqueues imports definitions and no worker. */
export interface TaskDefinition<S extends PayloadSchema = PayloadSchema> {
  /** Path of the task's route, relative to the plugin's `prefix`. @default '/' + name */
  readonly path?: string
  /** HTTP method that Cloud Tasks calls the route with: one of those that carry a body. @default 'POST' */
  readonly method?: TaskMethod
  /**
   * Schema of the payload, checked at both ends: a Standard Schema (Zod, Valibot, ArkType) by itself, any other by the
   * server's own validator compiler.
   */
  readonly payload: S
  /** Id of the queue. @default the plugin's `queue` */
  readonly queue?: string
  /** Seconds an attempt may take: 15 to 1800, on App Engine 15 to 86415. @default 600, as in Cloud Tasks */
  readonly dispatchDeadlineSeconds?: number
  /** `false` keeps no dead letter of this task, such as for payloads that may not be kept. @default the plugin's `deadLetterQueue` */
  readonly deadLetterQueue?: false
}

export type TaskMethod = 'POST' | 'PUT' | 'PATCH'

/** All definitions of an app, by name. */
export type TaskDefinitions = Readonly<Record<string, TaskDefinition>>

/** Refuses keys that a definition does not have: a type that is only inferred would let them pass. */
export type KnownKeys<M> = { readonly [N in keyof M]: { readonly [K in Exclude<keyof M[N], keyof TaskDefinition>]: UnknownKey<K> } }

declare const unknownKey: unique symbol

/** No value has this type; the compiler names the key. */
interface UnknownKey<K> { readonly [unknownKey]: K }

/**
 * Augment it once per app, and `app.enqueue` knows your tasks everywhere: `interface Register { tasks: typeof tasks }`.
 * `typeProvider` is a type provider of Fastify's, such as `TypeBoxTypeProvider` or `JsonSchemaToTsProvider`. It types the
 * payloads whose schema does not carry its type: those of TypeBox 1.x and plain JSON Schema. Without one they are `any`.
 */

export interface Register {}

/** The registered definitions; with nothing registered, any name and any payload. */
export type RegisteredTasks = Register extends { tasks: infer M }
  ? M
  : Readonly<Record<string, { readonly payload: { readonly static: any } }>>

/** The registered type provider; unknown where there is none. */
export type RegisteredTypeProvider = Register extends { typeProvider: infer F } ? F : unknown

// In brackets, so that the compiler does not go through all tasks for each call.
type SchemaOf<D> = [D] extends [{ readonly payload: infer S }] ? S : never

type IsUnion<T, U = T> = T extends unknown ? ([U] extends [T] ? false : true) : never

/**
 * What `enqueue` accepts as the payload of task `N`: `TaskPayload<typeof tasks, 'send-receipt'>`. A union of names has none,
 * because nothing would tie the payload to the name.
 */
export type TaskPayload<M, N extends keyof M, F = RegisteredTypeProvider> =
  true extends (string extends keyof M ? false : IsUnion<N>) ? never : Late<InputOf<SchemaOf<M[N]>, F>>

// The compiler looks for a bound of a payload before it knows the name. For TypeBox 1.x that alone would take it seconds.
type Late<T> = T extends infer P ? P : never

/**
 * The function that does the work of one task, for a file of its own: `TaskHandler<typeof tasks, 'send-receipt'>`.
 * It gets the payload as the schema's validator returns it, with defaults, coercions and transforms applied.
 */
export type TaskHandler<M, N extends keyof M, F = RegisteredTypeProvider> = HandlerFunction<OutputOf<SchemaOf<M[N]>, F>>

/** A handler for every task. Wrap it in `Partial` for a process that runs only some of them. */
export type TaskHandlers<M, F = RegisteredTypeProvider> = { readonly [N in keyof M & string]: TaskHandler<M, N, F> }

/** `this` is the Fastify instance. What it returns is discarded, except by `app.tasks.run`. */
export type HandlerFunction<P = unknown> = (this: FastifyInstance, payload: P, task: TaskContext) => unknown

/** What a handler knows of the attempt that it runs for. */
export interface TaskContext {
  /** Name in the registry. */
  readonly name: string
  /** Last part of the name that Cloud Tasks knows the task by; the same in all its attempts. */
  readonly id: string
  readonly queue: string
  /** 1 for the first attempt; 0 for a task that expired before any. */
  readonly attempt: number
  /** Attempts before this one, those without an answer included. */
  readonly retryCount: number
  /** Attempts before this one that were answered; for HTTP targets those answered 5xx are not counted. */
  readonly executionCount: number
  /** When this attempt was due. */
  readonly scheduledTime: Date
  /** HTTP status of the attempt before; undefined on the first. */
  readonly previousResponse: number | undefined
  /** App Engine's reason for the retry; undefined on the first attempt and for HTTP targets. */
  readonly retryReason: string | undefined
  /**
   * Attempts that the queue allows in all, or the task's own `retryConfig` if another client gave it one. Undefined where there is no
   * limit, and in Cloud Tasks also where the queue could not be read and the option `queues` does not name it.
   */
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
  /** Id of the task that was enqueued: differs from `id` once the task was postponed or replayed, which makes a new task each time. */
  readonly originalId: string
  /** How often `retryAfter` has postponed it. */
  readonly postponements: number
  /** Ends the task for good: never retried, logged, reported to `onDropped`. Does not return. */
  drop (reason: string): never
  /**
   * Not now, but later: the task ends here without a failure, and an exact copy of it, a new task with attempts of its own, runs then.
   * For the 429 of a third party: no backoff, and the queue keeps its pace. Does not return. If the copy cannot be created, the attempt
   * fails and is retried.
   * @param delay seconds from now, or when; at most 30 days ahead. `parseRetryAfter` reads it from an HTTP answer
   * @throws FST_TASKS_INVALID_DELAY for a time that is negative, in the past, not a time, or more than 30 days ahead
   */
  retryAfter (delay: number | Date, reason?: string): never
}

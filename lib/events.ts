import type { AsyncResource } from 'node:async_hooks'
import { channel, tracingChannel } from 'node:diagnostics_channel'

/**
 * Events on diagnostics channels (`node:diagnostics_channel`). Without subscribers, nothing is allocated. A tracing channel publishes
 * the same object from `start` to `asyncEnd`: it has all keys from the beginning, and their values are filled in over time. It never
 * contains payloads. An error of a subscriber is an uncaught exception, as Node.js documents.
 */
interface TracedEvent {
  /** The error of the call or the attempt; set before `error` is published. */
  readonly error: unknown
  /**
   * Subscribers of `start` may set it to run the work in a context, such as with an active span. It must call `work` once and return its
   * result. A subscriber that finds it set must wrap it.
   */
  around: Around | undefined
}

/** Runs `work` in a context. */
export type Around = <T>(work: () => Promise<T>) => Promise<T>

/** A call of `enqueue`, or of `enqueueMany`. */
export interface EnqueueEvent extends TracedEvent {
  readonly task: string
  /** Short id. For `enqueueMany` the task's default queue, even if items have others. */
  readonly queue: string
  /** Whether this is a call of `enqueueMany`. */
  readonly batch: boolean
  /** Undefined until the task is stored, unless the caller chose an id; always undefined for a batch. */
  readonly id: string | undefined
  readonly scheduleTime: Date | undefined
  readonly duplicate: boolean
  /** Number of tasks passed to the transport so far. */
  readonly sent: number
  /** Errors of a batch's items. They fail individually, so `error` is not published for them. */
  readonly failures: readonly unknown[]
  /**
   * Subscribers of `start` may set it. Called for each task right before it is sent; the result is added to the task's headers, without
   * replacing any.
   */
  headersOf: ((task: SentTask) => Readonly<Record<string, string>> | undefined) | undefined
}

/** A task about to be sent. */
export interface SentTask {
  /** Short id of its queue. */
  readonly queue: string
  /** Short id; undefined where the queue will generate one. */
  readonly id: string | undefined
  /** Bytes of its payload. */
  readonly bodySize: number
}

/** An attempt, from its verified and parsed request to its outcome: `asyncEnd` is published after `onDropped` and `onExhausted`. */
export interface AttemptEvent extends TracedEvent {
  readonly task: string
  readonly id: string
  readonly queue: string
  readonly attempt: number
  /** Bytes of the payload, if the request states them. */
  readonly bodySize: number | undefined
  /** The trace headers that the producer's `headersOf` has added; undefined where callers are not verified. */
  readonly trace: TraceHeaders | undefined
  /** The async context of `listen`, which requests over HTTP inherit: what is active there does not belong to this attempt. */
  readonly listening: AsyncResource | undefined
  /** Undefined until the attempt has ended, like `status`. */
  readonly result: 'done' | 'retry' | 'dropped' | 'postponed' | undefined
  /** HTTP status of the route's response. */
  readonly status: number | undefined
  /** Run time of the handler. */
  readonly durationMs: number
  /** True when this was a failure of the last attempt. */
  readonly exhausted: boolean
  /** Subscribers of `start` may set it: fields to add to every log line of the attempt. */
  logFields: Readonly<Record<string, string>> | undefined
}

/** As received, not validated. */
export interface TraceHeaders {
  /** In the format of W3C's `traceparent`. */
  readonly parent: string
  /** In the format of W3C's `tracestate`. */
  readonly state: string | undefined
}

/** The async context in which the attempts of one registration start is about to be created. */
export interface ScopeEvent {
  /** A subscriber may set it: the context is created inside this function, which must call `create` once and return its result. */
  around: (<T>(create: () => T) => T) | undefined
}

export interface ExpiredEvent {
  readonly count: number
  /** Ids of the first ten at most. */
  readonly ids: readonly string[]
}

/** A request for counts: every app with an embedded queue in this process calls `add` synchronously, while it is published. */
export interface QueueCountsEvent {
  /** @param queue short id */
  add (queue: string, counts: { readonly waiting: number, readonly running: number, readonly oldestDueSeconds: number }): void
}

/** An event that its publisher can write to. */
export type Filled<E> = { -readonly [K in keyof E]: E[K] }

export function newEnqueueEvent (task: string, queue: string, batch: boolean): Filled<EnqueueEvent> {
  return {
    task,
    queue,
    batch,
    id: undefined,
    scheduleTime: undefined,
    duplicate: false,
    sent: 0,
    failures: [],
    error: undefined,
    headersOf: undefined,
    around: undefined
  }
}

/**
 * `tracing:fastify-cloud-tasks:enqueue:start`, `:end`, `:asyncStart`, `:asyncEnd` and `:error`: a call of `enqueue` or `enqueueMany`.
 * `error` is published when the call rejects.
 */
export const enqueueChannel = tracingChannel<unknown, EnqueueEvent>('fastify-cloud-tasks:enqueue')

/**
 * `tracing:fastify-cloud-tasks:attempt:start`, `:end`, `:asyncStart`, `:asyncEnd` and `:error`: an attempt. `error` is published whenever
 * its result is `retry`, even if the handler never settles.
 */
export const attemptChannel = tracingChannel<unknown, AttemptEvent>('fastify-cloud-tasks:attempt')

/** `fastify-cloud-tasks:expired`: the embedded queue has dropped tasks that were older than 31 days; at most one message a second. */
export const expiredChannel = channel('fastify-cloud-tasks:expired')

/** `fastify-cloud-tasks:scope`: published once for each registration of the plugin that has attempts while there are subscribers. */
export const scopeChannel = channel('fastify-cloud-tasks:scope')

/** `fastify-cloud-tasks:counts`: published by subscribers, such as metrics exporters, to collect the counts of all embedded queues. */
export const countsChannel = channel('fastify-cloud-tasks:counts')

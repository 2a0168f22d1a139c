import { channel, tracingChannel } from 'node:diagnostics_channel'

/**
 * Diagnostics channels: `node:diagnostics_channel` delivers these events to their subscribers. Without any, nothing is allocated.
 * On a tracing channel one object goes from `start` to `asyncEnd`: it has all its keys from the beginning, and is filled in on the way.
 * Payloads are never in it. An error of a subscriber is an uncaught exception, as Node.js documents.
 */
interface TracedEvent {
  /** What was thrown, or why an attempt is retried; set before `error` is published. */
  readonly error: unknown
  /**
   * A subscriber of `start` may set it: the work is done inside this function, which must call `work` once and return its result. So
   * a tracer makes its span the active one. A subscriber that finds it set wraps it.
   */
  around: Around | undefined
}

/** Runs `work` in a context of its own. */
export type Around = <T>(work: () => Promise<T>) => Promise<T>

/** A call of `enqueue`, or of `enqueueMany`. */
export interface EnqueueEvent extends TracedEvent {
  readonly task: string
  /** Short id. Of `enqueueMany` the task's own queue, even where items name others. */
  readonly queue: string
  /** Whether this is a call of `enqueueMany`. */
  readonly batch: boolean
  /** Undefined until the task is stored, unless the caller chose an id; of a batch always. */
  readonly id: string | undefined
  readonly scheduleTime: Date | undefined
  readonly duplicate: boolean
  /** Tasks handed to the transport so far. */
  readonly sent: number
  /** Why items of a batch failed. They fail alone, so `error` is not published for them. */
  readonly failures: readonly unknown[]
  /**
   * A subscriber of `start` may set it: called for each task right before it is sent. What it returns is added to the headers that the
   * caller has chosen.
   */
  headersOf: ((task: SentTask) => Readonly<Record<string, string>> | undefined) | undefined
}

/** A task about to be sent. */
export interface SentTask {
  /** Short id of its queue. */
  readonly queue: string
  /** Short id; undefined where the queue will choose one. */
  readonly id: string | undefined
  /** Bytes of its payload. */
  readonly bodySize: number
}

/** An attempt, from its verified and parsed request to its outcome: `onDropped` and `onExhausted` have run by `asyncEnd`. */
export interface AttemptEvent extends TracedEvent {
  readonly task: string
  readonly id: string
  readonly queue: string
  readonly attempt: number
  /** Bytes of the payload, as far as the request says. */
  readonly bodySize: number | undefined
  /** The trace headers that the producer's `headersOf` has added; undefined where callers are not verified. */
  readonly trace: TraceHeaders | undefined
  /** Undefined until the attempt has ended, like `status`. */
  readonly result: 'done' | 'retry' | 'dropped' | 'postponed' | undefined
  /** What the route answers. */
  readonly status: number | undefined
  /** How long the handler ran. */
  readonly durationMs: number
  /** True when this was a failure of the last attempt. */
  readonly exhausted: boolean
  /** A subscriber of `start` may set it: these fields are on every log line of the attempt. */
  logFields: Readonly<Record<string, string>> | undefined
}

/** As received, unchecked. */
export interface TraceHeaders {
  /** In the form of W3C's `traceparent`. */
  readonly parent: string
  /** In the form of W3C's `tracestate`. */
  readonly state: string | undefined
}

export interface ExpiredEvent {
  readonly count: number
  /** Ids of the first of them, at most ten. */
  readonly ids: readonly string[]
}

/** A question: every app with an embedded queue in this process answers it at once, while it is published. */
export interface QueueCountsEvent {
  /** @param queue short id */
  add (queue: string, counts: { readonly waiting: number, readonly running: number, readonly oldestDueSeconds: number }): void
}

/** An event as its publisher sees it. */
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
 * its result is `retry`, also where the handler never settles.
 */
export const attemptChannel = tracingChannel<unknown, AttemptEvent>('fastify-cloud-tasks:attempt')

/** `fastify-cloud-tasks:expired`: the embedded queue has dropped tasks that were older than 31 days; at most one message a second. */
export const expiredChannel = channel('fastify-cloud-tasks:expired')

/** `fastify-cloud-tasks:counts`: published to ask for the counts of all embedded queues, as a metrics exporter does. */
export const countsChannel = channel('fastify-cloud-tasks:counts')

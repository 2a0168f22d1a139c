import type { QueueState, RateLimits, RetryConfig } from '../../cloud-tasks/task.js'

/**
 * What the console's page and its server say to each other: JSON below `PREFIX/api/`. Times named `…At` are epoch milliseconds.
 * Every POST takes JSON, and carries `token` of the overview in the header `x-console-token`. Failures are `{ error: ApiError }`.
 *
 *   GET  overview                           Overview
 *   GET  tasks?queue&state&pageToken&limit  TaskPage. `queue`: full name; `state`: a TaskState, `pending` (all that have not ended,
 *                                           the default) or `ended`; `limit`: 1 to 100, 50 by default. A page may be short,
 *                                           or empty, and have a next one. What has ended comes latest first
 *   GET  task?name                          TaskDetail
 *   GET  payload?name                       the whole payload, as it is, to be saved; 410 once it is no longer kept
 *   POST validate  { task, text }           Validation
 *   POST run       { task, text }           RunReport
 *   POST enqueue   { task, text, id?, scheduleDelaySeconds? }   Enqueued
 *   POST task/run, task/delete, task/copy   { name } -> TaskRow | {}
 *   POST queue/pause, queue/resume, queue/purge   { name } -> QueueInfo
 *   GET  letters?task&code&endedBefore&pageToken&limit   LetterPage; `limit`: letters to look at, 1 to 1000, 50 by default. With a filter
 *                                           a page may be short, or empty, and have a next one
 *   POST letters/replay   { ids, as? } -> LetterChange; at most 100 ids. `as`: name of the task to replay them as
 *   POST letters/discard  { ids } -> LetterChange
 *   GET events server-sent events: `live` with a LiveMessage, at most four a second, only when something changed,
 *                                           and `reload` with {} when messages were left out because this page was slow
 */
export interface ApiError {
  readonly code: string
  /** Written for people. */
  readonly message: string
}

export interface Overview {
  readonly title: string
  readonly now: number
  /** To be sent with every POST. */
  readonly token: string
  /** The option `history`: how many ended tasks stay visible. */
  readonly history: number
  /** The registry; null where there is none, as in the emulator. */
  readonly tasks: readonly TaskInfo[] | null
  /** Null where the queues are in Google Cloud. Then tasks, states and the timeline are of the attempts that this process has served. */
  readonly queues: readonly QueueInfo[] | null
  readonly timeline: readonly Bucket[]
  /** Short id of the queue of the dead letters; null where none are kept. */
  readonly deadLetters: string | null
}

export interface TaskInfo {
  readonly name: string
  readonly method: string
  readonly path: string
  /** Short id. */
  readonly queue: string
  /** JSON schema of the payload. */
  readonly schema: unknown
  /** Whether this process can run it. */
  readonly handler: boolean
  readonly counts: Readonly<Record<'done' | 'retry' | 'dropped' | 'postponed' | 'exhausted', number>>
}

export interface QueueInfo {
  /** Full name. */
  readonly name: string
  /** Short id. */
  readonly id: string
  readonly state: QueueState
  readonly waiting: number
  readonly running: number
  readonly rateLimits: RateLimits
  readonly retryConfig: RetryConfig
}

/** `waiting` has not been tried; `retrying` waits after a failed attempt; from `done` on it has ended. `failed`: given up. */
export type TaskState = 'waiting' | 'retrying' | 'running' | 'done' | 'dropped' | 'postponed' | 'failed' | 'deleted' | 'expired'

export interface TaskRow {
  /** Full name. */
  readonly name: string
  readonly id: string
  /** Full name of its queue. */
  readonly queue: string
  /** Name in the registry; undefined when none has its path. */
  readonly task?: string
  readonly method: string
  readonly url: string
  readonly state: TaskState
  readonly attempts: number
  /** Absent where the queue is in Google Cloud. */
  readonly createdAt?: number
  /** When it is due next; absent once it has ended, and where only Cloud Tasks knows. */
  readonly scheduleAt?: number
  /** When the last attempt started that is known here. */
  readonly startedAt?: number
  readonly endedAt?: number
  /** How the last attempt ended. */
  readonly lastResult?: AttemptStatus
}

/** `deadline`: no answer came in time; `unreachable`: none came. */
export type AttemptStatus = number | 'deadline' | 'unreachable'

export interface TaskPage {
  readonly tasks: readonly TaskRow[]
  readonly nextPageToken?: string
}

export interface TaskDetail extends TaskRow {
  /** Those that the task was created with; absent where the queue is in Google Cloud. */
  readonly headers?: Readonly<Record<string, string>>
  readonly payload: Payload
  /** Oldest first; of many, the first and the latest ones. */
  readonly attemptList: readonly AttemptInfo[]
  /** Attempts that are not in the list: no longer kept, or not seen by this console. */
  readonly omitted: number
}

export interface Payload {
  /** The beginning, at most 16 KiB of it. Base64 when `kind` is `binary`. */
  readonly text: string
  readonly kind: 'json' | 'text' | 'binary' | 'none'
  readonly bytes: number
  readonly cut: boolean
}

export interface AttemptInfo {
  /** 1 for the first. */
  readonly number: number
  readonly startedAt: number
  /** Absent while it runs. */
  readonly endedAt?: number
  readonly result?: AttemptStatus
  /** As sent, without what authorises. */
  readonly headers: Readonly<Record<string, string>>
  /** What the target answered, cut; of HTTP targets. */
  readonly text?: string
  /** The first ones and the latest ones. */
  readonly logs: readonly LogLine[]
  /** Lines between them that were too many to keep. */
  readonly logsOmitted: number
  readonly error?: ErrorInfo
  /** What `task.drop` was given. */
  readonly dropReason?: string
  /** When a copy of the task runs. */
  readonly postponedUntil?: number
  readonly postponeReason?: string
  /** When it is tried again. */
  readonly retryAt?: number
}

export interface LogLine {
  readonly at: number
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'
  readonly message: string
  /** What else was logged, as JSON text, cut; absent when nothing. */
  readonly fields?: string
}

export interface ErrorInfo {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string
  /** The causes, outermost first. */
  readonly causes?: ReadonlyArray<Omit<ErrorInfo, 'causes'>>
}

export interface LetterPage {
  readonly letters: readonly Letter[]
  readonly nextPageToken?: string
}

/** A dead letter. Any client that may create tasks in its queue can have written what it says. */
export interface Letter {
  /** Short id in the dead-letter queue. */
  readonly id: string
  /** Name in the registry, or that which the task had. */
  readonly task: string | undefined
  readonly path: string
  /** Short id of the queue that the task was in. */
  readonly queue: string | undefined
  /** Id of the task that failed. */
  readonly taskId: string | undefined
  readonly attempts: number | undefined
  readonly endedAt?: number
  readonly error: { readonly name: string, readonly code?: string, readonly message: string } | undefined
}

export interface LetterChange {
  readonly results: ReadonlyArray<{
    readonly id: string
    readonly outcome: 'replayed' | 'discarded' | 'notFound' | 'failed'
    readonly problem?: string
  }>
}

export interface Validation {
  readonly ok: boolean
  readonly errors: readonly FieldError[]
}

/** `path` is a JSON pointer into the payload, '' for all of it. */
export interface FieldError {
  readonly path: string
  readonly message: string
}

export interface RunReport {
  readonly outcome: 'done' | 'failed' | 'dropped' | 'postponed' | 'invalid'
  readonly durationMs: number
  /** JSON text of what the handler returned, cut; absent when it returned nothing. */
  readonly value?: string
  readonly faults?: readonly FieldError[]
  readonly error?: ErrorInfo
  readonly dropReason?: string
  /** When it would run again. */
  readonly postponedUntil?: number
  readonly postponeReason?: string
  readonly logs: readonly LogLine[]
}

export interface Enqueued {
  readonly id: string
  readonly name: string
  /** Full name of its queue; with `-` in place of a project in Google Cloud that only the credentials know. */
  readonly queue: string
  readonly scheduleAt?: number
  readonly duplicate: boolean
}

/** One second. */
export interface Bucket {
  readonly at: number
  readonly arrived: number
  readonly succeeded: number
  readonly failed: number
  /** Tasks that waited at its end. */
  readonly waiting: number
}

export interface LiveMessage {
  readonly now: number
  /** All of them. */
  readonly queues: ReadonlyArray<Pick<QueueInfo, 'name' | 'id' | 'state' | 'waiting' | 'running'>> | null
  /** The last few seconds; those of the overview with the same `at` are older. */
  readonly timeline: readonly Bucket[]
  /** Tasks that changed since the last message, the latest 50 of them. */
  readonly changed: readonly TaskRow[]
}

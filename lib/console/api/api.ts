import type { QueueState, RateLimits, RetryConfig } from '../../cloud-tasks/task.js'

/**
 * The API between the console's page and its server: JSON below `PREFIX/api/`. Times named `…At` are epoch milliseconds. The body of a
 * POST is JSON, and its header `x-console-token` contains the overview's `token`. Errors are `{ error: ApiError }`.
 *
 *   GET  overview                           Overview
 *   GET  tasks?queue&state&pageToken&limit  TaskPage. `queue`: full name; `state`: a TaskState, `pending` (all that have not ended,
 *                                           the default) or `ended`; `limit`: 1 to 100, 50 by default. A page can be short,
 *                                           or empty, and still have a next one. Ended tasks are sorted from latest to oldest
 *   GET  task?name                          TaskDetail
 *   GET  payload?name                       the whole payload, as a download; 410 when it is no longer kept
 *   POST validate  { task, text }           Validation
 *   POST run       { task, text }           RunReport
 *   POST enqueue   { task, text, id?, scheduleDelaySeconds? }   Enqueued
 *   POST task/run, task/delete, task/copy   { name } -> TaskRow | {}
 *   POST queue/pause, queue/resume, queue/purge   { name } -> QueueInfo
 *   GET  letters?task&code&endedBefore&pageToken&limit   LetterPage; `limit`: letters to examine, 1 to 1000, 50 by default. With a filter
 *                                           a page can be short, or empty, and still have a next one
 *   POST letters/replay   { ids, as? } -> LetterChange; at most 100 ids. `as`: name of another task to replay as
 *   POST letters/discard  { ids } -> LetterChange
 *   GET events server-sent events: `live` with a LiveMessage, at most four a second and only after changes,
 *                                           and `reload` with {} after messages were skipped because the client was slow
 */
export interface ApiError {
  readonly code: string
  /** Human-readable. */
  readonly message: string
}

export interface Overview {
  readonly title: string
  readonly now: number
  /** Required for every POST. */
  readonly token: string
  /** The option `history`: number of ended tasks that stay visible. */
  readonly history: number
  /** The registry; null where there is none, as in the emulator. */
  readonly tasks: readonly TaskInfo[] | null
  /** Null where the queues are in Google Cloud. Tasks, states and the timeline then only cover attempts served by this process. */
  readonly queues: readonly QueueInfo[] | null
  readonly timeline: readonly Bucket[]
  /** Short id of the dead-letter queue; null if there is none. */
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

/** `waiting`: no attempt yet; `retrying`: waits after a failed attempt; `failed`: exhausted. All states from `done` on are final. */
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
  /** When it is due next; absent after its end, and where only Cloud Tasks knows. */
  readonly scheduleAt?: number
  /** Start of the last known attempt. */
  readonly startedAt?: number
  readonly endedAt?: number
  /** Result of the last attempt. */
  readonly lastResult?: AttemptStatus
}

/** HTTP status; `deadline`: no response in time; `unreachable`: no response. */
export type AttemptStatus = number | 'deadline' | 'unreachable'

export interface TaskPage {
  readonly tasks: readonly TaskRow[]
  readonly nextPageToken?: string
}

export interface TaskDetail extends TaskRow {
  /** Headers of the created task; absent where the queue is in Google Cloud. */
  readonly headers?: Readonly<Record<string, string>>
  readonly payload: Payload
  /** Oldest first; if there are many, the first and the latest ones. */
  readonly attemptList: readonly AttemptInfo[]
  /** Number of attempts that are not in the list: no longer kept, or not observed by this console. */
  readonly omitted: number
  /** The one that it was enqueued in. */
  readonly trace?: TraceInfo
}

export interface TraceInfo {
  /** 32 hexadecimal digits. */
  readonly id: string
  /** Where it is shown; absent without the option `traceUrl`. */
  readonly url?: string
}

export interface Payload {
  /** The first 16 KiB at most. Base64 when `kind` is `binary`. */
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
  /** As sent, without credentials. */
  readonly headers: Readonly<Record<string, string>>
  /** The response body, truncated; for HTTP targets. */
  readonly text?: string
  /** The first ones and the latest ones. */
  readonly logs: readonly LogLine[]
  /** Number of lines between them that were not kept. */
  readonly logsOmitted: number
  readonly error?: ErrorInfo
  /** Argument of `task.drop`. */
  readonly dropReason?: string
  /** When a copy of the task runs. */
  readonly postponedUntil?: number
  readonly postponeReason?: string
  /** When it is retried. */
  readonly retryAt?: number
  /** Its own, which is the task's where attempts are children of the span that enqueued it. */
  readonly trace?: TraceInfo
}

export interface LogLine {
  readonly at: number
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'
  readonly message: string
  /** Further logged fields, as JSON text, truncated; absent if there are none. */
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

/** A dead letter. Its facts are untrusted: any client that can create tasks in the queue could have written them. */
export interface Letter {
  /** Short id in the dead-letter queue. */
  readonly id: string
  /** Name in the registry, or the former one. */
  readonly task: string | undefined
  readonly path: string
  /** Short id of the failed task's queue. */
  readonly queue: string | undefined
  /** Id of the failed task. */
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

/** `path` is a JSON pointer into the payload, '' for the whole payload. */
export interface FieldError {
  readonly path: string
  readonly message: string
}

export interface RunReport {
  readonly outcome: 'done' | 'failed' | 'dropped' | 'postponed' | 'invalid'
  readonly durationMs: number
  /** The handler's return value as JSON text, truncated; absent for undefined. */
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
  /** Waiting tasks at the end of the second. */
  readonly waiting: number
}

export interface LiveMessage {
  readonly now: number
  /** All of them. */
  readonly queues: ReadonlyArray<Pick<QueueInfo, 'name' | 'id' | 'state' | 'waiting' | 'running'>> | null
  /** The last few seconds; they replace those with the same `at`. */
  readonly timeline: readonly Bucket[]
  /** Tasks that changed since the last message, the latest 50 at most. */
  readonly changed: readonly TaskRow[]
}

import type { NewTask, QueueState, RetryConfig, Task } from '../cloud-tasks/task.js'

/**
 * Stores the tasks of `enqueue`. Lifecycle: created while plugins load, and `open`; `opened` before the server is ready; `start` when the
 * server is ready; `stop` when it starts to close; `close` when all requests in flight have ended.
 */
export interface Transport {
  /**
   * Starts to open; from then on tasks are accepted, but may have to wait. Resolves when it is open, or before Fastify's `pluginTimeout`.
   * @throws the error that prevents it from opening
   */
  open (): Promise<void>
  /** Like `open`, before the server is ready. Opening may still continue in the background. */
  opened (): Promise<void>
  /** Starts delivering when it is open; returns at once. */
  start (): void
  /** Called when the server listens: connects in the background. */
  warmUp (): void
  /**
   * Logs what is wrong with the queue of the option `deadLetterQueue`, for a process that writes dead letters. Undefined where the
   * transport makes that queue itself. Never rejects.
   */
  checkLetterQueue? (): Promise<void>
  /** Never rejects: the outcome is a value. `created` only when the task is stored. */
  createTask (queue: string, task: OutgoingTask): Promise<Sent>
  /**
   * Like `createTask` for many tasks, stored in one step: results are in order, and a rejected task does not affect the others. Undefined
   * if each task takes a separate call.
   */
  readonly createTasks: ((queue: string, tasks: readonly OutgoingTask[]) => Promise<readonly Sent[]>) | undefined
  /** `deleted` if the task was still queued. */
  deleteTask (queue: string, id: string): Promise<Deleted>
  /** Reads a task including its payload. Never rejects. */
  readTask (queue: string, id: string): Promise<TaskReading>
  /** Stores a task with the given id. Never rejects. */
  putTask (queue: string, id: string, task: TaskContent, scheduleAt?: number): Promise<Sent>
  /** A page of the tasks of a queue, without their payloads. Never rejects. */
  listTasks (queue: string, pageSize: number, pageToken?: string): Promise<Listed>
  /** Finds a task by the end of its id. Never rejects. */
  findTask (queue: string, suffixes: readonly string[]): Promise<Found>
  /** Access to waiting and running tasks of the embedded queue; undefined for queues elsewhere. */
  readonly inspection: Inspection | undefined
  /** Reads retry settings from the service; undefined where the options determine them. */
  readonly retrySettings: RetrySettings | undefined
  /** Starts no more attempts, but accepts tasks while it can keep them. Resolves when running attempts are settled. */
  stop (): Promise<void>
  /** Frees all resources. */
  close (): Promise<void>
}

/** Access to the embedded queue. */
export interface Inspection {
  /** By queue id, in constant time for each. */
  counts (): Record<string, TransportCounts>
  /** False while a directory is still being opened. */
  readonly ready: boolean
  /** @throws FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_STORE_UNAVAILABLE */
  setState (queue: string, state: 'RUNNING' | 'PAUSED'): Promise<void>
  /** @throws FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_INVALID_PAGE */
  page (queue: string, page: PendingQuery): Page
}

/** Reads retry settings from the service. Never rejects. */
export interface RetrySettings {
  /** Settings of a queue, by its short id; `missing` if it does not exist. */
  ofQueue (queue: string): Promise<RetryReading>
  /**
   * A task's own settings, which replace its queue's; `missing` if it has none or does not exist. Undefined if they cannot be read.
   */
  readonly ofTask: ((queue: string, id: string) => Promise<RetryReading>) | undefined
}

export type RetryReading =
  | { readonly outcome: 'read', readonly retryConfig: RetryConfig }
  | { readonly outcome: 'missing' }
  /** `denied`: an early retry would not help. `problem` says how to fix it. */
  | { readonly outcome: 'denied' | 'failed', readonly problem: string, readonly cause: unknown }

export interface TransportCounts {
  /** Number of waiting tasks, due now or later. */
  readonly waiting: number
  /** Running attempts. */
  readonly running: number
  /** How long the first waiting task has been due; 0 if none is. Grows while a queue is paused or cannot keep up. */
  readonly oldestDueSeconds: number
  /** `PAUSED`: it accepts tasks but runs none until it is resumed, even after restarts. */
  readonly state: QueueState
}

export interface PendingQuery {
  /** Maximum number of tasks per page, 1 to 1000. Pages have at most 3 MiB of tasks. @default 1000 */
  readonly pageSize?: number
  /** `nextPageToken` of the previous page. */
  readonly pageToken?: string
}

export interface Page {
  readonly tasks: readonly PendingTask[]
  readonly nextPageToken: string | undefined
}

/** A pending task. */
export interface PendingTask {
  readonly id: string
  readonly queue: string
  /** URL path of its route. */
  readonly path: string
  /** `running` during an attempt. */
  readonly state: 'waiting' | 'running'
  /** Number of attempts so far, including a running one. */
  readonly attempts: number
  /** When the next attempt is due; for a running task, when it was due. */
  readonly scheduleTime: Date
  readonly createTime: Date
}

/** A task to be sent by the transport. */
export interface OutgoingTask {
  readonly id: string | undefined
  readonly method: 'POST' | 'PUT' | 'PATCH'
  /** Path of its route, below the prefix of the plugin's instance. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly scheduleAt: number | undefined
  readonly dispatchDeadlineMs: number | undefined
}

export type Sent =
  | { readonly outcome: 'created', readonly id: string, readonly scheduleAt: number }
  /** A task with that id is queued, or was until recently. */
  | { readonly outcome: 'duplicate' }
  | Failure

/** A task without name and schedule. */
export type TaskContent = Pick<NewTask, 'httpRequest' | 'appEngineHttpRequest' | 'dispatchDeadlineMs' | 'retryConfig'>

/** A stored task. */
export type StoredTask = TaskContent & Pick<Task, 'createdAt'>

export type TaskReading =
  | { readonly outcome: 'read', readonly task: StoredTask }
  /** It has recently ended or was deleted. */
  | { readonly outcome: 'gone' }
  /** No task with that name is known. */
  | { readonly outcome: 'notFound' }
  /** This process has no permission to read it. */
  | { readonly outcome: 'denied', readonly problem: string }
  | Failure

export type ListedTask = TaskContent & { /** Short id. */ readonly id: string }

export type Listed =
  | { readonly outcome: 'listed', readonly tasks: readonly ListedTask[], readonly nextPageToken: string | undefined }
  | Failure

export type Found =
  | { readonly outcome: 'found', readonly id: string }
  | { readonly outcome: 'notFound' }
  /** Not all tasks could be examined. */
  | { readonly outcome: 'unknown', readonly problem: string }

export type Deleted = { readonly outcome: 'deleted' } | { readonly outcome: 'notFound' } | Failure

export type Failure =
  | { readonly outcome: 'queueNotFound', readonly hint: string, readonly cause?: unknown }
  | { readonly outcome: 'tooLarge', readonly bytes: number, readonly limit: number }
  | { readonly outcome: 'closing' }
  | { readonly outcome: 'failed', readonly problem: string, readonly cause: unknown }

import type { NewTask, QueueState, RetryConfig, Task } from '../cloud-tasks/task.js'

/**
 * Where `enqueue` puts tasks. Life: made while plugins load, where it also begins to open; `opened` before the server is ready; `start`
 * when the server is ready; `stop` when it begins to close; `close` when every request in flight has been answered.
 */
export interface Transport {
  /**
   * Begins to open; from then on tasks are accepted, and may have to wait for the end of that. Resolves when it is open, or before the
   * host's patience with a plugin ends.
   * @throws what keeps it from opening
   */
  open (): Promise<void>
  /** As `open`, before the server is ready. What takes even longer goes on in the background. */
  opened (): Promise<void>
  /** Begins to deliver as soon as it is open; returns at once. */
  start (): void
  /** The server listens: makes the connections that tasks will need, in the background. */
  warmUp (): void
  /**
   * Logs what is wrong with the queue of the option `deadLetterQueue`, for a process that writes dead letters. Undefined where the
   * transport makes that queue itself. Never rejects.
   */
  checkLetterQueue? (): Promise<void>
  /** Never rejects: what came of it is a value. `created` only when the task is safe with the receiver. */
  createTask (queue: string, task: OutgoingTask): Promise<Sent>
  /**
   * As `createTask` for many, stored in one step: the answers come in their order, and one that is refused is refused alone. Undefined
   * where each task takes a call of its own.
   */
  readonly createTasks: ((queue: string, tasks: readonly OutgoingTask[]) => Promise<readonly Sent[]>) | undefined
  /** True when the task was still queued. */
  deleteTask (queue: string, id: string): Promise<Deleted>
  /** Reads a whole task, its payload included. Never rejects. */
  readTask (queue: string, id: string): Promise<TaskReading>
  /** Stores a whole task under a name of its own. Never rejects. */
  putTask (queue: string, id: string, task: TaskContent, scheduleAt?: number): Promise<Sent>
  /** A page of the tasks of a queue, without their payloads. Never rejects. */
  listTasks (queue: string, pageSize: number, pageToken?: string): Promise<Listed>
  /** Finds a task by what its id ends with. Never rejects. */
  findTask (queue: string, suffixes: readonly string[]): Promise<Found>
  /** What waits and runs, where the queues are this process's own; undefined for queues elsewhere. */
  readonly inspection: Inspection | undefined
  /** Reads how tasks are retried, where the service decides that; undefined where the options of this process do. */
  readonly retrySettings: RetrySettings | undefined
  /** Delivers nothing new; accepts tasks for as long as it can keep them. Resolves when attempts under way are settled. */
  stop (): Promise<void>
  /** Frees everything. */
  close (): Promise<void>
}

/** A look into the queues. */
export interface Inspection {
  /** By queue id, in constant time for each. */
  counts (): Record<string, TransportCounts>
  /** False while a directory is still being opened, so that nothing is known. */
  readonly ready: boolean
  /** @throws FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_STORE_UNAVAILABLE */
  setState (queue: string, state: 'RUNNING' | 'PAUSED'): Promise<void>
  /** @throws FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_INVALID_PAGE */
  page (queue: string, page: PendingQuery): Page
}

/** How the service retries tasks. Never rejects. */
export interface RetrySettings {
  /** Of a queue, by its short id; `missing` where there is none. */
  ofQueue (queue: string): Promise<RetryReading>
  /**
   * A task's own, which counts instead of its queue's; `missing` where the task has none or is gone. Undefined where this cannot be read.
   */
  readonly ofTask: ((queue: string, id: string) => Promise<RetryReading>) | undefined
}

export type RetryReading =
  | { readonly outcome: 'read', readonly retryConfig: RetryConfig }
  | { readonly outcome: 'missing' }
  /** `denied`: reading again soon would not help. `problem` says what to do. */
  | { readonly outcome: 'denied' | 'failed', readonly problem: string, readonly cause: unknown }

export interface TransportCounts {
  /** Tasks that are due or will be. */
  readonly waiting: number
  /** Attempts under way. */
  readonly running: number
  /** How long the first of the waiting tasks has been due; 0 where none is. Grows while a queue is paused or cannot keep up. */
  readonly oldestDueSeconds: number
  /** `PAUSED`: it accepts tasks and runs none until it is resumed, restarts included. */
  readonly state: QueueState
}

export interface PendingQuery {
  /** At most so many tasks per page, 1 to 1000. A page also ends where its tasks have 3 MiB. @default 1000 */
  readonly pageSize?: number
  /** `nextPageToken` of the page before. */
  readonly pageToken?: string
}

export interface Page {
  readonly tasks: readonly PendingTask[]
  readonly nextPageToken: string | undefined
}

/** A task that has not ended. */
export interface PendingTask {
  readonly id: string
  readonly queue: string
  /** URL path of its route. */
  readonly path: string
  /** `running` while an attempt is under way. */
  readonly state: 'waiting' | 'running'
  /** Attempts so far, one that is under way included. */
  readonly attempts: number
  /** When the next attempt is due; of a running one, when it was. */
  readonly scheduleTime: Date
  readonly createTime: Date
}

/** A task on its way to the transport. `path` is that of its route in this server, all prefixes included. */
export interface OutgoingTask {
  readonly id: string | undefined
  readonly method: 'POST' | 'PUT' | 'PATCH'
  /** Below the prefix of the instance that the plugin is registered on. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly scheduleAt: number | undefined
  readonly dispatchDeadlineMs: number | undefined
}

export type Sent =
  | { readonly outcome: 'created', readonly id: string, readonly scheduleAt: number }
  /** A task of that id is queued, or was until recently. */
  | { readonly outcome: 'duplicate' }
  | Failure

/** A task without its name and its schedule. */
export type TaskContent = Pick<NewTask, 'httpRequest' | 'appEngineHttpRequest' | 'dispatchDeadlineMs' | 'retryConfig'>

/** A task as it is stored. */
export type StoredTask = TaskContent & Pick<Task, 'createdAt'>

export type TaskReading =
  | { readonly outcome: 'read', readonly task: StoredTask }
  /** It has ended or was deleted, lately. */
  | { readonly outcome: 'gone' }
  /** No task of that name is known. */
  | { readonly outcome: 'notFound' }
  /** This process may not read it. */
  | { readonly outcome: 'denied', readonly problem: string }
  | Failure

export type ListedTask = TaskContent & { /** Short id. */ readonly id: string }

export type Listed =
  | { readonly outcome: 'listed', readonly tasks: readonly ListedTask[], readonly nextPageToken: string | undefined }
  | Failure

export type Found =
  | { readonly outcome: 'found', readonly id: string }
  | { readonly outcome: 'notFound' }
  /** Not all tasks could be looked at. */
  | { readonly outcome: 'unknown', readonly problem: string }

export type Deleted = { readonly outcome: 'deleted' } | { readonly outcome: 'notFound' } | Failure

export type Failure =
  | { readonly outcome: 'queueNotFound', readonly hint: string, readonly cause?: unknown }
  | { readonly outcome: 'tooLarge', readonly bytes: number, readonly limit: number }
  | { readonly outcome: 'closing' }
  | { readonly outcome: 'failed', readonly problem: string, readonly cause: unknown }

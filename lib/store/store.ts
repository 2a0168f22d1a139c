import type { QueueSettings, QueueState, Task } from '../cloud-tasks/task.js'

/** A stored queue. `name` is the full name: `projects/P/locations/L/queues/Q`. */
export interface StoredQueue {
  readonly name: string
  readonly settings: QueueSettings
  readonly state: QueueState
  readonly purgedAt?: number
  /** IAM policy: opaque JSON for the engine. */
  readonly policy?: unknown
}

/** A name of a finished task or deleted queue, which cannot be reused until `until`. */
export interface Tombstone {
  readonly name: string
  readonly until: number
}

/** The part of a task that the engine keeps in memory; the rest is read from the store when the task is due. */
export interface TaskIndexEntry {
  readonly name: string
  readonly scheduleAt: number
  readonly createdAt: number
  readonly generatedId?: true
}

/** Progress of loading a store. */
export interface LoadProgress {
  /** Description, such as 'checking tasks.mdb'. */
  readonly step: string
  /** Of `total`, in the step's own unit. */
  readonly done: number
  /** Undefined if it is unknown. */
  readonly total: number | undefined
}

/** The content of a store from a former run. */
export interface StoredState {
  readonly queues: Iterable<StoredQueue>
  readonly tasks: Iterable<TaskIndexEntry>
  /** Number of tasks, if known in advance. */
  readonly taskCount?: number
  readonly tombstones: Iterable<Tombstone>
  /**
   * Time of the former run's last change, by its clock; undefined in a new store. A clock that is far ahead of it on startup may have
   * jumped.
   */
  readonly lastKnownAt?: number | undefined
}

/**
 * Stores the tasks of an engine.
 *
 * Guarantees: when a returned promise resolves, the change survives a crash (if the store is durable); changes become durable in the
 * order of the calls; a rejected one has no effect. `get` sees all changes that were requested and not rejected. A store does not
 * depend on dispatching.
 */
export interface Store {
  /**
   * Called once, first. Rejects when `close` is called in the meantime.
   * @param onProgress called repeatedly if it takes long
   */
  load (onProgress?: (progress: LoadProgress) => void): Promise<StoredState>
  /** Adds a task, or replaces it after an attempt, which begins after the addition has resolved, and leaves the request as it is. */
  putTask (task: Task): Promise<void>
  /** Adds tasks atomically: all or none. */
  putTasks (tasks: readonly Task[]): Promise<void>
  /** Synchronous, because the engine reads tasks at dispatch. */
  getTask (name: string): Task | undefined
  /** Removes a task and adds its tombstone, atomically. */
  removeTask (name: string, tombstone?: Tombstone): Promise<void>
  putQueue (queue: StoredQueue): Promise<void>
  /** Removes a queue with all its tasks and adds its tombstone, atomically. */
  removeQueue (name: string, tombstone?: Tombstone): Promise<void>
  /** Removes tombstones. */
  forget (names: readonly string[]): Promise<void>
  /** Resolves when all requested changes are durable or rejected. Called once, last, or during `load`. */
  close (): Promise<void>
}

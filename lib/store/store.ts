import type { QueueSettings, QueueState, Task } from '../cloud-tasks/task.js'

/** A queue as it is kept. `name` is full: `projects/P/locations/L/queues/Q`. */
export interface StoredQueue {
  readonly name: string
  readonly settings: QueueSettings
  readonly state: QueueState
  readonly purgedAt?: number
  /** Who may do what, as it was set: JSON that the engine keeps and never reads. */
  readonly policy?: unknown
}

/** A name that refuses to be used again until `until`: a task that ended, or a queue that was deleted. */
export interface Tombstone {
  readonly name: string
  readonly until: number
}

/** What the engine keeps of each task in memory; all else is read from the store when the task is due. */
export interface TaskIndexEntry {
  readonly name: string
  readonly scheduleAt: number
  readonly createdAt: number
  readonly generatedId?: true
}

/** How far a store is with loading. */
export interface LoadProgress {
  /** In words, such as 'checking tasks.mdb'. */
  readonly step: string
  /** Of `total`, in the step's own unit. */
  readonly done: number
  /** Undefined where it is not known beforehand. */
  readonly total: number | undefined
}

/** What a former run left behind. */
export interface StoredState {
  readonly queues: Iterable<StoredQueue>
  readonly tasks: Iterable<TaskIndexEntry>
  /** How many tasks that are, where that is known beforehand. */
  readonly taskCount?: number
  readonly tombstones: Iterable<Tombstone>
  /**
   * Time of the last change that the former run stored, by that run's clock; undefined in a store without one. A clock that is
   * far ahead of it at the start may have jumped.
   */
  readonly lastKnownAt?: number
}

/**
 * Where the engine keeps tasks.
 *
 * Promises: once a returned promise resolves, the change survives a crash (as far as this store survives one); changes
 * become durable in the order in which they were asked for; a rejected one has changed nothing. `get` sees every change
 * that was asked for and not rejected. A store knows nothing of dispatching.
 */
export interface Store {
  /**
   * Called once, before anything else. Ends with an error when `close` is called meanwhile.
   * @param onProgress called now and then where it takes long
   */
  load (onProgress?: (progress: LoadProgress) => void): Promise<StoredState>
  /** Adds a task, or replaces it after an attempt. */
  putTask (task: Task): Promise<void>
  /** Adds tasks in one step: all of them, or none. */
  putTasks (tasks: readonly Task[]): Promise<void>
  /** Synchronous, because the engine asks at the moment of dispatch. */
  getTask (name: string): Task | undefined
  /** Ends a task and, in the same step, remembers its name. */
  removeTask (name: string, tombstone?: Tombstone): Promise<void>
  putQueue (queue: StoredQueue): Promise<void>
  /** Removes the queue with all its tasks and, in the same step, remembers its name. */
  removeQueue (name: string, tombstone?: Tombstone): Promise<void>
  /** Forgets names whose time has passed. */
  forget (names: readonly string[]): Promise<void>
  /** Resolves once every change that was asked for is durable or rejected. Called once, after everything else; or during `load`. */
  close (): Promise<void>
}

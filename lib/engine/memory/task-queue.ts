import { shortId } from '../../cloud-tasks/names.js'
import type { Task } from '../../cloud-tasks/task.js'
import { RETENTION_MS } from '../../cloud-tasks/backoff.js'
import { DueHeap, type Due } from './due-heap.js'
import { NameMap } from '../../store/name-map.js'
import { RateLimiter } from './rate-limiter.js'
import type { StoredQueue, TaskIndexEntry } from '../../store/store.js'

/**
 * The in-memory part of a task. There can be a million of these, so every field costs 8 MB. A task is in its queue's heap exactly while
 * none of its attempts is running.
 */
export class TaskEntry implements Due {
  readonly name: string
  dueAt: number
  order = 0
  position = -1
  /** Number of running attempts: more than one only through RunTask. */
  attempts = 0
  readonly generatedId: boolean
  // Whole seconds fit a small integer; milliseconds would need a heap number.
  readonly #createdSecond: number
  /** The task's state while it is not yet stored. */
  unstored: Task | undefined = undefined

  constructor ({ name, scheduleAt, createdAt, generatedId }: TaskIndexEntry) {
    this.name = name
    this.#createdSecond = Math.floor(createdAt / 1000)
    this.generatedId = generatedId === true
    this.dueAt = Math.min(scheduleAt, this.expiresAt)
  }

  /** When the task expires. */
  get expiresAt (): number {
    return this.#createdSecond * 1000 + RETENTION_MS
  }
}

/** A queue: its tasks, which of them is due next, and whether it can be dispatched. Passive. */
export class TaskQueue implements Due {
  readonly name: string
  /** Short id. */
  readonly id: string
  readonly limiter: RateLimiter
  stored: StoredQueue
  tasks = new NameMap<TaskEntry>()
  due = new DueHeap<TaskEntry>()
  /** Purged tasks that are not yet removed from the store. */
  readonly purged = new Set<NameMap<TaskEntry>>()
  /** Number of running attempts, including those of deleted tasks. */
  running = 0
  deleted = false

  /** The queue's position in the heap of waiting queues; owned by the dispatch loop. */
  dueAt = Infinity
  order = 0
  position = -1
  /** Whether it can dispatch now and waits for its turn; owned by the dispatch loop. */
  ready = false

  #added = 0

  /** @param monotonic the time at which the limiter starts full */
  constructor (stored: StoredQueue, monotonic: number) {
    this.name = stored.name
    this.id = shortId(stored.name)
    this.stored = stored
    this.limiter = new RateLimiter(stored.settings.rateLimits, monotonic)
  }

  change (stored: StoredQueue, monotonic: number): void {
    this.stored = stored
    this.limiter.configure(stored.settings.rateLimits, monotonic)
  }

  add (entry: TaskEntry): void {
    this.tasks.set(entry.name, entry)
    entry.order = this.#added++
    this.due.add(entry)
  }

  remove (entry: TaskEntry): void {
    this.tasks.delete(entry.name)
    this.due.remove(entry)
  }

  /** Whether the task still exists: late results of deleted or purged tasks are ignored. */
  owns (entry: TaskEntry): boolean {
    return !this.deleted && this.tasks.get(entry.name) === entry
  }

  /**
   * The wall time at which the next task can be dispatched: not after `now` means at once, Infinity means not before a change. Tasks
   * are due by the wall clock, tokens refill by the monotonic one.
   */
  nextAt (now: number, monotonic: number): number {
    const { settings, state } = this.stored
    const first = this.due.first
    if (first === undefined || this.deleted || state !== 'RUNNING') return Infinity
    if (this.running >= settings.rateLimits.maxConcurrentDispatches) return Infinity
    return Math.max(first.dueAt, now + this.limiter.nextAt(monotonic) - monotonic)
  }

  /** Removes all tasks in constant time. */
  purge (): { tasks: NameMap<TaskEntry>, due: DueHeap<TaskEntry> } {
    const { tasks, due } = this
    this.tasks = new NameMap()
    this.due = new DueHeap()
    this.purged.add(tasks)
    return { tasks, due }
  }

  /** Adds tasks back after a failed deletion of them or of their queue. */
  readmit (entries: Iterable<TaskEntry>): void {
    for (const entry of entries) {
      this.tasks.set(entry.name, entry)
      if (entry.attempts === 0 && entry.position === -1) this.due.add(entry)
    }
  }
}

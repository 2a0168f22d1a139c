import type { Task } from '../cloud-tasks/task.js'
import type { Clock } from '../clock/clock.js'
import type { Store, Tombstone } from '../store/store.js'
import { InFlight } from './memory/in-flight.js'
import type { TaskEntry } from './memory/task-queue.js'
import { Tombstones } from './memory/tombstones.js'

/** The context of an error that no caller receives. */
export interface ErrorContext {
  readonly during: 'load' | 'dispatch' | 'store' | 'observe' | 'expire'
  /** Full name of the task or queue, if there is one. */
  readonly name?: string
  /** Number of errors of the same kind since the last report, including this one. @default 1 */
  readonly count?: number
}

export interface WriteBehindOptions {
  readonly store: Store
  readonly clock: Clock
  /** How long the name of a finished task cannot be reused. 0: not at all. */
  readonly tombstoneMs: (task: string) => number
  readonly rememberGeneratedNames: boolean
  readonly onError: (error: unknown, where: ErrorContext) => void
  /** Finds a task in memory; undefined when it does not exist, null when its record must not be touched for now. */
  readonly find: (name: string) => TaskEntry | undefined | null
}

/**
 * Writes changes that no caller awaits, the results of attempts, to the store. Memory is changed first and authoritative; failed writes
 * are reported and retried: a few with each write, all of them every few seconds. Errors of the same kind are reported once a minute, with
 * their number.
 */
export class WriteBehind {
  readonly names: Tombstones
  readonly #options: WriteBehindOptions
  /** Tasks whose last write has failed. */
  readonly #failedWrites = new Set<string>()
  /** Unset: nothing to retry. */
  #retryTimer: unknown
  #closed = false
  /** Errors since the last report, by kind. */
  readonly #reports = new Map<string, { at: number, count: number }>()
  readonly #writes = new InFlight()

  constructor (options: WriteBehindOptions) {
    this.#options = options
    this.names = new Tombstones(options.clock)
  }

  /** The task's newest state. */
  read (entry: TaskEntry): Task | undefined {
    return entry.unstored ?? this.#options.store.getTask(entry.name)
  }

  /** Writes the task's state after an attempt. */
  replace (entry: TaskEntry, task: Task): void {
    entry.unstored = task
    this.#retryFailed()
    this.#put(entry, task)
  }

  /**
   * Removes a task that is already removed from memory, and adds its tombstone, if any. Never rejects: resolves with whether the removal
   * is stored.
   */
  remove (entry: TaskEntry): Promise<boolean> {
    this.addTombstone(entry)
    this.#retryFailed()
    // Even if this end adds no tombstone, there may be an earlier one.
    return this.#write(entry.name, this.#options.store.removeTask(entry.name, this.names.get(entry.name)))
  }

  /** Adds the tombstone of a task that ends now. */
  addTombstone (entry: TaskEntry): Tombstone | undefined {
    const { tombstoneMs, rememberGeneratedNames } = this.#options
    if (entry.generatedId && !rememberGeneratedNames) return undefined
    const ms = tombstoneMs(entry.name)
    if (ms === 0) return undefined
    this.names.add(entry.name, ms)
    return this.names.get(entry.name)
  }

  /**
   * Removes a few expired tombstones.
   * @param operations number of engine operations that it accompanies
   */
  sweep (operations: number = 1): void {
    const names = this.names.sweep(NAMES_PER_SWEEP * operations)
    if (names.length > 0) this.track(this.#options.store.forget(names))
  }

  /** Retries failed writes once, then waits until nothing is being written. */
  async settle (): Promise<void> {
    this.#retryFailed(Infinity)
    await this.#writes.idle()
  }

  /** Call it after the last change. Leaves no timer. */
  close (): void {
    this.#closed = true
    this.#options.clock.clearTimeout(this.#retryTimer)
    this.#retryTimer = undefined
  }

  /** Makes `settle` wait for a write, and reports its failure. Never rejects: resolves with whether it succeeded. */
  track (write: Promise<unknown>, name?: string): Promise<boolean> {
    this.#writes.enter()
    return write.then(() => {
      this.#writes.leave()
      return true
    }, error => {
      if (name !== undefined) {
        this.#failedWrites.add(name)
        this.#scheduleRetry()
      }
      this.report(error, name)
      this.#writes.leave()
      return false
    })
  }

  #put (entry: TaskEntry, task: Task): void {
    const { store } = this.#options
    this.#write(entry.name, store.putTask(task).then(() => {
      // Otherwise it is newer: the state of an attempt that started in the meantime.
      if (entry.unstored === task) entry.unstored = undefined
    }))
  }

  #write (name: string, write: Promise<void>): Promise<boolean> {
    this.#failedWrites.delete(name)
    return this.track(write, name)
  }

  /** Retries all failed writes after a while, repeatedly, because there may be no further write that would. */
  #scheduleRetry (): void {
    if (this.#closed || this.#retryTimer !== undefined) return
    this.#retryTimer = this.#options.clock.setTimeout(() => {
      this.#retryTimer = undefined
      this.#retryFailed(RETRIES_PER_TIMER)
      if (this.#failedWrites.size > 0) this.#scheduleRetry()
    }, RETRY_MS)
  }

  /** Reports an error of the store, or counts it where one of its kind was reported within the last minute. */
  report (error: unknown, name: string | undefined): void {
    const { clock, onError } = this.#options
    const { problem, message } = error as { readonly problem?: string, readonly message?: string }
    // Each damaged record is named.
    const kind = (problem === 'damaged' ? message : problem) ?? message ?? String(error)
    const now = clock.monotonic()
    const report = this.#reports.get(kind)
    const count = (report?.count ?? 0) + 1
    if (report !== undefined && now - report.at < REPORT_MS) {
      report.count = count
      return
    }
    if (this.#reports.size >= KINDS) this.#reports.clear()
    this.#reports.set(kind, { at: now, count: 0 })
    onError(error, { during: 'store', ...(name === undefined ? undefined : { name }), ...(count === 1 ? undefined : { count }) })
  }

  #retryFailed (limit: number = RETRIES_PER_WRITE): void {
    if (this.#failedWrites.size === 0) return
    const names: string[] = []
    for (const name of this.#failedWrites) {
      if (names.length === limit) break
      names.push(name)
    }
    for (const name of names) this.#retry(name)
  }

  /** Writes the current state in memory, which can be newer than the failed write. */
  #retry (name: string): void {
    const entry = this.#options.find(name)
    if (entry === null) return
    this.#failedWrites.delete(name)
    if (entry === undefined) this.#write(name, this.#options.store.removeTask(name, this.names.get(name)))
    else if (entry.unstored !== undefined && entry.attempts === 0) this.#put(entry, entry.unstored)
    else if (entry.unstored !== undefined) this.#failedWrites.add(name)
  }
}

const NAMES_PER_SWEEP = 8
const RETRIES_PER_WRITE = 8
const RETRY_MS = 5000
const RETRIES_PER_TIMER = 1000
const REPORT_MS = 60_000
/** Limits the memory, because messages of other stores can differ each time. */
const KINDS = 20

import type { Task } from '../cloud-tasks/task.js'
import type { Clock } from '../clock/clock.js'
import type { TaskEntry } from './task-queue.js'
import type { Store, Tombstone } from '../store/store.js'
import { Tombstones } from './tombstones.js'

/** Where an error arose that no caller is there to receive. */
export interface ErrorContext {
  readonly during: 'load' | 'dispatch' | 'store' | 'observe' | 'expire'
  /** Full name of the task or queue, where there is one. */
  readonly name?: string
  /** How many errors of the same kind came since the last one that was reported, this one included. @default 1 */
  readonly count?: number
}

export interface WriteBehindOptions {
  readonly store: Store
  readonly clock: Clock
  /** How long the name of that task is refused once it has ended. 0: not at all. */
  readonly tombstoneMs: (task: string) => number
  readonly rememberGeneratedNames: boolean
  readonly onError: (error: unknown, where: ErrorContext) => void
  /** The task of that name as memory has it; undefined when it does not exist, null when its record must be left alone for now. */
  readonly find: (name: string) => TaskEntry | undefined | null
}

/**
 * Writes changes that no caller waits for, the results of attempts, to the store. Memory is changed first and is the truth; a change
 * that the store refuses is reported, and retried: a few with the next one, all of them every few seconds. Of errors of the same kind one
 * a minute is reported, with their number.
 */
export class WriteBehind {
  readonly names: Tombstones
  readonly #options: WriteBehindOptions
  /** Tasks whose last change the store has refused. */
  readonly #failedWrites = new Set<string>()
  /** Unset: nothing to retry. */
  #retryTimer: unknown
  #closed = false
  /** By kind, what came since the last report. */
  readonly #reports = new Map<string, { at: number, count: number }>()
  #writing = 0
  #onIdle: Array<() => void> = []

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
   * Removes a task that is out of memory already, remembering its name where names are remembered. Never rejects: resolves with
   * whether it is stored.
   */
  remove (entry: TaskEntry): Promise<boolean> {
    this.addTombstone(entry)
    this.#retryFailed()
    // Also where this end of the task adds none: the name may be refused since an earlier one.
    return this.#write(entry.name, this.#options.store.removeTask(entry.name, this.names.get(entry.name)))
  }

  /** Remembers the name of a task that ends now. */
  addTombstone (entry: TaskEntry): Tombstone | undefined {
    const { tombstoneMs, rememberGeneratedNames } = this.#options
    if (entry.generatedId && !rememberGeneratedNames) return undefined
    const ms = tombstoneMs(entry.name)
    if (ms === 0) return undefined
    this.names.add(entry.name, ms)
    return this.names.get(entry.name)
  }

  /**
   * Forgets a few names whose time has passed.
   * @param operations how many operations of the engine it goes with
   */
  sweep (operations: number = 1): void {
    const names = this.names.sweep(NAMES_PER_SWEEP * operations)
    if (names.length > 0) this.track(this.#options.store.forget(names))
  }

  /** Tries once more what the store has refused, then waits until nothing is being written. */
  async settle (): Promise<void> {
    this.#retryFailed(Infinity)
    if (this.#writing > 0) await new Promise<void>(resolve => { this.#onIdle.push(resolve) })
  }

  /** To be called after the last change. Leaves no timer behind. */
  close (): void {
    this.#closed = true
    this.#options.clock.clearTimeout(this.#retryTimer)
    this.#retryTimer = undefined
  }

  /** Has `settle` wait for something whose failure is reported. Never rejects: resolves with whether it succeeded. */
  track (write: Promise<unknown>, name?: string): Promise<boolean> {
    this.#writing++
    return write.then(() => {
      this.#written()
      return true
    }, error => {
      if (name !== undefined) {
        this.#failedWrites.add(name)
        this.#scheduleRetry()
      }
      this.#report(error, name)
      this.#written()
      return false
    })
  }

  #put (entry: TaskEntry, task: Task): void {
    const { store } = this.#options
    this.#write(entry.name, store.putTask(task).then(() => {
      // Anything else is newer: the state of an attempt that started meanwhile.
      if (entry.unstored === task) entry.unstored = undefined
    }))
  }

  #write (name: string, write: Promise<void>): Promise<boolean> {
    this.#failedWrites.delete(name)
    return this.track(write, name)
  }

  /** Retries all after a while, and again for as long as some fail: nothing else may come that would. */
  #scheduleRetry (): void {
    if (this.#closed || this.#retryTimer !== undefined) return
    this.#retryTimer = this.#options.clock.setTimeout(() => {
      this.#retryTimer = undefined
      this.#retryFailed(RETRIES_PER_TIMER)
      if (this.#failedWrites.size > 0) this.#scheduleRetry()
    }, RETRY_MS)
  }

  #report (error: unknown, name: string | undefined): void {
    const { clock, onError } = this.#options
    const { problem, message } = error as { readonly problem?: string, readonly message?: string }
    const kind = problem ?? message ?? String(error)
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

  /** Brings the store to what memory says now, which may be more than what was refused. */
  #retry (name: string): void {
    const entry = this.#options.find(name)
    if (entry === null) return
    this.#failedWrites.delete(name)
    if (entry === undefined) this.#write(name, this.#options.store.removeTask(name, this.names.get(name)))
    else if (entry.unstored !== undefined && entry.attempts === 0) this.#put(entry, entry.unstored)
    else if (entry.unstored !== undefined) this.#failedWrites.add(name)
  }

  #written (): void {
    this.#writing--
    if (this.#writing > 0) return
    const waiting = this.#onIdle
    this.#onIdle = []
    for (const resolve of waiting) resolve()
  }
}

const NAMES_PER_SWEEP = 8
const RETRIES_PER_WRITE = 8
const RETRY_MS = 5000
const RETRIES_PER_TIMER = 1000
const REPORT_MS = 60_000
/** Messages of a store that is not ours may differ each time. */
const KINDS = 20

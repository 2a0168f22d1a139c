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
 * that the store refuses is reported, and retried with the next one.
 */
export class WriteBehind {
  readonly names: Tombstones
  readonly #options: WriteBehindOptions
  /** Tasks whose last change the store has refused. */
  readonly #failedWrites = new Set<string>()
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

  /** Forgets a few names whose time has passed. */
  sweep (): void {
    const names = this.names.sweep(NAMES_PER_SWEEP)
    if (names.length > 0) this.track(this.#options.store.forget(names))
  }

  /** Tries once more what the store has refused, then waits until nothing is being written. */
  async settle (): Promise<void> {
    this.#retryFailed(Infinity)
    if (this.#writing > 0) await new Promise<void>(resolve => { this.#onIdle.push(resolve) })
  }

  /** Has `settle` wait for something whose failure is reported. Never rejects: resolves with whether it succeeded. */
  track (write: Promise<unknown>, name?: string): Promise<boolean> {
    this.#writing++
    return write.then(() => {
      this.#written()
      return true
    }, error => {
      if (name !== undefined) this.#failedWrites.add(name)
      this.#options.onError(error, { during: 'store', ...(name === undefined ? undefined : { name }) })
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

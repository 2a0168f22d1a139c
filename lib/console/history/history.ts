import type { Clock } from '../../clock/clock.js'
import type { Task } from '../../cloud-tasks/task.js'
import type { Attempt, EndOfTask, Observer } from '../../engine/engine.js'
import { isSuccess } from '../../engine/transitions.js'
import type { TaskRow } from '../api/api.js'
import type { SeenTask } from '../api/task-view.js'
import type { EndedAttempt } from './attempt-record.js'
import { EndedTasks } from './ended-tasks.js'
import { errorInfo } from './error-info.js'
import { LogLines, type WrittenLine } from './log-lines.js'
import { TaskRecord } from './task-record.js'
import { cut } from './text.js'
import type { Timeline } from './timeline.js'

export interface HistoryOptions {
  /** How many ended tasks are kept. */
  readonly history: number
  readonly clock: Clock
  readonly timeline: Timeline
  /** Called when something about that task has changed; with the task where there is no record of it. */
  readonly onChange: (name: string, task?: Task) => void
  /** Called when a queue has changed, or lost its tasks. */
  readonly onQueue: () => void
  /** Whether no engine has the tasks, because their queues are in Google Cloud. @default false */
  readonly isOnlyCopy?: boolean
  /** Bytes that all records may take, roughly. @default 64 MiB */
  readonly budget?: number
}

/**
 * Keeps what happened in attempts, which the engine does not. A record is in one of three places:
 *
 *   started -> running -> [failed] -> retrying -> [started again] -> running
 *                 `-> [ended] -> past -> [more than `history`, or memory is short] -> forgotten
 *
 * Memory is bounded by a budget of bytes for all records, and by a number of tasks for each place but the first, which the
 * queues bound. When it is short, the oldest ended tasks lose their payloads, log lines and stacks, then the oldest of all are
 * forgotten. Each event takes constant time.
 *
 * These are plain objects in maps. Arrays of numbers in their place would take 0.7 MB instead of 1.1 MB for 1,000 ended tasks, and
 * 0.5 us less of the 35 us of CPU that a task takes in the embedded queue.
 */
export class History implements Observer {
  readonly #options: HistoryOptions
  readonly #budget: number
  readonly #isOnlyCopy: boolean
  /** By name, in the order in which they were started. */
  readonly running = new Map<string, TaskRecord>()
  /** By name, the one that failed longest ago first. */
  readonly retrying = new Map<string, TaskRecord>()
  readonly past: EndedTasks
  /** Its last attempt has ended; the engine reports the end of the task next. */
  #ending: TaskRecord | undefined
  #places = 0
  #size = 0
  /** False once a task that waits after a failure was forgotten. */
  complete = true

  constructor (options: HistoryOptions) {
    this.#options = options
    this.#budget = options.budget ?? BUDGET
    this.#isOnlyCopy = options.isOnlyCopy ?? false
    this.past = new EndedTasks(options.history)
  }

  /** Bytes that all records take, roughly. */
  get size (): number {
    return this.#size
  }

  /** The record of a task that has not ended, or else of one that has. */
  record (name: string): TaskRecord | undefined {
    return this.pending(name) ?? this.past.get(name)
  }

  /** The record of a task that has not ended. */
  pending (name: string): TaskRecord | undefined {
    return this.running.get(name) ?? this.retrying.get(name)
  }

  /** A task that the engine has, with what is kept of its attempts. */
  recordOf (task: SeenTask): TaskRecord {
    return this.pending(task.name) ?? this.#newRecord(task)
  }

  /** As `recordOf`, as a row. */
  row (task: Task): TaskRow {
    return this.recordOf(task).row(task)
  }

  /** Keeps a record of a task that waits, so that it is still shown after its end. */
  remember (task: Task): void {
    if (this.pending(task.name) !== undefined) return
    const record = this.#newRecord(task)
    this.#wait(record)
    this.#weigh(record)
  }

  added (task: Task): void {
    this.#options.timeline.arrived(task.createdAt)
    this.#options.onChange(task.name, task)
  }

  started ({ task }: { readonly task: SeenTask }): void {
    if (!this.#isOnlyCopy) this.#options.timeline.started(task.lastAttempt!.dispatchAt)
    const former = this.pending(task.name)
    // A task of the same name that was purged while it ran.
    if (former?.gone === true) this.#end(former, 'deleted')
    const record = this.recordOf(task)
    if (record.running === 0) this.#move(record, this.running)
    record.begin(task)
    this.#options.onChange(task.name)
  }

  attempted (ended: EndedAttempt): void {
    const { attempt: { task }, how, endedAt, retryAt } = ended
    this.#options.timeline.ended(endedAt, isSuccess(how), retryAt !== undefined)
    const record = this.record(task.name)
    if (record === undefined || !record.finish(ended)) return
    if (record.end === undefined && record.running === 0) this.#pause(record, retryAt !== undefined)
    // The record of a task that ends next is weighed then.
    if (record !== this.#ending) this.#weigh(record)
    this.#options.onChange(task.name)
  }

  undelivered ({ task }: Attempt): void {
    const record = this.pending(task.name)
    if (record === undefined) return
    record.running--
    if (record.running === 0) this.#forget(record)
    this.#options.onChange(task.name)
  }

  ended (name: string, why: EndOfTask): void {
    const record = this.pending(name)
    if (record !== undefined) this.#end(record, why)
    this.#options.onChange(name)
  }

  emptied (queue: string): void {
    for (const record of [...this.retrying.values()]) {
      if (record.queue === queue) this.#forget(record)
    }
    for (const record of this.running.values()) {
      if (record.queue === queue) record.gone = true
    }
    this.#options.onQueue()
  }

  changed (): void {
    this.#options.onQueue()
  }

  /** A log line of an attempt. */
  line (name: string, attempt: number, line: WrittenLine): void {
    const record = this.record(name)
    const found = record?.attempt(attempt)
    if (record === undefined || found === undefined) return
    found.logs ??= new LogLines(this.#options.clock)
    const before = found.logs.chars
    found.logs.add(line)
    this.#grow(record, found.logs.chars - before)
    if (this.#size > this.#budget) {
      found.logs.drop()
      this.#weigh(record)
    }
    this.#options.onChange(name)
  }

  /** The error that an attempt ends with. */
  failed (name: string, attempt: number, thrown: unknown): void {
    const found = this.record(name)?.attempt(attempt)
    if (found !== undefined) found.error = errorInfo(thrown)
  }

  dropped (name: string, attempt: number, reason: string): void {
    const found = this.record(name)?.attempt(attempt)
    if (found !== undefined) found.dropReason = cut(reason, MAX_REASON)
  }

  /** @param until epoch milliseconds */
  postponed (name: string, attempt: number, until: number, reason: string | undefined): void {
    const found = this.record(name)?.attempt(attempt)
    if (found === undefined) return
    found.postponedUntil = until
    if (reason !== undefined) found.postponeReason = cut(reason, MAX_REASON)
  }

  #newRecord (task: SeenTask): TaskRecord {
    return new TaskRecord(task, this.#isOnlyCopy)
  }

  /** No attempt runs any more and the task has not ended: it waits, or is gone, or its end is reported next. */
  #pause (record: TaskRecord, isRetried: boolean): void {
    if (record.gone) {
      this.#end(record, 'deleted')
    } else if (isRetried) {
      record.pause()
      this.#wait(record)
    } else {
      // No end is reported of a task that the store has lost. Then there is nothing to keep.
      if (this.#ending?.end === undefined && this.#ending !== record) this.#forget(this.#ending)
      this.#ending = record
    }
  }

  #wait (record: TaskRecord): void {
    this.#move(record, this.retrying)
    if (this.retrying.size <= MAX_RETRYING) return
    this.#forgetOldestRetrying()
  }

  /** Takes a record out of its place among the tasks that have not ended, and to another one if there is one. */
  #move (record: TaskRecord, to?: Map<string, TaskRecord>): void {
    for (const from of [this.running, this.retrying]) {
      if (from.get(record.name) === record) from.delete(record.name)
    }
    record.place = this.#places++
    to?.set(record.name, record)
  }

  #end (record: TaskRecord, why: EndOfTask): void {
    if (this.#ending === record) this.#ending = undefined
    record.close(why, this.#options.clock.now())
    this.#move(record)
    this.#size -= this.past.add(record)
    this.#weigh(record)
  }

  /** For a task that has not ended. */
  #forget (record: TaskRecord | undefined): void {
    if (record === undefined || record.forgotten) return
    record.forgotten = true
    this.#size -= record.size
    if (this.#ending === record) this.#ending = undefined
    this.#move(record)
  }

  /** False when there is none. */
  #forgetOldestRetrying (): boolean {
    const [oldest] = this.retrying.values()
    if (oldest === undefined) return false
    this.complete = false
    this.#forget(oldest)
    return true
  }

  #weigh (record: TaskRecord): void {
    if (!record.forgotten) this.#grow(record, record.measure() - record.size)
  }

  #grow (record: TaskRecord, by: number): void {
    if (record.forgotten) return
    record.size += by
    this.#size += by
    while (this.#size > this.#budget && this.#makeRoom());
  }

  /** False when all that remains belongs to tasks that run. */
  #makeRoom (): boolean {
    const freed = this.past.stripOldest() ?? this.past.forgetOldest()
    if (freed !== undefined) {
      this.#size -= freed
      return true
    }
    return this.#forgetOldestRetrying()
  }
}

const BUDGET = 64 * 1024 * 1024

/** Tasks that wait after a failed attempt and are kept. */
const MAX_RETRYING = 10_000

/** Characters that are kept of the reason of a drop. */
const MAX_REASON = 4096

import type { Clock } from '../../clock/clock.js'
import type { Task } from '../../cloud-tasks/task.js'
import type { Attempt, EndOfTask, Observer } from '../../engine/engine.js'
import { isSuccess } from '../../engine/transitions.js'
import type { TaskRow } from '../api/api.js'
import { isTraceId, type SeenTask } from '../api/task-view.js'
import type { EndedAttempt } from './attempt-record.js'
import { EndedTasks } from './ended-tasks.js'
import { errorInfo } from './error-info.js'
import { LogLines, type WrittenLine } from './log-lines.js'
import { TaskRecord } from './task-record.js'
import { cut } from './text.js'
import type { Timeline } from './timeline.js'

export interface HistoryOptions {
  /** Maximum number of ended tasks. */
  readonly history: number
  readonly clock: Clock
  readonly timeline: Timeline
  /** Called when a task has changed; with the task if there is no record of it. */
  readonly onChange: (name: string, task?: Task) => void
  /** Called when a queue has changed, or was emptied. */
  readonly onQueue: () => void
  /** Whether there is no engine, because the queues are in Google Cloud. @default false */
  readonly isOnlyCopy?: boolean
  /** Approximate maximum size of all records in bytes. @default 64 MiB */
  readonly budget?: number
}

/**
 * Records of attempts, which the engine does not keep. A record is in one of three places:
 *
 *   started -> running -> [failed] -> retrying -> [started again] -> running
 *                 `-> [ended] -> past -> [more than `history`, or memory is short] -> forgotten
 *
 * Memory is bounded by a budget of bytes for all records, and by a number of tasks for each place except the first, which the queues
 * bound. When it is short, the oldest ended tasks lose their payloads, log lines and stacks, then the oldest records are evicted. Each
 * event takes constant time.
 *
 * Records are plain objects in maps. Packed arrays would take 0.7 MB instead of 1.1 MB for 1,000 ended tasks, and save only 0.5 us of the
 * 35 us of CPU time of a task in the embedded queue.
 */
export class History implements Observer {
  readonly #options: HistoryOptions
  readonly #budget: number
  readonly #isOnlyCopy: boolean
  /** By name, in the order of their start. */
  readonly running = new Map<string, TaskRecord>()
  /** By name, in the order of their failure. */
  readonly retrying = new Map<string, TaskRecord>()
  readonly past: EndedTasks
  /** A task whose last attempt has ended, and whose end the engine reports next. */
  #ending: TaskRecord | undefined
  #places = 0
  #size = 0
  /** False after a retrying task was evicted. */
  complete = true

  constructor (options: HistoryOptions) {
    this.#options = options
    this.#budget = options.budget ?? BUDGET
    this.#isOnlyCopy = options.isOnlyCopy ?? false
    this.past = new EndedTasks(options.history)
  }

  /** Approximate size of all records in bytes. */
  get size (): number {
    return this.#size
  }

  /** The record of a pending task, or else of an ended one. */
  record (name: string): TaskRecord | undefined {
    return this.pending(name) ?? this.past.get(name)
  }

  /** The record of a task that has not ended. */
  pending (name: string): TaskRecord | undefined {
    return this.running.get(name) ?? this.retrying.get(name)
  }

  /** The record of a task in the engine; a new one if there is none. */
  recordOf (task: SeenTask): TaskRecord {
    return this.pending(task.name) ?? this.#newRecord(task)
  }

  /** Like `recordOf`, but returns a row. */
  row (task: Task): TaskRow {
    return this.recordOf(task).row(task)
  }

  /** Creates a record of a waiting task, so that it stays visible after its end. */
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
    // A task with the same name that was purged while it ran.
    if (former?.gone === true) this.#end(former, 'deleted')
    const record = this.recordOf(task)
    if (record.running === 0) this.#move(record, this.running)
    record.begin(task)
    this.#options.onChange(task.name)
  }

  attempted (ended: EndedAttempt): void {
    const { attempt: { task }, result, endedAt, retryAt } = ended
    this.#options.timeline.ended(endedAt, isSuccess(result), retryAt !== undefined)
    const record = this.record(task.name)
    if (record === undefined || !record.finish(ended)) return
    if (record.end === undefined && record.running === 0) this.#pause(record, retryAt !== undefined)
    // A task that is about to end is measured at its end.
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

  /** Adds a log line to an attempt. */
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

  /** Sets the error of an attempt. */
  failed (name: string, attempt: number, thrown: unknown): void {
    const found = this.record(name)?.attempt(attempt)
    if (found !== undefined) found.error = errorInfo(thrown)
  }

  dropped (name: string, attempt: number, reason: string): void {
    const found = this.record(name)?.attempt(attempt)
    if (found !== undefined) found.dropReason = cut(reason, MAX_REASON)
  }

  /** @param id of the trace that an attempt is part of; what is none is ignored */
  traced (name: string, attempt: number, id: string): void {
    const found = isTraceId(id) ? this.record(name)?.attempt(attempt) : undefined
    if (found !== undefined) found.traceId = id
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

  /** Called when no attempt is running: the task waits for a retry, is gone, or its end is reported next. */
  #pause (record: TaskRecord, isRetried: boolean): void {
    if (record.gone) {
      this.#end(record, 'deleted')
    } else if (isRetried) {
      record.pause()
      this.#wait(record)
    } else {
      // The end of a task that was lost by the store is never reported, so its record is dropped.
      if (this.#ending?.end === undefined && this.#ending !== record) this.#forget(this.#ending)
      this.#ending = record
    }
  }

  #wait (record: TaskRecord): void {
    this.#move(record, this.retrying)
    if (this.retrying.size <= MAX_RETRYING) return
    this.#forgetOldestRetrying()
  }

  /** Moves a record from its place among the pending tasks to another one, if given. */
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

  /** For a pending task. */
  #forget (record: TaskRecord | undefined): void {
    if (record === undefined || record.forgotten) return
    record.forgotten = true
    this.#size -= record.size
    if (this.#ending === record) this.#ending = undefined
    this.#move(record)
  }

  /** Returns false when there is none. */
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

  /** Returns false when only records of running tasks remain. */
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

/** Maximum number of retrying tasks. */
const MAX_RETRYING = 10_000

/** Maximum length of a reason. */
const MAX_REASON = 4096

import type { Clock } from '../../clock/clock.js'
import type { Task } from '../../cloud-tasks/task.js'
import type { Attempt, AttemptReport, EndOfTask, Observer } from '../../engine/engine.js'
import { isSuccess } from '../../engine/transitions.js'
import { errorInfo } from './error-info.js'
import { LinkedList } from './linked-list.js'
import { LogLines, type WrittenLine } from './log-lines.js'
import { PastTasks } from './past-tasks.js'
import { TaskRecord } from './task-record.js'
import { cut } from './text.js'
import type { Timeline } from './timeline.js'

export interface HistoryOptions {
  /** Tasks that have ended and are remembered. */
  readonly history: number
  readonly timeline: Timeline
  /** Something about that task has changed. `task` where it is known and there is no record. */
  readonly onChange: (name: string, task?: Task) => void
  /** A queue has changed, or lost its tasks. */
  readonly onQueue: () => void
  /** Bytes that all records may take, roughly. @default 64 MiB */
  readonly budget?: number
  readonly clock: Clock
}

/**
 * Remembers attempts, which the engine does not. A record is in one of three places:
 *
 *   started -> running -> [failed] -> retrying -> [started again] -> running
 *                 `-> [ended] -> ended -> [more than `history`, or no room] -> forgotten
 *
 * Memory is bounded, whatever happens: a budget of bytes for all records, and a number of tasks for each place but the
 * first, which the queues bound. When room is needed, the oldest tasks that have ended lose their payloads, log lines and
 * stacks, then the oldest of all are forgotten. Each event costs the same, however many tasks there are.
 */
export class History implements Observer {
  readonly #options: HistoryOptions
  readonly #budget: number
  /** Of tasks that have not ended. */
  readonly #pending = new Map<string, TaskRecord>()
  readonly running = new LinkedList<TaskRecord>()
  /** The one that failed longest ago first. */
  readonly retrying = new LinkedList<TaskRecord>()
  readonly past: PastTasks
  /** Its last attempt is over; how it ends comes next. */
  #ending: TaskRecord | undefined
  #size = 0
  /** False once a task that waits after a failure was forgotten. */
  complete = true

  constructor (options: HistoryOptions) {
    this.#options = options
    this.#budget = options.budget ?? BUDGET
    this.past = new PastTasks(options.history)
  }

  /** What all records take, roughly. */
  get size (): number {
    return this.#size
  }

  /** Of a task that has not ended, or else of one that has. */
  record (name: string): TaskRecord | undefined {
    return this.#pending.get(name) ?? this.past.get(name)
  }

  pending (name: string): TaskRecord | undefined {
    return this.#pending.get(name)
  }

  ofPast (name: string): TaskRecord | undefined {
    return this.past.get(name)
  }

  /** Makes a record of a task that waits, so that something is left of it when it ends. */
  remember (task: Task): void {
    if (this.#pending.has(task.name)) return
    const record = new TaskRecord(task)
    this.#pending.set(record.name, record)
    this.#wait(record)
    this.#weigh(record)
  }

  added (task: Task): void {
    this.#options.timeline.arrived(task.createdAt)
    this.#options.onChange(task.name, task)
  }

  started ({ task }: Attempt): void {
    this.#options.timeline.started(task.lastAttempt!.dispatchAt)
    let record = this.#pending.get(task.name)
    if (record?.gone === true) {
      // One of the same name that was purged away while it ran.
      this.#end(record, 'deleted')
      record = undefined
    }
    if (record === undefined) {
      record = new TaskRecord(task)
      this.#pending.set(task.name, record)
    }
    if (record.list !== this.running) this.running.add(record)
    record.begin(task)
    this.#options.onChange(task.name)
  }

  attempted (ended: AttemptReport): void {
    const { attempt: { task }, how, endedAt, retryAt } = ended
    this.#options.timeline.ended(endedAt, isSuccess(how), retryAt !== undefined)
    const record = this.record(task.name)
    if (record === undefined || !record.finish(ended)) return
    if (record.end === undefined && record.running === 0) this.#pause(record, retryAt)
    // One that ends next is weighed then.
    if (record !== this.#ending) this.#weigh(record)
    this.#options.onChange(task.name)
  }

  undelivered ({ task }: Attempt): void {
    const record = this.#pending.get(task.name)
    if (record === undefined) return
    record.running--
    if (record.running === 0) this.#forget(record)
    this.#options.onChange(task.name)
  }

  ended (name: string, why: EndOfTask): void {
    const record = this.#pending.get(name)
    if (record !== undefined) this.#end(record, why)
    this.#options.onChange(name)
  }

  emptied (queue: string): void {
    for (const record of this.retrying.values()) {
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
    if (found !== undefined) found.dropReason = cut(reason, MAX_TEXT)
  }

  /** No attempt runs any more and the task has not ended: it waits, or is gone, or its end is told next. */
  #pause (record: TaskRecord, retryAt: number | undefined): void {
    if (record.gone) {
      this.#end(record, 'deleted')
    } else if (retryAt === undefined) {
      // Should no end be told, as of a task that the store has lost, there is nothing to remember.
      if (this.#ending?.end === undefined && this.#ending !== record) this.#forget(this.#ending)
      this.#ending = record
    } else {
      record.pause(retryAt)
      this.#wait(record)
    }
  }

  #wait (record: TaskRecord): void {
    this.retrying.add(record)
    if (this.retrying.size <= MAX_RETRYING) return
    this.complete = false
    this.#forget(this.retrying.first)
  }

  #end (record: TaskRecord, why: EndOfTask): void {
    if (this.#ending === record) this.#ending = undefined
    record.list?.remove(record)
    this.#pending.delete(record.name)
    record.close(why, this.#options.clock)
    this.#size += this.past.add(record)
    this.#fit()
  }

  /** Of a task that has not ended. */
  #forget (record: TaskRecord | undefined): void {
    if (record === undefined || record.forgotten) return
    record.forgotten = true
    this.#size -= record.size
    if (this.#ending === record) this.#ending = undefined
    record.list?.remove(record)
    if (this.#pending.get(record.name) === record) this.#pending.delete(record.name)
  }

  #weigh (record: TaskRecord): void {
    this.#grow(record, record.measure() - record.size)
  }

  #grow (record: TaskRecord, by: number): void {
    if (record.forgotten) return
    record.size += by
    this.#size += by
    this.#fit()
  }

  #fit (): void {
    while (this.#size > this.#budget && this.#makeRoom());
  }

  /** False when all that is left belongs to tasks that run. */
  #makeRoom (): boolean {
    const freed = this.past.stripOldest() ?? this.past.forgetOldest()
    if (freed !== undefined) {
      this.#size -= freed
      return true
    }
    const oldest = this.retrying.first
    if (oldest !== undefined) this.complete = false
    this.#forget(oldest)
    return oldest !== undefined
  }
}

const BUDGET = 64 * 1024 * 1024

/** Tasks that wait after a failed attempt and are remembered. */
const MAX_RETRYING = 10_000

/** Characters of the reason of a drop. */
const MAX_TEXT = 4096

import type { Clock } from '../../clock/clock.js'
import type { Task } from '../../cloud-tasks/task.js'
import { shortId } from '../../cloud-tasks/names.js'
import type { AttemptReport, EndOfTask } from '../../engine/engine.js'
import type { AttemptInfo, AttemptResult, Payload, TaskRow, TaskState } from '../api/api.js'
import { AttemptRecord } from './attempt-record.js'
import { errorInfo } from './error-info.js'
import type { Link } from './linked-list.js'
import { bodyOf, lastResultOf, methodOf, ownHeaders, payloadOf, queueNameOf, urlOf } from '../api/task-view.js'
import { cut } from './text.js'

/**
 * What is remembered of one task. It has attempts under way, or waits after a failed one, or has ended. Of a task with one
 * attempt of which there is nothing to tell but times and a status, its own fields and the task say it all; that is most
 * tasks, so the rest is made when it is needed.
 */
export class TaskRecord implements Link<TaskRecord> {
  before: TaskRecord | undefined
  after: TaskRecord | undefined
  place = 0
  list: { remove (record: TaskRecord): void } | undefined
  readonly name: string
  /** As its last attempt was sent. Known while an attempt runs, and kept of a task that has ended until the room is needed. */
  task: Task | undefined
  attempts: number
  running = 0
  lastResult: AttemptResult | undefined
  end: EndOfTask | undefined
  endedAt: number | undefined
  /** Its queue was purged or deleted while it ran. */
  gone = false
  /** What it counts against the budget. */
  size = 0
  /** Forgotten: nothing may be added to it. */
  forgotten = false
  /** When its only attempt has ended, while there is no list. */
  #attemptEndedAt: number | undefined
  #retryAt: number | undefined
  #list: AttemptRecord[] | undefined
  #omitted: number
  #rest: Rest | undefined

  constructor (task: Task) {
    this.name = task.name
    this.task = task
    this.attempts = task.dispatchCount
    this.lastResult = task.previousResponse === undefined ? undefined : lastResultOf(task)
    this.#omitted = Math.max(0, task.dispatchCount - 1)
  }

  /** One that ended with success at its first attempt, of which no more is to be told than these say. */
  static done (task: Task, endedAt: number, status: number): TaskRecord {
    const record = new TaskRecord(task)
    record.lastResult = status
    record.end = 'done'
    record.endedAt = record.#attemptEndedAt = endedAt
    return record
  }

  /** Whether `done` makes the same of the task, its end and its status. */
  get isPlain (): boolean {
    return this.end === 'done' && this.#list === undefined && this.attempts === 1 && this.running === 0 && this.task !== undefined && this.#attemptEndedAt === this.endedAt
  }

  get queue (): string {
    return queueNameOf(this.name)
  }

  get method (): string {
    return this.task === undefined ? this.#rest!.method : methodOf(this.task)
  }

  get url (): string {
    return this.task === undefined ? this.#rest!.url : urlOf(this.task)
  }

  get createdAt (): number {
    return this.task === undefined ? this.#rest!.createdAt : this.task.createdAt
  }

  get state (): TaskState {
    switch (this.end) {
      case undefined: return this.running > 0 ? 'running' : this.attempts > 0 ? 'retrying' : 'waiting'
      case 'done': return this.#list?.at(-1)?.dropReason === undefined ? 'done' : 'dropped'
      case 'givenUp': return 'failed'
      default: return this.end
    }
  }

  begin (task: Task): void {
    const first = this.#list === undefined && !this.#hasBegun
    if (!first) this.#add(new AttemptRecord(task))
    this.task = task
    this.attempts = task.dispatchCount
    this.#retryAt = undefined
    this.running++
  }

  /** False where the attempt is not known, or has ended before. */
  finish ({ attempt: { task }, how, durationMs, error, text, retryAt }: AttemptReport): boolean {
    // Not by the wall clock, which may have been set to a time before the attempt began.
    const endedAt = task.lastAttempt!.dispatchAt + Math.round(durationMs)
    if (this.#list === undefined && error === undefined && text === undefined && retryAt === undefined) {
      if (this.running === 0 || task.dispatchCount !== this.attempts) return false
      this.#attemptEndedAt = endedAt
    } else {
      const attempt = this.attempt(task.dispatchCount)
      if (attempt === undefined || attempt.endedAt !== undefined) return false
      attempt.endedAt = endedAt
      attempt.result = how
      attempt.retryAt = retryAt
      if (text !== undefined) attempt.text = cut(text, MAX_TEXT)
      if (error !== undefined) attempt.error ??= errorInfo(error)
    }
    this.lastResult = how
    this.running--
    return true
  }

  /** @param clock says when, where no attempt does */
  close (why: EndOfTask, clock: Clock): void {
    this.end = why
    this.endedAt = (why === 'done' ? this.#attemptEndedAt : undefined) ?? clock.now()
  }

  /** It is due again then, and the engine has the task: to keep it here would keep payloads in memory that are on disk. */
  pause (retryAt: number): void {
    this.#retryAt = retryAt
    this.#letGo()
  }

  attempt (number: number): AttemptRecord | undefined {
    return this.#attempts().findLast(attempt => attempt.number === number)
  }

  /** What it takes in memory, roughly. */
  measure (): number {
    let size = RECORD_SIZE + this.url.length + (this.#rest?.payload?.text.length ?? 0)
    if (this.#list === undefined) size += ATTEMPT_SIZE
    else for (const attempt of this.#list) size += ATTEMPT_SIZE + attempt.chars
    if (this.task !== undefined && this.end !== undefined) size += taskSize(this.task)
    return size
  }

  /** Lets go of all that is large. */
  strip (): void {
    if (this.task !== undefined) {
      const body = bodyOf(this.task)
      const head = payloadOf(body?.subarray(0, HEAD_BYTES), (this.task.httpRequest ?? this.task.appEngineHttpRequest)?.headers, body?.length)
      this.#letGo({ ...head, cut: (body?.length ?? 0) > HEAD_BYTES })
    }
    for (const attempt of this.#attempts()) {
      attempt.logs?.drop()
      attempt.text = attempt.text?.slice(0, HEAD_BYTES)
      if (attempt.error !== undefined) attempt.error = { name: attempt.error.name, message: attempt.error.message.slice(0, HEAD_BYTES) }
    }
  }

  row (): TaskRow {
    return {
      name: this.name,
      id: shortId(this.name),
      queue: this.queue,
      method: this.method,
      url: this.url,
      state: this.state,
      attempts: this.attempts,
      createdAt: this.createdAt,
      ...(this.end === undefined ? { scheduleAt: this.#retryAt ?? this.task!.scheduleAt } : undefined),
      ...(this.endedAt === undefined ? undefined : { endedAt: this.endedAt }),
      ...(this.lastResult === undefined ? undefined : { lastResult: this.lastResult })
    }
  }

  payload (): Payload {
    if (this.task !== undefined) return payloadOf(bodyOf(this.task), this.task.httpRequest?.headers ?? this.task.appEngineHttpRequest?.headers)
    return this.#rest?.payload ?? payloadOf(undefined)
  }

  headers (): Record<string, string> {
    return this.task === undefined ? {} : ownHeaders(this.task)
  }

  /** @param task where the record does not hold it */
  attemptList (task: Task | undefined = this.task): { attemptList: AttemptInfo[], omitted: number } {
    const attempts = this.#attempts()
    return { omitted: this.#omitted, attemptList: attempts.map(attempt => attempt.info(task)) }
  }

  get #hasBegun (): boolean {
    return this.running > 0 || this.#attemptEndedAt !== undefined
  }

  /** Those that are remembered, as a list from now on. */
  #attempts (): AttemptRecord[] {
    if (this.#list !== undefined) return this.#list
    this.#list = []
    if (this.#hasBegun) {
      const only = new AttemptRecord(this.task!)
      only.endedAt = this.#attemptEndedAt
      if (only.endedAt !== undefined) only.result = this.lastResult
      this.#list.push(only)
    }
    return this.#list
  }

  #add (attempt: AttemptRecord): void {
    const list = this.#attempts()
    list.push(attempt)
    if (list.length <= FIRST + LATEST) return
    list.splice(FIRST, 1)
    this.#omitted++
  }

  #letGo (payload?: Payload): void {
    this.#attempts()
    this.#rest = { method: this.method, url: this.url, createdAt: this.createdAt, payload }
    this.task = undefined
  }
}

/** What is left of a task once it is let go. */
interface Rest {
  readonly method: string
  readonly url: string
  readonly createdAt: number
  readonly payload: Payload | undefined
}

function taskSize (task: Task): number {
  const { headers = {}, body } = (task.httpRequest ?? task.appEngineHttpRequest)!
  let size = body?.length ?? 0
  for (const key in headers) size += key.length + headers[key]!.length
  return size
}

/** Attempts of a task that are remembered: the first ones and the latest ones. */
const FIRST = 2
const LATEST = 8

/** Bytes that a record and an attempt take in any case. */
const RECORD_SIZE = 600
const ATTEMPT_SIZE = 300

/** Characters of what a target answered. */
const MAX_TEXT = 4096

/** What stays of a text when room is needed. */
const HEAD_BYTES = 512

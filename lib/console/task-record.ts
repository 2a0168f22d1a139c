import type { Task } from '../cloud-tasks/task.js'
import { shortId } from '../cloud-tasks/names.js'
import type { EndOfTask } from '../engine/engine.js'
import type { AttemptInfo, AttemptResult, ErrorInfo, Payload, TaskRow, TaskState } from './api.js'
import { sizeOf } from './error-info.js'
import type { Link } from './linked-list.js'
import type { LogLines } from './log-lines.js'
import { attemptHeaders, bodyOf, lastResultOf, methodOf, ownHeaders, payloadOf, queueNameOf, urlOf } from './task-view.js'

/** What is remembered of one attempt. Its headers are made from the task when somebody looks. */
export class AttemptRecord {
  /** 1 for the first. */
  readonly number: number
  readonly startedAt: number
  readonly then: Pick<Task, 'dispatchCount' | 'executionCount' | 'scheduleAt' | 'previousResponse'>
  endedAt: number | undefined
  result: AttemptResult | undefined
  text: string | undefined
  logs: LogLines | undefined
  error: ErrorInfo | undefined
  dropReason: string | undefined
  retryAt: number | undefined

  constructor ({ dispatchCount, executionCount, scheduleAt, previousResponse }: Task, startedAt: number) {
    this.number = dispatchCount
    this.startedAt = startedAt
    this.then = { dispatchCount, executionCount, scheduleAt, ...(previousResponse === undefined ? undefined : { previousResponse }) }
  }

  /** Characters beyond what every attempt takes. */
  get chars (): number {
    return (this.logs?.chars ?? 0) + (this.text?.length ?? 0) + (this.dropReason?.length ?? 0) + (this.error === undefined ? 0 : sizeOf(this.error))
  }
}

/** What is remembered of one task. It has attempts under way, or waits after a failed one, or has ended. */
export class TaskRecord implements Link<TaskRecord> {
  before: TaskRecord | undefined
  after: TaskRecord | undefined
  place = 0
  list: { remove (record: TaskRecord): void } | undefined
  readonly name: string
  readonly queue: string
  readonly method: string
  readonly url: string
  readonly createdAt: number
  /** Known while an attempt runs, and kept of a task that has ended until the room is needed. */
  task: Task | undefined
  attempts: number
  running = 0
  scheduleAt: number
  lastResult: AttemptResult | undefined
  end: EndOfTask | undefined
  endedAt: number | undefined
  /** Its queue was purged or deleted while it ran. */
  gone = false
  /** What it counts against the budget. */
  size = 0
  /** Forgotten: nothing may be added to it. */
  forgotten = false
  #omitted = 0
  /** What is left of the payload once `task` is let go. */
  #payload: Payload | undefined
  readonly #list: AttemptRecord[] = []

  constructor (task: Task) {
    this.name = task.name
    this.queue = queueNameOf(task.name)
    this.method = methodOf(task)
    this.url = urlOf(task)
    this.createdAt = task.createdAt
    this.task = task
    this.attempts = task.dispatchCount
    this.scheduleAt = task.scheduleAt
    this.lastResult = lastResultOf(task)
    this.#omitted = Math.max(0, task.dispatchCount - 1)
  }

  get state (): TaskState {
    switch (this.end) {
      case undefined: return this.running > 0 ? 'running' : this.attempts > 0 ? 'retrying' : 'waiting'
      case 'done': return this.#list.at(-1)?.dropReason === undefined ? 'done' : 'dropped'
      case 'givenUp': return 'failed'
      default: return this.end
    }
  }

  begin (task: Task, startedAt: number): void {
    const attempt = new AttemptRecord(task, startedAt)
    this.task = task
    this.attempts = task.dispatchCount
    this.scheduleAt = task.scheduleAt
    this.running++
    this.#list.push(attempt)
    if (this.#list.length <= FIRST + LATEST) return
    this.#list.splice(FIRST, 1)
    this.#omitted++
  }

  attempt (number: number): AttemptRecord | undefined {
    return this.#list.findLast(attempt => attempt.number === number)
  }

  /** What it takes in memory, roughly. */
  measure (): number {
    let size = RECORD_SIZE + this.url.length + (this.#payload?.text.length ?? 0)
    for (const attempt of this.#list) size += ATTEMPT_SIZE + attempt.chars
    if (this.task !== undefined && this.end !== undefined) size += taskSize(this.task)
    return size
  }

  /** Lets go of all that is large. */
  strip (): void {
    if (this.task !== undefined) {
      const body = bodyOf(this.task)
      this.#payload = { ...payloadOf(body?.subarray(0, HEAD_BYTES), this.task.httpRequest?.headers ?? this.task.appEngineHttpRequest?.headers, body?.length), cut: (body?.length ?? 0) > HEAD_BYTES }
    }
    this.task = undefined
    for (const attempt of this.#list) {
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
      ...(this.end === undefined ? { scheduleAt: this.scheduleAt } : undefined),
      ...(this.endedAt === undefined ? undefined : { endedAt: this.endedAt }),
      ...(this.lastResult === undefined ? undefined : { lastResult: this.lastResult })
    }
  }

  payload (): Payload {
    if (this.task !== undefined) return payloadOf(bodyOf(this.task), this.task.httpRequest?.headers ?? this.task.appEngineHttpRequest?.headers)
    return this.#payload ?? payloadOf(undefined)
  }

  headers (): Record<string, string> {
    return this.task === undefined ? {} : ownHeaders(this.task)
  }

  /** @param task where the record does not hold it */
  attemptList (task: Task | undefined = this.task): { attemptList: AttemptInfo[], omitted: number } {
    return { omitted: this.#omitted, attemptList: this.#list.map(attempt => attemptInfo(attempt, task)) }
  }
}

function attemptInfo (attempt: AttemptRecord, task: Task | undefined): AttemptInfo {
  const { number, startedAt, endedAt, result, text, logs, error, dropReason, retryAt } = attempt
  return {
    number,
    startedAt,
    ...(endedAt === undefined ? undefined : { endedAt }),
    ...(result === undefined ? undefined : { result }),
    headers: task === undefined ? {} : attemptHeaders(task, attempt.then),
    ...(text === undefined ? undefined : { text }),
    logs: logs?.lines() ?? [],
    logsOmitted: logs?.omitted ?? 0,
    ...(error === undefined ? undefined : { error }),
    ...(dropReason === undefined ? undefined : { dropReason }),
    ...(retryAt === undefined ? undefined : { retryAt })
  }
}

function taskSize (task: Task): number {
  const { headers = {}, body } = (task.httpRequest ?? task.appEngineHttpRequest)!
  let size = body?.length ?? 0
  for (const key of Object.keys(headers)) size += key.length + headers[key]!.length
  return size
}

/** Attempts of a task that are remembered: the first ones and the latest ones. */
const FIRST = 2
const LATEST = 8

/** Bytes that a record and an attempt take in any case. */
const RECORD_SIZE = 600
const ATTEMPT_SIZE = 300

/** What stays of a text when room is needed. */
const HEAD_BYTES = 512

import { shortId } from '../../cloud-tasks/names.js'
import type { EndOfTask } from '../../engine/engine.js'
import type { AttemptStatus, Payload, TaskDetail, TaskRow, TaskState } from '../api/api.js'
import {
  bodyOf, headersOf, lastResultOf, methodOf, payloadOf, queueNameOf, shownHeaders, traceOf, urlOf, type SeenTask
} from '../api/task-view.js'
import { AttemptRecord, sizeOfHeaders, type EndedAttempt } from './attempt-record.js'

/** The record of one task that is running, retrying, or has ended. */
export class TaskRecord {
  readonly name: string
  /** Increases with every move of a record; the order within a place. */
  place = 0
  /** State as of the last attempt. Kept while an attempt runs and after the end; between attempts only if there is no engine. */
  task: SeenTask | undefined
  attempts: number
  running = 0
  lastResult: AttemptStatus | undefined
  end: EndOfTask | undefined
  endedAt: number | undefined
  /** Whether its queue was purged or deleted while it ran. */
  gone = false
  /** Size in bytes that counts against the budget. */
  size = 0
  /** Evicted: nothing may be added any more. */
  forgotten = false
  readonly #isOnlyCopy: boolean
  /** Created lazily: undefined while a single attempt is described by its task and `#onlyEndedAt`, as for most tasks. */
  #list: AttemptRecord[] | undefined
  #hasBegun = false
  #onlyEndedAt: number | undefined
  #omitted: number
  #rest: Rest | undefined

  /** @param isOnlyCopy whether there is no engine with the task */
  constructor (task: SeenTask, isOnlyCopy: boolean) {
    this.name = task.name
    this.task = task
    this.attempts = task.dispatchCount
    this.lastResult = lastResultOf(task)
    this.#isOnlyCopy = isOnlyCopy
    this.#omitted = task.dispatchCount
  }

  get queue (): string {
    return queueNameOf(this.name)
  }

  get state (): TaskState {
    switch (this.end) {
      case undefined: return this.running > 0 ? 'running' : this.attempts > 0 ? 'retrying' : 'waiting'
      case 'done': {
        const last = this.#list?.at(-1)
        return last?.postponedUntil !== undefined ? 'postponed' : last?.dropReason !== undefined ? 'dropped' : 'done'
      }
      case 'givenUp': return 'failed'
      default: return this.end
    }
  }

  /** Starts an attempt. @param task its state after dispatch */
  begin (task: SeenTask): void {
    if (this.#hasBegun) this.#addAttempt(task)
    else this.#omitted = task.dispatchCount - 1
    this.#hasBegun = true
    this.task = task
    this.attempts = task.dispatchCount
    this.running++
  }

  /** Returns false when the attempt is unknown, or has already ended. */
  finish (ended: EndedAttempt): boolean {
    const { attempt: { task: { dispatchCount, lastAttempt } }, result, durationMs, error, text, retryAt } = ended
    // By duration, because the wall clock may have been set back to before the start of the attempt.
    const endedAt = durationMs === undefined || lastAttempt === undefined ? ended.endedAt : lastAttempt.dispatchAt + Math.round(durationMs)
    if (this.#list === undefined && error === undefined && text === undefined && retryAt === undefined) {
      if (this.running === 0 || dispatchCount !== this.attempts) return false
      this.#onlyEndedAt = endedAt
    } else {
      const attempt = this.attempt(dispatchCount)
      if (attempt === undefined || attempt.endedAt !== undefined) return false
      attempt.finish({ ...ended, endedAt })
    }
    this.lastResult = result
    this.running--
    return true
  }

  /** @param now the time of a deletion or expiry; a done task ended with its last attempt */
  close (why: EndOfTask, now: number): void {
    this.end = why
    const lastEndedAt = this.#list === undefined ? this.#onlyEndedAt : this.#list.at(-1)?.endedAt
    this.endedAt = why === 'done' ? lastEndedAt ?? now : now
  }

  /** Call it when the task waits for its next attempt. Data that the engine has too is dropped: it may be on disk to save memory. */
  pause (): void {
    if (!this.#isOnlyCopy) this.#dropTask()
  }

  attempt (number: number): AttemptRecord | undefined {
    return this.#attempts().findLast(attempt => attempt.number === number)
  }

  /** Approximate size in memory, in bytes. */
  measure (): number {
    let size = RECORD_SIZE + (this.#rest?.payload?.text.length ?? 0)
    if (this.#list === undefined) size += ATTEMPT_SIZE
    else for (const attempt of this.#list) size += ATTEMPT_SIZE + attempt.chars
    if (this.task === undefined) return size + this.#rest!.url.length
    size += urlOf(this.task).length
    return this.#isOnlyCopy || this.end !== undefined ? size + requestSize(this.task) : size
  }

  /** Removes large data. */
  strip (): void {
    if (this.task !== undefined) {
      const body = bodyOf(this.task)
      const head = payloadOf(body?.subarray(0, HEAD_BYTES), headersOf(this.task), body?.length)
      this.#dropTask({ ...head, cut: (body?.length ?? 0) > HEAD_BYTES })
    }
    for (const attempt of this.#attempts()) attempt.strip(HEAD_BYTES)
  }

  /** @param pending the current task in the engine, if there is one */
  row (pending?: SeenTask): TaskRow {
    const task = pending ?? this.task
    const { method, url, createdAt } = task === undefined ? this.#rest! : restOf(task)
    const last = this.#attempts().at(-1)
    const dueAt = pending !== undefined || this.running > 0 || last === undefined ? task?.scheduleAt : last.retryAt
    return {
      name: this.name,
      id: shortId(this.name),
      queue: this.queue,
      method,
      url,
      state: this.state,
      attempts: pending?.dispatchCount ?? this.attempts,
      ...(createdAt === undefined ? undefined : { createdAt }),
      ...(this.end !== undefined || dueAt === undefined ? undefined : { scheduleAt: dueAt }),
      ...(last === undefined ? undefined : { startedAt: last.startedAt }),
      ...(this.endedAt === undefined ? undefined : { endedAt: this.endedAt }),
      ...(this.lastResult === undefined ? undefined : { lastResult: this.lastResult })
    }
  }

  /** The details that are not in the row. @param pending as in `row` */
  detail (pending?: SeenTask): Omit<TaskDetail, keyof TaskRow> {
    const task = pending ?? this.task
    const trace = task === undefined ? undefined : traceOf(headersOf(task))
    return {
      ...(trace === undefined ? undefined : { trace }),
      // Without an engine, the received headers include those of proxies.
      ...(this.#isOnlyCopy ? undefined : { headers: task === undefined ? {} : shownHeaders(headersOf(task)) }),
      payload: task === undefined ? this.#rest?.payload ?? payloadOf(undefined) : payloadOf(bodyOf(task), headersOf(task)),
      attemptList: this.#attempts().map(attempt => attempt.info(task)),
      omitted: this.#omitted
    }
  }

  /** The kept attempts. Creates the list once an attempt has begun. */
  #attempts (): AttemptRecord[] {
    if (!this.#hasBegun) return []
    if (this.#list !== undefined) return this.#list
    const only = this.#newAttempt(this.task!)
    only.endedAt = this.#onlyEndedAt
    if (only.endedAt !== undefined) only.result = this.lastResult
    this.#list = [only]
    return this.#list
  }

  #addAttempt (task: SeenTask): void {
    const list = this.#attempts()
    list.push(this.#newAttempt(task))
    if (list.length <= FIRST + LATEST) return
    list.splice(FIRST, 1)
    this.#omitted++
  }

  #newAttempt (task: SeenTask): AttemptRecord {
    return new AttemptRecord(task, this.#isOnlyCopy ? headersOf(task) : undefined)
  }

  #dropTask (payload?: Payload): void {
    this.#attempts()
    if (this.task !== undefined) this.#rest = { ...restOf(this.task), payload }
    this.task = undefined
  }
}

/** The summary of a task that is kept when the task is dropped. */
interface Rest {
  readonly method: string
  readonly url: string
  readonly createdAt: number | undefined
  readonly payload: Payload | undefined
}

function restOf (task: SeenTask): Omit<Rest, 'payload'> {
  return { method: methodOf(task), url: urlOf(task), createdAt: task.createdAt }
}

function requestSize (task: SeenTask): number {
  return (bodyOf(task)?.length ?? 0) + sizeOfHeaders(headersOf(task))
}

/** Number of kept attempts of a task: the first ones and the latest ones. */
const FIRST = 2
const LATEST = 8

/** Fixed sizes of a record and of an attempt, in bytes. */
const RECORD_SIZE = 600
const ATTEMPT_SIZE = 300

/** Maximum length of a text after `strip`. */
const HEAD_BYTES = 512

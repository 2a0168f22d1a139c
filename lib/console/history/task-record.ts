import { shortId } from '../../cloud-tasks/names.js'
import type { EndOfTask } from '../../engine/engine.js'
import type { AttemptStatus, Payload, TaskDetail, TaskRow, TaskState } from '../api/api.js'
import { bodyOf, headersOf, lastResultOf, methodOf, payloadOf, queueNameOf, shownHeaders, urlOf, type SeenTask } from '../api/task-view.js'
import { AttemptRecord, sizeOfHeaders, type EndedAttempt } from './attempt-record.js'

/** What is kept of one task, which runs, waits after a failed attempt, or has ended. */
export class TaskRecord {
  readonly name: string
  /** Grows each time the record is moved: orders those of one place. */
  place = 0
  /** As its last attempt was sent. Known while an attempt runs and after the end; between attempts only if the engine does not have it. */
  task: SeenTask | undefined
  attempts: number
  running = 0
  lastResult: AttemptStatus | undefined
  end: EndOfTask | undefined
  endedAt: number | undefined
  /** Its queue was purged or deleted while it ran. */
  gone = false
  /** Bytes that it counts against the budget. */
  size = 0
  /** Nothing may be added to it any more. */
  forgotten = false
  readonly #isOnlyCopy: boolean
  /** Undefined for a single attempt of which there is no more than its task and `#onlyEndedAt` say: most tasks have no other. */
  #list: AttemptRecord[] | undefined
  #hasBegun = false
  #onlyEndedAt: number | undefined
  #omitted: number
  #rest: Rest | undefined

  /** @param isOnlyCopy whether no engine has the task */
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

  /** An attempt starts. @param task its state after dispatch */
  begin (task: SeenTask): void {
    if (this.#hasBegun) this.#addAttempt(task)
    else this.#omitted = task.dispatchCount - 1
    this.#hasBegun = true
    this.task = task
    this.attempts = task.dispatchCount
    this.running++
  }

  /** False where the attempt is not known, or has ended before. */
  finish (ended: EndedAttempt): boolean {
    const { attempt: { task: { dispatchCount, lastAttempt } }, how, durationMs, error, text, retryAt } = ended
    // Not by the wall clock, which may have been set to a time before the attempt began.
    const endedAt = durationMs === undefined || lastAttempt === undefined ? ended.endedAt : lastAttempt.dispatchAt + Math.round(durationMs)
    if (this.#list === undefined && error === undefined && text === undefined && retryAt === undefined) {
      if (this.running === 0 || dispatchCount !== this.attempts) return false
      this.#onlyEndedAt = endedAt
    } else {
      const attempt = this.attempt(dispatchCount)
      if (attempt === undefined || attempt.endedAt !== undefined) return false
      attempt.finish({ ...ended, endedAt })
    }
    this.lastResult = how
    this.running--
    return true
  }

  /** @param now when it was deleted or expired; it is done when its last attempt has ended */
  close (why: EndOfTask, now: number): void {
    this.end = why
    const lastEndedAt = this.#list === undefined ? this.#onlyEndedAt : this.#list.at(-1)?.endedAt
    this.endedAt = why === 'done' ? lastEndedAt ?? now : now
  }

  /** It waits for its next attempt. What the engine has, too, is not kept here: it may be on disk to save memory. */
  pause (): void {
    if (!this.#isOnlyCopy) this.#letGo()
  }

  attempt (number: number): AttemptRecord | undefined {
    return this.#attempts().findLast(attempt => attempt.number === number)
  }

  /** Bytes that it takes in memory, roughly. */
  measure (): number {
    let size = RECORD_SIZE + (this.#rest?.payload?.text.length ?? 0)
    if (this.#list === undefined) size += ATTEMPT_SIZE
    else for (const attempt of this.#list) size += ATTEMPT_SIZE + attempt.chars
    if (this.task !== undefined) size += urlOf(this.task).length
    if (this.task !== undefined && (this.#isOnlyCopy || this.end !== undefined)) size += requestSize(this.task)
    return size
  }

  /** Removes what is large. */
  strip (): void {
    if (this.task !== undefined) {
      const body = bodyOf(this.task)
      const head = payloadOf(body?.subarray(0, HEAD_BYTES), headersOf(this.task), body?.length)
      this.#letGo({ ...head, cut: (body?.length ?? 0) > HEAD_BYTES })
    }
    for (const attempt of this.#attempts()) attempt.strip(HEAD_BYTES)
  }

  /** @param pending the task as the engine has it now, where it does */
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

  /** What the row leaves out. @param pending as in `row` */
  detail (pending?: SeenTask): Omit<TaskDetail, keyof TaskRow> {
    const task = pending ?? this.task
    return {
      // Infrastructure adds headers on the way to this process.
      ...(this.#isOnlyCopy ? undefined : { headers: task === undefined ? {} : shownHeaders(headersOf(task)) }),
      payload: task === undefined ? this.#rest?.payload ?? payloadOf(undefined) : payloadOf(bodyOf(task), headersOf(task)),
      attemptList: this.#attempts().map(attempt => attempt.info(task)),
      omitted: this.#omitted
    }
  }

  /** Those that are kept, as a list from now on. */
  #attempts (): AttemptRecord[] {
    if (this.#list !== undefined) return this.#list
    this.#list = []
    if (!this.#hasBegun) return this.#list
    const only = this.#newAttempt(this.task!)
    only.endedAt = this.#onlyEndedAt
    if (only.endedAt !== undefined) only.result = this.lastResult
    this.#list.push(only)
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

  #letGo (payload?: Payload): void {
    this.#attempts()
    if (this.task !== undefined) this.#rest = { ...restOf(this.task), payload }
    this.task = undefined
  }
}

/** What remains of a task when it is let go. */
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

/** Attempts of a task that are kept: the first ones and the latest ones. */
const FIRST = 2
const LATEST = 8

/** Bytes that a record and an attempt take in any case. */
const RECORD_SIZE = 600
const ATTEMPT_SIZE = 300

/** What remains of a text when memory is short. */
const HEAD_BYTES = 512

import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import { dispatchHeaders } from '../cloud-tasks/headers.js'
import { withOverrides } from '../cloud-tasks/http-target.js'
import type { Task } from '../cloud-tasks/task.js'
import type { Answer, Attempt, Dispatcher } from './dispatcher.js'
import { AGAIN_MS, Endings, type EndingsOptions } from './endings.js'
import type { Retention } from './expiry.js'
import { InFlight } from './memory/in-flight.js'
import type { EndOfTask } from './observers.js'
import { afterDispatch, afterFailure, afterUndelivered, isGivenUp, isSuccess, type AttemptEnd, type AttemptStart } from './transitions.js'
import type { TaskEntry, TaskQueue } from './memory/task-queue.js'

export interface AttemptsOptions extends EndingsOptions {
  readonly dispatch: Dispatcher
  readonly retention: Retention
}

/** A running attempt. */
interface Running {
  readonly queue: TaskQueue
  readonly entry: TaskEntry
  readonly attempt: Attempt
  readonly start: AttemptStart
  /** The task's state after dispatch, which is in memory until the task changes otherwise. */
  readonly dispatched: Task
  /** The previous state that was not yet stored. */
  readonly unstored: Task | undefined
  /** In monotonic time. */
  readonly startedAt: number
}

/**
 * The running attempts. Each ends once, in one of five ways: its target responded, its target could not be reached, its deadline
 * passed, its task was deleted in the meantime and the result is ignored, or it was not delivered and does not count.
 */
export class Attempts {
  readonly #options: AttemptsOptions
  readonly #inFlight = new InFlight()
  readonly #endings: Endings

  constructor (options: AttemptsOptions) {
    this.#options = options
    this.#endings = new Endings(options, this.#inFlight)
  }

  /**
   * Starts an attempt of a task that its queue owns, and returns the task's state after dispatch. Undefined when there is
   * nothing to send: the task has expired, or the store cannot read it.
   */
  start (queue: TaskQueue, entry: TaskEntry, forced: boolean): Task | undefined {
    const { clock, writeBehind } = this.#options
    const now = clock.now()
    queue.due.remove(entry)
    const before = this.#endings.read(queue, entry)
    if (before === undefined) return undefined
    if (entry.attempts === 0 && this.#options.retention.hasExpired(entry, now)) {
      this.#endings.expire(queue, entry, before)
      return undefined
    }

    const dispatched = afterDispatch(before, now)
    const { unstored } = entry
    entry.unstored = dispatched
    entry.attempts++
    queue.running++
    this.#inFlight.enter()
    writeBehind.sweep()
    const attempt = attemptOf(queue, dispatched, now)
    const start = { scheduleAt: before.scheduleAt, dispatchAt: now, forced, lastAttempt: before.lastAttempt }
    this.#send({ queue, entry, attempt, start, dispatched, unstored, startedAt: clock.monotonic() })
    return dispatched
  }

  /** Ends an expired task, if the store can read it. */
  expire (queue: TaskQueue, entry: TaskEntry): void {
    queue.due.remove(entry)
    const task = this.#endings.read(queue, entry)
    if (task !== undefined) this.#endings.expire(queue, entry, task)
  }

  /** Resolves when no attempt is running. */
  async idle (): Promise<void> {
    await this.#inFlight.idle()
  }

  #send (running: Running): void {
    const { clock, observers } = this.#options
    const { attempt } = running
    if (!observers.none) observers.notify('started', attempt)
    let ended = false
    const endOnce = (end: () => void): void => {
      if (ended) return
      ended = true
      clock.clearTimeout(timer)
      end()
    }
    const timer = clock.setTimeout(() => {
      endOnce(() => { this.#settle(running, 'deadline') })
      attempt.onDeadline?.()
    }, attempt.deadlineMs)
    this.#dispatch(attempt).then(
      answer => { endOnce(() => { this.#answered(running, answer) }) },
      error => {
        this.#options.onError(error, { during: 'dispatch', name: running.entry.name })
        endOnce(() => { this.#settle(running, 'unreachable', { error }) })
      })
  }

  /** Converts a synchronous throw of the dispatcher to a rejection. */
  #dispatch (attempt: Attempt): ReturnType<Dispatcher> {
    try {
      return Promise.resolve(this.#options.dispatch(attempt))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #answered (running: Running, answer: Answer | 'undelivered'): void {
    if (answer === 'undelivered') {
      this.#undo(running)
      return
    }
    const result = endOf(answer)
    if (result !== undefined) {
      this.#settle(running, result, answer)
      return
    }
    const error = new TypeError(`A dispatcher must return an HTTP status or 0, not ${String(answer?.status)}`)
    this.#options.onError(error, { during: 'dispatch', name: running.entry.name })
    this.#settle(running, 'unreachable', { error })
  }

  #settle (running: Running, result: AttemptEnd, details: AttemptDetails = {}): void {
    const { clock, observers } = this.#options
    const { queue, entry, attempt, start, startedAt } = running
    const now = clock.now()
    queue.running--
    entry.attempts--
    let end: EndOfTask | undefined
    if (queue.owns(entry)) end = isSuccess(result) ? 'done' : this.#fail(queue, entry, start, result, now)
    if (!observers.none) {
      const retryAt = entry.position === -1 ? undefined : entry.dueAt
      observers.notify('attempted', {
        attempt,
        result,
        endedAt: now,
        durationMs: clock.monotonic() - startedAt,
        retryAt,
        ...(details.error === undefined ? undefined : { error: details.error }),
        ...(details.text === undefined ? undefined : { text: details.text })
      })
    }
    if (end === 'expired') this.#endings.expire(queue, entry, running.dispatched)
    else if (end !== undefined) this.#endings.end(queue, entry, end)
    this.#leave(queue)
  }

  /** Returns the end of the task, or schedules its retry. */
  #fail (queue: TaskQueue, entry: TaskEntry, start: AttemptStart, result: AttemptEnd, now: number): EndOfTask | undefined {
    const { writeBehind } = this.#options
    const before = this.#endings.read(queue, entry)
    if (before === undefined) return undefined
    const retry = before.retryConfig ?? queue.stored.settings.retryConfig
    const task = afterFailure(before, start, result, retry, now)
    if (entry.attempts === 0) {
      // While another attempt is running, the task is neither given up nor due: that attempt may still succeed.
      if (isGivenUp(task, retry, now)) return 'givenUp'
      if (this.#options.retention.hasExpired(entry, now)) return 'expired'
      queue.due.schedule(entry, dueAt(entry, task.scheduleAt, now))
    }
    writeBehind.replace(entry, task)
    return undefined
  }

  /** Restores the task's state from before an attempt that was not delivered. */
  #undo (running: Running): void {
    const { clock, observers } = this.#options
    const { queue, entry, start, attempt } = running
    const now = clock.now()
    queue.running--
    entry.attempts--
    if (queue.owns(entry) && this.#restore(running) && entry.attempts === 0) {
      // With a delay, because the target would be called in a tight loop if dispatching continues.
      queue.due.schedule(entry, dueAt(entry, Math.max(start.scheduleAt, now + AGAIN_MS), now))
    }
    observers.notify('undelivered', attempt)
    this.#leave(queue)
  }

  /** Returns false when the store cannot read the task. */
  #restore ({ queue, entry, start, dispatched, unstored }: Running): boolean {
    if (entry.unstored === dispatched) {
      // The task has not changed otherwise, so the store has, or is about to have, its previous state.
      entry.unstored = unstored
      return true
    }
    const task = this.#endings.read(queue, entry)
    if (task === undefined) return false
    this.#options.writeBehind.replace(entry, afterUndelivered(task, start))
    return true
  }

  /** Frees a slot. */
  #leave (queue: TaskQueue): void {
    this.#options.onEnd(queue)
    this.#inFlight.leave()
  }
}

/** Further details of the end of an attempt. */
interface AttemptDetails {
  readonly error?: unknown
  readonly text?: string
}

function attemptOf (queue: TaskQueue, dispatched: Task, now: number): Attempt {
  const task = withOverrides(dispatched, queue.stored.settings)
  const deadlineMs = task.dispatchDeadlineMs ?? DEFAULT_DISPATCH_DEADLINE_MS
  return { task, queue: queue.id, headers: dispatchHeaders(task), deadlineMs, deadlineAt: now + deadlineMs }
}

/** A task that is past its retention although it has not expired, because the clock is not trusted, waits like any other. */
function dueAt (entry: TaskEntry, scheduleAt: number, now: number): number {
  return entry.expiresAt > now ? Math.min(scheduleAt, entry.expiresAt) : scheduleAt
}

/** Undefined for an invalid answer. */
function endOf (answer: Answer): AttemptEnd | undefined {
  const status = answer?.status
  if (status === 0) return 'unreachable'
  return Number.isInteger(status) && status >= 100 && status <= 999 ? status : undefined
}

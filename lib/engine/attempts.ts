import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import { dispatchHeaders } from '../cloud-tasks/headers.js'
import { withOverrides } from '../cloud-tasks/http-target.js'
import type { Task } from '../cloud-tasks/task.js'
import type { Answer, Attempt, Dispatcher } from './dispatcher.js'
import type { Clock } from '../clock/clock.js'
import type { ErrorContext, WriteBehind } from './write-behind.js'
import type { EndOfTask, Observers } from './observers.js'
import { afterDispatch, afterFailure, isGivenUp, isSuccess, type AttemptEnd, type AttemptStart } from './transitions.js'
import type { TaskEntry, TaskQueue } from './task-queue.js'

export interface AttemptsOptions {
  readonly clock: Clock
  readonly writeBehind: WriteBehind
  readonly dispatch: Dispatcher
  readonly observers: Observers
  readonly onError: (error: unknown, where: ErrorContext) => void
  /** A slot of the queue is free again, or a task of it due at another time. */
  readonly onEnd: (queue: TaskQueue) => void
}

/**
 * The attempts under way. Each ends once, in one of four ways: the target answered, it could not be reached, the deadline
 * passed, or its task was gone by then and the result means nothing.
 */
export class Attempts {
  readonly #options: AttemptsOptions
  #running = 0
  #onIdle: Array<() => void> = []

  constructor (options: AttemptsOptions) {
    this.#options = options
  }

  /**
   * Starts an attempt of a task that its queue owns, and returns the task's state after dispatch. Undefined when there is
   * nothing to send: the task has outlived its retention, or the store cannot say what it is.
   */
  start (queue: TaskQueue, entry: TaskEntry, forced: boolean): Task | undefined {
    const { clock, writeBehind } = this.#options
    const now = clock.now()
    queue.due.remove(entry)
    if (entry.attempts === 0 && now >= entry.expiresAt) {
      this.#end(queue, entry, 'expired')
      return undefined
    }
    const stored = this.#read(queue, entry, now)
    if (stored === undefined) return undefined

    const task = afterDispatch(stored, now)
    entry.unstored = task
    entry.attempts++
    queue.running++
    this.#running++
    writeBehind.sweep(now)
    this.#send(queue, entry, task, { scheduleAt: stored.scheduleAt, dispatchAt: now, forced })
    return task
  }

  /** Resolves when no attempt is under way. */
  async idle (): Promise<void> {
    if (this.#running > 0) await new Promise<void>(resolve => { this.#onIdle.push(resolve) })
  }

  #send (queue: TaskQueue, entry: TaskEntry, stored: Task, start: AttemptStart): void {
    const { clock, onError, observers } = this.#options
    const task = withOverrides(stored, queue.stored.settings)
    const deadlineMs = task.dispatchDeadlineMs ?? DEFAULT_DISPATCH_DEADLINE_MS
    const attempt = { task, queue: queue.id, headers: dispatchHeaders(task), deadlineMs, deadlineAt: start.dispatchAt + deadlineMs }
    if (!observers.none) observers.notify('started', attempt)
    let ended = false
    const end = (how: AttemptEnd, said?: AttemptDetails): void => {
      if (ended) return
      ended = true
      clock.clearTimeout(timer)
      this.#settle(queue, entry, start, attempt, how, said)
    }
    const fail = (error: unknown): void => {
      onError(error, { during: 'dispatch', name: entry.name })
      end('unreachable', { error })
    }
    const timer = clock.setTimeout(() => { end('deadline') }, deadlineMs)
    this.#dispatch(attempt).then(answer => {
      const how = endOf(answer)
      if (how === undefined) fail(new TypeError(`A dispatcher must answer with an HTTP status or 0, not ${String(answer?.status)}`))
      else end(how, answer)
    }, fail)
  }

  /** Whatever the dispatcher does wrong is a rejection. */
  #dispatch (attempt: Attempt): Promise<Answer> {
    try {
      return Promise.resolve(this.#options.dispatch(attempt))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #settle (queue: TaskQueue, entry: TaskEntry, start: AttemptStart, attempt: Attempt, how: AttemptEnd, said: AttemptDetails | undefined): void {
    const { clock, onEnd, observers } = this.#options
    const now = clock.now()
    queue.running--
    entry.attempts--
    let end: EndOfTask | undefined
    if (queue.owns(entry)) end = isSuccess(how) ? 'done' : this.#fail(queue, entry, start, how, now)
    if (!observers.none) {
      const retryAt = end === undefined && entry.position !== -1 ? entry.dueAt : undefined
      observers.notify('attempted', {
        attempt,
        how,
        endedAt: now,
        retryAt,
        ...(said?.error === undefined ? undefined : { error: said.error }),
        ...(said?.text === undefined ? undefined : { text: said.text })
      })
    }
    if (end !== undefined) this.#end(queue, entry, end)
    onEnd(queue)
    this.#running--
    if (this.#running > 0) return
    const waiting = this.#onIdle
    this.#onIdle = []
    for (const resolve of waiting) resolve()
  }

  /** Says how the task ends, if it does; else it is due again. */
  #fail (queue: TaskQueue, entry: TaskEntry, start: AttemptStart, how: AttemptEnd, now: number): EndOfTask | undefined {
    const { writeBehind } = this.#options
    const before = this.#read(queue, entry, now)
    if (before === undefined) return undefined
    const retry = before.retryConfig ?? queue.stored.settings.retryConfig
    const task = afterFailure(before, start, how, retry, now)
    if (entry.attempts === 0) {
      // While another attempt of it runs, the task is neither given up nor due: that attempt may yet succeed.
      if (now >= entry.expiresAt) return 'expired'
      if (isGivenUp(task, retry, now)) return 'givenUp'
      entry.dueAt = Math.min(task.scheduleAt, entry.expiresAt)
      queue.due.add(entry)
    }
    writeBehind.replace(entry, task)
    return undefined
  }

  #end (queue: TaskQueue, entry: TaskEntry, why: EndOfTask): void {
    const { writeBehind, observers } = this.#options
    queue.remove(entry)
    writeBehind.remove(entry)
    if (!observers.none) observers.notify('ended', entry.name, why)
  }

  /** The task's newest state. When the store fails to give it, that is reported and the task is due again in a second. */
  #read (queue: TaskQueue, entry: TaskEntry, now: number): Task | undefined {
    const { writeBehind, onError } = this.#options
    try {
      const task = writeBehind.read(entry)
      if (task !== undefined) return task
      queue.remove(entry)
      throw new Error(`The store has lost task ${entry.name}`)
    } catch (error) {
      onError(error, { during: 'store', name: entry.name })
      if (entry.attempts === 0 && queue.owns(entry)) queue.due.schedule(entry, now + READ_AGAIN_MS)
      return undefined
    }
  }
}

/** What else is known of how an attempt ended. */
interface AttemptDetails {
  readonly error?: unknown
  readonly text?: string
}

/** Undefined for what is no answer. */
function endOf (answer: Answer): AttemptEnd | undefined {
  const status = answer?.status
  if (status === 0) return 'unreachable'
  return Number.isInteger(status) && status >= 100 && status <= 999 ? status : undefined
}

const READ_AGAIN_MS = 1000

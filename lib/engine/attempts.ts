import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import { dispatchHeaders } from '../cloud-tasks/headers.js'
import type { Task } from '../cloud-tasks/task.js'
import type { Answer, Dispatcher } from './attempt.js'
import type { Clock } from './clock.js'
import type { ErrorPlace, Keeper } from './keeper.js'
import { afterDispatch, afterFailure, isGivenUp, isSuccess, type AttemptEnd, type AttemptStart } from './outcome.js'
import type { TaskEntry, TaskQueue } from './queue.js'

export interface AttemptsOptions {
  readonly clock: Clock
  readonly keeper: Keeper
  readonly dispatch: Dispatcher
  readonly onError: (error: unknown, where: ErrorPlace) => void
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
    const { clock, keeper } = this.#options
    const now = clock.now()
    queue.due.remove(entry)
    if (entry.attempts === 0 && now >= entry.expiresAt) {
      this.#end(queue, entry)
      return undefined
    }
    const stored = this.#read(queue, entry, now)
    if (stored === undefined) return undefined

    const task = afterDispatch(stored, now)
    entry.unstored = task
    entry.attempts++
    queue.running++
    this.#running++
    keeper.sweep(now)
    this.#send(queue, entry, task, { scheduleAt: stored.scheduleAt, dispatchAt: now, forced })
    return task
  }

  /** Resolves when no attempt is under way. */
  async idle (): Promise<void> {
    if (this.#running > 0) await new Promise<void>(resolve => { this.#onIdle.push(resolve) })
  }

  #send (queue: TaskQueue, entry: TaskEntry, task: Task, start: AttemptStart): void {
    const { clock, onError } = this.#options
    const deadlineMs = task.dispatchDeadlineMs ?? DEFAULT_DISPATCH_DEADLINE_MS
    let ended = false
    const end = (how: AttemptEnd): void => {
      if (ended) return
      ended = true
      clock.clearTimeout(timer)
      this.#settle(queue, entry, start, how)
    }
    const fail = (error: unknown): void => {
      onError(error, { during: 'dispatch', name: entry.name })
      end('unreachable')
    }
    const timer = clock.setTimeout(() => { end('deadline') }, deadlineMs)
    this.#dispatch(queue, task, deadlineMs, start.dispatchAt).then(answer => {
      const how = endOf(answer)
      if (how === undefined) fail(new TypeError(`A dispatcher must answer with an HTTP status or 0, not ${String(answer?.status)}`))
      else end(how)
    }, fail)
  }

  /** Whatever the dispatcher does wrong is a rejection. */
  #dispatch (queue: TaskQueue, task: Task, deadlineMs: number, now: number): Promise<Answer> {
    try {
      const headers = dispatchHeaders(task)
      return Promise.resolve(this.#options.dispatch({ task, queue: queue.id, headers, deadlineMs, deadlineAt: now + deadlineMs }))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #settle (queue: TaskQueue, entry: TaskEntry, start: AttemptStart, how: AttemptEnd): void {
    const { clock, onEnd } = this.#options
    queue.running--
    entry.attempts--
    if (queue.owns(entry)) {
      if (isSuccess(how)) this.#end(queue, entry)
      else this.#fail(queue, entry, start, how, clock.now())
    }
    onEnd(queue)
    this.#running--
    if (this.#running > 0) return
    const waiting = this.#onIdle
    this.#onIdle = []
    for (const resolve of waiting) resolve()
  }

  #fail (queue: TaskQueue, entry: TaskEntry, start: AttemptStart, how: AttemptEnd, now: number): void {
    const { keeper } = this.#options
    const retry = queue.stored.settings.retryConfig
    const before = this.#read(queue, entry, now)
    if (before === undefined) return
    const task = afterFailure(before, start, how, retry, now)
    if (entry.attempts === 0) {
      // While another attempt of it runs, the task is neither given up nor due: that attempt may yet succeed.
      if (isGivenUp(task, retry, now) || now >= entry.expiresAt) {
        this.#end(queue, entry)
        return
      }
      entry.dueAt = Math.min(task.scheduleAt, entry.expiresAt)
      queue.due.add(entry)
    }
    keeper.replace(entry, task)
  }

  #end (queue: TaskQueue, entry: TaskEntry): void {
    queue.remove(entry)
    this.#options.keeper.remove(entry)
  }

  /** The task's newest state. When the store fails to give it, that is reported and the task is due again in a second. */
  #read (queue: TaskQueue, entry: TaskEntry, now: number): Task | undefined {
    const { keeper, onError } = this.#options
    try {
      const task = keeper.read(entry)
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

/** Undefined for what is no answer. */
function endOf (answer: Answer): AttemptEnd | undefined {
  const status = answer?.status
  if (status === 0) return 'unreachable'
  return Number.isInteger(status) && status >= 100 && status <= 999 ? status : undefined
}

const READ_AGAIN_MS = 1000

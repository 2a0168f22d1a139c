import { shortId } from '../cloud-tasks/names.js'
import type { AttemptReport } from '../engine/engine.js'
import type { Arrivals } from './arrivals.js'
import type { AttemptKey, AttemptWatcher, Settled } from '../worker/watchers.js'
import type { AttemptResult } from '../worker/attempt-result.js'

/** An attempt that a test kit has run. */
export interface TestedAttempt<N extends string = string> {
  /** Name in the registry. */
  readonly task: N
  /** Id of the task; generated for `deliver`. */
  readonly id: string
  readonly queue: string
  /** 1 for the first. */
  readonly attempt: number
  /**
   * `done`, `dropped` and `postponed`, as the handler decides; `retry` for every failure, even of the last attempt; `refused` if
   * authentication or an app's hook responded before the payload was validated. More results may be added.
   */
  readonly result: 'done' | 'retry' | 'dropped' | 'postponed' | 'refused' | (string & {})
  /** HTTP status of the response; 504 after the deadline, 0 without a response. */
  readonly status: number
  /** The error that the handler threw, or the attempt failed with. */
  readonly error: unknown
  /** When the task is retried; undefined if it is not, and for `deliver`, whose task is not in a queue. */
  readonly retryTime: Date | undefined
}

/** Collects the worker's results of attempts of one app, until they are taken. */
export class AttemptResults implements AttemptWatcher {
  readonly #settled = new Map<string, { readonly result: AttemptResult, readonly outcome: Settled }>()
  readonly #arrivals: Arrivals

  constructor (arrivals: Arrivals) {
    this.#arrivals = arrivals
  }

  deadlineSet (attempt: AttemptKey): void {
    this.#arrivals.arrived(attempt)
  }

  logOf<L> (attempt: AttemptKey, log: L): L {
    return log
  }

  settled (attempt: AttemptKey, result: AttemptResult, outcome: Settled): void {
    this.#settled.set(keyOf(attempt), { result, outcome })
  }

  /** @param status of the response, if there was one */
  take<N extends string> (
    task: N, attempt: AttemptKey, status: number | undefined, failure: unknown, retryAt: number | undefined
  ): TestedAttempt<N> {
    const settled = this.#settled.get(keyOf(attempt))
    this.#settled.delete(keyOf(attempt))
    return {
      task,
      id: attempt.id,
      queue: attempt.queue,
      attempt: attempt.attempt,
      result: settled === undefined ? 'refused' : isRetry(settled.outcome.status) ? 'retry' : settled.result.result,
      status: status ?? settled?.outcome.status ?? 0,
      error: settled !== undefined && 'error' in settled.result ? settled.result.error : failure,
      retryTime: retryAt === undefined ? undefined : new Date(retryAt)
    }
  }

  ofReport<N extends string> (task: N, { attempt, result, error, retryAt }: AttemptReport): TestedAttempt<N> {
    const key = { id: shortId(attempt.task.name), queue: attempt.queue, attempt: attempt.task.dispatchCount }
    return this.take(task, key, result === 'deadline' ? 504 : result === 'unreachable' ? undefined : result, error, retryAt)
  }
}

function isRetry (status: number): boolean {
  return status < 200 || status > 299
}

function keyOf ({ queue, id, attempt }: AttemptKey): string {
  return `${queue}/${id}/${attempt}`
}

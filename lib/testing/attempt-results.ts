import { shortId } from '../cloud-tasks/names.js'
import type { AttemptReport } from '../engine/engine.js'
import type { AttemptKey, AttemptWatcher, Settled } from '../worker/watchers.js'
import type { AttemptResult } from '../worker/attempt-result.js'

/** One attempt that a test kit has run. */
export interface TestedAttempt<N extends string = string> {
  /** Name in the registry. */
  readonly task: N
  /** Of the task; of one that `deliver` made, an id of its own. */
  readonly id: string
  readonly queue: string
  /** 1 for the first. */
  readonly attempt: number
  /**
   * `done`, `dropped` and other ends by the handler; `retry` for every failure, also for one that ends the task; `refused` where the
   * verification of callers or a hook of the app answered before the payload was validated. More may come.
   */
  readonly result: 'done' | 'retry' | 'dropped' | 'refused' | (string & {})
  /** HTTP status of the answer; 504 at the deadline, 0 where there was none. */
  readonly status: number
  /** What the handler threw, or what else the attempt failed with. */
  readonly error: unknown
  /** When the task is due again; undefined where this attempt ended it, and for `deliver`, whose task is in no queue. */
  readonly retryTime: Date | undefined
}

/** What the worker says of the attempts of one app, until it is asked for. */
export class AttemptResults implements AttemptWatcher {
  readonly #settled = new Map<string, { readonly result: AttemptResult, readonly outcome: Settled }>()

  logOf<L> (attempt: AttemptKey, log: L): L {
    return log
  }

  settled (attempt: AttemptKey, result: AttemptResult, outcome: Settled): void {
    this.#settled.set(keyOf(attempt), { result, outcome })
  }

  /** @param status of the answer, where there was one */
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

  ofReport<N extends string> (task: N, { attempt, how, error, retryAt }: AttemptReport): TestedAttempt<N> {
    const key = { id: shortId(attempt.task.name), queue: attempt.queue, attempt: attempt.task.dispatchCount }
    return this.take(task, key, how === 'deadline' ? 504 : how === 'unreachable' ? undefined : how, error, retryAt)
  }
}

function isRetry (status: number): boolean {
  return status < 200 || status > 299
}

function keyOf ({ queue, id, attempt }: AttemptKey): string {
  return `${queue}/${id}/${attempt}`
}

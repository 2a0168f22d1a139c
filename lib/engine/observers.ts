import type { AsyncResource } from 'node:async_hooks'
import type { Task } from '../cloud-tasks/task.js'
import type { Attempt } from './dispatcher.js'
import type { AttemptEnd } from './transitions.js'
import type { ErrorContext } from './write-behind.js'

/** Why a task has ended. expired: after its retention of 31 days. givenUp: its retry limits were reached. */
export type EndOfTask = 'done' | 'givenUp' | 'expired' | 'deleted'

export interface AttemptReport {
  readonly attempt: Attempt
  readonly result: AttemptEnd
  readonly endedAt: number
  /** Duration in monotonic time. */
  readonly durationMs: number
  /** The dispatcher's error, if `result` is `unreachable` and it rejected. */
  readonly error?: unknown
  /** The response's body, if the dispatcher returned it. */
  readonly text?: string
  /** When the task is due again; undefined if it has ended, or another attempt is still running. */
  readonly retryAt: number | undefined
}

/**
 * Receives events of tasks synchronously, for display and statistics only. It is called in the middle of the engine's work, so it must
 * be fast; errors that it throws are reported and have no effect.
 */
export interface Observer {
  /** A task was stored. */
  added? (task: Task): void
  started? (attempt: Attempt): void
  /** Called before `ended`, if the task ends with it. */
  attempted? (ended: AttemptReport): void
  /** A started attempt was not delivered: it does not count, and its task waits as before. */
  undelivered? (attempt: Attempt): void
  ended? (name: string, why: EndOfTask): void
  /** All tasks of a queue are gone: it was purged or deleted. */
  emptied? (queue: string): void
  /** A queue was created, changed, paused, resumed or deleted. */
  changed? (queue: string): void
}

export class Observers {
  readonly #observers = new Set<Observer>()
  readonly #scope: AsyncResource
  readonly #onError: (error: unknown, where: ErrorContext) => void

  /** @param scope the async context of observers */
  constructor (scope: AsyncResource, onError: (error: unknown, where: ErrorContext) => void) {
    this.#scope = scope
    this.#onError = onError
  }

  /** True without observers, so that nothing is computed for them. */
  get none (): boolean {
    return this.#observers.size === 0
  }

  /** Returns a function that removes it. */
  add (observer: Observer): () => void {
    this.#observers.add(observer)
    return () => { this.#observers.delete(observer) }
  }

  notify<E extends keyof Observer> (event: E, ...what: Parameters<NonNullable<Observer[E]>>): void {
    this.#scope.runInAsyncScope(this.#notify, this, event, what)
  }

  #notify (event: keyof Observer, what: readonly unknown[]): void {
    for (const observer of this.#observers) {
      try {
        (observer[event] as ((...what: unknown[]) => void) | undefined)?.(...what)
      } catch (error) {
        this.#onError(error, { during: 'observe' })
      }
    }
  }
}

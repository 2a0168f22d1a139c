import type { AsyncResource } from 'node:async_hooks'
import type { Task } from '../cloud-tasks/task.js'
import type { Attempt } from './dispatcher.js'
import type { AttemptEnd } from './transitions.js'
import type { ErrorContext } from './write-behind.js'

/** Why a task has ended. expired: it outlived its retention of 31 days. givenUp: its queue's retry limits were reached. */
export type EndOfTask = 'done' | 'givenUp' | 'expired' | 'deleted'

export interface AttemptReport {
  readonly attempt: Attempt
  readonly how: AttemptEnd
  readonly endedAt: number
  /** How long it took, however the wall clock jumped meanwhile. */
  readonly durationMs: number
  /** What the dispatcher rejected with, when `how` is `unreachable` and it did. */
  readonly error?: unknown
  /** The response's body, as far as the dispatcher passes it on. */
  readonly text?: string
  /** When the task is due again; undefined when it ends here or another attempt of it still runs. */
  readonly retryAt: number | undefined
}

/**
 * Is notified of what happens to tasks, while it happens: for pages and statistics, never for decisions. It is called in the middle
 * of the engine's work, so it must be quick; what it throws is reported and changes nothing.
 */
export interface Observer {
  /** A task was stored. */
  added? (task: Task): void
  started? (attempt: Attempt): void
  /** Called before `ended`, if the task ends with it. */
  attempted? (ended: AttemptReport): void
  /** An attempt that had started was never delivered: it counts as not made, and its task waits as before. */
  undelivered? (attempt: Attempt): void
  ended? (name: string, why: EndOfTask): void
  /** All tasks that a queue had are gone: it was purged, or deleted. */
  emptied? (queue: string): void
  /** A queue was created, changed, paused, resumed or deleted. */
  changed? (queue: string): void
}

export class Observers {
  readonly #observers = new Set<Observer>()
  readonly #scope: AsyncResource
  readonly #onError: (error: unknown, where: ErrorContext) => void

  /** @param scope observers are called in it */
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

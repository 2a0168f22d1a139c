import type { LimitedAttempt } from './retry-limits.js'

/** More than can end while a duplicate delivery is possible; about 2 MB. */
const MAX_ENDS = 10_000

/** Recently exhausted tasks of this process, so that `onExhausted` is called once for each. */
export class EndedTasks {
  readonly #ends = new Map<string, { readonly attempt: number, readonly scheduledAt: number }>()

  /** Returns false when the task is already recorded: its last attempt was delivered twice, or was not the last after all. */
  add (attempt: LimitedAttempt): boolean {
    const key = keyOf(attempt)
    if (this.#ends.has(key)) return false
    this.#ends.set(key, { attempt: attempt.attempt, scheduledAt: attempt.scheduledTime.getTime() })
    if (this.#ends.size > MAX_ENDS) this.#ends.delete(this.#ends.keys().next().value!)
    return true
  }

  /** Call it for every attempt: an id that is reused after its tombstone belongs to a new task. */
  see (attempt: LimitedAttempt): void {
    const key = keyOf(attempt)
    const end = this.#ends.get(key)
    // A new task starts at a lower attempt number, and unlike a duplicate delivery it has another schedule time.
    if (end !== undefined && attempt.attempt <= end.attempt && attempt.scheduledTime.getTime() !== end.scheduledAt) this.#ends.delete(key)
  }
}

function keyOf ({ queue, id }: LimitedAttempt): string {
  return `${queue}/${id}`
}

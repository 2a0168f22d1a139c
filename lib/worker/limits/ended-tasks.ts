import type { LimitedAttempt } from './retry-limits.js'

/** More than end within the time in which an attempt may be delivered twice; about 2 MB. */
const MAX_ENDS = 10_000

/** The last tasks that ended with a failed attempt in this process, so that none of them ends twice. */
export class EndedTasks {
  readonly #ends = new Map<string, { readonly attempt: number, readonly scheduledAt: number }>()

  /** False when the task is recorded already: its last attempt was delivered twice, or an attempt came after the one called the last. */
  add (attempt: LimitedAttempt): boolean {
    const key = keyOf(attempt)
    if (this.#ends.has(key)) return false
    this.#ends.set(key, { attempt: attempt.attempt, scheduledAt: attempt.scheduledTime.getTime() })
    if (this.#ends.size > MAX_ENDS) this.#ends.delete(this.#ends.keys().next().value!)
    return true
  }

  /** To be called for every attempt: an id may be used again some time after its task ended, and that is another task. */
  see (attempt: LimitedAttempt): void {
    const key = keyOf(attempt)
    const end = this.#ends.get(key)
    // Attempts of one task are counted up, and only a second delivery of the same one is due at the same time.
    if (end !== undefined && attempt.attempt <= end.attempt && attempt.scheduledTime.getTime() !== end.scheduledAt) this.#ends.delete(key)
  }
}

function keyOf ({ queue, id }: LimitedAttempt): string {
  return `${queue}/${id}`
}

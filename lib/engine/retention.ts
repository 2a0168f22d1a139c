import type { Clock } from '../clock/clock.js'
import type { TaskEntry } from './task-queue.js'

/**
 * Decides which tasks have outlived their retention of 31 days. A wall clock that is far ahead of what is known is not believed, since
 * it would end every task that waits: one that was wrong at boot, or that jumped by weeks. Tasks then run late instead.
 */
export class Retention {
  readonly #clock: Clock
  readonly #onDoubt: (error: Error) => void
  /** A wall time that is believed. */
  #knownAt: number
  /** The monotonic time at `#knownAt`. */
  #readAt: number
  #reported = false

  /** @param onDoubt gets an error that explains why overdue tasks do not end, once */
  constructor (clock: Clock, onDoubt: (error: Error) => void) {
    this.#clock = clock
    this.#onDoubt = onDoubt
    this.#knownAt = clock.now()
    this.#readAt = clock.monotonic()
  }

  /**
   * Starts from what a store has.
   * @param lastKnownAt the wall time at which it was changed last, where that is known
   * @returns a wall time that can be believed
   */
  begin (lastKnownAt: number | undefined): number {
    const now = this.#clock.now()
    this.#readAt = this.#clock.monotonic()
    this.#knownAt = lastKnownAt ?? now
    return this.#believes(now) ? now : this.#knownAt
  }

  hasExpired (entry: TaskEntry, now: number): boolean {
    const believed = this.#believes(now)
    if (now < entry.expiresAt) return false
    if (!believed) this.#reportOnce(now)
    return believed
  }

  #believes (now: number): boolean {
    if (now - this.#expected() > MAX_JUMP_MS) return false
    this.#knownAt = now
    this.#readAt = this.#clock.monotonic()
    return true
  }

  #expected (): number {
    return this.#knownAt + this.#clock.monotonic() - this.#readAt
  }

  #reportOnce (now: number): void {
    if (this.#reported) return
    this.#reported = true
    const days = Math.floor((now - this.#expected()) / DAY_MS)
    this.#onDoubt(new Error(
      `The clock says ${new Date(now).toISOString()}, ${days} days after the last time that is known; tasks older than 31 days are run ` +
      'instead of being dropped until the next start. Check the clock of this machine, or delete the tasks if it is right'))
  }
}

const DAY_MS = 24 * 3600 * 1000

/** More than a holiday, and far less than the 31 days that a task may wait. */
const MAX_JUMP_MS = 10 * DAY_MS

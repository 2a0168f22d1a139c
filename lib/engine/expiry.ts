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

/** Tasks that ended because they had outlived their retention. */
export interface ExpiryReport {
  readonly count: number
  /** Full names of the first of them, at most ten. */
  readonly names: readonly string[]
}

/** Gathers expired tasks, so that thousands of them make one report a second and not thousands. */
export class ExpiryReports {
  readonly #clock: Clock
  readonly #report: (report: ExpiryReport) => void
  #count = 0
  #names: string[] = []
  #timer: unknown

  constructor (clock: Clock, report: (report: ExpiryReport) => void) {
    this.#clock = clock
    this.#report = report
  }

  add (name: string): void {
    this.#count++
    if (this.#names.length < MAX_NAMES) this.#names.push(name)
    this.#timer ??= this.#clock.setTimeout(() => { this.flush() }, INTERVAL_MS)
  }

  /** Reports what has gathered, and leaves no timer. */
  flush (): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#count === 0) return
    const report = { count: this.#count, names: this.#names }
    this.#count = 0
    this.#names = []
    this.#report(report)
  }
}

const DAY_MS = 24 * 3600 * 1000

/** More than a holiday, and far less than the 31 days that a task may wait. */
const MAX_JUMP_MS = 10 * DAY_MS

const INTERVAL_MS = 1000
const MAX_NAMES = 10

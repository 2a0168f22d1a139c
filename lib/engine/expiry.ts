import type { Clock } from '../clock/clock.js'
import type { TaskEntry } from './memory/task-queue.js'

/**
 * Decides which tasks have expired, after a retention of 31 days. A wall clock that is far ahead of the last known time is not trusted:
 * one that was wrong on startup, or jumped by weeks, would drop all waiting tasks. They run late instead.
 */
export class Retention {
  readonly #clock: Clock
  readonly #onDoubt: (error: Error) => void
  /** The last trusted wall time. */
  #knownAt: number
  /** The monotonic time at `#knownAt`. */
  #readAt: number
  #reported = false

  /** @param onDoubt called once with an error that explains why overdue tasks do not expire */
  constructor (clock: Clock, onDoubt: (error: Error) => void) {
    this.#clock = clock
    this.#onDoubt = onDoubt
    this.#knownAt = clock.now()
    this.#readAt = clock.monotonic()
  }

  /**
   * Starts from the time of a store.
   * @param lastKnownAt wall time of the store's last change, if known
   * @returns a trusted wall time
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

/** Tasks that have expired. */
export interface ExpiryReport {
  readonly count: number
  /** Full names of the first ten at most. */
  readonly names: readonly string[]
}

/** Collects expired tasks, to report them once a second instead of one by one. */
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

  /** Reports the collected tasks, and leaves no timer. */
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

/** Longer than usual downtimes, and far less than the retention of 31 days. */
const MAX_JUMP_MS = 10 * DAY_MS

const INTERVAL_MS = 1000
const MAX_NAMES = 10

import { AsyncResource } from 'node:async_hooks'
import { nextTurn, type Clock } from './clock.js'

/**
 * A clock that stands still until it is moved. Timers fire while it is moved, in the order in which they are due, and in the
 * async context in which they were set, like Node's.
 */
export class ManualClock implements Clock {
  #monotonic = 0
  /** Wall time at `monotonic` 0. */
  #epoch: number
  readonly #timers = new Set<Timer>()
  #immediates = new Set<Immediate>()

  /** @param now the initial time in epoch milliseconds. @default the start of 2030 */
  constructor (now: number = Date.parse('2030-01-01T00:00:00Z')) {
    this.#epoch = now
  }

  /** Number of pending timers and immediates. */
  get pending (): number {
    return this.#timers.size + this.#immediates.size
  }

  /** When the next timer fires, in epoch milliseconds; undefined without one. */
  get nextTimerAt (): number | undefined {
    const next = this.#next()
    return next === undefined ? undefined : this.#epoch + next.at
  }

  now (): number {
    return this.#epoch + this.#monotonic
  }

  monotonic (): number {
    return this.#monotonic
  }

  setTimeout (callback: () => void, ms: number): unknown {
    const timer = { at: this.#monotonic + Math.max(0, ms), callback: AsyncResource.bind(callback) }
    this.#timers.add(timer)
    return timer
  }

  clearTimeout (handle: unknown): void {
    this.#timers.delete(handle as Timer)
  }

  setImmediate (callback: () => void): unknown {
    const immediate = { callback: AsyncResource.bind(callback) }
    this.#immediates.add(immediate)
    return immediate
  }

  clearImmediate (handle: unknown): void {
    this.#immediates.delete(handle as Immediate)
  }

  /** Advances the clock synchronously: timers fire, but asynchronous work that they start is not awaited. */
  pass (ms: number): void {
    const end = this.#monotonic + ms
    while (this.stepTo(end));
  }

  /** Advances the clock, and awaits `settle` after each timer. */
  async advance (ms: number): Promise<void> {
    const end = this.#monotonic + ms
    await this.settle()
    while (this.stepTo(end)) await this.settle()
  }

  /** Like `stepTo`, for tests that advance the clock once. */
  step (ms: number): boolean {
    return this.stepTo(this.#monotonic + ms)
  }

  /**
   * Advances to the next timer that is due until `end`, and fires it; without one, advances to `end`. Returns false when `end` is reached.
   * Otherwise the caller awaits the timer's work, and calls again.
   * @param end in `monotonic`; not a duration, because rounding errors of several would add up, and miss a timer at `end`
   */
  stepTo (end: number): boolean {
    const timer = this.#next()
    if (timer === undefined || timer.at > end) {
      // Meanwhile a timer or another call may have advanced it further.
      this.#monotonic = Math.max(this.#monotonic, end)
      return false
    }
    this.#monotonic = timer.at
    this.#timers.delete(timer)
    timer.callback()
    return true
  }

  /** Sets the wall clock, as an operator or NTP does: the time jumps, no timers fire, and their remaining time does not change. */
  set (now: number): void {
    this.#epoch = now - this.#monotonic
  }

  /** Runs everything that only waits for the event loop. */
  async settle (): Promise<void> {
    do {
      await this.turn()
    } while (this.#immediates.size > 0)
  }

  /** One turn of the event loop. */
  async turn (): Promise<void> {
    await nextTurn()
    const due = this.#immediates
    this.#immediates = new Set()
    for (const { callback } of due) callback()
    await nextTurn()
  }

  #next (): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (next === undefined || timer.at < next.at) next = timer
    }
    return next
  }
}

interface Immediate {
  readonly callback: () => void
}

interface Timer extends Immediate {
  /** In `monotonic`. */
  readonly at: number
}

import { clearRealImmediate, realImmediate, systemClock } from '../clock/clock.js'
import { ManualClock } from '../clock/manual-clock.js'

/**
 * The clock of an app under test: the wall clock of its process, which a test runner may fake, plus the time by which the kit has
 * advanced it. Durations and timers stand still until they are advanced.
 */
export class KitClock extends ManualClock {
  /** When the kit was created. */
  readonly startedAt = systemClock.now()
  /** The latest time that was read. */
  #latest = this.startedAt
  #timers = 0
  /** The wall clock while it stands still. */
  #heldAt: number | undefined
  #holders = 0

  override now (): number {
    const now = (this.#heldAt ?? systemClock.now()) + this.monotonic()
    this.#latest = Math.max(this.#latest, now)
    return now
  }

  /** The wall clock stands still during `work`, so that what falls due does not depend on how long it takes. */
  async holding<T> (work: () => Promise<T>): Promise<T> {
    if (this.#holders++ === 0) this.#heldAt = systemClock.now()
    try {
      return await work()
    } finally {
      if (--this.#holders === 0) this.#heldAt = undefined
    }
  }

  /** Whether a time has passed by the wall clock that an app reads, also while the kit's stands still. */
  hasPassed (time: number): boolean {
    return time <= systemClock.now() + this.monotonic()
  }

  /** Milliseconds by which fake timers have set back the wall clock; adjustments of a real clock are smaller. */
  get setBackMs (): number {
    const behind = this.#latest - this.now()
    return behind > CORRECTION_MS ? behind : 0
  }

  /**
   * Of two timers for the same time, the later one fires first: the worker's deadline before that of the queue that calls it. None fires
   * later than at its time, as the rounding error of a sum could make it.
   */
  override setTimeout (callback: () => void, ms: number): unknown {
    return super.setTimeout(callback, ms - ++this.#timers * ORDER_MS)
  }

  /** The event loop does not depend on the clock. */
  override setImmediate (callback: () => void): unknown {
    return realImmediate(callback)
  }

  override clearImmediate (handle: unknown): void {
    clearRealImmediate(handle as NodeJS.Immediate)
  }
}

const CORRECTION_MS = 2000

/** Far smaller than any time that is compared, and greater than rounding errors. */
const ORDER_MS = 1e-6

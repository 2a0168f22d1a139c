import { clearRealImmediate, realImmediate, systemClock } from '../clock/clock.js'
import { ManualClock } from '../clock/manual-clock.js'

/**
 * The time of an app under test: the wall clock of its process, which a test runner may fake, and ahead of it by what the kit has moved
 * it. Durations and timers stand still until they are moved.
 */
export class KitClock extends ManualClock {
  /** As late as this it has been. */
  #latest = -Infinity
  #timers = 0

  override now (): number {
    const now = systemClock.now() + this.monotonic()
    this.#latest = Math.max(this.#latest, now)
    return now
  }

  /** Milliseconds by which the wall clock has been set back: by fake timers, as corrections of a real clock are smaller. */
  get setBackMs (): number {
    const behind = this.#latest - this.now()
    return behind > CORRECTION_MS ? behind : 0
  }

  /** Of two timers for one time the later one fires first: the worker's deadline comes before that of the queue which calls it. */
  override setTimeout (callback: () => void, ms: number): unknown {
    return super.setTimeout(callback, ms - this.#timers++ * ORDER_MS)
  }

  /** That the event loop goes on is no question of time. */
  override setImmediate (callback: () => void): unknown {
    return realImmediate(callback)
  }

  override clearImmediate (handle: unknown): void {
    clearRealImmediate(handle as NodeJS.Immediate)
  }
}

const CORRECTION_MS = 2000

/** Far less than any time that is compared. */
const ORDER_MS = 1e-6

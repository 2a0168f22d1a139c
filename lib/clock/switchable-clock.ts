import { systemClock, type Clock } from './clock.js'
import { Slots, type Slotted } from './slots.js'

/**
 * A clock that delegates to another one, which can be replaced while it is in use. Pending timers continue on the new clock with their
 * remaining time, so a test kit can take over the time of a running app and return it.
 *
 * `monotonic` continues, within a millisecond; `now` is the new clock's, so the wall clock can jump.
 */
export class SwitchableClock implements Clock {
  #clock: Clock
  /** Added to `monotonic` of the current clock. */
  #offset = 0
  readonly #timers = new Slots<Timer>()
  readonly #immediates = new Slots<Immediate>()

  constructor (clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** The clock that it delegates to. */
  get current (): Clock {
    return this.#clock
  }

  /** Delegates to `clock` from now on. */
  switchTo (clock: Clock): void {
    const former = this.#clock
    const monotonic = this.monotonic()
    // Whole, so that with a manual clock a deadline is exactly when it is said to be; rounded up, so that time never goes back.
    this.#offset = Math.ceil(monotonic - clock.monotonic())
    this.#clock = clock
    for (const timer of this.#timers.values()) {
      former.clearTimeout(timer.handle)
      this.#setTimer(timer, timer.at - monotonic)
    }
    for (const immediate of this.#immediates.values()) {
      former.clearImmediate(immediate.handle)
      this.#setImmediate(immediate)
    }
  }

  now (): number {
    return this.#clock.now()
  }

  monotonic (): number {
    return this.#clock.monotonic() + this.#offset
  }

  setTimeout (callback: () => void, ms: number): unknown {
    const timer: Timer = { callback, at: this.monotonic() + ms, handle: undefined, slot: -1 }
    this.#timers.add(timer)
    this.#setTimer(timer, ms)
    return timer
  }

  clearTimeout (handle: unknown): void {
    if (handle === undefined || !this.#timers.delete(handle as Timer)) return
    this.#clock.clearTimeout((handle as Timer).handle)
  }

  setImmediate (callback: () => void): unknown {
    const immediate: Immediate = { callback, handle: undefined, slot: -1 }
    this.#immediates.add(immediate)
    this.#setImmediate(immediate)
    return immediate
  }

  clearImmediate (handle: unknown): void {
    if (handle === undefined || !this.#immediates.delete(handle as Immediate)) return
    this.#clock.clearImmediate((handle as Immediate).handle)
  }

  #setTimer (timer: Timer, ms: number): void {
    timer.handle = this.#clock.setTimeout(() => {
      this.#timers.delete(timer)
      timer.callback()
    }, Math.max(0, ms))
  }

  #setImmediate (immediate: Immediate): void {
    immediate.handle = this.#clock.setImmediate(() => {
      this.#immediates.delete(immediate)
      immediate.callback()
    })
  }
}

interface Immediate extends Slotted {
  readonly callback: () => void
  /** The current clock's. */
  handle: unknown
}

interface Timer extends Immediate {
  /** In `monotonic`. */
  readonly at: number
}

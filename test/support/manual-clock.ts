import type { Clock } from '../../lib/clock/clock.js'

interface Timer {
  readonly at: number
  readonly callback: () => void
}

/** A clock whose hands only a test turns. */
export class ManualClock implements Clock {
  #now: number
  readonly #timers = new Set<Timer>()
  #immediates = new Set<{ readonly callback: () => void }>()

  constructor (now: number = Date.parse('2030-01-01T00:00:00Z')) {
    this.#now = now
  }

  /** Timers and immediates that have not run. */
  get pending (): number {
    return this.#timers.size + this.#immediates.size
  }

  /** When the next timer fires; undefined without one. */
  get nextTimerAt (): number | undefined {
    return this.#next()?.at
  }

  now (): number {
    return this.#now
  }

  setTimeout (callback: () => void, ms: number): unknown {
    const timer = { at: this.#now + Math.max(0, ms), callback }
    this.#timers.add(timer)
    return timer
  }

  clearTimeout (handle: unknown): void {
    this.#timers.delete(handle as Timer)
  }

  setImmediate (callback: () => void): unknown {
    const immediate = { callback }
    this.#immediates.add(immediate)
    return immediate
  }

  clearImmediate (handle: unknown): void {
    this.#immediates.delete(handle as { callback: () => void })
  }

  /** Lets time pass, stopping at every timer on the way. */
  async advance (ms: number): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    for (let timer = this.#next(); timer !== undefined && timer.at <= end; timer = this.#next()) {
      this.#now = Math.max(this.#now, timer.at)
      this.#timers.delete(timer)
      timer.callback()
      await this.settle()
    }
    this.#now = end
  }

  /** Sets the time without firing anything, as an operator does. */
  set (now: number): void {
    this.#now = now
  }

  /** Lets everything run that waits for nothing but its turn. */
  async settle (): Promise<void> {
    do {
      await this.turn()
    } while (this.#immediates.size > 0)
  }

  /** One turn of the event loop. */
  async turn (): Promise<void> {
    await new Promise(resolve => { setImmediate(resolve) })
    const due = this.#immediates
    this.#immediates = new Set()
    for (const { callback } of due) callback()
    await new Promise(resolve => { setImmediate(resolve) })
  }

  #next (): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (next === undefined || timer.at < next.at) next = timer
    }
    return next
  }
}

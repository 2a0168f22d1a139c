import type { Bucket } from '../api/api.js'

/** Counts of events in each of the last 300 seconds. Each event takes constant time. */
export class Timeline {
  readonly #waitingNow: () => number
  readonly #arrived = new Uint32Array(SECONDS)
  readonly #succeeded = new Uint32Array(SECONDS)
  readonly #failed = new Uint32Array(SECONDS)
  readonly #waiting = new Uint32Array(SECONDS)
  #second: number

  /** @param waitingNow returns the current number of waiting tasks */
  constructor (now: number, waitingNow: () => number) {
    this.#second = Math.floor(now / 1000)
    this.#waitingNow = waitingNow
  }

  arrived (now: number): void {
    this.#arrived[this.#place(now, 1)]!++
  }

  started (now: number): void {
    this.#place(now, -1)
  }

  /** @param waits whether the task is waiting again */
  ended (now: number, success: boolean, waits: boolean): void {
    const counts = success ? this.#succeeded : this.#failed
    counts[this.#place(now, waits ? 1 : 0)]!++
  }

  /** The latest `seconds` buckets, oldest first; the last one is incomplete. */
  buckets (now: number, seconds: number = SECONDS): Bucket[] {
    this.#place(now, 0)
    this.#waiting[this.#second % SECONDS] = this.#waitingNow()
    return Array.from({ length: Math.min(seconds, SECONDS) }, (_, index) => {
      const second = this.#second - Math.min(seconds, SECONDS) + 1 + index
      const place = second % SECONDS
      return {
        at: second * 1000,
        arrived: this.#arrived[place]!,
        succeeded: this.#succeeded[place]!,
        failed: this.#failed[place]!,
        waiting: this.#waiting[place]!
      }
    })
  }

  /** @param effect the change in the number of waiting tasks that the event has already made */
  #place (now: number, effect: number): number {
    const second = Math.floor(now / 1000)
    if (second < this.#second - SET_BACK_SECONDS) this.#restart(second)
    if (second > this.#second) {
      // Nothing has changed since the last event, so the number is the same for all seconds in between.
      const waiting = Math.max(0, this.#waitingNow() - effect)
      this.#waiting[this.#second % SECONDS] = waiting
      for (let next = Math.max(this.#second + 1, second - SECONDS + 1); next <= second; next++) {
        const place = next % SECONDS
        this.#arrived[place] = this.#succeeded[place] = this.#failed[place] = 0
        this.#waiting[place] = waiting
      }
      this.#second = second
    }
    return this.#second % SECONDS
  }

  /** For a wall clock that was set back: otherwise all events would count for the latest second. */
  #restart (second: number): void {
    this.#second = second
    for (const counts of [this.#arrived, this.#succeeded, this.#failed]) counts.fill(0)
    this.#waiting.fill(Math.max(0, this.#waitingNow()))
  }
}

const SECONDS = 300

/** After smaller steps back, events count for the latest second until the clock has caught up. */
const SET_BACK_SECONDS = 5

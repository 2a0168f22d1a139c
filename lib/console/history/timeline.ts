import type { Bucket } from '../api/api.js'

/** What happened in each of the last 300 seconds. Each event costs the same, however many there are. */
export class Timeline {
  readonly #waitingNow: () => number
  readonly #arrived = new Uint32Array(SECONDS)
  readonly #succeeded = new Uint32Array(SECONDS)
  readonly #failed = new Uint32Array(SECONDS)
  readonly #waiting = new Uint32Array(SECONDS)
  #second: number

  /** @param waitingNow how many tasks wait at this moment */
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

  /** @param waits whether the task is back among those that wait */
  ended (now: number, success: boolean, waits: boolean): void {
    const counts = success ? this.#succeeded : this.#failed
    counts[this.#place(now, waits ? 1 : 0)]!++
  }

  /** The latest `seconds` of them, oldest first; the last one has not ended yet. */
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

  /** @param effect by how much the event that is told has changed the number of waiting tasks already */
  #place (now: number, effect: number): number {
    const second = Math.floor(now / 1000)
    if (second < this.#second - SET_BACK_SECONDS) this.#restart(second)
    if (second > this.#second) {
      // Since the last event nothing has changed, so what waits now waited in all the seconds between.
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

  /** The wall clock was set back: what happens from now on would all count for the second of then. */
  #restart (second: number): void {
    this.#second = second
    for (const counts of [this.#arrived, this.#succeeded, this.#failed]) counts.fill(0)
    this.#waiting.fill(Math.max(0, this.#waitingNow()))
  }
}

const SECONDS = 300

/** A clock that was set back by no more than this counts for the second at hand until it has caught up. */
const SET_BACK_SECONDS = 5

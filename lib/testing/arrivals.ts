import { clearRealTimeout, realTimeout } from '../clock/clock.js'
import type { AttemptKey } from '../worker/watchers.js'

/** An attempt that a kit is about to deliver. */
export interface Departure {
  /** Undefined until it is known. */
  task?: Pick<AttemptKey, 'id' | 'queue'> | undefined
}

/**
 * The attempts of a kit that have not reached their handlers yet. While there is one, the clock must not move: its handler's deadline is
 * counted from its start.
 */
export class Arrivals {
  readonly #departures = new Set<Departure>()
  readonly #waiting = new Set<() => void>()
  readonly #limitMs: number

  /** @param limitMs the longest real time for which `all` waits */
  constructor (limitMs = 2000) {
    this.#limitMs = limitMs
  }

  /** Called before an attempt is delivered. `end` is called after it, whether or not it has arrived. */
  depart (task?: Departure['task']): Departure {
    const departure = { task }
    this.#departures.add(departure)
    return departure
  }

  /** The handler, or an asynchronous validation, of an attempt runs, and its deadline is set. */
  arrived ({ id, queue }: AttemptKey): void {
    for (const departure of this.#departures) {
      if (departure.task?.id === id && departure.task.queue === queue) this.end(departure)
    }
  }

  end (departure: Departure): void {
    this.#departures.delete(departure)
    if (this.#departures.size === 0) this.#resume()
  }

  /**
   * Waits until all attempts have arrived or ended, or until the limit, because an app's hook may block one until its queue gives it up.
   * None is waited for again after that.
   */
  async all (): Promise<void> {
    if (this.#departures.size === 0) return
    await new Promise<void>(resolve => {
      const timer = realTimeout(() => {
        this.#departures.clear()
        this.#resume()
      }, this.#limitMs)
      this.#waiting.add(() => {
        clearRealTimeout(timer)
        resolve()
      })
    })
  }

  #resume (): void {
    for (const resume of this.#waiting) resume()
    this.#waiting.clear()
  }
}

import type { Clock } from '../../clock/clock.js'
import { NameMap } from '../../store/name-map.js'
import type { Tombstone } from '../../store/store.js'

/**
 * Names that cannot be reused for a while. An expired one counts as absent at once; `sweep` frees its memory later, a few with each
 * operation of the engine, so that neither timers nor long pauses are needed.
 *
 * They expire in monotonic time, so that a jump of the wall clock neither frees a name early nor keeps it longer. In the store they have
 * wall times, because monotonic time ends with the process.
 */
export class Tombstones {
  readonly #clock: Clock
  /** In monotonic time. */
  readonly #untils = new NameMap<number>()
  /** The names by the minute in which they expire, so that a sweep need not search for them. */
  readonly #minutes = new Map<number, string[]>()
  /** Keys of `#minutes`, earliest first. */
  readonly #order: number[] = []

  constructor (clock: Clock) {
    this.#clock = clock
  }

  get size (): number {
    return this.#untils.size
  }

  has (name: string): boolean {
    const until = this.#untils.get(name)
    return until !== undefined && until > this.#clock.monotonic()
  }

  /** The tombstone in the store's form. */
  get (name: string): Tombstone | undefined {
    const until = this.#untils.get(name)
    return until === undefined ? undefined : { name, until: Math.round(this.#clock.now() + until - this.#clock.monotonic()) }
  }

  /** Adds a name for `ms` milliseconds from now; negative for an expired one that is still stored. */
  add (name: string, ms: number): void {
    const until = this.#clock.monotonic() + ms
    this.#untils.set(name, until)
    const minute = Math.ceil(until / 60_000)
    const names = this.#minutes.get(minute)
    if (names !== undefined) {
      names.push(name)
      return
    }
    this.#minutes.set(minute, [name])
    const next = this.#order.findIndex(other => other > minute)
    this.#order.splice(next === -1 ? this.#order.length : next, 0, minute)
  }

  /** Removes a name, as if it had never been added. */
  withdraw (name: string): void {
    this.#untils.delete(name)
  }

  /** Removes all names that match, and returns them. */
  withdrawAll (which: (name: string) => boolean): string[] {
    const withdrawn: string[] = []
    for (const names of this.#minutes.values()) {
      for (const name of names) if (which(name) && this.#untils.delete(name)) withdrawn.push(name)
    }
    return withdrawn
  }

  /** Removes at most `limit` expired names and returns them. */
  sweep (limit: number): string[] {
    const now = this.#clock.monotonic()
    const dropped: string[] = []
    for (let left = limit; left > 0; left--) {
      const minute = this.#order[0]
      if (minute === undefined || minute * 60_000 > now) break
      const names = this.#minutes.get(minute)!
      const name = names.pop()!
      if (names.length === 0) {
        this.#minutes.delete(minute)
        this.#order.shift()
      }
      // A name that was reused has a later minute too.
      if (this.#untils.has(name) && !this.has(name)) {
        this.#untils.delete(name)
        dropped.push(name)
      }
    }
    return dropped
  }
}

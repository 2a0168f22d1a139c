import type { Clock } from '../clock/clock.js'
import { NameMap } from '../store/name-map.js'
import type { Tombstone } from '../store/store.js'

/**
 * Names that cannot be used again for a while. One that has expired counts as absent at once; `sweep` frees its memory later, a few
 * with each operation of the engine, so that no timer and no pause is needed.
 *
 * Here they expire in monotonic time, so that a wall clock that jumps neither frees a name early nor keeps it for longer. In the store
 * they have wall times, as monotonic time ends with the process.
 */
export class Tombstones {
  readonly #clock: Clock
  /** In monotonic time. */
  readonly #untils = new NameMap<number>()
  /** The names by the minute in which they expire, so that a sweep need not look for them. */
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

  /** The name as a store keeps it. */
  get (name: string): Tombstone | undefined {
    const until = this.#untils.get(name)
    return until === undefined ? undefined : { name, until: Math.round(this.#clock.now() + until - this.#clock.monotonic()) }
  }

  /** Adds a name for `ms` milliseconds from now; negative for one that has expired and is still stored. */
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

  /** Takes a name back, as if it had never been added. */
  withdraw (name: string): void {
    this.#untils.delete(name)
  }

  /** Takes back all names that `which` accepts, and returns them. */
  withdrawAll (which: (name: string) => boolean): string[] {
    const withdrawn: string[] = []
    for (const names of this.#minutes.values()) {
      for (const name of names) if (which(name) && this.#untils.delete(name)) withdrawn.push(name)
    }
    return withdrawn
  }

  /** Drops at most `limit` expired names and returns them. */
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
      // A name that was used and ended once more stands in a later minute too.
      if (this.#untils.has(name) && !this.has(name)) {
        this.#untils.delete(name)
        dropped.push(name)
      }
    }
    return dropped
  }
}

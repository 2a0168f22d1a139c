/** What can be in a `Slots`. */
export interface Slotted {
  /** Where it stands, -1 outside. Kept by the `Slots`. */
  slot: number
}

/**
 * Things that come and go thousands of times a second, a few of them at once: attempts, timers. In no particular order.
 *
 * A `Set` gets a new table every few dozen changes. Each table points at the next one, so that one which the garbage collector has
 * once moved to the old generation keeps all later ones alive, with all that was ever in them, until a full collection: that cost a
 * third of the CPU time of an attempt.
 */
export class Slots<T extends Slotted> {
  readonly #items: T[] = []

  get size (): number {
    return this.#items.length
  }

  /** Adds what is outside. */
  add (item: T): void {
    item.slot = this.#items.length
    this.#items.push(item)
  }

  /** False for what is outside. */
  delete (item: T): boolean {
    const { slot } = item
    if (slot === -1) return false
    item.slot = -1
    const last = this.#items.pop()!
    if (last !== item) {
      this.#items[slot] = last
      last.slot = slot
    }
    return true
  }

  /** As they are now: what comes and goes meanwhile changes nothing. */
  values (): T[] {
    return [...this.#items]
  }
}

/** An item of `Slots`. */
export interface Slotted {
  /** Index, -1 outside. Maintained by `Slots`. */
  slot: number
}

/**
 * An unordered collection for a few items that are added and removed thousands of times a second: attempts, timers.
 *
 * Used instead of a `Set`, which allocates a new table every few dozen changes. Each table refers to the next one, so that a table in the
 * old generation keeps all later ones alive, with their items, until a full garbage collection: that cost a quarter of the CPU time of an
 * attempt.
 */
export class Slots<T extends Slotted> {
  readonly #items: T[] = []

  get size (): number {
    return this.#items.length
  }

  /** Adds an item that is not in it. */
  add (item: T): void {
    item.slot = this.#items.length
    this.#items.push(item)
  }

  /** Returns false if the item is not in it. */
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

  /** A snapshot, which does not change with later additions and removals. */
  values (): T[] {
    return [...this.#items]
  }
}

/** An item with a due time. `order` breaks ties: first in, first out. */
export interface Due {
  dueAt: number
  order: number
  /** Index in its heap, -1 outside. Maintained by the heap. */
  position: number
}

/**
 * A binary heap with the index of each item, so that any item can be removed in O(log n). Hand-written, because with a library's heap,
 * which can only remove its head, deleted, purged and manually run tasks would stay for up to 30 days.
 */
export class DueHeap<T extends Due> {
  readonly #items: T[] = []

  get size (): number {
    return this.#items.length
  }

  /** The item that is due first. */
  get first (): T | undefined {
    return this.#items[0]
  }

  /** Items approximately in due order; exactly, if they were added in that order and none was removed. */
  values (): Iterable<T> {
    return this.#items.values()
  }

  /** Adds an item that is not in a heap. */
  add (item: T): void {
    this.#items.push(item)
    this.#rise(this.#items.length - 1, item)
  }

  /** Does nothing if the item is not in the heap. */
  remove (item: T): void {
    const position = item.position
    if (position === -1) return
    const last = this.#items.pop()!
    item.position = -1
    if (last === item) return
    this.#sink(position, last)
    if (last.position === position) this.#rise(position, last)
  }

  /** Sets the due time of an item, and adds it if it is not in the heap. */
  schedule (item: T, dueAt: number): void {
    if (item.position !== -1 && item.dueAt === dueAt) return
    this.remove(item)
    item.dueAt = dueAt
    this.add(item)
  }

  #rise (start: number, item: T): void {
    const items = this.#items
    let position = start
    while (position > 0) {
      const above = (position - 1) >> 1
      const parent = items[above]!
      if (!isBefore(item, parent)) break
      items[position] = parent
      parent.position = position
      position = above
    }
    items[position] = item
    item.position = position
  }

  #sink (start: number, item: T): void {
    const items = this.#items
    const firstLeaf = items.length >> 1
    let position = start
    while (position < firstLeaf) {
      let below = 2 * position + 1
      if (below + 1 < items.length && isBefore(items[below + 1]!, items[below]!)) below++
      const child = items[below]!
      if (!isBefore(child, item)) break
      items[position] = child
      child.position = position
      position = below
    }
    items[position] = item
    item.position = position
  }
}

function isBefore (a: Due, b: Due): boolean {
  return a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.order < b.order)
}

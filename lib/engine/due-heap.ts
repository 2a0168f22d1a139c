/** Something that is due at a time. `order` breaks ties, so that what came first goes first. */
export interface Due {
  dueAt: number
  order: number
  /** Where it stands in its heap, -1 outside. Kept by the heap. */
  position: number
}

/**
 * A binary heap that knows where each item stands, so that any item leaves in O(log n). A heap that can only drop its head
 * would have to keep the tasks that were deleted, purged or run by hand, for up to 30 days.
 */
export class DueHeap<T extends Due> {
  readonly #items: T[] = []

  get size (): number {
    return this.#items.length
  }

  /** What is due first. */
  get first (): T | undefined {
    return this.#items[0]
  }

  /** Roughly in the order in which they are due; exactly, when they were added in that order and none has left. */
  values (): Iterable<T> {
    return this.#items.values()
  }

  /** Adds an item that is in no heap. */
  add (item: T): void {
    this.#items.push(item)
    this.#rise(this.#items.length - 1, item)
  }

  /** Does nothing for an item outside. */
  remove (item: T): void {
    const position = item.position
    if (position === -1) return
    const last = this.#items.pop()!
    item.position = -1
    if (last === item) return
    this.#sink(position, last)
    if (last.position === position) this.#rise(position, last)
  }

  /** Sets when an item is due, whether it is here already or not. */
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

/** Something that can stand in one list at a time. The fields are the list's. */
export interface Link<T> {
  before: T | undefined
  after: T | undefined
  /** Grows from first to last. */
  place: number
  list: { remove (item: T): void } | undefined
}

/** Items in the order in which they were added. Any of them leaves in constant time, which a `Map` that loses its first entry over and over does not do. */
export class LinkedList<T extends Link<T>> {
  #first: T | undefined
  #last: T | undefined
  #size = 0
  #added = 0

  get first (): T | undefined {
    return this.#first
  }

  get size (): number {
    return this.#size
  }

  /** Adds an item at the end, out of the list that it stands in. */
  add (item: T): void {
    item.list?.remove(item)
    item.list = this
    item.place = this.#added++
    item.before = this.#last
    item.after = undefined
    if (this.#last === undefined) this.#first = item
    else this.#last.after = item
    this.#last = item
    this.#size++
  }

  remove (item: T): void {
    if (item.list !== this) return
    if (item.before === undefined) this.#first = item.after
    else item.before.after = item.after
    if (item.after === undefined) this.#last = item.before
    else item.after.before = item.before
    item.list = item.before = item.after = undefined
    this.#size--
  }

  /** First to last; the one at hand may be removed meanwhile. */
  * values (): Generator<T, void> {
    for (let item = this.#first; item !== undefined;) {
      const { after } = item
      yield item
      item = after
    }
  }

  /** Last to first. */
  * reversed (): Generator<T, void> {
    for (let item = this.#last; item !== undefined; item = item.before) yield item
  }
}

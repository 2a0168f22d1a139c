/**
 * A map by resource name for up to millions of entries. A `Map` that outgrows its table copies it in one go, which stops
 * the event loop for more than 50 ms at a million; this one grows in parts. It keeps no order.
 */
export class NameMap<V> {
  readonly #parts: Array<Map<string, V> | undefined> = new Array(PARTS)
  #size = 0

  get size (): number {
    return this.#size
  }

  get (name: string): V | undefined {
    return this.#parts[partOf(name)]?.get(name)
  }

  has (name: string): boolean {
    return this.#parts[partOf(name)]?.has(name) === true
  }

  set (name: string, value: V): void {
    const index = partOf(name)
    const part = this.#parts[index] ??= new Map()
    const before = part.size
    part.set(name, value)
    this.#size += part.size - before
  }

  delete (name: string): boolean {
    const deleted = this.#parts[partOf(name)]?.delete(name) === true
    if (deleted) this.#size--
    return deleted
  }

  /** Changes while it runs are fine: an entry that stays is met once, one that is added or deleted may be or not. */
  * values (): Generator<V, undefined> {
    // By index, so that parts that come to be meanwhile are seen.
    for (let index = 0; index < PARTS; index++) {
      const part = this.#parts[index]
      if (part !== undefined) yield * part.values()
    }
  }
}

/** Names end in what tells them apart, so their last characters decide. */
function partOf (name: string): number {
  let hash = 0
  for (let i = Math.max(0, name.length - 16); i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) & (PARTS - 1)
}

/** A power of two. */
const PARTS = 64

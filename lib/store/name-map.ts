/**
 * A map by resource name for up to millions of entries. A `Map` copies its whole table when it grows, which blocks the event loop for
 * more than 50 ms at a million entries; this one grows in parts. It is not ordered.
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

  /** Tolerates changes during the iteration: entries that stay are returned once, those that are added or deleted may be or not. */
  * values (): Generator<V, undefined> {
    // By index, to include parts that are created in the meantime.
    for (let index = 0; index < PARTS; index++) {
      const part = this.#parts[index]
      if (part !== undefined) yield * part.values()
    }
  }
}

/** Hashes the last characters, in which names differ. */
function partOf (name: string): number {
  let hash = 0
  for (let i = Math.max(0, name.length - 16); i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) & (PARTS - 1)
}

/** A power of two. */
const PARTS = 64

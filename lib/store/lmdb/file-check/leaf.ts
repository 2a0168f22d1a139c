import {
  LEAF, NAMED_DATABASE, NODE, OVERFLOW, PAGE, compareKeys, compareNumbers, countNodes, damagedPage, u16, type Place
} from './page.js'
import type { Level } from './tree.js'

/** A value that does not fit into a leaf. */
export interface LargeValue {
  /** Where the number of its first page stands in the leaf. */
  readonly at: number
  readonly size: number
}

/**
 * Throws unless all nodes of a leaf lie on it, with keys that ascend. Returns how many there are.
 * @param large gets what lies on pages of its own
 * @param small is called with where each other value begins and ends; left out where values do not matter
 */
export function checkLeaf (
  page: Place, isNumbered: boolean, transaction: number, large: LargeValue[], small?: (at: number, end: number) => void
): number {
  const { bytes, start, end, number } = page
  const count = countNodes(page, LEAF, transaction)
  const pointers = start + PAGE.end
  const compare = isNumbered ? compareNumbers : compareKeys
  const least = pointers + u16(bytes, start + PAGE.upper)
  let [before, beforeEnd] = [0, 0]
  // A hot loop: opening a store waits for it.
  for (let i = 0; i < count; i++) {
    const node = pointers + u16(bytes, pointers + 2 * i)
    const key = node + NODE.data
    const data = key + u16(bytes, node + NODE.keySize)
    const size = u16(bytes, node) + u16(bytes, node + 2) * 65536
    const flags = u16(bytes, node + NODE.flags)
    const isLarge = flags === OVERFLOW
    // What lies behind the buffer is NaN, which no comparison accepts.
    const isSound = node >= least && data > key && data + (isLarge ? 8 : size) <= end &&
      (flags === 0 || isLarge || flags === NAMED_DATABASE) &&
      (!isNumbered || data === key + 8) && (i === 0 || compare(bytes, before, beforeEnd, bytes, key, data) < 0)
    if (!isSound) throw damagedPage(number);
    [before, beforeEnd] = [key, data]
    if (isLarge) large.push({ at: data, size })
    else if (small !== undefined) small(data, data + size)
  }
  return count
}

/** Throws unless the keys of a leaf are those that the branches say. To be called after `checkLeaf`. */
export function checkBounds (page: Place, isNumbered: boolean, { pages, keyBytes, keyAt, keyEnd }: Level, index: number): void {
  const { bytes, number } = page
  const compare = isNumbered ? compareNumbers : compareKeys
  const from = keyBytes[index]
  const [first, firstEnd] = keyIn(page, 0)
  if (from !== undefined && compare(from, keyAt[index]!, keyEnd[index]!, bytes, first, firstEnd) > 0) throw damagedPage(number)
  if (index + 1 === pages.length) return
  const [last, lastEnd] = keyIn(page, (u16(bytes, page.start + PAGE.lower) >> 1) - 1)
  if (compare(keyBytes[index + 1]!, keyAt[index + 1]!, keyEnd[index + 1]!, bytes, last, lastEnd) <= 0) throw damagedPage(number)
}

function keyIn ({ bytes, start }: Place, index: number): [at: number, end: number] {
  const node = start + PAGE.end + u16(bytes, start + PAGE.end + 2 * index)
  return [node + NODE.data, node + NODE.data + u16(bytes, node + NODE.keySize)]
}

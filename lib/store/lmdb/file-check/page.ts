/** Offsets and flags are those of lmdb's data format 2, in the system's byte order: little-endian wherever Node runs. */
export const PAGE = { transaction: 8, flags: 18, lower: 20, upper: 22, end: 24 }
export const NODE = { flags: 4, keySize: 6, data: 8 }
export const BRANCH = 1
export const LEAF = 2
export const OVERFLOW_PAGE = 4
/** Of a node: its value lies on pages of its own. */
export const OVERFLOW = 1
export const NAMED_DATABASE = 2

/** What is wrong with a file, in words. */
export class Damage extends Error {}

/** Where the nodes of a page begin. */
export function nodesOf (page: Buffer): number[] {
  const count = Math.min(page.readUInt16LE(PAGE.lower), page.length - PAGE.end) >> 1
  const nodes: number[] = new Array(count)
  for (let i = 0; i < count; i++) nodes[i] = page.readUInt16LE(PAGE.end + 2 * i) + PAGE.end
  return nodes
}

export function keyOf (page: Buffer, node: number): Buffer {
  const end = node + NODE.data + page.readUInt16LE(node + NODE.keySize)
  if (end > page.length) throw new Damage('a key is damaged')
  return page.subarray(node + NODE.data, end)
}

/** NaN beyond the page, which compares as no number does. */
export function u16 (page: Buffer, at: number): number {
  return page[at]! + page[at + 1]! * 256
}

/** The page that a node of a branch points at. */
export function childOf (page: Buffer, node: number): number {
  return u16(page, node) + u16(page, node + 2) * 2 ** 16 + u16(page, node + 4) * 2 ** 32
}

/** Compares two keys of a page, each from its beginning to its end. */
export function compareIn (page: Buffer, a: number, aEnd: number, b: number, bEnd: number): number {
  while (a < aEnd && b < bEnd) {
    const difference = page[a++]! - page[b++]!
    if (difference !== 0) return difference
  }
  return (aEnd - a) - (bEnd - b)
}

export function inOrder (a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined || a.compare(b) < 0
}

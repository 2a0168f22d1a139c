/** Offsets and flags are those of lmdb's data format 2, in the system's byte order: little-endian wherever Node runs. */
export const PAGE = { transaction: 8, flags: 18, lower: 20, upper: 22, end: 24 }
export const NODE = { flags: 4, keySize: 6, data: 8 }
export const BRANCH = 1
export const LEAF = 2
export const OVERFLOW_PAGE = 4
/** Of a node: its value lies on pages of its own. */
export const OVERFLOW = 1
/** Of a node: its value describes a database. */
export const NAMED_DATABASE = 2

/** The first pages, which say where all others are. */
export const META_PAGES = 2

/** What is wrong with a file, in words. */
export class Damage extends Error {}

export function damagedPage (number: number): Damage {
  return new Damage(`page ${number} is damaged`)
}

/** A page within a buffer. */
export interface Place {
  readonly bytes: Buffer
  /** Where the page begins. */
  readonly start: number
  /** Where it ends. */
  readonly end: number
  /** Of the page in its file. */
  readonly number: number
}

/**
 * Throws unless the page is a leaf or a branch as it must be at its place; returns how many nodes it has.
 * @param transaction the file's last one
 */
export function countNodes ({ bytes, start, end, number }: Place, kind: number, transaction: number): number {
  const [lower, upper] = [u16(bytes, start + PAGE.lower), u16(bytes, start + PAGE.upper)]
  // LMDB believes that it may write to a page of a later transaction, and dies of that.
  const sound = u48(bytes, start) === number && u16(bytes, start + 6) === 0 && u48(bytes, start + PAGE.transaction) <= transaction &&
    u16(bytes, start + PAGE.transaction + 6) === 0 && u16(bytes, start + PAGE.flags) === kind &&
    lower >= 2 && (lower & 1) === 0 && lower <= upper && start + PAGE.end + upper <= end
  if (!sound) throw damagedPage(number)
  return lower >> 1
}

/** Where a node begins. Throws where that is not on the page, or its key is not. */
export function nodeAt ({ bytes, start, end, number }: Place, index: number): number {
  const node = start + PAGE.end + u16(bytes, start + PAGE.end + 2 * index)
  const least = start + PAGE.end + u16(bytes, start + PAGE.upper)
  // What lies behind the buffer is NaN, which no comparison accepts.
  if (!(node >= least && node + NODE.data + u16(bytes, node + NODE.keySize) <= end)) throw damagedPage(number)
  return node
}

export function u16 (bytes: Buffer, at: number): number {
  return bytes[at]! + bytes[at + 1]! * 256
}

/** Of a number of eight bytes, as far as files are that large. */
export function u48 (bytes: Buffer, at: number): number {
  return u16(bytes, at) + u16(bytes, at + 2) * 2 ** 16 + u16(bytes, at + 4) * 2 ** 32
}

/** Compares two keys, each from its beginning to its end. */
export function compareKeys (a: Buffer, aAt: number, aEnd: number, b: Buffer, bAt: number, bEnd: number): number {
  while (aAt < aEnd && bAt < bEnd) {
    const difference = a[aAt++]! - b[bAt++]!
    if (difference !== 0) return difference
  }
  return (aEnd - aAt) - (bEnd - bAt)
}

/** Compares two keys that are numbers of eight bytes. */
export function compareNumbers (a: Buffer, aAt: number, _aEnd: number, b: Buffer, bAt: number): number {
  return (u16(a, aAt + 6) - u16(b, bAt + 6)) || (u48(a, aAt) - u48(b, bAt))
}

import { Damage } from './page.js'

/** A database, as its root describes it. */
export interface Tree {
  readonly root: number
  /** 1: the root is a leaf. */
  readonly depth: number
  readonly branchPages: number
  readonly leafPages: number
  readonly overflowPages: number
  readonly entries: number
}

/** The tree whose description lies at `offset`; undefined for an empty one. */
export function treeIn (page: Buffer, offset: number, flags: number): Tree | undefined {
  if (offset + TREE.root + 8 > page.length) throw new Damage('the root of a database is lost')
  const at = (field: number): number => Number(page.readBigUInt64LE(offset + field))
  if ((page.readUInt16LE(offset + TREE.flags) & KINDS) !== flags) throw new Damage('the kind of a database is damaged')
  if (page.readBigUInt64LE(offset + TREE.root) === NO_PAGE) {
    if (at(TREE.entries) !== 0) throw new Damage('the root of a database is lost')
    return undefined
  }
  return {
    root: at(TREE.root),
    depth: page.readUInt16LE(offset + TREE.depth),
    branchPages: at(TREE.branchPages),
    leafPages: at(TREE.leafPages),
    overflowPages: at(TREE.overflowPages),
    entries: at(TREE.entries)
  }
}

const NO_PAGE = 0xFFFFFFFFFFFFFFFFn
const TREE = { flags: 4, depth: 6, branchPages: 8, leafPages: 16, overflowPages: 24, entries: 32, root: 40 }
/** The flags that say how keys and values are kept. */
const KINDS = 0x7f

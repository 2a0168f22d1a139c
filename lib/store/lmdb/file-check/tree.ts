import { BRANCH, Damage, NODE, compareKeys, compareNumbers, countNodes, damagedPage, nodeAt, u16, u48, type Place } from './page.js'

/** A database, as its root describes it. */
export interface Tree {
  /** Its keys are numbers: the list of free pages. */
  readonly isNumbered: boolean
  readonly root: number
  /** 1: the root is a leaf. */
  readonly depth: number
  readonly branchPages: number
  readonly leafPages: number
  readonly overflowPages: number
  readonly entries: number
}

/** The tree whose description lies at `offset`; undefined for an empty one. */
export function treeIn (page: Buffer, offset: number, isNumbered: boolean): Tree | undefined {
  if (offset + TREE.root + 8 > page.length) throw new Damage('the root of a database is lost')
  const at = (field: number): number => u48(page, offset + field) + u16(page, offset + field + 6) * 2 ** 48
  if ((u16(page, offset + TREE.flags) & KINDS) !== (isNumbered ? INTEGER_KEYS : 0)) throw new Damage('the kind of a database is damaged')
  if (page.readBigUInt64LE(offset + TREE.root) === NO_PAGE) {
    if (at(TREE.entries) !== 0) throw new Damage('the root of a database is lost')
    return undefined
  }
  return {
    isNumbered,
    root: at(TREE.root),
    depth: u16(page, offset + TREE.depth),
    branchPages: at(TREE.branchPages),
    leafPages: at(TREE.leafPages),
    overflowPages: at(TREE.overflowPages),
    entries: at(TREE.entries)
  }
}

/**
 * The pages of one level of a tree in the order of their keys, each with the key that none of its own is less than. Lists of what would
 * be a few objects for each of a hundred thousand pages.
 */
export interface Level {
  readonly pages: number[]
  /** Where the key stands. Undefined for the first page, which has all that are less. */
  readonly keyBytes: Array<Buffer | undefined>
  readonly keyAt: number[]
  readonly keyEnd: number[]
}

/**
 * Checks the branches of a tree, and returns its leaves.
 * @param read reads pages that nothing else has
 */
export async function leavesOf (tree: Tree, transaction: number, read: (pages: number[]) => Promise<Place[]>): Promise<Level> {
  let level: Level = { pages: [tree.root], keyBytes: [undefined], keyAt: [0], keyEnd: [0] }
  let branches = 0
  for (let depth = tree.depth; depth > 1; depth--) {
    const below: Level = { pages: [], keyBytes: [], keyAt: [], keyEnd: [] }
    for (let from = 0; from < level.pages.length; from += BRANCHES_PER_READ) {
      const pages = await read(level.pages.slice(from, from + BRANCHES_PER_READ))
      for (const [i, page] of pages.entries()) addChildren(page, level, from + i, below, transaction)
      branches += pages.length
    }
    checkOrder(below, tree.isNumbered)
    level = below
  }
  if (branches !== tree.branchPages || level.pages.length !== tree.leafPages) throw new Damage('a part of a database is lost')
  return level
}

function addChildren (page: Place, level: Level, index: number, below: Level, transaction: number): void {
  const { bytes } = page
  const count = countNodes(page, BRANCH, transaction)
  for (let i = 0; i < count; i++) {
    const node = nodeAt(page, i)
    // The page of a child stands where other nodes have the size of their value.
    below.pages.push(u48(bytes, node))
    // The first key of a branch stands for all that are less.
    below.keyBytes.push(i > 0 ? bytes : level.keyBytes[index])
    below.keyAt.push(i > 0 ? node + NODE.data : level.keyAt[index]!)
    below.keyEnd.push(i > 0 ? node + NODE.data + u16(bytes, node + NODE.keySize) : level.keyEnd[index]!)
  }
}

function checkOrder ({ pages, keyBytes, keyAt, keyEnd }: Level, isNumbered: boolean): void {
  const compare = isNumbered ? compareNumbers : compareKeys
  for (let i = 2; i < pages.length; i++) {
    const isSound = compare(keyBytes[i - 1]!, keyAt[i - 1]!, keyEnd[i - 1]!, keyBytes[i]!, keyAt[i]!, keyEnd[i]!) < 0
    if (!isSound) throw damagedPage(pages[i]!)
  }
}

const BRANCHES_PER_READ = 16
const INTEGER_KEYS = 8
const NO_PAGE = 0xFFFFFFFFFFFFFFFFn
const TREE = { flags: 4, depth: 6, branchPages: 8, leafPages: 16, overflowPages: 24, entries: 32, root: 40 }
/** The flags that say how keys and values are kept. */
const KINDS = 0x7f

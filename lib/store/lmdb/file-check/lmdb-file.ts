import { open, type FileHandle } from 'node:fs/promises'
import {
  BRANCH, Damage, LEAF, NAMED_DATABASE, NODE, OVERFLOW, OVERFLOW_PAGE, PAGE, childOf, compareIn, inOrder, keyOf, nodesOf, u16
} from './page.js'
import { treeIn, type Tree } from './tree.js'

/**
 * Says what is wrong with an lmdb file that nobody has open; undefined when nothing shows. lmdb maps its file and trusts
 * it: a page that is not there, as in a file that a copy has cut short, or one that holds something else would end the
 * process at the first look. So every page that is in use is looked at first, in time for an error instead: its head, the place, size and
 * order of all its keys, and whether there are as many pages and entries as the file says. What the values say is not checked.
 * @param onPages called now and then with how many of all pages were looked at
 */
export async function lmdbFileProblem (
  file: string, onPages: (done: number, total: number) => void = () => {}
): Promise<string | undefined> {
  let handle: FileHandle
  try {
    handle = await open(file, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'it is missing'
    throw error
  }
  try {
    const { size } = await handle.stat()
    if (size === 0) return 'it is empty'
    await new LmdbFile(handle, size).check(onPages)
    return undefined
  } catch (error) {
    if (error instanceof Damage) return error.message
    // Read past the end of something.
    if (error instanceof RangeError) return 'what stands in it makes no sense'
    throw error
  } finally {
    await handle.close()
  }
}

/** What was found of a tree. */
interface Found {
  readonly tree: Tree
  overflowPages: number
  entries: number
}

/** A leaf in use. */
interface Leaf {
  readonly found: Found
  /** No key of the leaf is smaller. Undefined: the first leaf of its tree. */
  readonly from: Buffer | undefined
  /** All keys of the leaf are smaller. Undefined: the last one. */
  readonly to: Buffer | undefined
}

class LmdbFile {
  readonly #handle: FileHandle
  readonly #size: number
  #pageSize = 512
  #transaction = 0n
  /** By page, whether it is in use. */
  #used = new Uint8Array(0)
  readonly #leaves = new Map<number, Leaf>()
  readonly #trees: Found[] = []
  #freeTree: Tree | undefined
  readonly #free: number[] = []

  constructor (handle: FileHandle, size: number) {
    this.#handle = handle
    this.#size = size
  }

  async check (onPages: (done: number, total: number) => void): Promise<void> {
    const first = await this.#read(0)
    if (first.readUInt32LE(META.magic) !== MAGIC) throw new Damage('it is not an lmdb file, or its beginning is lost')
    // Of another format lmdb itself has to judge.
    if ((first.readUInt32LE(META.version) & 0xffff) !== 2) return
    this.#pageSize = first.readUInt32LE(META.pageSize)
    if (this.#pageSize < 512 || this.#pageSize > 65536) throw new Damage('its page size makes no sense')
    const second = await this.#read(1)
    if (second.readUInt32LE(META.magic) !== MAGIC) throw new Damage('its second page is lost')
    const meta = first.readBigUInt64LE(META.transaction) > second.readBigUInt64LE(META.transaction) ? first : second
    this.#transaction = meta.readBigUInt64LE(META.transaction)
    this.#used = new Uint8Array(Math.floor(this.#size / this.#pageSize))
    this.#freeTree = treeIn(meta, META.free, INTEGER_KEYS)
    await this.#follow(this.#freeTree)
    for (const leaf of await this.#follow(treeIn(meta, META.main, 0))) {
      const page = await this.#read(leaf)
      this.#checkPage(page, leaf, LEAF)
      // The leaves of the main tree hold the roots of the named databases.
      for (const node of nodesOf(page)) {
        if (page.readUInt16LE(node + NODE.flags) !== NAMED_DATABASE) throw new Damage(`page ${leaf} is damaged`)
        await this.#follow(treeIn(page, node + NODE.data + page.readUInt16LE(node + NODE.keySize), 0))
      }
    }
    await this.#checkLeaves(onPages)
    // LMDB would write over it.
    const lost = this.#free.find(page => this.#used[page] === 1)
    if (lost !== undefined) throw new Damage(`page ${lost} counts as free and is in use`)
    for (const { tree, entries, overflowPages } of this.#trees) {
      if (entries !== tree.entries || overflowPages !== tree.overflowPages) {
        throw new Damage(`it holds ${entries} of ${tree.entries} entries of a database`)
      }
    }
  }

  /** Checks a tree's branches, notes its leaves, and returns these. */
  async #follow (tree: Tree | undefined): Promise<number[]> {
    if (tree === undefined) return []
    const found: Found = { tree, overflowPages: 0, entries: 0 }
    this.#trees.push(found)
    let level: Array<Omit<Leaf, 'found'> & { page: number }> = [{ page: tree.root, from: undefined, to: undefined }]
    let branches = 0
    for (let depth = tree.depth; depth > 1; depth--) {
      const below: typeof level = []
      for (const { page: number, from, to } of level) {
        const page = await this.#read(number)
        this.#use(number, 1)
        this.#checkPage(page, number, BRANCH)
        branches++
        const nodes = nodesOf(page)
        // The first key of a branch stands for all that are smaller.
        let least = from
        for (let i = 0; i < nodes.length; i++) {
          const next = i + 1 < nodes.length ? keyOf(page, nodes[i + 1]!) : to
          if (i > 0 && !inOrder(least, next)) throw new Damage(`page ${number} is damaged`)
          below.push({ page: childOf(page, nodes[i]!), from: least, to: next })
          least = next
        }
      }
      level = below
    }
    if (branches !== tree.branchPages || level.length !== tree.leafPages) throw new Damage('a part of a database is lost')
    for (const { page, from, to } of level) {
      this.#use(page, 1)
      this.#leaves.set(page, { found, from, to })
    }
    return level.map(({ page }) => page)
  }

  /** Reads the file from end to end, which is much faster than leaf by leaf. */
  async #checkLeaves (onPages: (done: number, total: number) => void): Promise<void> {
    const piece = Buffer.allocUnsafe(PAGES_PER_READ * this.#pageSize)
    const total = this.#used.length
    for (let from = 0; from < total; from += PAGES_PER_READ) {
      const pages = Math.min(PAGES_PER_READ, total - from)
      onPages(from, total)
      if (!this.#used.subarray(from, from + pages).includes(1)) continue
      await this.#handle.read(piece, 0, pages * this.#pageSize, from * this.#pageSize)
      for (let i = 0; i < pages; i++) {
        const leaf = this.#leaves.get(from + i)
        if (leaf !== undefined) await this.#checkLeaf(piece.subarray(i * this.#pageSize, (i + 1) * this.#pageSize), from + i, leaf)
      }
    }
    onPages(total, total)
  }

  async #checkLeaf (page: Buffer, number: number, leaf: Leaf): Promise<void> {
    const large = this.#checkNodes(page, number, leaf)
    for (const data of large) leaf.found.overflowPages += await this.#checkOverflow(page.readUIntLE(data.at, 6), data.size)
  }

  /** Returns where the numbers of the pages of large values stand, which lie on pages of their own. A hot loop: opening waits for it. */
  #checkNodes (page: Buffer, number: number, { found, from, to }: Leaf): Array<{ at: number, size: number }> {
    this.#checkHead(page, number, LEAF)
    const large: Array<{ at: number, size: number }> = []
    const isNumbered = found.tree === this.#freeTree
    const count = (u16(page, PAGE.lower)) >> 1
    const upper = u16(page, PAGE.upper) + PAGE.end
    let [before, beforeEnd] = [0, 0]
    for (let i = 0; i < count; i++) {
      const node = u16(page, PAGE.end + 2 * i) + PAGE.end
      const key = node + NODE.data
      const keySize = u16(page, node + NODE.keySize)
      const size = u16(page, node) + u16(page, node + 2) * 65536
      const flags = u16(page, node + NODE.flags)
      const data = key + keySize
      const isElsewhere = flags === OVERFLOW
      const isSound = node >= upper && keySize > 0 && data + (isElsewhere ? 8 : size) <= page.length &&
        (flags === 0 || isElsewhere || flags === NAMED_DATABASE) &&
        (isNumbered || i === 0 || compareIn(page, before, beforeEnd, key, data) < 0)
      if (!isSound) throw new Damage(`page ${number} is damaged`);
      [before, beforeEnd] = [key, data]
      if (isElsewhere) large.push({ at: data, size })
      else if (isNumbered) this.#noteFree(page.subarray(data, data + size))
    }
    found.entries += count
    if (!isNumbered) this.#checkBounds(page, number, from, to)
    return large
  }

  /** What the branch above says of a leaf. */
  #checkBounds (page: Buffer, number: number, from: Buffer | undefined, to: Buffer | undefined): void {
    const nodes = nodesOf(page)
    if (from !== undefined && from.compare(keyOf(page, nodes[0]!)) > 0) throw new Damage(`page ${number} is damaged`)
    if (to !== undefined && to.compare(keyOf(page, nodes.at(-1)!)) <= 0) throw new Damage(`page ${number} is damaged`)
  }

  /** Returns how many pages a value of that size takes. */
  async #checkOverflow (first: number, size: number): Promise<number> {
    const pages = Math.ceil((PAGE.end + size) / this.#pageSize)
    this.#checkPresent(first + pages - 1)
    this.#use(first, pages)
    const page = await this.#read(first)
    const isSound = Number(page.readBigUInt64LE(0)) === first && page.readBigUInt64LE(PAGE.transaction) <= this.#transaction &&
      page.readUInt16LE(PAGE.flags) === OVERFLOW_PAGE && page.readUInt32LE(PAGE.lower) === pages
    if (!isSound) throw new Damage(`page ${first} is damaged`)
    return pages
  }

  /** How many numbers follow, then those of free pages; 0 is a gap, a negative one the length of the run that the next begins. */
  #noteFree (value: Buffer): void {
    const count = value.length < 8 ? NaN : Number(value.readBigUInt64LE(0))
    if (!(8 * (count + 1) <= value.length)) throw new Damage('the list of free pages is damaged')
    for (let at = 8; at <= 8 * count; at += 8) {
      const page = Number(value.readBigInt64LE(at))
      if (page > 0) this.#free.push(page)
    }
  }

  /** No page belongs to two. */
  #use (first: number, pages: number): void {
    this.#checkPresent(first + pages - 1)
    for (let page = first; page < first + pages; page++) {
      if (page < META_PAGES || this.#used[page] === 1) throw new Damage(`page ${page} is damaged`)
      this.#used[page] = 1
    }
  }

  #checkPage (page: Buffer, number: number, kind: number): void {
    this.#checkHead(page, number, kind)
    const upper = u16(page, PAGE.upper) + PAGE.end
    if (!nodesOf(page).every(node => node >= upper && node + NODE.data <= page.length)) throw new Damage(`page ${number} is damaged`)
  }

  #checkHead (page: Buffer, number: number, kind: number): void {
    const [lower, upper] = [u16(page, PAGE.lower), u16(page, PAGE.upper)]
    // LMDB believes that it may write to a page of a later transaction, and dies of that.
    const sound = Number(page.readBigUInt64LE(0)) === number && page.readBigUInt64LE(PAGE.transaction) <= this.#transaction &&
      u16(page, PAGE.flags) === kind && lower >= 2 && lower <= upper && upper + PAGE.end <= page.length
    if (!sound) throw new Damage(`page ${number} is damaged`)
  }

  #checkPresent (number: number): void {
    if (!((number + 1) * this.#pageSize <= this.#size)) throw new Damage(`it is cut short: page ${number} is missing`)
  }

  async #read (number: number): Promise<Buffer> {
    this.#checkPresent(number)
    const page = Buffer.allocUnsafe(this.#pageSize)
    await this.#handle.read(page, 0, this.#pageSize, number * this.#pageSize)
    return page
  }
}

const PAGES_PER_READ = 256

const MAGIC = 0xBEEFC0DE
const META_PAGES = 2
const META = { magic: 24, version: 28, pageSize: 48, free: 48, main: 96, transaction: 152 }
const INTEGER_KEYS = 8

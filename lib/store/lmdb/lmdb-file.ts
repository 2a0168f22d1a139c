import { open, type FileHandle } from 'node:fs/promises'

/**
 * Says what is wrong with an lmdb file that nobody has open; undefined when nothing shows. lmdb maps its file and trusts
 * it: a page that is not there, as in a file that a copy has cut short, or one that holds something else would end the
 * process at the first look. So every page that is in use is looked at first, in time for an error instead. What the values
 * say is not checked.
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

class Damage extends Error {}

interface Tree {
  readonly root: number
  /** 1: the root is a leaf. */
  readonly depth: number
}

/** Offsets and flags are those of lmdb's data format 2, in the system's byte order: little-endian wherever Node runs. */
class LmdbFile {
  readonly #handle: FileHandle
  readonly #size: number
  #pageSize = 512
  /** By page, whether it is a leaf in use. */
  #isLeaf = new Uint8Array(0)

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
    this.#isLeaf = new Uint8Array(Math.floor(this.#size / this.#pageSize))
    await this.#follow(treeIn(meta, META.free))
    const main = treeIn(meta, META.main)
    for (const leaf of await this.#follow(main)) {
      const page = await this.#read(leaf)
      this.#checkPage(page, leaf, LEAF)
      // The leaves of the main tree hold the roots of the named databases.
      for (const node of nodesOf(page)) {
        if ((page.readUInt16LE(node + NODE.flags) & NAMED_DATABASE) !== 0) {
          await this.#follow(treeIn(page, node + NODE.data + page.readUInt16LE(node + NODE.keySize)))
        }
      }
    }
    await this.#checkLeaves(onPages)
  }

  /** Checks a tree's branches and returns its leaves. */
  async #follow (tree: Tree | undefined): Promise<number[]> {
    let level = tree === undefined ? [] : [tree.root]
    for (let depth = tree?.depth ?? 1; depth > 1; depth--) {
      const below: number[] = []
      for (const number of level) {
        const page = await this.#read(number)
        this.#checkPage(page, number, BRANCH)
        for (const node of nodesOf(page)) below.push(page.readUIntLE(node, 6))
      }
      level = below
    }
    for (const leaf of level) {
      this.#checkPresent(leaf)
      this.#isLeaf[leaf] = 1
    }
    return level
  }

  /** Reads the file from end to end, which is much faster than leaf by leaf. */
  async #checkLeaves (onPages: (done: number, total: number) => void): Promise<void> {
    const piece = Buffer.allocUnsafe(PAGES_PER_READ * this.#pageSize)
    for (let from = 0; from < this.#isLeaf.length; from += PAGES_PER_READ) {
      const pages = Math.min(PAGES_PER_READ, this.#isLeaf.length - from)
      onPages(from, this.#isLeaf.length)
      if (!this.#isLeaf.subarray(from, from + pages).includes(1)) continue
      await this.#handle.read(piece, 0, pages * this.#pageSize, from * this.#pageSize)
      for (let i = 0; i < pages; i++) {
        if (this.#isLeaf[from + i] === 1) this.#checkLeaf(piece.subarray(i * this.#pageSize, (i + 1) * this.#pageSize), from + i)
      }
    }
    onPages(this.#isLeaf.length, this.#isLeaf.length)
  }

  #checkLeaf (page: Buffer, number: number): void {
    this.#checkPage(page, number, LEAF)
    for (const node of nodesOf(page)) {
      const size = page.readUInt32LE(node)
      const data = node + NODE.data + page.readUInt16LE(node + NODE.keySize)
      const isElsewhere = (page.readUInt16LE(node + NODE.flags) & OVERFLOW) !== 0
      if (data + (isElsewhere ? 8 : size) > page.length) throw new Damage(`page ${number} is damaged`)
      // A large value lies on pages of its own.
      if (isElsewhere) {
        this.#checkPresent(Number(page.readBigUInt64LE(data)) + Math.ceil((PAGE.end + size) / this.#pageSize) - 1)
      }
    }
  }

  #checkPage (page: Buffer, number: number, kind: number): void {
    const nodes = nodesOf(page)
    const sound = Number(page.readBigUInt64LE(0)) === number && (page.readUInt16LE(PAGE.flags) & kind) !== 0 &&
      page.readUInt16LE(PAGE.lower) + PAGE.end <= page.length && nodes.length > 0 && nodes.every(node => node + NODE.data <= page.length)
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

/** Where the nodes of a page begin. */
function nodesOf (page: Buffer): number[] {
  const count = Math.min(page.readUInt16LE(PAGE.lower), page.length - PAGE.end) >> 1
  const nodes: number[] = new Array(count)
  for (let i = 0; i < count; i++) nodes[i] = page.readUInt16LE(PAGE.end + 2 * i) + PAGE.end
  return nodes
}

/** The tree whose description lies at `offset`; undefined for an empty one. */
function treeIn (page: Buffer, offset: number): Tree | undefined {
  if (offset + TREE.root + 8 > page.length) throw new Damage('the root of a database is lost')
  const root = page.readBigUInt64LE(offset + TREE.root)
  return root === NO_PAGE ? undefined : { root: Number(root), depth: page.readUInt16LE(offset + TREE.depth) }
}

const PAGES_PER_READ = 256

const MAGIC = 0xBEEFC0DE
const NO_PAGE = 0xFFFFFFFFFFFFFFFFn
const META = { magic: 24, version: 28, pageSize: 48, free: 48, main: 96, transaction: 152 }
const PAGE = { flags: 18, lower: 20, end: 24 }
const NODE = { flags: 4, keySize: 6, data: 8 }
const TREE = { depth: 6, root: 40 }
const BRANCH = 1
const LEAF = 2
const OVERFLOW = 1
const NAMED_DATABASE = 2

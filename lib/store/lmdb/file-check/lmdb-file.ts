import { open, type FileHandle } from 'node:fs/promises'
import { FreeList, IN_USE } from './free-list.js'
import { checkBounds, checkLeaf, type LargeValue } from './leaf.js'
import { Damage, META_PAGES, NAMED_DATABASE, NODE, OVERFLOW_PAGE, PAGE, damagedPage, nodeAt, u16, u48, type Place } from './page.js'
import { leavesOf, treeIn, type Level, type Tree } from './tree.js'

/**
 * Checks an lmdb file that no process has open, and returns its problem; undefined if there is none. lmdb maps its file and trusts it: a
 * missing page, such as in a truncated copy, or an invalid one would crash the process on the first access. Checks every page in use: its
 * header, the position, size and order of all keys, the list of free pages, and the number of pages and entries. Values are not checked.
 * @param databases the names of all required databases
 * @param onPages called repeatedly with the number of checked pages
 */
export async function lmdbFileProblem (
  file: string, databases: readonly string[], onPages: (done: number, total: number) => void = () => {}
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
    await new LmdbFile(handle, size).check(databases, onPages)
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
  readonly leaves: Level
  overflowPages: number
  entries: number
}

class LmdbFile {
  readonly #handle: FileHandle
  readonly #size: number
  #pageSize = 512
  #transaction = 0
  /** By page, whether it is IN_USE. */
  #used = new Uint8Array(0)
  /** By page, for a leaf of the trees in `#trees`: its place among all of them, counted from 1. */
  #leafAt = new Uint32Array(0)
  readonly #trees: Found[] = []
  readonly #free = new FreeList()

  constructor (handle: FileHandle, size: number) {
    this.#handle = handle
    this.#size = size
  }

  async check (databases: readonly string[], onPages: (done: number, total: number) => void): Promise<void> {
    const meta = await this.#meta()
    this.#transaction = u48(meta, META.transaction)
    const pages = Math.floor(this.#size / this.#pageSize)
    this.#used = new Uint8Array(pages)
    this.#leafAt = new Uint32Array(pages)
    await this.#follow(treeIn(meta, META.free, true))
    await this.#checkMain(treeIn(meta, META.main, false), databases)
    await this.#checkLeaves(onPages)
    this.#free.check(this.#used, u48(meta, META.lastPage) + u16(meta, META.lastPage + 6) * 2 ** 48)
    for (const { tree, entries, overflowPages } of this.#trees) {
      if (entries !== tree.entries || overflowPages !== tree.overflowPages) {
        throw new Damage(`it holds ${entries} of ${tree.entries} entries of a database`)
      }
    }
  }

  /** The newer one of the two that say where everything is. */
  async #meta (): Promise<Buffer> {
    const first = (await this.#read(0)).bytes
    if (first.readUInt32LE(META.magic) !== MAGIC) throw new Damage('it is not an lmdb file, or its beginning is lost')
    checkVersion(first)
    this.#pageSize = first.readUInt32LE(META.pageSize)
    if (this.#pageSize < 512 || this.#pageSize > 65536) throw new Damage('its page size makes no sense')
    const second = (await this.#read(1)).bytes
    if (second.readUInt32LE(META.magic) !== MAGIC) throw new Damage('its second page is lost')
    checkVersion(second)
    // lmdb takes the first of two that are equal.
    const meta = first.readBigUInt64LE(META.transaction) >= second.readBigUInt64LE(META.transaction) ? first : second
    if (u16(meta, META.transaction + 6) !== 0) throw new Damage('its last transaction makes no sense')
    return meta
  }

  /** The main tree holds the roots of the named databases. */
  async #checkMain (tree: Tree | undefined, databases: readonly string[]): Promise<void> {
    const names = new Set(databases)
    for (const leaf of await this.#follow(tree)) {
      const page = await this.#read(leaf)
      const count = checkLeaf(page, false, this.#transaction, [])
      for (let i = 0; i < count; i++) {
        const node = nodeAt(page, i)
        if (u16(page.bytes, node + NODE.flags) !== NAMED_DATABASE) throw damagedPage(leaf)
        const data = node + NODE.data + u16(page.bytes, node + NODE.keySize)
        // Names end in a zero.
        const name = page.bytes.toString('latin1', node + NODE.data, data).replace(/\0$/, '')
        if (!names.delete(name)) throw new Damage(`it holds a database that does not belong there, ${JSON.stringify(name)}`)
        await this.#follow(treeIn(page.bytes, data, false))
      }
    }
    if (names.size > 0) throw new Damage(`it has lost its database '${[...names][0]}'`)
  }

  /** Checks a tree's branches, notes its leaves, and returns these. */
  async #follow (tree: Tree | undefined): Promise<number[]> {
    if (tree === undefined) return []
    const leaves = await leavesOf(tree, this.#transaction, async pages => {
      for (const page of pages) this.#use(page, 1)
      return await Promise.all(pages.map(page => this.#read(page)))
    })
    const before = this.#trees.reduce((sum, { leaves }) => sum + leaves.pages.length, 0)
    for (const [i, page] of leaves.pages.entries()) {
      this.#use(page, 1)
      this.#leafAt[page] = before + i + 1
    }
    this.#trees.push({ tree, leaves, overflowPages: 0, entries: 0 })
    return leaves.pages
  }

  /** Reads the file from end to end, which is much faster than leaf by leaf, and one piece ahead. */
  async #checkLeaves (onPages: (done: number, total: number) => void): Promise<void> {
    const total = this.#used.length
    const pieceBytes = PAGES_PER_READ * this.#pageSize
    let [piece, other] = [Buffer.allocUnsafe(pieceBytes), Buffer.allocUnsafe(pieceBytes)]
    let from = this.#nextPiece(0)
    let reading = this.#readPiece(piece, from)
    while (from < total) {
      onPages(from, total)
      await reading
      const next = this.#nextPiece(from + PAGES_PER_READ)
      reading = this.#readPiece(other, next)
      try {
        await this.#checkPiece(piece, from)
      } catch (error) {
        await reading
        throw error
      }
      [piece, other] = [other, piece]
      from = next
    }
    onPages(total, total)
  }

  /** The next piece that has a page in use. */
  #nextPiece (from: number): number {
    const total = this.#used.length
    while (from < total && !this.#used.subarray(from, from + PAGES_PER_READ).includes(IN_USE)) from += PAGES_PER_READ
    return from
  }

  async #readPiece (piece: Buffer, from: number): Promise<void> {
    if (from >= this.#used.length) return
    await this.#handle.read(piece, 0, Math.min(PAGES_PER_READ, this.#used.length - from) * this.#pageSize, from * this.#pageSize)
  }

  async #checkPiece (bytes: Buffer, from: number): Promise<void> {
    const large: LargeValue[] = []
    const end = Math.min(from + PAGES_PER_READ, this.#used.length)
    for (let number = from; number < end; number++) {
      let index = this.#leafAt[number]! - 1
      if (index < 0) continue
      let tree = 0
      for (; index >= this.#trees[tree]!.leaves.pages.length; tree++) index -= this.#trees[tree]!.leaves.pages.length
      const found = this.#trees[tree]!
      const { isNumbered } = found.tree
      const start = (number - from) * this.#pageSize
      const page: Place = { bytes, start, end: start + this.#pageSize, number }
      found.entries += checkLeaf(
        page, isNumbered, this.#transaction, large, isNumbered ? (at, end) => { this.#free.add(bytes.subarray(at, end)) } : undefined
      )
      checkBounds(page, isNumbered, found.leaves, index)
      for (const { at, size } of large.splice(0)) {
        const first = u48(bytes, at) + u16(bytes, at + 6) * 2 ** 48
        found.overflowPages += await this.#checkOverflow(first, size, isNumbered)
      }
    }
  }

  /** Returns how many pages a value of that size takes. */
  async #checkOverflow (first: number, size: number, isFreeList: boolean): Promise<number> {
    const pages = Math.ceil((PAGE.end + size) / this.#pageSize)
    this.#use(first, pages)
    const { bytes } = await this.#read(first, isFreeList ? pages : 1)
    const isSound = bytes.readBigUInt64LE(0) === BigInt(first) && bytes.readBigUInt64LE(PAGE.transaction) <= this.#transaction &&
      u16(bytes, PAGE.flags) === OVERFLOW_PAGE && bytes.readUInt32LE(PAGE.lower) === pages
    if (!isSound) throw damagedPage(first)
    if (isFreeList) this.#free.add(bytes.subarray(PAGE.end, PAGE.end + size))
    return pages
  }

  /** No page belongs to two. */
  #use (first: number, pages: number): void {
    this.#checkPresent(first + pages - 1)
    for (let page = first; page < first + pages; page++) {
      if (page < META_PAGES || this.#used[page] === IN_USE) throw damagedPage(page)
      this.#used[page] = IN_USE
    }
  }

  #checkPresent (number: number): void {
    if (!((number + 1) * this.#pageSize <= this.#size)) throw new Damage(`it is cut short: page ${number} is missing`)
  }

  async #read (number: number, pages: number = 1): Promise<Place> {
    this.#checkPresent(number + pages - 1)
    const bytes = Buffer.allocUnsafe(pages * this.#pageSize)
    await this.#handle.read(bytes, 0, bytes.length, number * this.#pageSize)
    return { bytes, start: 0, end: this.#pageSize, number }
  }
}

/** lmdb ends the process with a segmentation fault when it opens a file of another version. */
function checkVersion (meta: Buffer): void {
  const version = meta.readUInt16LE(META.version)
  if (version !== VERSION) throw new Damage(`it has version ${version} of lmdb's format, and this release reads version ${VERSION}`)
}

const PAGES_PER_READ = 256
const MAGIC = 0xBEEFC0DE
const VERSION = 2
const META = { magic: 24, version: 28, pageSize: 48, free: 48, main: 96, lastPage: 144, transaction: 152 }

import t from 'tap'
import { FreeList, IN_USE } from '../../lib/store/lmdb/file-check/free-list.js'
import { checkBounds, checkLeaf, type LargeValue } from '../../lib/store/lmdb/file-check/leaf.js'
import {
  BRANCH, LEAF, compareKeys, compareNumbers, countNodes, nodeAt, u16, u48, type Place
} from '../../lib/store/lmdb/file-check/page.js'
import { leavesOf, treeIn, type Level, type Tree } from '../../lib/store/lmdb/file-check/tree.js'

const PAGE_BYTES = 512
/** The last transaction of the pages below. */
const LAST = 9

interface Node { readonly key: Buffer | number, readonly value?: Buffer | number, readonly flags?: number }

/** A page as lmdb writes it: pointers from the beginning, nodes from the end. `value` as a number: a page below, or a size. */
function pageOf (number: number, kind: number, nodes: readonly Node[]): Place {
  const bytes = Buffer.alloc(PAGE_BYTES)
  let at = PAGE_BYTES
  for (const [index, { key, value = Buffer.from('value'), flags = 0 }] of nodes.entries()) {
    const keyBytes = typeof key === 'number' ? numbers(key) : key
    const large = kind === LEAF && typeof value === 'number' ? numbers(77) : Buffer.alloc(0)
    const valueBytes = typeof value === 'number' ? large : value
    at -= 8 + keyBytes.length + valueBytes.length
    bytes.writeUIntLE(typeof value === 'number' ? value : value.length, at, kind === BRANCH ? 6 : 4)
    if (kind === LEAF) bytes.writeUInt16LE(flags, at + 4)
    bytes.writeUInt16LE(keyBytes.length, at + 6)
    bytes.set(Buffer.concat([keyBytes, valueBytes]), at + 8)
    bytes.writeUInt16LE(at - 24, 24 + 2 * index)
  }
  bytes.writeUInt32LE(number, 0)
  bytes.writeUInt32LE(LAST, 8)
  bytes.writeUInt16LE(kind, 18)
  bytes.writeUInt16LE(2 * nodes.length, 20)
  bytes.writeUInt16LE(at - 24, 22)
  return { bytes, start: 0, end: PAGE_BYTES, number }
}

/** The page as one of many in a buffer: others lie before and behind it. */
function amongOthers (page: Place): Place {
  const bytes = Buffer.concat([Buffer.alloc(PAGE_BYTES, 0xff), page.bytes, Buffer.alloc(PAGE_BYTES, 0xff)])
  return { bytes, start: PAGE_BYTES, end: 2 * PAGE_BYTES, number: page.number }
}

function numbers (...values: number[]): Buffer {
  return Buffer.from(new BigInt64Array(values.map(value => BigInt(value))).buffer)
}

const text = (key: string): Buffer => Buffer.from(key)
const damaged = (number: number) => ({ message: `page ${number} is damaged` })

t.test('the header of a page is checked field by field', async t => {
  const page = pageOf(5, LEAF, [{ key: text('a') }, { key: text('b') }])
  t.equal(countNodes(page, LEAF, LAST), 2)
  t.equal(countNodes(amongOthers(page), LEAF, LAST), 2)
  t.equal(countNodes(pageOf(5, BRANCH, [{ key: text('a'), value: 1 }]), BRANCH, LAST), 1)
  const upper = page.bytes.readUInt16LE(22)
  for (const [what, at, value, isSound] of [
    ['another number', 0, 6, false], ['a number beyond 48 bits', 6, 1, false], ['its number beyond 16 bits', 2, 1, false],
    ['an earlier transaction', 8, LAST - 1, true], ['a later transaction', 8, LAST + 1, false], ['one beyond 48 bits', 14, 1, false],
    ['another kind', 18, BRANCH, false], ['a flag more', 18, LEAF | 0x40, false],
    ['no nodes', 20, 0, false], ['half a pointer', 20, 3, false], ['pointers up to the nodes', 20, upper & ~1, true],
    ['pointers into the nodes', 20, (upper & ~1) + 2, false],
    ['nodes that begin at the end', 22, PAGE_BYTES - 24, true], ['nodes that begin behind it', 22, PAGE_BYTES - 23, false]
  ] as const) {
    const bytes = Buffer.from(page.bytes)
    bytes.writeUInt16LE(value, at)
    for (const place of [{ ...page, bytes }, amongOthers({ ...page, bytes })]) {
      if (isSound) t.equal(countNodes(place, LEAF, LAST), bytes.readUInt16LE(20) / 2, what)
      else t.throws(() => countNodes(place, LEAF, LAST), damaged(5), what)
    }
  }
})

t.test('a node lies on its page with its whole key', async t => {
  const page = pageOf(5, BRANCH, [{ key: text('aa'), value: 1 }, { key: text('bbb'), value: 2 }])
  t.equal(nodeAt(page, 0), PAGE_BYTES - 10)
  t.equal(nodeAt(amongOthers(page), 1), 2 * PAGE_BYTES - 21)
  const upper = PAGE_BYTES - 21 - 24
  for (const [what, at, value, isSound] of [
    ['among the pointers', 24, upper - 1, false], ['the first of all', 24, upper, true],
    ['a key behind the page', PAGE_BYTES - 10 + 6, 3, false], ['a node behind the page', 24, PAGE_BYTES - 24 + 1, false],
    ['a node that the end of the page cuts', 24, PAGE_BYTES - 24 - 4, false], ['far behind the page', 24, 0xffff, false]
  ] as const) {
    const bytes = Buffer.from(page.bytes)
    bytes.writeUInt16LE(value, at)
    if (isSound) t.equal(nodeAt({ ...page, bytes }, 0), 24 + value, what)
    else for (const place of [{ ...page, bytes }, amongOthers({ ...page, bytes })]) t.throws(() => nodeAt(place, 0), damaged(5), what)
  }
})

t.test('keys are compared byte by byte, a shorter one first, and numbers by their value', async t => {
  const bytes = (a: Buffer, b: Buffer) => Math.sign(compareKeys(Buffer.concat([text('-'), a]), 1, 1 + a.length, b, 0, b.length))
  t.strictSame([['a', 'b'], ['b', 'a'], ['a', 'a'], ['a', 'ab'], ['ab', 'a'], ['', 'a'], ['b', 'aa'], ['aa', 'b']]
    .map(([a, b]) => bytes(text(a!), text(b!))), [-1, 1, 0, -1, 1, -1, 1, -1])
  t.equal(bytes(Buffer.from([0x80]), Buffer.from([0x7f])), 1, 'bytes have no sign')
  const values = (a: number, b: number) => Math.sign(compareNumbers(numbers(0, a), 8, 16, numbers(0, 0, b), 16))
  t.strictSame([[1, 2], [2, 1], [3, 3], [256, 255], [2 ** 48, 2 ** 48 - 1], [1, 2 ** 49]].map(([a, b]) => values(a!, b!)),
    [-1, 1, 0, 1, 1, -1])
  const field = Buffer.from([0xff, 1, 2, 3, 4, 5, 6, 0xff])
  t.equal(u16(field, 1), 0x0201)
  t.equal(u48(field, 1), 0x060504030201)
})

t.test('a leaf has keys in order, and all values on its page', async t => {
  const check = (page: Place, isNumbered = false): [number, LargeValue[], string[]] => {
    const [large, small]: [LargeValue[], string[]] = [[], []]
    const count = checkLeaf(page, isNumbered, LAST, large, (at, end) => { small.push(page.bytes.toString('latin1', at, end)) })
    return [count, large, small]
  }
  const sound = pageOf(5, LEAF, [{ key: text('a'), value: text('one') }, { key: text('ab'), value: 5000, flags: 1 },
    { key: text('b'), value: text('database'), flags: 2 }])
  t.strictSame(check(sound), [3, [{ at: 492, size: 5000 }], ['one', 'database']])
  t.strictSame(check(amongOthers(sound)), [3, [{ at: 1004, size: 5000 }], ['one', 'database']])
  t.equal(checkLeaf(sound, false, LAST, []), 3, 'values do not matter')
  const big = pageOf(5, LEAF, [{ key: text('a'), value: 2 ** 24 + 7, flags: 1 }])
  t.strictSame(check(big)[1], [{ at: PAGE_BYTES - 8, size: 2 ** 24 + 7 }])
  const numbered = pageOf(5, LEAF, [{ key: 3 }, { key: 4 }])
  t.equal(check(amongOthers(numbered), true)[0], 2)
  t.equal(check(pageOf(5, LEAF, [{ key: text('empty'), value: text('') }]))[0], 1)

  const patched = (page: Place, at: number, value: number): Place => {
    const bytes = Buffer.from(page.bytes)
    bytes.writeUInt16LE(value, at)
    return { ...page, bytes }
  }
  // Where its nodes are.
  const [first, second, third] = [0, 1, 2].map(index => 24 + sound.bytes.readUInt16LE(24 + 2 * index)) as [number, number, number]
  for (const [what, page, isNumbered] of [
    ['two equal keys', pageOf(5, LEAF, [{ key: text('a') }, { key: text('a') }])],
    ['descending keys', pageOf(5, LEAF, [{ key: text('b') }, { key: text('a') }])],
    ['two equal numbers', pageOf(5, LEAF, [{ key: 3 }, { key: 3 }]), true],
    ['descending numbers', pageOf(5, LEAF, [{ key: 256 }, { key: 3 }]), true],
    ['a number of another length', pageOf(5, LEAF, [{ key: text('123456789') }]), true],
    ['an empty key', pageOf(5, LEAF, [{ key: text('') }])],
    ['a node among the pointers', patched(sound, 26, third - 24 - 1)],
    ['a node behind the page', patched(sound, 26, PAGE_BYTES - 24)],
    ['a node far behind the page', patched(sound, 26, 0xffff)],
    ['a value that ends behind the page', patched(sound, first, 4)],
    ['a value of 64 KiB and more', patched(sound, first + 2, 1)],
    ['a key that ends behind the page', patched(sound, first + 6, 2)],
    ['a large value whose place is behind the page', patched(pageOf(5, LEAF, [{ key: text('a'), value: 5000, flags: 1 }]), 512 - 17 + 6, 2)],
    ['unknown flags', patched(sound, third + 4, 4)],
    ['two flags', patched(sound, second + 4, 3)],
    ['the header of another page', { ...sound, number: 6 }]
  ] as const) {
    const number = page.number
    t.throws(() => check(page, isNumbered === true), damaged(number), what)
    t.throws(() => check(amongOthers(page), isNumbered === true), damaged(number), `${what}, among others`)
  }
})

t.test('the keys of a leaf are between those that the branches have for it and for the next one', async t => {
  for (const [isNumbered, [a, b, c, d, e]] of [[false, ['a', 'b', 'c', 'd', 'e'].map(text)], [true, [1, 2, 3, 4, 5]]] as const) {
    const keys = [a, b, c, d, e].map(key => typeof key === 'number' ? numbers(key) : key!) as [Buffer, Buffer, Buffer, Buffer, Buffer]
    const page = amongOthers(pageOf(5, LEAF, [{ key: keys[1] }, { key: keys[2] }, { key: keys[3] }]))
    const level = (...bounds: Array<Buffer | undefined>): Level => ({
      pages: bounds.map((_, index) => index),
      keyBytes: bounds.map(bytes => bytes && Buffer.concat([text('-'), bytes])),
      keyAt: bounds.map(() => 1),
      keyEnd: bounds.map(bytes => 1 + (bytes?.length ?? 0))
    })
    for (const [bounds, index, isSound] of [
      [level(undefined), 0, true], [level(undefined, keys[4]), 0, true], [level(undefined, keys[3]), 0, false],
      [level(undefined, keys[2]), 0, false], [level(undefined, keys[0]), 1, true], [level(undefined, keys[1]), 1, true],
      [level(undefined, keys[2]), 1, false], [level(undefined, keys[1], keys[4]), 1, true], [level(undefined, keys[0], keys[3]), 1, false]
    ] as const) {
      const check = () => { checkBounds(page, isNumbered, bounds, index) }
      if (isSound) t.doesNotThrow(check)
      else t.throws(check, damaged(5))
    }
  }
})

t.test('the list of free pages is read, and compared with what is in use', async t => {
  interface File { readonly inUse?: readonly number[], readonly lastPage?: number }
  const checked = (value: Buffer, { inUse = [2, 3], lastPage = 9 }: File): string | undefined => {
    const pages = new Uint8Array(10)
    for (const page of inUse) pages[page] = IN_USE
    const free = new FreeList()
    try {
      free.add(value)
      free.check(pages, lastPage)
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
  const list = 'the list of free pages is damaged'
  const end = 'its last page makes no sense'
  for (const [what, value, more, problem] of [
    ['nothing', numbers(0), {}, undefined],
    ['all that is free', numbers(5, 4, -2, 5, 0, 9), {}, undefined],
    ['fewer numbers than the value has', numbers(1, 4, 3), {}, undefined],
    ['more numbers than the value has', numbers(2, 4), {}, list],
    ['no number', Buffer.alloc(7), {}, list],
    ['a page in use', numbers(1, 3), {}, 'page 3 counts as free and is in use'],
    ['a page in use after a gap', numbers(2, 0, 3), {}, 'page 3 counts as free and is in use'],
    ['a run whose last page is in use', numbers(2, -3, 4), { inUse: [6] }, 'page 6 counts as free and is in use'],
    ['a run that ends before a page in use', numbers(2, -3, 4), { inUse: [7] }, undefined],
    ['a run, and then a single page', numbers(3, -3, 4, 7), { inUse: [8] }, undefined],
    ['a page twice', numbers(3, 4, 5, 4), {}, 'page 4 counts as free twice'],
    ['the second page of the file', numbers(1, 1), {}, list],
    ['the last page', numbers(1, 9), {}, undefined],
    ['the page behind it', numbers(1, 10), {}, list],
    ['a run that ends with the last page', numbers(2, -3, 7), {}, undefined],
    ['a run that ends behind it', numbers(2, -3, 8), {}, list],
    ['pages that are not in the file', numbers(2, -5, 15), { lastPage: 19 }, undefined],
    ['a last page in use', numbers(0), { inUse: [9] }, undefined],
    ['a page in use behind the last one', numbers(0), { inUse: [9], lastPage: 8 }, end],
    ['a last page as far behind the file as a commit may write', numbers(0), { lastPage: 10 + 65_536 }, undefined],
    ['a last page that is further', numbers(0), { lastPage: 10 + 65_537 }, end]
  ] as const) t.equal(checked(value, more), problem, what)
})

t.test('a database is described by 48 bytes', async t => {
  const fields = { depth: 3, branchPages: 4, leafPages: 50, overflowPages: 6, entries: 70, root: 2 ** 50 }
  const description = (flags: number, { root = fields.root, entries = fields.entries } = {}): Buffer => {
    const bytes = Buffer.alloc(48)
    bytes.writeUInt16LE(flags, 4)
    bytes.writeUInt16LE(fields.depth, 6)
    bytes.set(numbers(fields.branchPages, fields.leafPages, fields.overflowPages, entries, root), 8)
    return bytes
  }
  t.strictSame(treeIn(description(0), 0, false), { isNumbered: false, ...fields })
  t.strictSame(treeIn(Buffer.concat([Buffer.alloc(9), description(8)]), 9, true), { isNumbered: true, ...fields })
  t.strictSame(treeIn(description(0x80), 0, false), { isNumbered: false, ...fields }, 'flags that say nothing of keys and values')
  t.equal(treeIn(description(0, { root: -1, entries: 0 }), 0, false), undefined, 'an empty one')
  const lost = { message: 'the root of a database is lost' }
  const kind = { message: 'the kind of a database is damaged' }
  t.throws(() => treeIn(description(0, { root: -1 }), 0, false), lost)
  t.throws(() => treeIn(description(0), 1, false), lost, 'it does not fit')
  t.throws(() => treeIn(description(8), 0, false), kind)
  t.throws(() => treeIn(description(0), 0, true), kind)
  t.throws(() => treeIn(description(0x40), 0, false), kind)
})

t.test('the leaves of a tree are found by its branches, in order, each with its least key', async t => {
  const pages = new Map<number, Place>()
  const branch = (number: number, nodes: Node[]): void => { pages.set(number, pageOf(number, BRANCH, nodes)) }
  const reads: number[][] = []
  const read = async (wanted: number[]): Promise<Place[]> => {
    reads.push(wanted)
    return wanted.map(number => pages.get(number)!)
  }
  const tree: Tree = { isNumbered: false, root: 10, depth: 3, branchPages: 3, leafPages: 4, overflowPages: 0, entries: 0 }
  const keysOf = ({ pages, keyBytes, keyAt, keyEnd }: Level) =>
    pages.map((page, i) => [page, keyBytes[i]?.toString('latin1', keyAt[i], keyEnd[i])])
  const first = [{ key: text(''), value: 21 }, { key: text('b'), value: 22 }]
  branch(10, [{ key: text(''), value: 11 }, { key: text('cc'), value: 12 }])
  branch(11, first)
  branch(12, [{ key: text('ignored'), value: 2 ** 33 }, { key: text('d'), value: 24 }])
  t.strictSame(keysOf(await leavesOf(tree, LAST, read)), [[21, undefined], [22, 'b'], [2 ** 33, 'cc'], [24, 'd']])
  t.strictSame(reads, [[10], [11, 12]])
  const single = await leavesOf({ ...tree, depth: 1, branchPages: 0, leafPages: 1 }, LAST, read)
  t.strictSame(keysOf(single), [[10, undefined]])
  t.strictSame([single.keyBytes.length, single.keyAt.length, single.keyEnd.length], [1, 1, 1], 'an entry for each page in all lists')

  const part = { message: 'a part of a database is lost' }
  await t.rejects(leavesOf({ ...tree, branchPages: 2 }, LAST, read), part)
  await t.rejects(leavesOf({ ...tree, branchPages: 4 }, LAST, read), part)
  await t.rejects(leavesOf({ ...tree, leafPages: 3 }, LAST, read), part)
  await t.rejects(leavesOf({ ...tree, leafPages: 5 }, LAST, read), part)
  await t.rejects(leavesOf(tree, LAST - 1, read), damaged(10), 'a page of a later transaction')
  for (const key of ['cc', 'cd']) {
    branch(11, [{ key: text(''), value: 21 }, { key: text(key), value: 22 }])
    await t.rejects(leavesOf(tree, LAST, read), damaged(2 ** 33), 'two branches that overlap')
  }
  branch(11, [...first, { key: text('a'), value: 23 }])
  await t.rejects(leavesOf(tree, LAST, read), damaged(23), 'keys of a branch that descend')

  branch(10, [{ key: 0, value: 11 }, { key: 256, value: 12 }])
  branch(11, [{ key: 0, value: 21 }, { key: 255, value: 22 }])
  branch(12, [{ key: 0, value: 23 }, { key: 257, value: 24 }])
  t.strictSame((await leavesOf({ ...tree, isNumbered: true }, LAST, read)).pages, [21, 22, 23, 24], 'numbers are compared as such')

  branch(10, Array.from({ length: 32 }, (_, i) => ({ key: text(String(i).padStart(2, '0')), value: 40 + i })))
  for (let i = 0; i < 32; i++) branch(40 + i, [{ key: text('-'), value: 100 + i }])
  reads.length = 0
  const { pages: leaves } = await leavesOf({ ...tree, branchPages: 33, leafPages: 32 }, LAST, read)
  t.strictSame(leaves, Array.from({ length: 32 }, (_, i) => 100 + i))
  t.strictSame(reads.map(({ length }) => length), [1, 16, 16], 'at most 16 at a time')
})

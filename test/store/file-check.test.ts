import { readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { systemClock } from '../../lib/clock/clock.js'
import { lastingProblem } from '../../lib/store/lmdb/file-check/lasting-problem.js'
import { lmdbFileProblem } from '../../lib/store/lmdb/file-check/lmdb-file.js'
import { folder } from '../support/folder.js'

const PAGE_BYTES = 512

/** A file of small pages: a deep tree, large values, a list of free pages that is one itself, and 300 free pages in a row. */
async function sample (t: Test): Promise<{ file: string, sound: Buffer }> {
  const file = join(await folder(t), 'tasks.mdb')
  const root = open({ path: file, noSubdir: true, maxDbs: 5, overlappingSync: false, eventTurnBatching: false, pageSize: PAGE_BYTES })
  const [large, small] = ['large', 'small'].map(name => root.openDB<Buffer, number>(name, { encoding: 'binary' }))
  root.openDB('empty', { encoding: 'binary' })
  root.transactionSync(() => { for (let i = 0; i < 120; i++) large!.putSync(i, Buffer.alloc(1600, i)) })
  root.transactionSync(() => { for (let i = 0; i < 4500; i++) small!.putSync(i, Buffer.alloc(30, i)) })
  root.transactionSync(() => { for (let i = 0; i < 100; i++) large!.removeSync(i) })
  root.transactionSync(() => { for (let i = 0; i < 4500; i += 9) small!.removeSync(i) })
  await root.close()
  return { file, sound: readFileSync(file) }
}

const damaged = (page: number): string => `page ${page} is damaged`

const DATABASES = ['large', 'small', 'empty']

/** The newer of the two pages that say where all others are. */
function metaAt (bytes: Buffer): number {
  return bytes.readBigUInt64LE(152) > bytes.readBigUInt64LE(PAGE_BYTES + 152) ? 0 : PAGE_BYTES
}

/** Where the main tree's entry of a database describes it. */
function describedAt (bytes: Buffer, name: string): number {
  const main = bytes.readUInt32LE(metaAt(bytes) + 96 + 40) * PAGE_BYTES
  return bytes.indexOf(`${name}\0`, main) + name.length + 1
}

/** The way from a database's root to its first leaf, as numbers of pages. */
function firstPath (bytes: Buffer, description: number): number[] {
  const path = [bytes.readUInt32LE(description + 40)]
  for (let depth = bytes.readUInt16LE(description + 6); depth > 1; depth--) {
    const page = path.at(-1)! * PAGE_BYTES
    path.push(bytes.readUIntLE(page + 24 + bytes.readUInt16LE(page + 24), 6))
  }
  return path
}

/** Where a leaf has the number of the first page of a value that lies on pages of its own. */
function largeValueAt (bytes: Buffer, leaf: number): number {
  const page = leaf * PAGE_BYTES
  for (let pointer = page + 24; ; pointer += 2) {
    const node = page + 24 + bytes.readUInt16LE(pointer)
    if (bytes.readUInt16LE(node + 4) === 1) return node + 8 + bytes.readUInt16LE(node + 6)
  }
}

t.test('a file of lmdb', async t => {
  const { file, sound } = await sample(t)
  const problemOf = async (change: (bytes: Buffer) => Buffer | void, databases = DATABASES): Promise<string | undefined> => {
    const bytes = Buffer.from(sound)
    writeFileSync(file, change(bytes) ?? bytes)
    return await lmdbFileProblem(file, databases)
  }
  const meta = metaAt(sound)
  const other = PAGE_BYTES - meta
  const pages = sound.length / PAGE_BYTES
  const [small, large] = [describedAt(sound, 'small'), describedAt(sound, 'large')]
  const main = sound.readUInt32LE(meta + 96 + 40)
  const [free] = firstPath(sound, meta + 48) as [number]
  const [, branch, leaf] = firstPath(sound, small) as [number, number, number]

  t.test('has no problem when it is sound, and is read once from its beginning to its end', async t => {
    const calls: number[][] = []
    writeFileSync(file, sound)
    t.equal(await lmdbFileProblem(file, DATABASES, (...call) => calls.push(call)), undefined)
    const begins = calls.map(([from]) => from!)
    t.strictSame(calls.map(([, total]) => total), calls.map(() => pages))
    t.equal(begins[0], 0)
    t.equal(begins.at(-1), pages)
    t.ok(begins.slice(0, -1).every(from => from % 256 === 0))
    t.ok(new Set(begins).size === begins.length && begins.length < 2 + Math.floor(pages / 256), `${begins.join()}: free pages are passed over`)
    t.equal(sound.readUInt16LE(small + 6), 3, 'it has branches below its root')
  })

  t.test('has the problem that its first pages show', async t => {
    const version = (found: number) => `it has version ${found} of lmdb's format, and this release reads version 2`
    for (const [what, change, problem] of [
      ['no file content', () => Buffer.alloc(0), 'it is empty'],
      ['another file', () => Buffer.alloc(4096, 'x'), 'it is not an lmdb file, or its beginning is lost'],
      ['less than a page', bytes => bytes.subarray(0, 511), 'it is cut short: page 0 is missing'],
      ['one page', bytes => bytes.subarray(0, 512), 'it is cut short: page 1 is missing'],
      ['another format', bytes => { bytes.writeUInt16LE(3, 28) }, version(3)],
      ['another format of its second page', bytes => { bytes.writeUInt16LE(1, 512 + 28) }, version(1)],
      ['flags beside its version', bytes => { bytes.fill(0, 512).writeUInt32LE(0x10002, 28) }, 'its second page is lost'],
      ['too small pages', bytes => { bytes.writeUInt32LE(511, 48) }, 'its page size makes no sense'],
      ['too large pages', bytes => { bytes.writeUInt32LE(65_537, 48) }, 'its page size makes no sense'],
      ['the largest pages', bytes => bytes.subarray(0, bytes.writeUInt32LE(65_536, 48) + 1000), 'it is cut short: page 1 is missing'],
      ['no second page', bytes => { bytes.fill(0, 512, 1024) }, 'its second page is lost'],
      ['a transaction that no file reaches', bytes => { bytes.writeUInt16LE(1, meta + 158) }, 'its last transaction makes no sense'],
      ['a transaction before that of its pages', bytes => { for (const at of [meta, other]) bytes.writeUInt32LE(at === meta ? 2 : 1, at + 152) }, damaged(main)],
      ['a last page that is in use behind it', bytes => { bytes.writeUInt32LE(9, meta + 144) }, 'its last page makes no sense'],
      ['a last page beyond 48 bits', bytes => { bytes.writeUInt16LE(1, meta + 150) }, 'its last page makes no sense']
    ] as Array<[string, (bytes: Buffer) => Buffer | void, string | undefined]>) t.equal(await problemOf(change), problem, what)
  })

  t.test('is described by the newer of its first pages, and by the first when both are equal', async t => {
    const spoil = (bytes: Buffer, at: number): void => { bytes.fill(0xee, at + 48 + 4, at + 144) }
    t.equal(await problemOf(bytes => { spoil(bytes, other) }), undefined)
    t.not(await problemOf(bytes => { spoil(bytes, meta) }), undefined)
    const swap = (bytes: Buffer): void => {
      const first = Buffer.from(bytes.subarray(0, 512))
      bytes.copy(bytes, 0, 512, 1024)
      bytes.set(first, 512)
      bytes.writeUInt32LE(512, 48)
      spoil(bytes, PAGE_BYTES - other)
    }
    t.equal(await problemOf(swap), undefined)
    t.equal(await problemOf(bytes => {
      bytes.copy(bytes, other, meta, meta + 512)
      bytes.writeUInt32LE(512, 48)
      spoil(bytes, 512)
    }), undefined)
  })

  t.test('has all its databases, and no other', async t => {
    t.equal(await problemOf(() => {}, [...DATABASES, 'more']), 'it has lost its database \'more\'')
    t.equal(await problemOf(() => {}, ['large', 'small']), 'it holds a database that does not belong there, "empty"')
    t.equal(await problemOf(bytes => { bytes.writeUInt16LE(0, large - 'large\0'.length - 4) }), damaged(main), 'a plain value')
  })

  t.test('has as many pages and entries as it says', async t => {
    const entries = sound.readUInt32LE(small + 32)
    for (const [what, change, problem] of [
      ['entries', bytes => { bytes.writeUInt32LE(entries + 1, small + 32) }, `it holds ${entries} of ${entries + 1} entries of a database`],
      ['large values', bytes => { bytes.writeUInt32LE(1, large + 24) }, 'it holds 20 of 20 entries of a database'],
      ['leaves', bytes => { bytes.writeUInt32LE(1, small + 16) }, 'a part of a database is lost'],
      ['branches', bytes => { bytes.writeUInt32LE(1, small + 8) }, 'a part of a database is lost'],
      ['pages of the list of free pages', bytes => { bytes.writeUInt32LE(99, meta + 48 + 24) }, undefined]
    ] as Array<[string, (bytes: Buffer) => void, string | undefined]>) {
      const found = await problemOf(change)
      if (problem === undefined) t.match(found, /^it holds (\d+) of \1 entries of a database$/, what)
      else t.equal(found, problem, what)
    }
  })

  t.test('has no page that two things use', async t => {
    const at = branch * PAGE_BYTES
    const child = at + 24 + sound.readUInt16LE(at + 24)
    t.equal(await problemOf(bytes => { bytes.writeUIntLE(leaf + 1, child, 6) }) === undefined, false)
    t.equal(await problemOf(bytes => { bytes.writeUIntLE(main, child, 6) }), damaged(main))
    t.equal(await problemOf(bytes => { bytes.writeUIntLE(1, child, 6) }), damaged(1), 'nor one of the first two')
    t.equal(await problemOf(bytes => { bytes.writeUIntLE(pages, child, 6) }), `it is cut short: page ${pages} is missing`)
    t.equal(await problemOf(bytes => { bytes.writeUInt32LE(free, large + 40) }), damaged(free))
  })

  t.test('has no page that is damaged, wherever it lies', async t => {
    const paths = { small: firstPath(sound, small), large: firstPath(sound, large), main: [main], free: firstPath(sound, meta + 48) }
    const [value, list] = [paths.large, paths.free].map(path => sound.readUInt32LE(largeValueAt(sound, path.at(-1)!))) as [number, number]
    for (const [what, pages] of Object.entries({ ...paths, value, list })) {
      for (const page of [pages].flat()) {
        for (const [field, at, value] of [['number', 0, page + 1], ['transaction', 8, 0xffff], ['kind', 18, 16]] as const) {
          t.equal(await problemOf(bytes => { bytes.writeUInt16LE(value, page * 512 + at) }), damaged(page), `${what}: ${field}`)
        }
      }
    }
    for (const page of [value, list]) {
      t.equal(await problemOf(bytes => { bytes.writeUInt32LE(99, page * 512 + 20) }), damaged(page), 'its number of pages')
    }
    t.equal(await problemOf(bytes => { bytes.writeUInt16LE(0, leaf * PAGE_BYTES + 20) }), damaged(leaf))
    // The branch has another key for its second leaf than that leaf.
    const second = sound.readUIntLE(branch * 512 + 24 + sound.readUInt16LE(branch * 512 + 26), 6)
    const node = second * 512 + 24 + sound.readUInt16LE(second * 512 + 24)
    t.equal(await problemOf(bytes => { bytes.fill(0, node + 8, node + 9) }), damaged(second))
  })

  t.test('is cut short where a page in use is missing', async t => {
    t.equal(await problemOf(bytes => Buffer.concat([bytes, Buffer.alloc(700)])), undefined)
    t.equal(await problemOf(bytes => bytes.subarray(0, -1)), `it is cut short: page ${pages - 1} is missing`)
    const value = largeValueAt(sound, firstPath(sound, large).at(-1)!)
    t.equal(await problemOf(bytes => { bytes.writeUInt32LE(pages - 3, value) }), `it is cut short: page ${pages} is missing`)
  })

  t.test('that is not there is missing, and one that cannot be read is an error of the system', async t => {
    writeFileSync(file, sound)
    t.equal(await lmdbFileProblem(`${file}-2`, DATABASES), 'it is missing')
    await t.rejects(lmdbFileProblem(join(file, 'below'), DATABASES), { code: 'ENOTDIR' })
  })

  t.test('counts as damaged once it has not changed for 200 ms', async t => {
    const waits: number[] = []
    let during = (): void => {}
    t.intercept(systemClock, 'setTimeout', {
      value: (callback: () => void, ms: number) => {
        waits.push(ms)
        during()
        setImmediate(callback)
      }
    })
    const checks = async (): Promise<[problem: string | undefined, checks: number, waits: number[]]> => {
      let count = 0
      const problem = await lastingProblem(file, DATABASES, done => { if (done === 0) count++ })
      return [problem, count, waits.splice(0)]
    }
    const broken = Buffer.from(sound)
    broken.writeUInt16LE(0, leaf * PAGE_BYTES + 20)
    writeFileSync(file, sound)
    t.strictSame(await checks(), [undefined, 1, []])
    writeFileSync(file, broken)
    t.strictSame(await checks(), [damaged(leaf), 1, [200]])
    during = () => { if (waits.length === 1) utimesSync(file, 1, 1) }
    t.strictSame(await checks(), [damaged(leaf), 2, [200, 200]], 'written to again')
    during = () => { writeFileSync(file, sound) }
    t.strictSame(await checks(), [undefined, 2, [200]], 'completed by its former holder')
    during = () => {}
    t.equal(await lastingProblem(`${file}-2`, DATABASES, () => {}), 'it is missing')
  })
})

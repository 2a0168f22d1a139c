import fs, { readFileSync, readdirSync, renameSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import t, { type Test } from 'tap'
import { createFile, replaceFile, syncDirectory } from '../../lib/store/durable-file.js'
import { createJournalFile, type JournalFile } from '../../lib/store/journal-file.js'
import { SECTOR, decodeFile, decodeFileHead, encodeFileHead, encodeFrame, wholeSectors } from '../../lib/store/lmdb/journal-frame.js'
import { Journal, readJournal, removeJournals } from '../../lib/store/lmdb/journal.js'
import type { Row } from '../../lib/store/lmdb/record-format.js'
import { folder } from '../support/folder.js'
import { unsyncedFile } from './unsynced-file.js'

const head = { salt: 7, run: 3, size: SECTOR, part: 2 } as const
const rows: Row[] = [['tasks', 1, Buffer.from('value')], ['queues', 'a/b', undefined], ['names', 2, Buffer.alloc(0)]]

type Stubbed = 'closeSync' | 'fdatasync' | 'fsync' | 'fsyncSync' | 'ftruncate' | 'linkSync' | 'open' | 'write' | 'writeFileSync'

/** Replaces a function of node:fs for a test. */
function stub (t: Test, name: Stubbed, value: (...args: never[]) => unknown): void {
  // After `intercept` has put the former function back: what is torn down last was registered first.
  t.teardown(syncBuiltinESMExports)
  t.intercept(fs, name, { value })
  syncBuiltinESMExports()
}

t.test('the head of a journal file is read back, unless any of its bytes is another', async t => {
  const bytes = encodeFileHead(head)
  t.equal(bytes.length, SECTOR)
  t.strictSame(decodeFileHead(bytes), head)
  for (let at = 0; at < 36; at++) {
    const other = Buffer.from(bytes)
    other[at]! ^= 1
    t.equal(decodeFileHead(other), undefined, `byte ${at}`)
  }
  const otherVersion = Buffer.from(bytes)
  otherVersion.writeUInt32LE(1, 4)
  otherVersion.writeUInt32LE(crc32(otherVersion.subarray(0, 32)), 32)
  t.equal(decodeFileHead(otherVersion), undefined, 'of another version')
  t.equal(decodeFileHead(bytes.subarray(0, SECTOR - 1)), undefined)
})

t.test('a commit is read back wherever it ends, unless any of its bytes is another', async t => {
  const exact = encodeFrame(5, rows, head.salt, size => size)
  const file = Buffer.concat([encodeFileHead(head), exact])
  t.strictSame([...decodeFile(file, head)], [{ sequence: 5, rows }], 'one that ends with the file')
  const empty = Buffer.concat([encodeFileHead(head), encodeFrame(5, [], head.salt, size => size)])
  t.strictSame([...decodeFile(empty, head)], [{ sequence: 5, rows: [] }], 'one without rows')
  t.strictSame([...decodeFile(empty.subarray(0, -1), head)], [])
  t.strictSame([...decodeFile(file.subarray(0, -1), head)], [])
  t.strictSame([...decodeFile(file, { salt: 8 })], [])
  for (let at = 0; at < exact.length; at++) {
    const other = Buffer.from(file)
    other[SECTOR + at]! ^= 1
    t.strictSame([...decodeFile(other, head)], [], `byte ${at}`)
  }
  const padded = encodeFrame(6, rows, head.salt, wholeSectors)
  t.equal(padded.length, SECTOR)
  t.ok(padded.subarray(exact.length).every(byte => byte === 0), 'padded with zeros')
  const two = Buffer.concat([encodeFileHead(head), encodeFrame(5, rows, head.salt, wholeSectors), Buffer.alloc(SECTOR, 1), padded])
  t.strictSame([...decodeFile(two, head)].map(({ sequence }) => sequence), [5, 6], 'what is none in between is passed over')
})

t.test('a file of a journal is written whole when the system writes it in pieces', async t => {
  const path = join(await folder(t), 'file')
  const file = await createJournalFile(path)
  t.teardown(() => file.close())
  const write = fs.write as (...args: unknown[]) => void
  type Done = (error: Error | null, written?: number) => void
  stub(t, 'write', (fd: number, bytes: Buffer, from: number, length: number, at: number, done: Done) => {
    write(fd, bytes, from, Math.min(length, 3), at, done)
  })
  await file.write(Buffer.from('0123456789'), 2)
  t.equal(readFileSync(path, 'latin1'), '\0\x000123456789')
  stub(t, 'write', (_fd: number, _bytes: Buffer, _from: number, _length: number, _at: number, done: Done) => { done(null, 0) })
  await t.rejects(file.write(Buffer.from('a'), 0), { message: /no bytes/ })
  await t.rejects(createJournalFile(path), { code: 'EEXIST' })
})

t.test('a write of a journal resolves once it is synced, in the way of the platform', async t => {
  const calls: string[] = []
  const [open, write] = [fs.open, fs.write] as Array<(...args: unknown[]) => void>
  stub(t, 'open', (path: string, flags: number, mode: number, done: unknown) => {
    const { O_WRONLY, O_CREAT, O_EXCL, O_DSYNC } = fs.constants
    const others = flags & ~O_DSYNC
    calls.push(`open ${others === (O_WRONLY | O_CREAT | O_EXCL)} ${(flags & O_DSYNC) === O_DSYNC ? 'synced' : ''} ${mode.toString(8)}`)
    open!(path, flags, mode, done)
  })
  stub(t, 'write', (...args: never[]) => {
    calls.push('write')
    write!(...args)
  })
  stub(t, 'fdatasync', (_fd: number, done: (error: Error | null) => void) => {
    calls.push('sync')
    done(calls.length > 3 ? new Error('disk') : null)
  })
  const directory = await folder(t)
  const linux = await createJournalFile(join(directory, 'linux'), 'linux')
  await linux.write(Buffer.from('a'), 0)
  await linux.close()
  t.strictSame(calls.splice(0), ['open true synced 600', 'write'])
  const other = await createJournalFile(join(directory, 'darwin'), 'darwin')
  await other.write(Buffer.from('a'), 0)
  t.strictSame(calls, ['open true  600', 'write', 'sync'])
  await t.rejects(other.write(Buffer.from('a'), 0), { message: 'disk' })
  await other.close()
})

t.test('a journal file rejects with the error of the system', async t => {
  const file = await createJournalFile(join(await folder(t), 'file'))
  const error = Object.assign(new Error('disk'), { code: 'EIO' })
  const failing = (...args: never[]) => { (args.at(-1)! as (error: Error) => void)(error) }
  stub(t, 'write', failing)
  await t.rejects(file.write(Buffer.from('a'), 0), error)
  stub(t, 'fsync', failing)
  await t.rejects(file.truncate(1), error)
  stub(t, 'ftruncate', failing)
  stub(t, 'fsync', (_fd: number, done: (error: null) => void) => { done(null) })
  await t.rejects(file.truncate(1), error)
  await file.close()
  await t.rejects(file.close(), { code: 'EBADF' })
})

t.test('a file that cannot be put into its place leaves no draft, and the former one', async t => {
  const directory = await folder(t)
  const [file, taken] = [join(directory, 'file'), join(directory, 'taken')]
  replaceFile(file, 'one', 0o640)
  t.equal(fs.statSync(file).mode & 0o777, 0o640)
  fs.mkdirSync(join(taken, 'below'), { recursive: true })
  t.throws(() => { replaceFile(taken, 'two', 0o600) }, { code: /EISDIR|ENOTEMPTY|EEXIST|EPERM/ })
  t.throws(() => { replaceFile(join(directory, 'none', 'file'), 'two', 0o600) }, { code: 'ENOENT' })
  createFile(join(directory, 'new'), 'new', 0o600)
  t.equal(readFileSync(join(directory, 'new'), 'utf8'), 'new')
  t.strictSame(readdirSync(directory).sort(), ['file', 'new', 'taken'])

  const drafts: unknown[][] = []
  const writeFile = fs.writeFileSync as (...args: unknown[]) => void
  stub(t, 'writeFileSync', (path: string, ...more: never[]) => {
    drafts.push([path.replace(/[0-9a-f-]{36}$/, 'ID'), ...more])
    writeFile(path, ...more)
  })
  stub(t, 'linkSync', () => { throw Object.assign(new Error('no links'), { code: 'EPERM' }) })
  t.throws(() => { createFile(join(directory, 'newer'), 'text', 0o600) }, { code: 'EPERM' })
  t.strictSame(drafts, [[join(directory, '.newer-ID'), 'text', { flush: true, flag: 'wx', mode: 0o600 }]])
  t.strictSame(readdirSync(directory).sort(), ['file', 'new', 'taken'])
  stub(t, 'writeFileSync', () => { throw Object.assign(new Error('no space'), { code: 'ENOSPC' }) })
  t.throws(() => { replaceFile(file, 'two', 0o600) }, { code: 'ENOSPC' }, 'also where there is no draft to remove')
})

t.test('directories are synced after a file in them is made or replaced', { skip: process.platform === 'win32' }, async t => {
  const directory = await folder(t)
  const { ino } = fs.statSync(directory)
  let syncs = 0
  const sync = fs.fsyncSync
  stub(t, 'fsyncSync', (fd: number) => {
    if (fs.fstatSync(fd).ino === ino) syncs++
    sync(fd)
  })
  replaceFile(join(directory, 'a'), 'a', 0o600)
  t.equal(syncs, 1)
  createFile(join(directory, 'a'), 'b', 0o600)
  t.equal(syncs, 2)
  t.equal(readFileSync(join(directory, 'a'), 'utf8'), 'a', 'a file that is there is not replaced')
  const journal = await Journal.create({ directory, sequence: 0, run: 1 })
  t.equal(syncs, 3)
  await journal.close()
  const closed: number[] = []
  const close = fs.closeSync
  stub(t, 'closeSync', (fd: number) => {
    closed.push(fd)
    close(fd)
  })
  stub(t, 'fsyncSync', () => { throw new Error('disk') })
  t.throws(() => { syncDirectory(directory) }, { message: 'disk' })
  t.equal(closed.length, 1)
  t.intercept(process, 'platform', { value: 'win32' })
  syncDirectory(directory)
  let truncations = 0
  const later = fs.fsync as (...args: unknown[]) => void
  stub(t, 'fsync', (...args: never[]) => {
    truncations++
    later(...args)
  })
  const file = await createJournalFile(join(directory, 'file'))
  await file.truncate(5)
  await file.close()
  t.equal(truncations, 1, 'and files after they are truncated')
})

t.test('a journal that cannot be created closes and removes what it has created', async t => {
  for (const failing of [1, 2]) {
    const directory = await folder(t)
    let [opened, closed] = [0, 0]
    const createFile = async (path: string): Promise<JournalFile> => {
      const file = await createJournalFile(path)
      const isFailing = ++opened === failing
      return {
        write: async (bytes, position) => {
          if (isFailing) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
          await file.write(bytes, position)
        },
        truncate: size => file.truncate(size),
        close: async () => {
          closed++
          await file.close()
        }
      }
    }
    await t.rejects(Journal.create({ directory, sequence: 0, run: 1, createFile }), { code: 'ENOSPC' })
    t.strictSame([opened, closed], [failing, failing])
    t.strictSame(readdirSync(directory), [])
  }
})

t.test('a journal is sound after writes that fail one after the other, of a frame or of the head of its file', async t => {
  // Without a failure the first commit writes a frame and a head.
  const faults = [0, 1].flatMap(write => [0, 0.5, 1].map(share => ({ write, share })))
  const sizes = [10, 300_000]
  for (const first of faults) {
    for (const second of faults) {
      for (const [large, small] of sizes.flatMap(a => sizes.map(b => [a, b]))) {
        const directory = await folder(t)
        let fault: typeof first | undefined
        let writes = 0
        const journal = await Journal.create({
          directory,
          sequence: 0,
          run: 1,
          createFile: async path => {
            const file = await unsyncedFile(path)
            const write = async (bytes: Buffer, position: number): Promise<void> => {
              if (fault === undefined || writes++ !== fault.write) return await file.write(bytes, position)
              await file.write(bytes.subarray(0, bytes.length * fault.share), position)
              throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
            }
            return { ...file, write }
          }
        })
        const stored: number[] = []
        const append = async (number: number, size: number): Promise<void> => {
          await journal.append([['names', number, Buffer.alloc(size)]]).then(() => { stored.push(number) }, () => {})
          const frames = await readJournal(directory, { sequence: 0, run: 1, base: 0, isOpen: true }, 2)
          const found = frames.map(({ rows }) => rows[0]![1])
          t.strictSame(found, stored, JSON.stringify({ first, second, large, small, number }))
        }
        for (const [number, next] of [first, second].entries()) {
          [fault, writes] = [next, 0]
          await append(number, number === 0 ? large! : small!)
        }
        fault = undefined
        await append(2, 10)
        journal.rotate()
        await append(3, small!)
        await journal.close()
      }
    }
  }
})

t.test('of several runs the journal of the one in the databases counts, in the order of its commits', async t => {
  const directory = await folder(t)
  const made = async (run: number, sequence: number, commits: number): Promise<void> => {
    const journal = await Journal.create({ directory, sequence, run })
    for (let i = 0; i < commits; i++) {
      await journal.append([['names', run * 10 + i, undefined]])
      if (i === 0) journal.rotate()
    }
    await journal.close()
  }
  await made(1, 0, 2)
  await made(2, 10, 3)
  const progress = { sequence: 10, run: 2, base: 10, isOpen: true }
  const found = await readJournal(directory, progress, 3)
  t.strictSame(found.map(({ sequence, rows }) => [sequence, rows[0]![1]]), [[11, 20], [12, 21], [13, 22]])
  const damaged = { name: 'StoreError', problem: 'damaged' }
  const before = { ...progress, sequence: 0, run: 1, base: 0 }
  await t.rejects(readJournal(directory, before, 2), damaged, 'a run like that of the reader is newer than the databases')
  const earlier = await readJournal(directory, before, 3)
  t.strictSame(earlier.map(({ sequence }) => sequence), [1, 2], 'an earlier one is of a holder that lost them')
  // Its files are read in the order of their names.
  renameSync(join(directory, '2-1.journal'), join(directory, '2-3.journal'))
  const shuffled = await readJournal(directory, { ...progress, isOpen: false }, 3)
  t.strictSame(shuffled.map(({ sequence }) => sequence), [11, 12, 13])
  renameSync(join(directory, '2-3.journal'), join(directory, '2-1.journal'))
  // Two processes that start at once may both remove them.
  await Promise.all([removeJournals(directory, 2), removeJournals(directory, 2)])
  t.strictSame(readdirSync(directory).sort(), ['2-1.journal', '2-2.journal'])
})

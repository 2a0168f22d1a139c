import fs, { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { createJournalFile, type JournalFile } from '../../lib/store/journal-file.js'
import { Journal, readJournal } from '../../lib/store/lmdb/journal.js'
import { SECTOR, decodeFile, encodeFileHead, encodeFrame, wholeSectors, type FileHead } from '../../lib/store/lmdb/journal-frame.js'
import type { Row } from '../../lib/store/lmdb/record-format.js'
import { isOutOfSpace } from '../../lib/store/store-error.js'
import { folder } from '../support/folder.js'

const RUN = 2
const READER = 4
/** What the databases know unless a test says otherwise: the last commit, that before the run, and that its files must be there. */
const PROGRESS = { sequence: 10, run: RUN, base: 10, isOpen: true }

const rows: Row[] = [['tasks', 1, Buffer.from('a')]]

/** A file of a journal with commits of these numbers. */
function fileOf (part: 1 | 2, sequences: readonly number[], more: Partial<FileHead> = {}): Buffer {
  const head = { salt: part, run: RUN, part, size: SECTOR * (1 + sequences.length), ...more }
  return Buffer.concat([encodeFileHead(head), ...sequences.map(sequence => encodeFrame(sequence, rows, part, wholeSectors))])
}

t.test('the commits that the databases do not have are read in order, and one that is missing is noticed', async t => {
  const whole = { '2-1': fileOf(1, [11, 12]), '2-2': fileOf(2, [13]) }
  const lost = { '2-1': Buffer.alloc(2 * SECTOR), '2-2': fileOf(2, [13]) }
  const only = { '2-2': fileOf(2, [13]) }
  const newer = (run: number) => ({ ...whole, '9-1': fileOf(1, [14], { run }) })
  const closed = { isOpen: false }
  const cases: Array<[title: string, files: Record<string, Buffer>, progress: Partial<typeof PROGRESS>, found: number[] | 'damaged']> = [
    ['all', whole, {}, [11, 12, 13]],
    ['none but the last', whole, { sequence: 12 }, [13]],
    ['none', whole, { sequence: 13 }, []],
    ['of files that changed turns', { '2-1': fileOf(1, [13]), '2-2': fileOf(2, [11, 12]) }, {}, [11, 12, 13]],
    ['no file is missing where none must be there', {}, closed, []],
    ['the first file is missing', only, { sequence: 12 }, 'damaged'],
    ['the second file is missing', { '2-1': fileOf(1, [11, 12]) }, {}, 'damaged'],
    ['a file that need not be there is missing', only, { ...closed, sequence: 12 }, [13]],
    ['the beginning of a file is lost', lost, { sequence: 12 }, 'damaged'],
    ['the beginning of a file that need not be there is lost', lost, { ...closed, sequence: 12 }, [13]],
    ['a file of another run has its name', { ...whole, '2-1': fileOf(1, [11, 12], { run: 1 }) }, { sequence: 12 }, 'damaged'],
    ['a file of an earlier run is there', { ...whole, '1-1': fileOf(1, [14], { run: 1 }) }, {}, [11, 12, 13]],
    ['a file of a run that has ended before the reader began', newer(READER - 1), {}, [11, 12, 13]],
    ['a file of the run of the reader', newer(READER), {}, 'damaged'],
    ['a file of a later run', newer(READER + 1), {}, 'damaged'],
    ['both files are the same one', { '2-1': fileOf(1, [11, 12]), '2-2': fileOf(1, [11, 12]) }, {}, 'damaged'],
    ['a file is shorter than its head says', { ...whole, '2-2': fileOf(2, [13], { size: 2 * SECTOR + 1 }) }, {}, 'damaged'],
    ['a file is longer than its head says', { ...whole, '2-2': fileOf(2, [13], { size: SECTOR }) }, {}, [11, 12, 13]],
    ['the first commit is missing', { ...whole, '2-1': fileOf(1, [12]) }, {}, 'damaged'],
    ['one in the middle is missing', { ...whole, '2-1': fileOf(1, [11]) }, {}, 'damaged'],
    ['one is there twice', { ...whole, '2-2': fileOf(2, [12, 13]) }, {}, 'damaged'],
    ['the last commit that the databases have is missing', whole, { sequence: 14 }, 'damaged'],
    ['the last commit that the databases have was in files that are removed', whole, { ...closed, sequence: 14 }, []],
    ['the last commit that the databases have is of an earlier run', whole, { sequence: 14, base: 14 }, []]
  ]
  for (const [title, files, progress, found] of cases) {
    const directory = await folder(t)
    writeFileSync(join(directory, 'format.json'), '{}')
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(directory, `${name}.journal`), bytes)
    const read = readJournal(directory, { ...PROGRESS, ...progress }, READER)
    if (found === 'damaged') await t.rejects(read, { name: 'StoreError', problem: 'damaged' }, title)
    else t.strictSame(await read, found.map(sequence => ({ sequence, rows })), title)
  }
})

t.test('a journal file that cannot be read is an error, not a missing one', async t => {
  const directory = await folder(t)
  mkdirSync(join(directory, '2-1.journal'))
  await t.rejects(readJournal(directory, { ...PROGRESS, isOpen: false }, READER), { code: 'EISDIR' })
})

t.test('while a large journal is read the process does other things', async t => {
  const directory = await folder(t)
  const sequences = Array.from({ length: 1000 }, (_, index) => 11 + index)
  writeFileSync(join(directory, '2-1.journal'), fileOf(1, sequences))
  writeFileSync(join(directory, '2-2.journal'), fileOf(2, []))
  // Reading the files takes no turns of the event loop here.
  // After `intercept` has put the former functions back: what is torn down last was registered first.
  t.teardown(syncBuiltinESMExports)
  t.intercept(fs.promises, 'readFile', { value: async (path: string) => readFileSync(path) })
  t.intercept(fs.promises, 'readdir', { value: async () => [] })
  syncBuiltinESMExports()
  let turns = 0
  const count = (): void => {
    turns++
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const frames = await readJournal(directory, PROGRESS, READER)
  clearImmediate(next)
  t.equal(frames.length, 1000)
  t.equal(turns, 10)
})

/** A journal, what it writes, and how its next writes fail. */
async function recorded (directory: string) {
  const calls: Array<[call: string, ...args: unknown[]]> = []
  const faults: Array<string | undefined> = []
  const call = async (name: string, ...args: unknown[]): Promise<void> => {
    calls.push([name, ...args])
    const code = faults.shift()
    if (code !== undefined) throw Object.assign(new Error('disk'), { code })
  }
  const createFile = async (path: string): Promise<JournalFile> => {
    const file = path.slice(directory.length + 1)
    return {
      // Of a head, the size of the file is shown.
      write: async (bytes, position) => {
        await call(`write ${file}`, position, position === 0 ? `head ${bytes.readDoubleLE(20)}` : bytes.length)
      },
      truncate: async size => { await call(`truncate ${file}`, size) },
      close: async () => { await call(`close ${file}`) }
    }
  }
  const journal = await Journal.create({ directory, sequence: 10, run: RUN, createFile })
  return { journal, faults, take: () => calls.splice(0) }
}

const GROWTH = 256 * 1024

t.test('a commit is one write, and a second one for the new size of its file where that grows', async t => {
  const { journal, take } = await recorded(await folder(t))
  t.equal(journal.bytes, 0)
  t.strictSame(take(), [['write 2-1.journal', 0, 'head 4096'], ['write 2-2.journal', 0, 'head 4096']])
  const large = (bytes: number): Row[] => [['tasks', 1, Buffer.alloc(bytes - 20 - 5 - 8)]]
  await journal.append(rows)
  t.strictSame(take(), [['write 2-1.journal', SECTOR, GROWTH - SECTOR], ['write 2-1.journal', 0, `head ${GROWTH}`]])
  t.strictSame([journal.bytes, journal.sequence, journal.run], [SECTOR, 11, RUN])
  await journal.append(large(SECTOR + 1))
  t.strictSame(take(), [['write 2-1.journal', 2 * SECTOR, 2 * SECTOR]])
  await journal.append(large(GROWTH - 4 * SECTOR))
  t.strictSame(take(), [['write 2-1.journal', 4 * SECTOR, GROWTH - 4 * SECTOR]], 'up to the end of the file')
  await journal.append(large(GROWTH + 1))
  t.strictSame(take(), [['write 2-1.journal', GROWTH, 2 * GROWTH], ['write 2-1.journal', 0, `head ${3 * GROWTH}`]])
  t.strictSame([journal.bytes, journal.sequence], [2 * GROWTH, 14])
  journal.rotate()
  t.equal(journal.bytes, 0, 'so it is not rotated again, to the file with the last commit')
  await journal.append(rows)
  t.strictSame(take(), [['write 2-2.journal', SECTOR, GROWTH - SECTOR], ['write 2-2.journal', 0, `head ${GROWTH}`]])
  journal.rotate()
  await journal.append(rows)
  t.strictSame(take(), [['write 2-1.journal', SECTOR, SECTOR]], 'a file that is used again keeps its size')
  await journal.close()
  t.strictSame(take(), [['close 2-1.journal'], ['close 2-2.journal']])
})

t.test('of a commit that fails for lack of space nothing stays in the file', async t => {
  const { journal, faults, take } = await recorded(await folder(t))
  take()
  const [first, head] = [['write 2-1.journal', SECTOR, GROWTH - SECTOR], ['write 2-1.journal', 0, `head ${GROWTH}`]]
  const cases: Array<[title: string, faults: Array<string | undefined>, calls: unknown[][]]> = [
    ['the first commit', ['ENOSPC'], [first, ['truncate 2-1.journal', SECTOR]]],
    ['the head', [undefined, 'EDQUOT'], [first, head, ['truncate 2-1.journal', GROWTH], ['write 2-1.journal', SECTOR, SECTOR]]],
    ['another error', ['EIO'], [first]]
  ]
  for (const [title, codes, calls] of cases) {
    faults.push(...codes)
    await t.rejects(journal.append(rows), { code: codes.at(-1) }, title)
    t.strictSame(take(), calls, title)
    t.strictSame([journal.bytes, journal.sequence], [0, 10], title)
  }
  await journal.append(rows)
  take()
  faults.push('ENOSPC')
  await t.rejects(journal.append(rows), { code: 'ENOSPC' })
  t.strictSame(take(), [
    ['write 2-1.journal', 2 * SECTOR, SECTOR], ['truncate 2-1.journal', GROWTH], ['write 2-1.journal', 2 * SECTOR, SECTOR]
  ])
  faults.push('ENOSPC', 'ENOSPC')
  const error = await journal.append(rows).then(() => undefined, (error: Error) => error)
  t.equal((error!.cause as NodeJS.ErrnoException).code, 'ENOSPC')
  t.equal(isOutOfSpace(error), false, 'a commit that may be in the file is no matter of space')
})

/** What the databases know of a run whose journal must be there. */
const progressOf = (sequence: number, run: number, base = sequence) => ({ sequence, run, base, isOpen: true })

function journalsIn (directory: string): string[] {
  return readdirSync(directory).filter(name => name.endsWith('.journal')).map(name => join(directory, name))
}

/** Zeros from there on, as where a write was cut short. */
async function erase (path: string, from: number): Promise<void> {
  const { size } = await stat(path)
  await truncate(path, from)
  await truncate(path, size)
}

t.test('a journal gives back all commits that it took, whatever they hold and however its last one was cut', async t => {
  const number = fc.integer({ min: 1, max: 2 ** 53 - 1 })
  const value = fc.option(fc.uint8Array({ maxLength: 1500 }).map(bytes => Buffer.from(bytes)), { nil: undefined })
  const row: fc.Arbitrary<Row> = fc.oneof(
    fc.tuple(fc.constantFrom('tasks' as const, 'states' as const, 'names' as const), number, value),
    fc.tuple(fc.constant('queues' as const), fc.stringMatching(/^[a-z/-]{1,100}$/), value))
  const commits = fc.array(fc.array(row, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 })
  await fc.assert(fc.asyncProperty(commits, fc.nat(10_000), async (commits, cut) => {
    const directory = await mkdtemp(join(tmpdir(), 'journal-'))
    try {
      const journal = await Journal.create({ directory, sequence: 7, run: 3 })
      const frames = []
      for (const rows of commits) {
        await journal.append(rows)
        frames.push({ sequence: journal.sequence, rows })
      }
      await journal.close()
      const [path] = journalsIn(directory)
      t.same(await readJournal(directory, progressOf(7, 3), 4), frames)
      t.same(await readJournal(directory, progressOf(8, 3, 7), 4), frames.slice(1), 'what the databases have is passed over')

      const lastSize = encodeFrame(1, commits.at(-1)!, 0, size => size).length
      let begin = SECTOR
      for (const rows of commits.slice(0, -1)) begin += encodeFrame(1, rows, 0, wholeSectors).length
      const whole = await readFile(path!)
      await erase(path!, begin + cut % lastSize)
      // It may end in zeros itself.
      if (whole.equals(await readFile(path!))) return
      t.same(
        await readJournal(directory, progressOf(7, 3), 4),
        frames.slice(0, -1),
        'one that was cut short is as if it had never been'
      )
    } finally {
      await rm(directory, { recursive: true })
    }
  }), { numRuns: 25 })
})

t.test('a payload that looks like a commit is not one', async t => {
  const directory = await folder(t)
  const forged = encodeFrame(2, [['tasks', 1, undefined]], 0, wholeSectors)
  const journal = await Journal.create({ directory, sequence: 0, run: 1 })
  // Wherever in the payload a sector begins, a frame does.
  const payload = Buffer.concat([Buffer.alloc(SECTOR - 20 - 13), forged, forged])
  await journal.append([['tasks', 5, payload]])
  await journal.close()
  const [path] = journalsIn(directory)
  const bytes = await readFile(path!)
  const at = bytes.indexOf(forged)
  t.equal(at % SECTOR, 0, 'the forgery is well placed')
  await erase(path!, at + forged.length)
  t.same(await readJournal(directory, progressOf(0, 1), 2), [], 'nothing of it counts when the commit around it was cut short')
  const head = { salt: 0, run: 1, size: 0, part: 1 as const }
  t.equal(
    [...decodeFile(Buffer.concat([encodeFileHead(head), forged]), head)].length,
    1,
    'in a file without a salt it would have been one'
  )
})

t.test('a file whose new size the disk refuses keeps the old one in its head, and the commits before', async t => {
  const directory = await folder(t)
  let isFull = false
  const journal = await Journal.create({
    directory,
    sequence: 0,
    run: 1,
    createFile: async path => {
      const file = await createJournalFile(path)
      return {
        write: async (bytes, position) => {
          await file.write(bytes, position)
          if (!isFull || position > 0) return
          isFull = false
          // Such as a quota that is checked when what was written is synced.
          throw Object.assign(new Error('no quota'), { code: 'EDQUOT' })
        },
        truncate: size => file.truncate(size),
        close: () => file.close()
      }
    }
  })
  t.teardown(() => journal.close())
  const small: Row[] = [['tasks', 1, Buffer.from('a')]]
  await journal.append(small)
  isFull = true
  await t.rejects(journal.append([['tasks', 2, Buffer.alloc(300_000)]]), { code: 'EDQUOT' })
  t.strictSame(await readJournal(directory, progressOf(0, 1), 2), [{ sequence: 1, rows: small }])
})

t.test('a file that a former holder makes longer while it is read is read again', async t => {
  const directory = await folder(t)
  const journal = await Journal.create({ directory, sequence: 0, run: 1 })
  const rows: Row[] = [['tasks', 1, Buffer.from('a')]]
  await journal.append(rows)
  await journal.close()
  const read = fs.promises.readFile as (...args: unknown[]) => Promise<Buffer>
  let [reads, cut] = [0, SECTOR]
  t.teardown(syncBuiltinESMExports)
  t.intercept(fs.promises, 'readFile', {
    value: async (...args: unknown[]) => {
      const bytes = await read(...args)
      return ++reads === 1 ? bytes.subarray(0, cut) : bytes
    }
  })
  syncBuiltinESMExports()
  for (cut of [SECTOR, 100]) {
    reads = 0
    t.strictSame(await readJournal(directory, progressOf(0, 1), 2), [{ sequence: 1, rows }])
    t.equal(reads, 3, 'two files, one of them twice')
  }
})

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { beginRun, openDatabases, readProgress, type Databases } from '../../lib/store/lmdb/databases.js'
import { prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { DiskSpace } from '../../lib/store/lmdb/disk-space.js'
import { encodeTombstone, type Row } from '../../lib/store/lmdb/record-format.js'
import { WriteAhead, recover } from '../../lib/store/lmdb/write-ahead.js'
import type { JournalFile } from '../../lib/store/journal-file.js'
import type { StoreLock } from '../../lib/store/lock.js'
import { StoreError, damaged, isOutOfSpace } from '../../lib/store/store-error.js'
import { folder } from '../support/folder.js'
import { unsyncedFile } from './unsynced-file.js'

const BYTES = 10_000

interface WriteAheadCase {
  /** @default BYTES */
  readonly journalBytes?: number | undefined
  readonly createFile?: (path: string) => Promise<JournalFile>
}

/** A log whose transactions wait for `gate`, and whose disk and lock are as a test says. */
async function writeAheadIn (t: Test, { createFile = unsyncedFile, ...options }: WriteAheadCase = {}) {
  const opened = await databasesIn(t)
  const { directory, databases } = opened
  const state = {
    isFull: false,
    isHeld: true,
    gate: Promise.resolve(),
    transactions: 0,
    /** Those that wait for `gate` too. */
    begun: 0,
    last: undefined as Promise<boolean> | undefined,
    checks: [] as Array<[bytes: number, shrinks: boolean]>,
    /** Whether there is too little space for that many bytes. */
    isTooMuch: (_bytes: number): boolean => false
  }
  const check = (bytes: number, shrinks: boolean): void => {
    state.checks.push([bytes, shrinks])
    if (state.isFull || state.isTooMuch(bytes)) throw new StoreError('full', 'no space')
  }
  const space = { check } as unknown as DiskSpace
  const lock = { isHeld: () => state.isHeld } as StoreLock
  const run = databases.root.transactionSync(() => beginRun(databases, 0))
  const journal = await recover({ directory, databases, space, run, createFile, onProgress: () => {} })
  state.checks = []
  const { ifVersion } = databases.journal
  const held = async (...args: Parameters<typeof ifVersion>): Promise<boolean> => {
    await state.gate
    state.transactions++
    return await ifVersion.apply(databases.journal, args)
  }
  databases.journal.ifVersion = (...args: Parameters<typeof ifVersion>) => {
    state.begun++
    state.last = held(...args)
    return state.last
  }
  const writeAhead = new WriteAhead({ directory, databases, lock, space, journal, journalBytes: BYTES, ...options })
  const hold = (): () => void => {
    let release!: () => void
    state.gate = new Promise(resolve => { release = resolve })
    return release
  }
  const write = (...numbers: number[]) => writeAhead.write(numbers.map(number => rowOf(number)), false)
  return { ...opened, writeAhead, journal, state, hold, write, journals: () => journalsIn(directory) }
}

async function databasesIn (t: Test) {
  const directory = await folder(t)
  const databases = await openDatabases(directory, prepareDirectory(directory))
  t.teardown(() => databases.root.close())
  return { directory, databases, keys: () => [...databases.names.getKeys()], progress: () => readProgress(databases, Infinity) }
}

async function turns (count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(resolve => { setImmediate(resolve) })
}

async function noFile (): Promise<JournalFile> {
  return { write: async () => {}, truncate: async () => {}, close: async () => {} }
}

function journalsIn (directory: string): string[] {
  return readdirSync(directory).filter(name => name.endsWith('.journal'))
}

/** A row that has as many bytes in memory; by default a bit more than a layer may have. */
function rowOf (number: number, bytes = BYTES + 48): Row {
  return ['names', number, encodeTombstone({ name: 'n'.repeat(bytes - 48), until: number }), true]
}

t.test('what could not be flushed to the databases for lack of space', async t => {
  t.test('stays readable, and is flushed with what came later', async t => {
    const { writeAhead, state, write, keys, journals, progress } = await writeAheadIn(t)
    await write(1)
    state.isFull = true
    await t.rejects(write(2), { name: 'StoreError', problem: 'full' })
    t.equal(state.transactions, 0, 'nothing is written without space')
    t.ok(writeAhead.get('names', 1))
    state.isFull = false
    await write(3)
    await write(4)
    for (const number of [3, 4]) t.ok(writeAhead.get('names', number) !== undefined, `${number}`)
    await writeAhead.close()
    t.strictSame(keys(), [1, 3, 4])
    t.strictSame(journals(), [], 'both layers, so the journal is not needed')
    t.strictSame(progress(), { sequence: 3, run: 1, base: 0, isOpen: false })
  })

  t.test('is flushed before a commit that needs its space in memory', async t => {
    const { writeAhead, state, write, keys } = await writeAheadIn(t)
    await write(1)
    const bytes = BYTES + 16
    state.isTooMuch = checked => checked > bytes
    await write(2)
    t.strictSame(keys(), [1])
    // With those in memory, then to flush them, then without.
    t.strictSame(state.checks, [[bytes, false], [bytes + BYTES + 48, false], [bytes, true], [bytes, false]])
    state.checks = []
    await writeAhead.write([rowOf(3, 148), ['names', 1, undefined]], true)
    t.strictSame(state.checks.slice(0, 3), [[116 + BYTES + 48, true], [bytes, true], [116, true]])
    await writeAhead.close()
  })
})

t.test('what is not in the databases when a log is closed stays in its journal', async t => {
  type Opened = Awaited<ReturnType<typeof writeAheadIn>>
  const cases: Array<[title: string, keys: number[], isOpen: boolean, prepare: (opened: Opened) => unknown]> = [
    ['without an obstacle all is flushed', [1], false, () => {}],
    ['no space', [], true, ({ state }) => { state.isFull = true }],
    ['no space for a moment', [], true, ({ state }) => {
      let failures = 1
      state.isTooMuch = () => failures-- > 0
    }],
    ['no space for the last entry', [1], true, ({ state }) => { state.isTooMuch = bytes => bytes === 0 }],
    ['the directory lost', [], true, ({ state }) => { state.isHeld = false }],
    ['a failed write', [], true, async ({ journal, write }) => {
      journal.append = async () => { throw new Error('disk') }
      await t.rejects(write(2), { name: 'StoreError', problem: 'broken' })
    }]
  ]
  for (const [title, keys, isOpen, prepare] of cases) {
    const opened = await writeAheadIn(t, { journalBytes: 2 * BYTES })
    await opened.write(1)
    await prepare(opened)
    await opened.writeAhead.close()
    t.strictSame([opened.keys(), opened.progress().isOpen, opened.journals().length], [keys, isOpen, isOpen ? 2 : 0], title)
  }
  const { writeAhead, write, state, journals } = await writeAheadIn(t)
  state.isHeld = false
  await t.rejects(write(1), { name: 'StoreError', problem: 'inUse' })
  state.isHeld = true
  await t.rejects(write(1), { name: 'StoreError', problem: 'inUse' }, 'who has lost a directory stores nothing more')
  t.equal(writeAhead.get('names', 1), null)
  await writeAhead.close()
  t.strictSame([state.transactions, journals().length], [0, 2])
})

t.test('after a failed write nothing more is stored, unless it failed for lack of space', async t => {
  for (const [code, problem] of [['EIO', 'broken'], ['ENOSPC', 'full']] as const) {
    const { writeAhead, journal, state, write } = await writeAheadIn(t)
    await write(1)
    const { append } = journal
    const cause = Object.assign(new Error('disk'), { code })
    journal.append = async () => { throw cause }
    await t.rejects(write(2), { name: 'StoreError', problem, cause })
    journal.append = append
    state.isFull = true
    await t.rejects(write(3), { name: 'StoreError', problem })
    state.isFull = false
    const outcome = await write(4).then(() => 'stored', (error: StoreError) => error.problem)
    t.equal(outcome, code === 'EIO' ? 'broken' : 'stored')
    t.ok(writeAhead.get('names', 1) ?? code === 'ENOSPC', 'what is stored can be read')
    await writeAhead.close()
  }
})

t.test('changes are flushed once they are many, or large, or the journal is', async t => {
  const removals = (count: number): Row[] => Array.from({ length: count }, (_, index) => ['states', index, undefined])
  const removal: Row[] = [['names', 2, undefined]]
  const megabytes = 8 * 1024 * 1024
  // With one more removal, of 32 bytes, the limit is reached.
  const cases: Array<{ title: string, journalBytes: number | undefined, commits: Row[][] }> = [
    { title: 'bytes', journalBytes: BYTES, commits: [[rowOf(1, BYTES - 32)]] },
    { title: 'bytes by default', journalBytes: undefined, commits: [[rowOf(1, megabytes - 32)]] },
    { title: 'rows', journalBytes: megabytes, commits: [removals(19_999)] },
    { title: 'commits, of 4096 bytes each', journalBytes: 10 * 2048, commits: Array.from({ length: 9 }, () => removal) }
  ]
  for (const { title, journalBytes, commits } of cases) {
    const { writeAhead, state } = await writeAheadIn(t, { journalBytes, createFile: noFile })
    for (const rows of [...commits, removal]) await writeAhead.write(rows, true)
    await turns(1)
    t.equal(state.transactions, 0, `${title}: not before`)
    await writeAhead.write(removal, true)
    await turns(1)
    t.ok(state.transactions > 0, title)
    await writeAhead.close()
  }
})

t.test('a flush is recorded with its last commit, and with the last one before the run', async t => {
  const { writeAhead, directory, databases, state, write, progress, keys, journals } = await writeAheadIn(t)
  await write(1)
  await write(2)
  await state.last
  await turns(1)
  t.strictSame([progress(), keys()], [{ sequence: 1, run: 1, base: 0, isOpen: true }, [1]])

  // A process that starts after a crash of the first.
  const steps: unknown[][] = []
  const run = databases.root.transactionSync(() => beginRun(databases, 0))
  const space = { check () {} } as unknown as DiskSpace
  const onProgress = (...step: unknown[]): void => { steps.push(step) }
  const journal = await recover({ directory, databases, space, run, createFile: unsyncedFile, onProgress })
  t.strictSame([progress(), keys()], [{ sequence: 2, run: 2, base: 2, isOpen: true }, [1, 2]])
  t.strictSame([steps, journals().sort()], [[['replaying the journal', 0, 1]], ['2-1.journal', '2-2.journal']])
  const next = new WriteAhead({ directory, databases, lock: { isHeld: () => true } as StoreLock, space, journal, journalBytes: BYTES })
  await next.write([rowOf(3)], false)
  await next.write([rowOf(4)], false)
  await state.last
  await turns(1)
  t.strictSame([writeAhead.get('names', 1), next.get('names', 3)], [null, null])
  t.strictSame([progress(), keys()], [{ sequence: 3, run: 2, base: 2, isOpen: true }, [1, 2, 3]])
  await next.close()
  t.strictSame([progress(), keys()], [{ sequence: 4, run: 2, base: 2, isOpen: false }, [1, 2, 3, 4]])
})

t.test('a recovery reports its progress, and keeps all files when it fails', async t => {
  const { directory, databases, keys, progress } = await databasesIn(t)
  const run = databases.root.transactionSync(() => beginRun(databases, 0))
  const space = { check () {} } as unknown as DiskSpace
  const before = await recover({ directory, databases, space, run, createFile: unsyncedFile, onProgress: () => {} })
  for (let number = 1; number <= 201; number++) await before.append([['names', number % 3, encodeTombstone({ name: 'n', until: number })]])
  await before.close()
  const next = databases.root.transactionSync(() => beginRun(databases, 0))

  let closed = 0
  const createFile = async (path: string): Promise<JournalFile> => {
    const file = await unsyncedFile(path)
    const close = async (): Promise<void> => {
      closed++
      await file.close()
    }
    return { ...file, close }
  }
  const fullSpace = { check () { throw new StoreError('full', 'no space') } } as unknown as DiskSpace
  const failing = (code: string) => async (): Promise<JournalFile> => { throw Object.assign(new Error('disk'), { code }) }
  const steps: unknown[][] = []
  const options = { directory, databases, space, run: next, createFile, onProgress: (...step: unknown[]) => { steps.push(step) } }
  await t.rejects(recover({ ...options, createFile: failing('EIO') }), { name: 'StoreError', problem: 'broken', cause: { code: 'EIO' } })
  await t.rejects(recover({ ...options, createFile: failing('EDQUOT') }), { name: 'StoreError', problem: 'full' })
  t.strictSame(steps.splice(0), [...Array(2)].flatMap(() => [0, 100, 200].map(done => ['replaying the journal', done, 201])))
  t.strictSame(journalsIn(directory).sort(), ['1-1.journal', '1-2.journal'])
  await t.rejects(recover({ ...options, space: fullSpace }), { name: 'StoreError', problem: 'full' })
  t.equal(closed, 2)
  // Another process begins its run meanwhile.
  const last = databases.root.transactionSync(() => beginRun(databases, 0))
  for (const path of journalsIn(directory).filter(name => name.startsWith(`${next}-`))) rmSync(join(directory, path))
  await t.rejects(recover(options), { name: 'StoreError', problem: 'inUse' })
  t.strictSame([closed, keys(), progress()], [4, [], { sequence: 0, run: 1, base: 0, isOpen: true }])
  t.equal(journalsIn(directory).length, 4)
  const journal = await recover({ ...options, run: last })
  await journal.close()
  t.strictSame([journal.sequence, keys(), journalsIn(directory).sort()], [201, [0, 1, 2], [`${last}-1.journal`, `${last}-2.journal`]])
})

t.test('a process that lost the directory during a flush stores nothing more', async t => {
  const { databases, writeAhead, write, hold, directory } = await writeAheadIn(t)
  await write(1)
  const release = hold()
  await write(2)
  // Another process begins its run while this one's transaction waits.
  databases.root.transactionSync(() => beginRun(databases, 0))
  release()
  await writeAhead.close()
  t.equal(databases.names.getCount(), 0)
  t.equal(journalsIn(directory).length, 2, 'the other one reads its journal')
  await t.rejects(write(3), { name: 'StoreError', problem: 'inUse' })
})

t.test('changes that come faster than the databases take them wait', async t => {
  const { databases, writeAhead, write, hold, state } = await writeAheadIn(t)
  await write(1)
  const release = hold()
  for (const number of [2, 3, 4, 5]) await write(number)
  let isWritten = false
  const sixth = write(6).then(() => { isWritten = true })
  await turns(20)
  t.equal(isWritten, false, 'four layers are in memory while one is flushed')
  t.strictSame([state.begun, state.transactions], [1, 0], 'one after another')
  release()
  await sixth
  t.equal(state.begun, 2, 'and the next flush begins')
  await writeAhead.close()
  t.strictSame([...databases.names.getKeys()], [1, 2, 3, 4, 5, 6])
})

t.test('closing waits for the flush under way and flushes the rest', async t => {
  const { databases, writeAhead, write, hold } = await writeAheadIn(t)
  await write(1)
  const release = hold()
  await write(2)
  let isClosed = false
  const closed = writeAhead.close().then(() => { isClosed = true })
  await turns(20)
  t.equal(isClosed, false)
  release()
  await closed
  t.strictSame([...databases.names.getKeys()], [1, 2])
  t.equal(writeAhead.get('names', 1), null)
})

t.test('a commit needs space on the disk for twice its bytes, and leaves a reserve for removals', async t => {
  const [reserve, page] = [4 * 1024 * 1024, 4096]
  const tree = { pageSize: page, treeBranchPageCount: 1, treeLeafPageCount: 2, overflowPages: 3 }
  const usedPages = 2 + 7 * 6
  let [free, freePages] = [0, 0]
  const database = { getStats: () => tree }
  const root = { getStats: () => ({ ...tree, lastPageNumber: usedPages + freePages - 1, free: tree, root: tree }) }
  const databases = { root, queues: database, tasks: database, states: database, names: database, journal: database }
  const space = new DiskSpace('dir', databases as unknown as Databases, () => free)
  const outcome = (onDisk: number, pagesInside: number, shrinks: boolean) => {
    [free, freePages] = [onDisk, pagesInside]
    try {
      space.check(2 * page, shrinks)
      return 'enough'
    } catch (error) {
      const { problem, message } = error as StoreError
      return `${problem} at ${/(\d+) KiB/.exec(message)?.[1]}`
    }
  }
  const [needed, inside] = [reserve + 4 * page, 1024 + 4]
  t.equal(outcome(needed + reserve, 0, false), 'enough')
  t.equal(outcome(needed + reserve - 1, 0, false), 'full at 8207')
  t.equal(outcome(needed, 0, true), 'enough')
  t.equal(outcome(needed - 1, inside, true), 'full at 4111', 'new pages are written before the old ones are free')
  t.equal(outcome(needed, inside, false), 'enough', 'free pages in the file are reused')
  t.equal(outcome(needed - 1, inside, false), 'full at 4111')
  t.equal(outcome(needed, inside - 1, false), 'full at 4112')
})

t.test('a full disk or quota is recognized by the code of the system or of lmdb', async t => {
  for (const code of ['ENOSPC', 'EFBIG', 'EDQUOT', 28, 27, 122, 69]) t.equal(isOutOfSpace({ code }), true, String(code))
  for (const error of [{ code: 'EIO' }, { code: 5 }, {}, new Error('ENOSPC'), null, undefined]) t.equal(isOutOfSpace(error), false)
})

t.test('an error of the store has a cause only if it is given one', async t => {
  const cause = new Error('cause')
  t.equal(damaged('file', 'problem', cause).cause, cause)
  t.equal(damaged('file', 'problem').problem, 'damaged')
  t.equal('cause' in new StoreError('full', 'message'), false)
})

import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { beginRun, openDatabases, readProgress, type Databases } from '../../lib/store/lmdb/databases.js'
import { prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { DiskSpace } from '../../lib/store/lmdb/disk-space.js'
import { Layer, Memtable } from '../../lib/store/lmdb/memtable.js'
import { encodeTombstone, type Row } from '../../lib/store/lmdb/record-format.js'
import { WriteAhead, recover } from '../../lib/store/lmdb/write-ahead.js'
import type { StoreLock } from '../../lib/store/lock.js'
import { StoreError, damaged, isOutOfSpace } from '../../lib/store/store-error.js'
import { folder } from '../support/folder.js'

const BYTES = 10_000

/** A log whose transactions wait for `gate`, and whose disk and lock are as a test says. */
async function writeAheadIn (t: Test) {
  const directory = await folder(t)
  const databases = await openDatabases(directory, prepareDirectory(directory))
  const state = { isFull: false, isHeld: true, gate: Promise.resolve(), transactions: 0 }
  const space = { check: () => { if (state.isFull) throw new StoreError('full', 'no space') } } as unknown as DiskSpace
  const lock = { isHeld: () => state.isHeld } as StoreLock
  const run = databases.root.transactionSync(() => beginRun(databases, 0))
  const journal = await recover({ directory, databases, space, run, onProgress: () => {} })
  const { ifVersion } = databases.journal
  databases.journal.ifVersion = async (...args: Parameters<typeof ifVersion>) => {
    await state.gate
    state.transactions++
    return await ifVersion.apply(databases.journal, args)
  }
  const writeAhead = new WriteAhead({ directory, databases, lock, space, journal, journalBytes: BYTES })
  t.teardown(() => databases.root.close())
  const hold = (): () => void => {
    let release!: () => void
    state.gate = new Promise(resolve => { release = resolve })
    return release
  }
  return { directory, databases, writeAhead, state, hold, write: (...numbers: number[]) => writeAhead.write(numbers.map(rowOf), false) }
}

/** A row of a bit more than a layer may have. */
function rowOf (number: number): Row {
  return ['names', number, encodeTombstone({ name: 'n'.repeat(BYTES), until: number }), true]
}

t.test('what could not be flushed to the databases for lack of space', async t => {
  t.test('stays readable, and is flushed with what came later', async t => {
    const { databases, writeAhead, state, write, directory } = await writeAheadIn(t)
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
    t.strictSame([...databases.names.getKeys()], [1, 3, 4])
    t.strictSame(readdirSync(directory).filter(name => name.endsWith('.journal')), [], 'both layers, so the journal is not needed')
    t.equal(readProgress(databases, Infinity).isOpen, false)
  })

  t.test('stays in the journal when it is closed', async t => {
    const { writeAhead, state, write, directory } = await writeAheadIn(t)
    await write(1)
    state.isFull = true
    await writeAhead.close()
    t.equal(readdirSync(directory).filter(name => name.endsWith('.journal')).length, 2)
  })
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
  t.equal(readdirSync(directory).filter(name => name.endsWith('.journal')).length, 2, 'the other one reads its journal')
  await t.rejects(write(3), { name: 'StoreError', problem: 'inUse' })
})

t.test('changes that come faster than the databases take them wait', async t => {
  const { databases, writeAhead, write, hold, state } = await writeAheadIn(t)
  await write(1)
  const release = hold()
  for (const number of [2, 3, 4, 5]) await write(number)
  let isWritten = false
  const sixth = write(6).then(() => { isWritten = true })
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(isWritten, false, 'four layers are in memory while one is flushed')
  t.equal(state.transactions, 0)
  release()
  await sixth
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
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(isClosed, false)
  release()
  await closed
  t.strictSame([...databases.names.getKeys()], [1, 2])
  t.equal(writeAhead.get('names', 1), null)
})

t.test('of the changes of a record the net one is kept, with its size', async t => {
  const [ten, twenty] = [Buffer.alloc(10, 1), Buffer.alloc(20, 2)]
  const cases: Array<{ title: string, rows: Row[], bytes: number, got: Buffer | undefined | null, kept: Row[] }> = [
    { title: 'of another record', rows: [['tasks', 2, ten, true]], bytes: 42, got: null, kept: [['tasks', 2, ten]] },
    { title: 'created', rows: [['tasks', 1, ten, true]], bytes: 42, got: ten, kept: [['tasks', 1, ten]] },
    {
      title: 'created and changed',
      rows: [['tasks', 1, ten, true], ['tasks', 1, twenty]],
      bytes: 52,
      got: twenty,
      kept: [['tasks', 1, twenty]]
    },
    { title: 'created and removed', rows: [['tasks', 1, ten, true], ['tasks', 1, undefined]], bytes: 0, got: null, kept: [] },
    { title: 'changed', rows: [['tasks', 1, ten]], bytes: 42, got: ten, kept: [['tasks', 1, ten]] },
    { title: 'removed', rows: [['tasks', 1, undefined]], bytes: 32, got: undefined, kept: [['tasks', 1, undefined]] },
    {
      title: 'removed and created again',
      rows: [['tasks', 1, undefined], ['tasks', 1, ten, true]],
      bytes: 74,
      got: ten,
      kept: [['tasks', 1, undefined], ['tasks', 1, ten]]
    },
    { title: 'of another table', rows: [['states', 1, ten]], bytes: 42, got: null, kept: [['states', 1, ten]] }
  ]
  for (const { title, rows, bytes, got, kept } of cases) {
    const layer = new Layer()
    layer.add(rows)
    t.strictSame({ bytes: layer.bytes, size: layer.size, got: layer.get('tasks', 1), kept: [...layer.rows()] },
      { bytes, size: kept.length, got, kept }, title)
  }
})

t.test('a record is read from the newest layer that has it, until the databases do', async t => {
  const table = new Memtable()
  const read = () => [1, 2, 3].map(key => table.get('tasks', key)?.toString() ?? table.get('tasks', key))
  t.strictSame([table.isEmpty, table.bytes, read()], [true, 0, [null, null, null]])
  table.active.add([['tasks', 1, Buffer.from('old')], ['tasks', 2, Buffer.from('old')]])
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 70, ['old', 'old', null]])
  table.complete()
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 70, ['old', 'old', null]])
  table.active.add([['tasks', 1, undefined], ['tasks', 3, Buffer.from('new')]])
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 137, [undefined, 'old', 'new']])
  table.drop()
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 67, [undefined, null, 'new']])
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

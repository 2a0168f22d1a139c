import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { beginRun, openDatabases, readProgress } from '../../lib/store/lmdb/databases.js'
import { prepareDirectory } from '../../lib/store/lmdb/directory.js'
import type { DiskSpace } from '../../lib/store/lmdb/disk-space.js'
import { encodeTombstone, type Row } from '../../lib/store/lmdb/record-format.js'
import { WriteAhead, recover } from '../../lib/store/lmdb/write-ahead.js'
import type { StoreLock } from '../../lib/store/lock.js'
import { StoreError } from '../../lib/store/store-error.js'
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

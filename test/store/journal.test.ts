import { cpSync, existsSync, readdirSync, writeFileSync } from 'node:fs'
import { appendFile, cp, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { beginRun, openDatabases, readProgress, writeRows, type Progress } from '../../lib/store/lmdb/databases.js'
import { createJournalFile, type JournalFile } from '../../lib/store/journal-file.js'
import { SECTOR } from '../../lib/store/lmdb/journal-frame.js'
import { prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { Journal } from '../../lib/store/lmdb/journal.js'
import { LmdbStore, type LmdbStoreOptions } from '../../lib/store/lmdb/lmdb-store.js'
import { encodeTombstone } from '../../lib/store/lmdb/record-format.js'
import type { Row } from '../../lib/store/lmdb/record-format.js'
import type { StoreError } from '../../lib/store/store-error.js'
import type { TaskIndexEntry } from '../../lib/store/store.js'
import { queue } from '../support/engine-harness.js'

async function folder (t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'journal-'))
  t.teardown(async () => { await rm(path, { recursive: true }) })
  return path
}

function newTask (id: string, body: Buffer = Buffer.from(id)): Task {
  return {
    name: `${queue}/tasks/${id}`,
    scheduleAt: 5,
    createdAt: 1000,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0,
    httpRequest: { url: 'http://localhost/', body }
  }
}

async function opened (t: Test, options: LmdbStoreOptions): Promise<{ store: LmdbStore, tasks: TaskIndexEntry[] }> {
  const store = new LmdbStore(options)
  t.teardown(() => store.close())
  const { queues, tasks, tombstones } = await store.load()
  const [known] = [[...queues], [...tombstones]]
  const found = [...tasks]
  if (known.length === 0) await store.putQueue({ name: queue, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' })
  return { store, tasks: found }
}

/** The directory as a crash would leave it now. */
async function crashed (t: Test, directory: string): Promise<string> {
  const copy = join(await folder(t), 'store')
  await cp(directory, copy, { recursive: true })
  await rm(join(copy, 'owner.json'))
  return copy
}

function journalsIn (directory: string): string[] {
  return readdirSync(directory).filter(name => name.endsWith('.journal')).map(name => join(directory, name))
}

/** What the databases know of a run whose journal must be there. */
const progressOf = (sequence: number, run: number, base = sequence): Progress => ({ sequence, run, base, isOpen: true })

const ids = (tasks: readonly TaskIndexEntry[]): string[] => tasks.map(({ name }) => name.slice(queue.length + '/tasks/'.length))

t.test('an acknowledged task is there after a crash, without any close', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory })
  await Promise.all(Array.from({ length: 100 }, (_, i) => store.putTask(newTask(`t${i}`))))
  await store.removeTask(`${queue}/tasks/t0`, { name: `${queue}/tasks/t0`, until: 99 })
  const copy = await crashed(t, directory)
  const [journal] = journalsIn(copy)
  t.ok(journal, 'it is in the journal, and nowhere else yet')
  await appendFile(journal!, Buffer.alloc(5000, 'x'))
  const next = await opened(t, { directory: copy })
  t.equal(next.tasks.length, 99)
  t.equal(Buffer.from(next.store.getTask(`${queue}/tasks/t7`)!.httpRequest!.body!).toString(), 't7')
  await next.store.putTask(newTask('more'))
  const again = await opened(t, { directory: await crashed(t, copy) })
  t.equal(again.tasks.length, 100, 'and after the next')
  await again.store.close()
  await next.store.close()
  t.same(journalsIn(copy), [], 'a clean end leaves no journal')
})

t.test('what ends before its turn never gets to the databases, and all else does', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory, journalBytes: 100_000 })
  const body = Buffer.alloc(1000)
  const kept: string[] = []
  for (let i = 0; i < 2000; i += 20) {
    const some = Array.from({ length: 20 }, (_, j) => `t${i + j}`)
    await Promise.all(some.map(id => store.putTask(newTask(id, body))))
    kept.push(some[0]!)
    await Promise.all(some.slice(1).map(id => store.removeTask(`${queue}/tasks/${id}`)))
  }
  t.ok(journalsIn(directory).length === 2, 'two files took turns')
  const sizes = await Promise.all(journalsIn(directory).map(async path => (await stat(path)).size))
  t.ok(Math.max(...sizes) < 1_000_000, `and did not grow on and on: ${sizes.join()}`)
  for (const id of kept) t.ok(store.getTask(`${queue}/tasks/${id}`))
  await store.close()
  t.ok((await stat(join(directory, 'tasks.mdb'))).size < 1_500_000, 'of 2 MB of payload 0.1 MB stayed')
  const next = await opened(t, { directory })
  t.same(ids(next.tasks).sort(), kept.sort())
})

t.test('a journal that is damaged is rejected and left as it was', async t => {
  const source = join(await folder(t), 'store')
  const { store } = await opened(t, { directory: source })
  for (let i = 0; i < 5; i++) await store.putTask(newTask(`t${i}`))
  const spoil: Array<[title: string, spoil: (path: string) => Promise<unknown>]> = [
    ['a commit in its middle is something else', async path => {
      const file = await open(path, 'r+')
      await file.write(Buffer.alloc(20, 'x'), 0, 20, SECTOR * 3 + 50)
      await file.close()
    }],
    ['its first commit is lost', async path => {
      const file = await open(path, 'r+')
      await file.write(Buffer.alloc(SECTOR), 0, SECTOR, SECTOR)
      await file.close()
    }],
    ['its beginning is lost', path => writeFile(path, Buffer.alloc(5000))],
    ['it is emptied', path => truncate(path, 0)],
    ['it is cut to 100 bytes', path => truncate(path, 100)],
    ['it is cut to its head', path => truncate(path, SECTOR)],
    ['its last sector is gone', async path => await truncate(path, (await stat(path)).size - SECTOR)],
    ['it is gone', path => rm(path)],
    ['the other file is gone', path => rm(path.replace('-1.', '-2.'))],
    ['it is the other one', path => cp(path.replace('-1.', '-2.'), path)]
  ]
  for (const [title, change] of spoil) {
    t.test(title, async t => {
      const directory = await crashed(t, source)
      const [path] = journalsIn(directory)
      await change(path!)
      const before = existsSync(path!) ? await readFile(path!) : Buffer.alloc(0)
      await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'damaged', message: /journal/ })
      if (existsSync(path!)) t.ok(before.equals(await readFile(path!)), 'nothing was changed')
      t.notOk(readdirSync(directory).includes('owner.json'))
    })
  }
  t.test('but one that a crash cut short while it was made is none', async t => {
    const directory = await crashed(t, source)
    await writeFile(join(directory, '999.journal'), '')
    await writeFile(join(directory, '998.journal'), Buffer.alloc(100))
    const next = await opened(t, { directory })
    t.equal(next.tasks.length, 5)
  })
})

t.test('a process that took a directory over has all acknowledged changes, regardless of the former owner', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory })
  await store.putTask(newTask('before'))
  // As from another container, whose processes cannot be seen here.
  await writeFile(join(directory, 'owner.json'), '{"pid":1,"startedAt":"another container"}')
  cpSync(join(directory, 'format.json'), join(directory, 'owner.json'))
  const next = await opened(t, { directory })
  t.same(ids(next.tasks), ['before'])
  await t.rejects(store.putTask(newTask('late')), { name: 'StoreError', problem: 'inUse' })
  await next.store.putTask(newTask('after'))
  await t.rejects(store.putTask(newTask('later')), { name: 'StoreError', problem: 'inUse' })
  await store.close()
  const last = await opened(t, { directory: await crashed(t, directory) })
  t.same(ids(last.tasks).sort(), ['after', 'before'])
})

t.test('a directory is taken over under load, without a word about damage', async t => {
  const directory = join(await folder(t), 'store')
  const acknowledged = new Set<string>()
  let owner = await opened(t, { directory, journalBytes: 20_000 })
  for (let round = 0; round < 4; round++) {
    const end = { isOver: false }
    const { store } = owner
    const load = Array.from({ length: 16 }, async (_, i) => {
      for (let n = 0; !end.isOver && n < 5000; n++) {
        const id = `t${round}-${i}-${n}`
        const isStored = await store.putTask(newTask(id, Buffer.alloc(500))).then(() => true, (error: StoreError) => {
          if (error.problem !== 'inUse') throw error
          return false
        })
        if (!isStored) return
        acknowledged.add(id)
      }
    })
    while (acknowledged.size < (round + 1) * 300) await new Promise(resolve => setImmediate(resolve))
    // As in another container, whose processes cannot be seen here.
    writeFileSync(join(directory, 'owner.json'), '{"pid":0}')
    owner = await opened(t, { directory, journalBytes: 20_000 })
    end.isOver = true
    await Promise.all(load)
    const found = new Set(ids(owner.tasks))
    t.strictSame([...acknowledged].filter(id => !found.has(id)), [], `round ${round}: none of ${acknowledged.size} is lost`)
  }
})

t.test('of six that start on a directory at once, one gets it, and none reports damage', async t => {
  for (let round = 0; round < 5; round++) {
    const directory = join(await folder(t), 'store')
    const stores = Array.from({ length: 6 }, () => new LmdbStore({ directory }))
    t.teardown(async () => { for (const store of stores) await store.close() })
    const ends = await Promise.all(stores.map(store => store.load().then(() => 'open', (error: StoreError) => error.problem)))
    t.strictSame(ends.sort(), ['inUse', 'inUse', 'inUse', 'inUse', 'inUse', 'open'])
  }
})

t.test('both files of a journal are open from the start, so that no later commit needs a descriptor', async t => {
  const directory = join(await folder(t), 'store')
  let made = 0
  const createFile = (path: string): Promise<JournalFile> => {
    if (++made > 2) throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    return createJournalFile(path)
  }
  const { store } = await opened(t, { directory, createJournalFile: createFile, journalBytes: 5000 })
  for (let i = 0; i < 30; i++) await store.putTask(newTask(`t${i}`, Buffer.alloc(1000)))
  t.equal(made, 2)
})

t.test('what comes in at once is committed in pieces that one write can take', async t => {
  const sizes: number[] = []
  const sink = async (): Promise<JournalFile> => ({
    write: async bytes => { sizes.push(bytes.length) }, truncate: async () => {}, close: async () => {}
  })
  const { store } = await opened(t, { directory: join(await folder(t), 'store'), createJournalFile: sink, freeBytes: () => 2 ** 50 })
  // One buffer for all: what counts is what would be written.
  const body = Buffer.alloc(1_000_000)
  await Promise.all(Array.from({ length: 140 }, (_, i) => store.putTask(newTask(`t${i}`, body))))
  t.ok(sizes.reduce((sum, size) => sum + size, 0) > 140_000_000)
  t.ok(Math.max(...sizes) < 80_000_000, `${Math.max(...sizes)} bytes at most`)
})

t.test('a transaction that LMDB aborts over its list of free pages is committed again in parts', async t => {
  const directory = join(await folder(t), 'store')
  await opened(t, { directory }).then(({ store }) => store.close())
  const databases = await openDatabases(directory, prepareDirectory(directory))
  t.teardown(() => databases.root.close())
  const { run } = readProgress(databases, Infinity)
  const rows: Row[] = Array.from({ length: 900 }, (_, i) => ['names', i + 1, encodeTombstone({ name: 'n', until: 5 })])
  const { ifVersion } = databases.journal
  let calls = 0
  const failing = (failures: number, code: number): void => {
    calls = 0
    databases.journal.ifVersion = async (...args: Parameters<typeof ifVersion>) => {
      if (calls++ < failures) throw Object.assign(new Error('it failed'), { code })
      return await ifVersion.apply(databases.journal, args)
    }
  }
  failing(2, -30_782)
  t.equal(await writeRows(databases, rows, progressOf(77, run), () => {}), true)
  t.equal(calls, 2 + 16, 'whole, in quarters, in sixteenths')
  t.equal(databases.names.getCount(), 900)
  t.equal(readProgress(databases, Infinity).sequence, 77)
  failing(100, -30_782)
  await t.rejects(writeRows(databases, rows, progressOf(78, run), () => {}), { code: -30_782 })
  t.equal(calls, 4)
  failing(1, 5)
  await t.rejects(writeRows(databases, rows, progressOf(78, run), () => {}), { code: 5 })
  t.equal(calls, 1, 'other errors are not retried')
  t.equal(readProgress(databases, Infinity).sequence, 77)
})

t.test('a write of a process at the moment when it loses its directory does no harm', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory })
  await store.putTask(newTask('kept'))
  await store.close()
  await opened(t, { directory }).then(({ store }) => store.close())

  t.test('the databases take nothing of it', async t => {
    const databases = await openDatabases(directory, prepareDirectory(directory))
    t.teardown(() => databases.root.close())
    const { run } = readProgress(databases, Infinity)
    const rows: Row[] = Array.from({ length: 2500 }, (_, i) => ['names', i + 1, encodeTombstone({ name: 'n', until: 5 })])
    databases.root.transactionSync(() => { t.equal(beginRun(databases, 0), run + 1) })
    t.equal(await writeRows(databases, rows, progressOf(10_000, run), () => {}), false)
    t.equal(databases.names.getCount(), 0)
    t.same(readProgress(databases, Infinity).run, run)
    t.not(readProgress(databases, Infinity).sequence, 10_000)
    t.equal(await writeRows(databases, rows.slice(0, 1), { ...progressOf(10_000, run + 1), isOpen: false }, () => {}), true)
    t.same([...databases.names.getKeys()], [1])
  })

  t.test('its journal is passed over', async t => {
    const late = await Journal.create({ directory, sequence: 10_000, run: 1 })
    await late.append([['names', 7, encodeTombstone({ name: 'late', until: 5 })]])
    await late.close()
    const next = await opened(t, { directory })
    t.same(ids(next.tasks), ['kept'])
    t.same(journalsIn(directory).filter(path => path.includes('/1-')), [], 'and swept away')
    await next.store.close()
  })

  t.test('but a journal that is newer than the databases, as after half a restore, is rejected', async t => {
    const newer = await Journal.create({ directory, sequence: 10_000, run: 1000 })
    await newer.append([['names', 7, encodeTombstone({ name: 'late', until: 5 })]])
    await newer.close()
    await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'damaged', message: /newer than tasks.mdb/ })
    t.equal(journalsIn(directory).length, 2, 'and left as it is')
  })
})

/** A disk whose next writes fail with `fault.code`, after some of the bytes, or wait for `fault.gate`. */
function fragile (fault: { code?: string, gate?: Promise<void>, writes: number }) {
  return async (path: string): Promise<JournalFile> => {
    const file = await createJournalFile(path)
    return {
      async write (bytes, position) {
        fault.writes++
        await fault.gate
        if (fault.code === undefined) return await file.write(bytes, position)
        // Zeros go where something is already, for which there is room.
        if (bytes.every(byte => byte === 0)) return await file.write(bytes, position)
        await file.write(bytes.subarray(0, bytes.length / 2), position)
        throw Object.assign(new Error('the disk says no'), { code: fault.code })
      },
      truncate: size => file.truncate(size),
      close: () => file.close()
    }
  }
}

t.test('concurrent changes share a sync, and one alone has its own at once', async t => {
  const fault: Parameters<typeof fragile>[0] = { writes: 0 }
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory, createJournalFile: fragile(fault) })
  const before = fault.writes
  const timers = t.intercept(globalThis, 'setTimeout')
  await store.putTask(newTask('alone'))
  t.equal(fault.writes, before + 1)
  t.same(timers(), [], 'no timer held it up')
  await Promise.all(Array.from({ length: 64 }, (_, i) => store.putTask(newTask(`t${i}`))))
  t.equal(fault.writes, before + 2)

  let open = (): void => {}
  fault.gate = new Promise(resolve => { open = resolve })
  let acknowledged = 0
  const puts = [store.putTask(newTask('a')).then(() => { acknowledged++ })]
  await new Promise(resolve => setImmediate(resolve))
  for (let i = 0; i < 64; i++) puts.push(store.putTask(newTask(`late${i}`)).then(() => { acknowledged++ }))
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
  t.equal(acknowledged, 0, 'nothing is acknowledged before it is synced')
  open()
  await Promise.all(puts)
  t.equal(fault.writes, before + 4, 'what comes while a sync is under way shares the next one')
})

t.test('a full disk rejects writes, and accepts the next when there is space', async t => {
  const fault: Parameters<typeof fragile>[0] = { writes: 0 }
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory, createJournalFile: fragile(fault) })
  await store.putTask(newTask('a'))
  for (const [code, size] of [['ENOSPC', 10], ['EDQUOT', 300_000]] as const) {
    fault.code = code
    await t.rejects(store.putTask(newTask('refused', Buffer.alloc(size))), { name: 'StoreError', problem: 'full' })
    t.equal(store.getTask(`${queue}/tasks/refused`), undefined)
    t.notOk(ids((await opened(t, { directory: await crashed(t, directory) })).tasks).includes('refused'), 'a crash does not bring it back')
    delete fault.code
    await store.putTask(newTask(code))
  }
  const next = await opened(t, { directory: await crashed(t, directory) })
  t.same(ids(next.tasks), ['a', 'ENOSPC', 'EDQUOT'])
})

t.test('after a failed sync nothing more is acknowledged, and what was is there at the next start', async t => {
  const fault: Parameters<typeof fragile>[0] = { writes: 0 }
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory, createJournalFile: fragile(fault) })
  await store.putTask(newTask('a'))
  fault.code = 'EIO'
  const failing = store.putTask(newTask('b'))
  await new Promise<void>(resolve => { queueMicrotask(resolve) })
  const waiting = store.putTask(newTask('c'))
  await t.rejects(failing, { name: 'StoreError', problem: 'broken', cause: { code: 'EIO' } })
  await t.rejects(waiting, { name: 'StoreError', problem: 'broken' }, 'also what was waiting for that sync')
  delete fault.code
  await t.rejects(store.putTask(newTask('d')), { name: 'StoreError', problem: 'broken' }, 'on a disk that cannot be trusted')
  t.ok(store.getTask(`${queue}/tasks/a`), 'what is stored goes on to run')
  await store.close()
  const next = await opened(t, { directory })
  // What became of the one whose sync has failed is unknown.
  t.same(ids(next.tasks).filter(id => id !== 'b'), ['a'])
})

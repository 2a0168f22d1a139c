import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import { createJournalFile } from '../../lib/store/journal-file.js'
import { lastRun, prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { openDirectory, type LmdbStoreOptions } from '../../lib/store/lmdb/opening.js'
import { WriteAhead } from '../../lib/store/lmdb/write-ahead.js'
import type { StoreError } from '../../lib/store/store-error.js'
import type { LoadProgress } from '../../lib/store/store.js'
import { queue as q } from '../support/engine-harness.js'
import { folder } from '../support/folder.js'
import { ENOUGH } from './failing-disk.js'
import { failed, newTask, now } from './stored-task.js'
import { unsyncedFile } from './unsynced-file.js'

const queueOf = (name: string) => ({ name, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' as const })
const rejected = (problem: string) => ({ name: 'StoreError', problem })
const enough = { freeBytes: () => ENOUGH }

async function opened (t: Test, options: LmdbStoreOptions) {
  const store = new LmdbStore(options)
  t.teardown(() => store.close())
  const { queues, tasks, tombstones, taskCount } = await store.load()
  return { store, queues: [...queues], tasks: [...tasks], tombstones: [...tombstones], taskCount }
}

t.test('a store that another process takes while it is opened leaves all to that process', async t => {
  const directory = join(await folder(t), 'store')
  await (await openDirectory({ directory, ...enough }, () => {})).close()
  const files = prepareDirectory(directory)
  const take = (): void => { writeFileSync(files.lock, '{"pid":0}') }
  t.equal(lastRun(files), 1)

  await t.rejects(openDirectory({ directory, ...enough }, take), rejected('inUse'), 'before its run began')
  t.equal(readFileSync(files.lock, 'utf8'), '{"pid":0}')
  const createFile = async (path: string) => {
    take()
    return await createJournalFile(path)
  }
  await t.rejects(openDirectory({ directory, ...enough, createJournalFile: createFile }, () => {}), rejected('inUse'), 'after that')
  t.equal(lastRun(files), 1, 'neither was complete')
  t.equal(readFileSync(files.lock, 'utf8'), '{"pid":0}', 'nor has it released what it had lost')

  await (await openDirectory({ directory, ...enough }, () => {})).close()
  t.equal(lastRun(files), 3, 'only the second had a run')
})

t.test('a store that cannot be opened has neither its lock nor its files afterwards', async t => {
  const directory = join(await folder(t), 'store')
  let free = 4 * 2 ** 20 - 1
  const options = { directory, freeBytes: () => free }
  await t.rejects(openDirectory(options, () => {}), rejected('full'))
  t.strictSame(readdirSync(directory).sort(), ['.gitignore', 'format.json'], 'LMDB has not created its files on a disk that is full')
  free++
  const broken = Object.assign(new Error('EMFILE'), { code: 'EMFILE' })
  await t.rejects(openDirectory({ ...options, createJournalFile: () => Promise.reject(broken) }, () => {}), rejected('broken'))
  t.strictSame(readdirSync(directory).filter(name => name === 'owner.json'), [])
  await t.rejects(openDirectory({ directory, freeBytes: () => { throw broken } }, () => {}), rejected('access'))
  const { close, lastKnownAt, databases } = await openDirectory(options, () => {})
  t.type(lastKnownAt, 'number')
  t.ok(readdirSync(directory).includes('owner.json'))
  await close()
  t.throws(() => databases.names.get(1), 'the databases are closed')
  t.strictSame(readdirSync(directory).filter(name => /owner|journal/.test(name)), [])
})

t.test('a store whose start or end fails has closed its files and can be opened again', async t => {
  const directory = join(await folder(t), 'store')
  const format = join(directory, 'format.json')
  await (await openDirectory({ directory, ...enough }, () => {})).close()
  const before = readFileSync(format)
  let closed = 0
  const failing = (onCreate: () => void, onClose: () => void) => ({
    directory,
    ...enough,
    createJournalFile: async (path: string) => {
      onCreate()
      const { write, truncate, close } = await unsyncedFile(path)
      return {
        write,
        truncate,
        close: async () => {
          await close()
          closed++
          onClose()
        }
      }
    }
  })
  const noFile = (): void => {
    rmSync(format, { recursive: true })
    mkdirSync(format)
  }
  await t.rejects(openDirectory(failing(noFile, () => {}), () => {}), rejected('access'), 'its run cannot be recorded')
  t.equal(closed, 2)
  rmSync(format, { recursive: true })
  writeFileSync(format, before)
  const { close } = await openDirectory(failing(() => {}, () => { throw new Error('disk') }), () => {})
  await t.rejects(close(), { message: 'disk' })
  await (await opened(t, { directory })).store.close()
})

t.test('a store reports how far it is, and may be closed meanwhile', async t => {
  const directory = join(await folder(t), 'store')
  await new LmdbStore({ directory }).close()
  const first = new LmdbStore({ directory })
  await first.load(() => { t.fail('a new store has nothing to check') })
  await first.close()
  t.equal(first.close(), first.close(), 'it is closed once')

  const seen: LoadProgress[] = []
  const second = new LmdbStore({ directory })
  await second.load(progress => { seen.push(progress) })
  t.strictSame(seen[0], { step: 'checking tasks.mdb', done: 0, total: seen[0]!.total })
  t.type(seen[0]!.total, 'number')
  await second.close()

  const third = new LmdbStore({ directory })
  let calls = 0
  let closing: Promise<void> | undefined
  const loading = third.load(() => {
    calls++
    closing = third.close()
  })
  await t.rejects(loading, rejected('closed'))
  t.equal(calls, 1)
  await closing
  await (await opened(t, { directory })).store.close()
})

t.test('a store has the number of its tasks before they are read', async t => {
  const directory = join(await folder(t), 'store')
  const { store, taskCount } = await opened(t, { directory })
  t.equal(taskCount, 0)
  await store.putQueue(queueOf(q))
  await store.putTasks(['a', 'b', 'c'].map(id => newTask(`${q}/tasks/${id}`)))
  await store.close()
  const next = await opened(t, { directory })
  t.strictSame([next.taskCount, next.tasks.length], [3, 3])
})

t.test('a name that does not fit into a key is rejected, and the store goes on', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory })
  await t.rejects(store.putQueue(queueOf('q'.repeat(1901))), { message: /1901/ })
  await store.putQueue(queueOf('q'.repeat(1900)))
  await store.close()
  t.strictSame((await opened(t, { directory })).queues.map(({ name }) => name.length), [1900])
})

t.test('while the disk is almost full, what removes something is stored, and what adds is not', async t => {
  const directory = join(await folder(t), 'store')
  let free = ENOUGH
  const { store } = await opened(t, { directory, freeBytes: () => free })
  const [a, b] = [newTask(`${q}/tasks/a`), newTask(`${q}/tasks/b`)]
  await store.putQueue(queueOf(q))
  await store.putTasks([a, b])
  free = 5 * 2 ** 20
  await store.putTask(failed(a))
  await store.removeTask(b.name, { name: b.name, until: now })
  for (const [what, change] of Object.entries({
    'a task': () => store.putTask(b),
    'a task over another': () => store.putTask({ ...a, scheduleAt: 1 }),
    tasks: () => store.putTasks([b]),
    'a queue': () => store.putQueue(queueOf(`${q}-2`)),
    'the settings of a queue': () => store.putQueue({ ...queueOf(q), state: 'PAUSED' })
  })) await t.rejects(change(), rejected('full'), what)
  t.strictSame([store.getTask(a.name), store.getTask(b.name)], [failed(a), undefined])
  await store.forget([b.name])
  await store.removeQueue(q, { name: q, until: now })
  t.equal(store.getTask(a.name), undefined)
  await store.close()
  free = ENOUGH
  const next = await opened(t, { directory })
  t.strictSame([next.queues, next.tasks, next.tombstones], [[], [], [{ name: q, until: now }]])
})

t.test('a change that is refused at once takes no other with it', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory })
  await store.putQueue(queueOf(q))
  const lost = newTask(`${q}-none/tasks/a`)
  const outcomes = [store.putTask(newTask(`${q}/tasks/a`)), store.putTask(lost), store.putTasks([newTask(`${q}/tasks/b`), lost])]
    .map(change => change.then(() => 'stored', (error: StoreError) => error.message))
  t.strictSame(await Promise.all(outcomes), ['stored', ...Array(2).fill(`The store has no queue for task ${lost.name}`)])
  t.strictSame([store.getTask(`${q}/tasks/a`)?.name, store.getTask(`${q}/tasks/b`)], [`${q}/tasks/a`, undefined])
  await store.close()
  t.equal((await opened(t, { directory })).tasks.length, 1)
})

t.test('a task is read from the last commit, an open one or the files, whichever has it last', async t => {
  const directory = join(await folder(t), 'store')
  const { store } = await opened(t, { directory })
  await store.putQueue(queueOf(q))
  const [a, b] = [newTask(`${q}/tasks/a`), newTask(`${q}/tasks/b`)]
  await store.putTask(a)
  t.equal(store.getTask(a.name), a, 'the very task, in the last commit')
  const attempted = failed(a)
  const stored = store.putTask(attempted)
  t.equal(store.getTask(a.name), attempted, 'in an open commit')
  await stored
  await store.putTask(b)
  t.not(store.getTask(a.name), attempted)
  t.strictSame(store.getTask(a.name), attempted, 'in the files')
  const removed = store.removeTask(a.name)
  t.equal(store.getTask(a.name), undefined)
  const again = store.putTask({ ...a, scheduleAt: now + 1 })
  t.strictSame(store.getTask(a.name), { ...a, scheduleAt: now + 1 })
  await Promise.all([removed, again])
  await store.putTask(b)
  t.strictSame(store.getTask(a.name), { ...a, scheduleAt: now + 1 })
  t.equal(store.getTask(`${q}/tasks/none`), undefined)
})

t.test('a task whose record is lost is not there, and one whose attempts are lost is as it was created', async t => {
  const { store } = await opened(t, { directory: join(await folder(t), 'store') })
  await store.putQueue(queueOf(q))
  const [a, other] = [newTask(`${q}/tasks/a`), newTask(`${q}/tasks/other`)]
  for (const task of [a, failed(a), other]) await store.putTask(task)
  t.strictSame(store.getTask(a.name), failed(a))
  const { get } = WriteAhead.prototype
  for (const [lost, found] of [['states', a], ['tasks', undefined]] as const) {
    t.intercept(WriteAhead.prototype, 'get', {
      value (this: WriteAhead, ...[table, key]: Parameters<typeof get>) {
        return table === lost ? undefined : get.call(this, table, key)
      }
    })
    t.strictSame(store.getTask(a.name), found, lost)
  }
})

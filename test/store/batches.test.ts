import { cp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { openDatabases } from '../../lib/store/lmdb/databases.js'
import { FORMAT_VERSION, prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { OrphanCleaner } from '../../lib/store/lmdb/orphans.js'
import { WriteAhead } from '../../lib/store/lmdb/write-ahead.js'
import type { StoreError } from '../../lib/store/store-error.js'
import { queue as q } from '../support/engine-harness.js'
import { folder } from '../support/folder.js'
import { ENOUGH, FailingDisk } from './failing-disk.js'
import { failed, newTask, now } from './stored-task.js'

const queueOf = (name: string) => ({ name, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' as const })

/** A store in `directory` that has queue q, and what it has stored. */
async function opened (t: Test, directory: string) {
  const disk = new FailingDisk()
  const store = new LmdbStore({ directory, createJournalFile: path => disk.createFile(path), freeBytes: () => disk.freeBytes() })
  t.teardown(() => store.close())
  const { queues, tasks, tombstones } = await store.load()
  const content = { queues: [...queues], tasks: [...tasks], tombstones: [...tombstones] }
  if (content.queues.length === 0) await store.putQueue(queueOf(q))
  return { store, disk, ...content }
}

/** Makes a change in a commit that fails, and another in the next one, which may fail too. Resolves with the outcome of both. */
async function inTwoCommits (
  { store, disk }: { store: LmdbStore, disk: FailingDisk }, failures: 1 | 2,
  first: (store: LmdbStore) => Promise<void>, second: (store: LmdbStore) => Promise<void>
): Promise<string[]> {
  disk.failWrites({ code: 'ENOSPC', written: 'half', times: 1 })
  disk.hold()
  const outcome = (change: Promise<void>) => change.then(() => 'stored', (error: StoreError) => error.problem ?? error.message)
  const outcomes = [outcome(first(store))]
  await new Promise(resolve => { setImmediate(resolve) })
  if (failures === 2) disk.setFreeBytes(0, 0)
  outcomes.push(outcome(second(store)))
  disk.release()
  await Promise.all(outcomes)
  disk.setFreeBytes(ENOUGH, 0)
  return await Promise.all(outcomes)
}

t.test('a change that waits for a commit that fails is stored as if that had not been asked for', async t => {
  const [a, other] = [`${q}/tasks/a`, `${q}-other`]
  const task = newTask(a)

  t.test('an attempt of a task whose creation fails brings the whole task', async t => {
    const directory = join(await folder(t), 'store')
    const one = await opened(t, directory)
    const outcomes = await inTwoCommits(one, 1, store => store.putTask(task), store => store.putTask(failed(task)))
    t.strictSame(outcomes, ['full', 'stored'])
    await one.store.close()
    t.strictSame((await opened(t, directory)).store.getTask(a), failed(task))
  })

  t.test('a task whose queue cannot be created is rejected', async t => {
    const directory = join(await folder(t), 'store')
    const one = await opened(t, directory)
    const lost = newTask(`${other}/tasks/a`)
    const outcomes = await inTwoCommits(one, 1, store => store.putQueue(queueOf(other)), store => store.putTask(lost))
    t.strictSame(outcomes, ['full', `The store has no queue for task ${lost.name}`])
    t.equal(one.store.getTask(lost.name), undefined)
    await one.store.close()
    t.strictSame((await opened(t, directory)).tasks, [])
  })

  t.test('a task that is added again after a removal that fails replaces the former', async t => {
    const directory = join(await folder(t), 'store')
    const one = await opened(t, directory)
    await one.store.putTask(failed(task))
    const newer = { ...task, scheduleAt: now + 1 }
    t.strictSame(await inTwoCommits(one, 1, store => store.removeTask(a), store => store.putTask(newer)), ['full', 'stored'])
    await one.store.close()
    const next = await opened(t, directory)
    t.equal(next.tasks.length, 1)
    t.strictSame(next.store.getTask(a), newer)
  })

  t.test('when both fail all is as before', async t => {
    const directory = join(await folder(t), 'store')
    const one = await opened(t, directory)
    await one.store.putTask(failed(task))
    t.strictSame(await inTwoCommits(one, 2, store => store.putTask(task), store => store.removeTask(a)), ['full', 'full'])
    t.strictSame(one.store.getTask(a), failed(task))
    await one.store.removeTask(a)
    await one.store.close()
    t.strictSame((await opened(t, directory)).tasks, [], 'and its end leaves no part of it')
  })

  t.test('a name that is forgotten in vain and used again is kept once', async t => {
    const directory = join(await folder(t), 'store')
    const one = await opened(t, directory)
    await one.store.removeTask(a, { name: a, until: 5 })
    const again = { name: a, until: 9 }
    t.strictSame(await inTwoCommits(one, 1, store => store.forget([a]), store => store.removeTask(a, again)), ['full', 'stored'])
    await one.store.close()
    t.strictSame((await opened(t, directory)).tombstones, [again])
  })

  t.test('a queue that is deleted in vain and given a task keeps all its tasks', async t => {
    const directory = join(await folder(t), 'store')
    const one = await opened(t, directory)
    await one.store.putTask(task)
    const outcomes = await inTwoCommits(one, 1, store => store.removeQueue(q, { name: q, until: 5 }), store => store.putQueue(queueOf(q)))
    t.strictSame(outcomes, ['full', 'stored'])
    t.strictSame(one.store.getTask(a), task)
    await one.store.putTask(newTask(`${q}/tasks/b`))
    await one.store.close()
    const next = await opened(t, directory)
    t.strictSame(next.tasks.map(({ name }) => name), [a, `${q}/tasks/b`])
    t.strictSame(next.tombstones, [])
  })
})

t.test('of two commits behind one that fails, the older one is made again first', async t => {
  let failure: Promise<never> | undefined
  const write = async (): Promise<void> => { await failure }
  const createJournalFile = async () => ({ write, truncate: async () => {}, close: async () => {} })
  // All stays in memory.
  const store = new LmdbStore({
    directory: join(await folder(t), 'store'), createJournalFile, journalBytes: 2 ** 40, freeBytes: () => ENOUGH
  })
  t.teardown(() => store.close())
  await store.load()
  await store.putQueue(queueOf(q))
  let fail!: (error: Error) => void
  failure = new Promise((_resolve, reject) => { fail = reject })
  const first = store.putTask(newTask(`${q}/tasks/first`))
  await new Promise(resolve => { setImmediate(resolve) })
  // As much as one commit has.
  const large = newTask(`${q}/tasks/large`, { httpRequest: { url: 'http://localhost/', body: Buffer.alloc(64 * 2 ** 20) } })
  const later = [store.putTask(large), store.putTask(failed(large))]
  fail(Object.assign(new Error('full'), { code: 'ENOSPC' }))
  failure = undefined
  await t.rejects(first, { name: 'StoreError', problem: 'full' })
  await Promise.all(later)
  await store.putTask(newTask(`${q}/tasks/other`))
  t.equal(store.getTask(large.name)?.dispatchCount, 1)
  await store.removeTask(large.name)
})

t.test('a queue that is created after a restart shares no tasks with a former one', async t => {
  const directory = join(await folder(t), 'store')
  const gone = `${q}-gone`
  const one = await opened(t, directory)
  await one.store.putQueue(queueOf(`${q}-empty`))
  await one.store.putQueue(queueOf(gone))
  await one.store.putTasks(Array.from({ length: 600 }, (_, i) => newTask(`${gone}/tasks/${i}`)))
  await one.store.putTask(newTask(`${q}/tasks/a`))
  const removed = one.store.removeQueue(gone)
  const closed = one.store.close()
  await removed
  await closed
  const two = await opened(t, directory)
  await two.store.putQueue(queueOf(`${q}-new`))
  await two.store.putQueue(queueOf(gone))
  await two.store.putTasks([newTask(`${q}-new/tasks/b`), newTask(`${q}-empty/tasks/c`)])
  await two.store.close()
  const three = await opened(t, directory)
  t.strictSame(three.tasks.map(({ name }) => name).sort(), [`${q}-empty/tasks/c`, `${q}-new/tasks/b`, `${q}/tasks/a`])
  await three.store.putQueue(queueOf(`${q}-last`))
  await three.store.close()
  const four = await opened(t, directory)
  await four.store.putQueue(queueOf(`${q}-after`))
  await four.store.putTasks([newTask(`${q}-last/tasks/d`), newTask(`${q}-after/tasks/e`)])
  await four.store.close()
  const five = await opened(t, directory)
  t.strictSame(five.tasks.map(({ name }) => name).filter(name => /[de]$/.test(name)).sort(), [`${q}-after/tasks/e`, `${q}-last/tasks/d`])
  await five.store.close()
  const databases = await openDatabases(directory, prepareDirectory(directory))
  t.teardown(() => databases.root.close())
  t.strictSame([databases.queues.getCount(), databases.tasks.getCount()], [6, 5], 'the tasks of the deleted one are removed')
})

t.test('while a write is held', async t => {
  const one = await opened(t, join(await folder(t), 'store'))
  const [a, b] = [`${q}/tasks/a`, `${q}/tasks/b`]
  await one.store.putTask(newTask(b))
  one.disk.hold()
  const added = one.store.putTask(newTask(a))
  const removed = one.store.removeQueue(q)
  t.equal(one.store.getTask(a), undefined, 'a task of a queue that is being removed is not there')
  t.equal(one.store.getTask(b), undefined, 'nor one that was there before')
  let isClosed = false
  const closed = one.store.close().then(() => { isClosed = true })
  for (let turn = 0; turn < 20; turn++) await new Promise(resolve => { setImmediate(resolve) })
  t.equal(isClosed, false, 'closing waits for it')
  await t.rejects(one.store.putTask(newTask(a)), { name: 'StoreError', problem: 'closed' })
  one.disk.release()
  await Promise.all([added, removed, closed])
})

t.test('a format.json of a new store beside changes is reported as half a restore, and nothing is removed', async t => {
  const source = join(await folder(t), 'store')
  const { store } = await opened(t, source)
  await store.putTask(newTask(`${q}/tasks/a`))
  const crashed = join(await folder(t), 'crashed')
  await cp(source, crashed, { recursive: true })
  await store.close()
  const format = JSON.stringify({ format: 'fastify-cloud-tasks', version: FORMAT_VERSION, state: 'new' })
  const cases: Array<[title: string, from: string, change: (directory: string) => Promise<unknown>]> = [
    ['a database with records', source, async () => {}],
    ['a journal with commits', crashed, async directory => { await rm(join(directory, 'tasks.mdb')) }],
    ['a large database that is damaged', source, async directory => { await writeFile(join(directory, 'tasks.mdb'), Buffer.alloc(70_000)) }]
  ]
  for (const [title, from, change] of cases) {
    t.test(title, async t => {
      const directory = join(await folder(t), 'store')
      await cp(from, directory, { recursive: true })
      await rm(join(directory, 'owner.json'), { force: true })
      await change(directory)
      await writeFile(join(directory, 'format.json'), format)
      const contents = async () => await Promise.all(readdirSync(directory).filter(name => !name.endsWith('-lock')).sort()
        .map(async name => [name, (await readFile(join(directory, name))).toString('base64')]))
      const before = await contents()
      const load = new LmdbStore({ directory }).load()
      await t.rejects(load, { name: 'StoreError', problem: 'damaged', message: /format\.json.*half a restore/ })
      t.strictSame(await contents(), before)
      if (title !== 'a database with records') return
      // The copy of format.json that goes with it.
      await cp(join(source, 'format.json'), join(directory, 'format.json'))
      t.strictSame((await opened(t, directory)).tasks.length, 1)
    })
  }

  t.test('what interrupted first starts leave is no obstacle', async t => {
    const empty = join(await folder(t), 'store')
    const first = new LmdbStore({ directory: empty })
    await first.load()
    for (const change of [
      async () => {},
      async (directory: string) => { await truncate(join(directory, 'tasks.mdb'), 5000) },
      async (directory: string) => { await rm(join(directory, 'tasks.mdb')) },
      async (directory: string) => { for (const part of [1, 2]) await writeFile(join(directory, `1-${part}.journal`), '') }
    ]) {
      const directory = join(await folder(t), 'store')
      await cp(empty, directory, { recursive: true })
      await rm(join(directory, 'owner.json'))
      await writeFile(join(directory, 'format.json'), format)
      await change(directory)
      const { store, queues, disk } = await opened(t, directory)
      t.equal(disk.openingProblem, undefined)
      t.strictSame(queues, [])
      await store.close()
      t.strictSame((await opened(t, directory)).queues.length, 1)
    }
    await first.close()
  })
})

t.test('the tasks of a removed queue are removed 500 at a time, those of the next queue afterwards', async t => {
  const removed: number[][] = []
  const releases: Array<() => void> = []
  const cleaner = new OrphanCleaner(tasks => new Promise(resolve => {
    removed.push([...tasks])
    releases.push(resolve)
  }))
  const numbers = (count: number) => Array.from({ length: count }, (_, index) => index)
  const next = async (): Promise<number[]> => {
    releases.pop()!()
    await new Promise(resolve => { setImmediate(resolve) })
    return removed.map(tasks => tasks.length)
  }
  cleaner.add([])
  cleaner.add(numbers(1001))
  cleaner.add(numbers(500))
  cleaner.add([7])
  t.strictSame(removed, [numbers(500)])
  t.strictSame(await next(), [500, 500])
  t.strictSame(await next(), [500, 500, 1])
  t.strictSame(await next(), [500, 500, 1, 500])
  t.strictSame(await next(), [500, 500, 1, 500, 1], 'no commit is empty')
  t.strictSame(removed[4], [7])
  await next()
  cleaner.add(numbers(501))
  t.equal(removed.length, 6, 'it starts again for a later queue')
  cleaner.stop()
  releases.pop()!()
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(removed.length, 6, 'and stops between two commits')
})

t.test('a change writes only the rows that it needs, and says which are new and whether it only shrinks', async t => {
  const { store } = await opened(t, join(await folder(t), 'store'))
  const written: string[][] = []
  const { write } = WriteAhead.prototype
  t.intercept(WriteAhead.prototype, 'write', {
    value (this: WriteAhead, ...[rows, shrinks]: Parameters<typeof write>) {
      const said = rows.map(([table, key, value, isNew]) =>
        `${table} ${key} ${value === undefined ? 'removed' : isNew === true ? 'new' : 'changed'}`)
      written.push([...said, shrinks ? 'shrinks' : 'grows'])
      return write.call(this, rows, shrinks)
    }
  })
  const [a, b, c] = ['a', 'b', 'c'].map(id => newTask(`${q}/tasks/${id}`)) as [Task, Task, Task]
  for (const [title, change, rows] of [
    ['a new task', () => store.putTask(a), ['tasks 1 new', 'grows']],
    ['over it', () => store.putTask({ ...a, scheduleAt: 1 }), ['tasks 1 changed', 'grows']],
    ['its first attempt', () => store.putTask(failed(a)), ['states 1 new', 'shrinks']],
    ['its second attempt', () => store.putTask(failed(failed(a))), ['states 1 changed', 'shrinks']],
    ['a new task of its name', () => store.putTask(a), ['tasks 1 changed', 'states 1 removed', 'grows']],
    ['its attempt', () => store.putTask(failed(a)), ['states 1 new', 'shrinks']],
    ['its end', () => store.removeTask(a.name), ['tasks 1 removed', 'states 1 removed', 'shrinks']],
    ['its end again', () => store.removeTask(a.name), ['shrinks']],
    ['an end in a queue that is not there', () => store.removeTask(`${q}-none/tasks/a`), ['shrinks']],
    ['new ones, attempted', () => store.putTasks([failed(b), c]), ['tasks 2 new', 'states 2 new', 'tasks 3 new', 'grows']],
    ['an end that leaves its name', () => store.removeTask(b.name, { name: b.name, until: 5 }),
      ['names 1 new', 'tasks 2 removed', 'states 2 removed', 'shrinks']],
    ['that name is free', () => store.forget([b.name, 'unknown']), ['names 1 removed', 'shrinks']],
    ['the settings of a queue', () => store.putQueue(queueOf(q)), [`queues ${q} changed`, 'grows']],
    ['no queue', () => store.removeQueue('unknown', { name: 'unknown', until: 5 }), ['names 2 new', 'shrinks']],
    ['a queue', () => store.removeQueue(q), [`queues ${q} removed`, 'shrinks']],
    ['then its tasks', async () => {}, ['tasks 3 removed', 'shrinks']]
  ] as Array<[string, () => Promise<void>, string[]]>) {
    await change()
    t.strictSame(written.shift(), rows, title)
  }
  t.strictSame(written, [])
})

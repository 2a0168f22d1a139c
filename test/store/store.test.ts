import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import { LmdbStore, type LmdbStoreOptions } from '../../lib/store/lmdb/lmdb-store.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import type { Store, StoredQueue, TaskIndexEntry, Tombstone } from '../../lib/store/store.js'
import { queue as q } from '../support/engine-harness.js'
import { runScenario, scenario } from './store-model.js'
import { failed, newTask, now } from './stored-task.js'

const keptQueue = (name: string): StoredQueue => ({ name, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' })

/** What a store holds. */
interface Content {
  readonly queues: StoredQueue[]
  readonly tasks: TaskIndexEntry[]
  readonly tombstones: Tombstone[]
}

async function contentOf (store: Store): Promise<Content> {
  const { queues, tombstones, tasks } = await store.load()
  return { queues: [...queues], tombstones: [...tombstones], tasks: [...tasks] }
}

/** Both stores, as a way to make an empty one and a way to come back to it as the next process would. */
const stores: Record<string, (t: Test) => Promise<{ store: Store, reopen: (store: Store) => Promise<Store> }>> = {
  memory: async () => ({ store: new MemoryStore(), reopen: async store => store }),
  disk: onDisk({}, store => store.close()),
  'disk, whose journal goes to the databases with every commit': onDisk({ journalBytes: 1 }, store => store.close()),
  'disk, after a crash': onDisk({}, async () => {})
}

/** @param leave what happens to a store before the next process comes, on a copy of its files */
function onDisk (options: Partial<LmdbStoreOptions>, leave: (store: Store) => Promise<void>) {
  return async (t: Test) => {
    const folder = await mkdtemp(join(tmpdir(), 'store-'))
    const opened: Store[] = []
    const next = (): Store => {
      const store = new LmdbStore({ directory: join(folder, String(opened.length)), ...options })
      opened.push(store)
      return store
    }
    t.teardown(async () => {
      for (const store of opened) await store.close()
      await rm(folder, { recursive: true })
    })
    return {
      store: next(),
      reopen: async (store: Store) => {
        await leave(store)
        await cp(join(folder, String(opened.length - 1)), join(folder, String(opened.length)), { recursive: true })
        // The copy has no owner: the process that is said to have it, this one, lives.
        await rm(join(folder, String(opened.length), 'owner.json'), { force: true })
        return next()
      }
    }
  }
}

for (const [name, create] of Object.entries(stores)) {
  t.test(`a store: ${name}`, async t => {
    const opened = async (t: Test) => {
      const { store, reopen } = await create(t)
      t.same(await contentOf(store), { queues: [], tasks: [], tombstones: [] })
      await store.putQueue(keptQueue(q))
      return { store, reopen }
    }

    t.test('gives a task back as it was put, at once and after a restart, whatever it consists of', async t => {
      const { store, reopen } = await opened(t)
      const big = Buffer.alloc(1_000_000, 'é')
      const tasks = [
        newTask(`${q}/tasks/plain`, { dispatchDeadlineMs: 15_000 }),
        newTask(`${q}/tasks/${'9'.repeat(500)}`, { generatedId: true, scheduleAt: now + 86_400_000.125 }),
        newTask(`${q}/tasks/bodyless`, {
          httpRequest: { url: 'https://example.com/ü?a=b', httpMethod: 'GET', oidcToken: { serviceAccountEmail: 'a@b.c', audience: 'x' } }
        }),
        newTask(`${q}/tasks/empty-body`, { httpRequest: { url: 'http://localhost/', body: Buffer.alloc(0), headers: { a: '"\u2028' } } }),
        newTask(`${q}/tasks/big`, { httpRequest: { url: 'http://localhost/', body: big } }),
        newTask(`${q}/tasks/app-engine`, {
          appEngineHttpRequest: { relativeUri: '/work', appEngineRouting: { service: 's', host: 'h' }, body: Buffer.from([0, 255, 10]) }
        })
      ]
      const puts = tasks.map(task => store.putTask(task))
      for (const task of tasks) t.strictSame(store.getTask(task.name), task, 'before it is durable')
      await Promise.all(puts)
      await store.putQueue({ ...keptQueue(q), state: 'PAUSED' })
      for (const task of tasks) t.strictSame(store.getTask(task.name), task, 'once it is durable')
      const next = await reopen(store)
      const { tasks: index, queues } = await contentOf(next)
      t.same(queues, [{ ...keptQueue(q), state: 'PAUSED' }])
      const indexed = (tasks: readonly TaskIndexEntry[]) =>
        new Map(tasks.map(({ name, scheduleAt, createdAt, generatedId }) => [name, { scheduleAt, createdAt, generatedId }]))
      t.same(indexed(index), indexed(tasks))
      for (const task of tasks) t.strictSame(next.getTask(task.name), task, 'after a restart')
      t.equal(next.getTask(`${q}/tasks/other`), undefined)
      t.equal(next.getTask('projects/p/locations/l/queues/other/tasks/plain'), undefined)
    })

    t.test('adds many tasks in one step, or none of them', async t => {
      const { store, reopen } = await opened(t)
      const other = `${q}-other`
      await store.putQueue(keptQueue(other))
      const tasks = Array.from({ length: 600 }, (_, i) => newTask(`${i % 2 === 0 ? q : other}/tasks/${i}`))
      const stored = store.putTasks(tasks)
      t.ok(tasks.every(task => store.getTask(task.name) === task), 'before they are durable')
      await stored
      await store.putTasks([])
      if (name !== 'memory') {
        const lost = newTask('projects/p/locations/l/queues/none/tasks/a')
        await t.rejects(store.putTasks([newTask(`${q}/tasks/beside`), lost]), /no queue/)
        t.equal(store.getTask(`${q}/tasks/beside`), undefined)
      }
      const next = await reopen(store)
      t.equal((await contentOf(next)).tasks.length, 600)
      t.same(tasks.map(task => next.getTask(task.name)), tasks, 'after a restart')
    })

    t.test('keeps what attempts leave behind, and the request as it was', async t => {
      const { store, reopen } = await opened(t)
      const first = newTask(`${q}/tasks/a`)
      const untouched = newTask(`${q}/tasks/b`)
      await Promise.all([store.putTask(first), store.putTask(untouched)])
      const second = failed(first)
      const third = failed(second, now + 60_000)
      const puts = [store.putTask(second), store.putTask(third)]
      t.match(store.getTask(first.name), { dispatchCount: 2, previousResponse: 500, scheduleAt: third.scheduleAt })
      await Promise.all(puts)
      const next = await reopen(store)
      t.same((await contentOf(next)).tasks.map(task => task.scheduleAt).sort(), [untouched.scheduleAt, third.scheduleAt])
      t.same(next.getTask(first.name), third)
      t.same(next.getTask(untouched.name), untouched)

      await next.removeTask(first.name)
      await next.putTask({ ...first, scheduleAt: now + 9 })
      t.same(next.getTask(first.name), { ...first, scheduleAt: now + 9 }, 'a new task of that name starts afresh')
      await next.putTask({ ...first, scheduleAt: now + 10 })
      const last = await reopen(next)
      t.match((await contentOf(last)).tasks.map(task => task.scheduleAt).sort(), [now, now + 10], 'and so does one that is put over it')
      t.same(last.getTask(first.name), { ...first, scheduleAt: now + 10 })
    })

    t.test('knows when the former run stored something last, where it survives one', async t => {
      const before = Date.now()
      const { store, reopen } = await opened(t)
      await store.putTask(newTask(`${q}/tasks/a`))
      const { lastKnownAt } = await (await reopen(store)).load()
      if (name === 'memory') t.equal(lastKnownAt, undefined)
      // File systems count time in steps of some milliseconds.
      else t.ok(lastKnownAt! > before - 50 && lastKnownAt! <= Date.now(), `${lastKnownAt! - before} ms after the start`)
    })

    t.test('keeps tombstones until they are removed', async t => {
      const { store, reopen } = await opened(t)
      const [a, b] = [newTask(`${q}/tasks/a`), newTask(`${q}/tasks/b`)]
      await Promise.all([a, b].map(task => store.putTask(task)))
      const removed = store.removeTask(a.name, { name: a.name, until: now + 0.5 })
      t.equal(store.getTask(a.name), undefined, 'gone at once')
      await Promise.all([removed, store.removeTask(b.name), store.removeTask('never', { name: 'never', until: now })])
      const next = await reopen(store)
      const { tasks, tombstones } = await contentOf(next)
      t.same(tasks, [])
      t.same(tombstones.sort((x, y) => x.until - y.until), [{ name: 'never', until: now }, { name: a.name, until: now + 0.5 }])
      await next.forget(['never', 'unknown'])
      t.same((await contentOf(await reopen(next))).tombstones, [{ name: a.name, until: now + 0.5 }])
    })

    t.test('removes a queue with all its tasks; a queue made under that name later is empty, and stays so', async t => {
      const { store, reopen } = await opened(t)
      const other = `${q}-other`
      await store.putQueue(keptQueue(other))
      const tasks = Array.from({ length: 1300 }, (_, i) => newTask(`${i % 13 === 0 ? other : q}/tasks/t${i}`))
      await Promise.all(tasks.map(task => store.putTask(task)))
      const gone = store.removeQueue(q, { name: q, until: now })
      t.equal(store.getTask(`${q}/tasks/t1`), undefined, 'gone at once')
      await gone
      await store.putQueue(keptQueue(q))
      await store.putTask(newTask(`${q}/tasks/t2`, { scheduleAt: now + 7 }))
      t.equal(store.getTask(`${q}/tasks/t1`), undefined)
      const next = await reopen(store)
      const content = await contentOf(next)
      t.same(content.tombstones, [{ name: q, until: now }])
      t.same(content.queues.map(queue => queue.name).sort(), [q, other])
      t.equal(content.tasks.length, 101)
      t.match(content.tasks.filter(task => task.name.startsWith(`${q}/`)), [{ name: `${q}/tasks/t2`, scheduleAt: now + 7 }])
      await next.removeQueue(`${q}-unknown`)
    })
  })
}

t.test('a store has what it acknowledged and nothing that it rejected, whatever fails', async t => {
  // Syncs cost nothing there.
  const root = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'store-'))
  t.teardown(async () => { await rm(root, { recursive: true }) })
  const given = process.env['SEED']
  // An error has the seed and the shortest sequence of steps that fails. SEED=n repeats one; `npm run bench -- model` does many.
  for (const seed of given === undefined ? [1, Date.now() % 1_000_000] : [Number(given)]) {
    await fc.assert(fc.asyncProperty(scenario, async scenario => {
      await runScenario(scenario, await mkdtemp(join(root, 'run-')))
    // An error comes before the runner ends the file, if need be with a sequence that could be shorter.
    }), { seed, numRuns: 6, interruptAfterTimeLimit: 90_000 })
    t.pass(`SEED=${seed}`)
  }
})

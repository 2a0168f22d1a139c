import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { TaskEntry } from '../../lib/engine/memory/task-queue.js'
import { WriteBehind, type ErrorContext, type WriteBehindOptions } from '../../lib/engine/write-behind.js'
import { FragileStore, queue } from '../support/engine-harness.js'

const entry = (id: string, generatedId = false): TaskEntry =>
  new TaskEntry({ name: `${queue}/tasks/${id}`, scheduleAt: 0, createdAt: 0, ...(generatedId ? { generatedId } : undefined) })

function writer (options: Partial<WriteBehindOptions> = {}) {
  const clock = new ManualClock()
  const store = new FragileStore()
  const reported: Array<[message: string, where: ErrorContext]> = []
  const writeBehind = new WriteBehind({
    store,
    clock,
    tombstoneMs: () => 1000,
    rememberGeneratedNames: false,
    onError: (error, where) => { reported.push([String(error), where]) },
    find: () => undefined,
    ...options
  })
  return { clock, store, reported, writeBehind }
}

t.test('an error of the store is reported again a minute later, with the number of all since then', async t => {
  const { clock, reported, writeBehind } = writer()
  writeBehind.report(new Error('full'), 'a')
  clock.pass(59_999)
  for (const name of ['b', 'c']) writeBehind.report(new Error('full'), name)
  t.strictSame(reported.splice(0), [['Error: full', { during: 'store', name: 'a' }]])
  clock.pass(1)
  writeBehind.report(new Error('full'), undefined)
  t.strictSame(reported.splice(0), [['Error: full', { during: 'store', count: 3 }]])
  clock.pass(60_000)
  writeBehind.report(new Error('full'), 'd')
  t.strictSame(reported, [['Error: full', { during: 'store', name: 'd' }]])
})

t.test('errors without a message are of one kind where they print the same', async t => {
  const { reported, writeBehind } = writer()
  for (const error of ['full', 'full', 'broken']) writeBehind.report(error, undefined)
  t.strictSame(reported.map(([message]) => message), ['full', 'broken'])
})

t.test('twenty kinds of errors are remembered', async t => {
  const { reported, writeBehind } = writer()
  for (let kind = 0; kind < 20; kind++) writeBehind.report(`e${kind}`, undefined)
  for (let kind = 0; kind < 20; kind++) writeBehind.report(`e${kind}`, undefined)
  t.equal(reported.splice(0).length, 20)
  for (const error of ['e20', 'e0', 'e20']) writeBehind.report(error, undefined)
  t.strictSame(reported.map(([message]) => message), ['e20', 'e0'])
})

t.test('failed writes are retried eight with each write, a thousand with each timer, and all by settle', async t => {
  const { clock, store, writeBehind } = writer()
  const fail = async (count: number): Promise<void> => {
    await Promise.all(Array.from({ length: count }, (_, task) => writeBehind.track(Promise.reject(new Error('full')), `t${task}`)))
  }
  await fail(2500)
  t.equal(clock.pending, 1)
  t.equal(await writeBehind.remove(entry('a')), true)
  t.equal(store.calls.splice(0).length, 9)
  await clock.advance(4999)
  t.equal(store.calls.length, 0)
  await clock.advance(1)
  t.equal(store.calls.splice(0).length, 1000)
  await clock.advance(5000)
  t.equal(store.calls.splice(0).length, 1000)
  await clock.advance(5000)
  t.equal(store.calls.splice(0).length, 492)
  t.equal(clock.pending, 0, 'nothing is left to retry')
  await fail(1500)
  await writeBehind.settle()
  t.equal(store.calls.length, 1500)
  writeBehind.close()
  t.equal(clock.pending, 0)
})

t.test('a write that belongs to no task is reported without a name, and not retried', async t => {
  const { clock, reported, writeBehind } = writer()
  t.equal(await writeBehind.track(Promise.reject(new Error('full'))), false)
  t.strictSame(reported, [['Error: full', { during: 'store' }]])
  t.equal(clock.pending, 0)
})

t.test('a task that is being changed is not written, and its write is retried later', async t => {
  let changing = true
  const { clock, store, writeBehind } = writer({ find: () => changing ? null : undefined })
  await writeBehind.track(Promise.reject(new Error('full')), 'a')
  await clock.advance(10_000)
  t.strictSame([store.calls, clock.pending], [[], 1])
  changing = false
  await clock.advance(5000)
  t.strictSame([store.calls, clock.pending], [['removeTask'], 0])
})

t.test('a failed write of a task that is stored by now is not retried', async t => {
  const stored = entry('a')
  const { clock, store, writeBehind } = writer({ find: () => stored })
  await writeBehind.track(Promise.reject(new Error('full')), stored.name)
  await clock.advance(5000)
  t.strictSame([store.calls, clock.pending], [[], 0])
})

t.test('a failed write of a task whose attempt runs is retried after it, even if it was not delivered', async t => {
  const running = entry('a')
  const { name } = running
  running.unstored = { name, scheduleAt: 0, createdAt: 0, dispatchCount: 1, responseCount: 1, executionCount: 1 }
  running.attempts = 1
  const { clock, store, writeBehind } = writer({ find: () => running })
  await writeBehind.track(Promise.reject(new Error('full')), name)
  await clock.advance(10_000)
  t.strictSame([store.calls, clock.pending], [[], 1])
  running.attempts = 0
  await clock.advance(5000)
  t.strictSame([store.calls, clock.pending, running.unstored], [['putTask'], 0, undefined])
})

t.test('a tombstone is added for a name that was given, for a generated one on request, and not for no time', async t => {
  const added = (options: Partial<WriteBehindOptions>, generated: boolean): number | undefined => {
    const { clock, writeBehind } = writer(options)
    const tombstone = writeBehind.addTombstone(entry('a', generated))
    t.equal(writeBehind.names.has(`${queue}/tasks/a`), tombstone !== undefined)
    return tombstone && tombstone.until - clock.now()
  }
  t.equal(added({}, false), 1000)
  t.equal(added({}, true), undefined)
  t.equal(added({ rememberGeneratedNames: true }, true), 1000)
  t.equal(added({ tombstoneMs: () => 0 }, false), undefined)
})

t.test('a sweep removes eight expired tombstones for each operation, in the store too', async t => {
  const { clock, store, writeBehind } = writer()
  const forgotten: number[] = []
  store.forget = async names => { forgotten.push([...names].length) }
  for (let name = 0; name < 30; name++) writeBehind.names.add(`n${name}`, 1000)
  writeBehind.sweep()
  t.strictSame(forgotten, [])
  clock.pass(60_000)
  writeBehind.sweep()
  writeBehind.sweep(2)
  t.strictSame(forgotten.splice(0), [8, 16])
  writeBehind.sweep()
  writeBehind.sweep()
  t.strictSame(forgotten, [6])
})

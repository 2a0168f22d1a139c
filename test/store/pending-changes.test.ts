import t from 'tap'
import { queue as q } from '../support/engine-harness.js'
import { GroupCommit, type Batch } from '../../lib/store/lmdb/group-commit.js'
import { Layer, Memtable } from '../../lib/store/lmdb/memtable.js'
import type { IndexedQueue } from '../../lib/store/lmdb/record-index.js'
import type { Row } from '../../lib/store/lmdb/record-format.js'
import { addEdit, newBatch, note, repeat, revert, type Edit, type TaskBatch } from '../../lib/store/lmdb/task-batch.js'
import { NameMap } from '../../lib/store/name-map.js'
import { newTask } from './stored-task.js'

t.test('batches are written one at a time, in order, and settle with their own outcome', async t => {
  const events: string[] = []
  const writes: Array<{ resolve: () => void, reject: (error: Error) => void }> = []
  const written: Batch[] = []
  const commits = new GroupCommit<Batch>({
    begin: batch => batch,
    write: batch => new Promise((resolve, reject) => {
      written.push(batch)
      events.push(`write ${batch.rows.length}`)
      writes.push({ resolve, reject })
    }),
    onDone: (batch, isFailed) => events.push(`${isFailed ? 'failed' : 'done'} ${batch.rows.length}`)
  })
  const add = (): Batch => {
    const batch = commits.batch()
    batch.rows.push(['names', 1, undefined])
    return batch
  }
  const one = add()
  t.strictSame([one.bytes, one.shrinks], [0, true])
  t.equal(add(), one, 'changes of one turn share a batch')
  t.strictSame(events, [])
  await Promise.resolve()
  t.strictSame(events, ['write 2'])

  const two = add()
  t.strictSame([...commits.open()], [two, one])
  two.bytes = 64 * 1024 * 1024 - 1
  t.equal(commits.batch(), two)
  two.bytes++
  const three = commits.batch()
  t.not(three, two, 'a batch that is full takes no more')
  t.strictSame([...commits.open()], [three, two, one])
  await Promise.resolve()
  t.strictSame(events.splice(0), ['write 2'], 'only one is under way')

  writes[0]!.reject(new Error('disk'))
  await t.rejects(one.promise, { message: 'disk' })
  t.strictSame(events.splice(0), ['failed 2', 'write 1'], 'the rollback comes before the next write')
  writes[1]!.resolve()
  await two.promise
  t.strictSame(events.splice(0), ['write 0', 'done 1'], 'the next write starts first')

  let isClosed = false
  const closing = commits.close().then(() => { isClosed = true })
  t.throws(() => commits.batch(), { name: 'StoreError', problem: 'closed' })
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(isClosed, false)
  writes[2]!.reject(new Error('disk'))
  await t.rejects(three.promise, { message: 'disk' })
  await closing
  t.strictSame([...commits.open()], [])
  t.strictSame(written, [one, two, three])
})

const row = (key: number, bytes: number | undefined): Row => ['tasks', key, bytes === undefined ? undefined : Buffer.alloc(bytes)]
const indexed = (number: number): IndexedQueue => ({ number, name: q, tasks: new NameMap() })

function emptyBatch (): TaskBatch {
  return newBatch({ rows: [], bytes: 0, shrinks: true, promise: Promise.resolve(), resolve: () => {}, reject: () => {} })
}

/** What a batch would write, and whether it has something to roll back. */
const stateOf = ({ rows, bytes, shrinks, edits, changes, undo, failure }: TaskBatch) =>
  ({ keys: rows.map(([, key]) => key), bytes, shrinks, edits: edits.length, changes: changes.size, undo: undo.length, failure })

const empty = { keys: [], bytes: 0, shrinks: true, edits: 0, changes: 0, undo: 0, failure: undefined }

t.test('a batch counts the bytes of its rows, and is as before when a change throws', async t => {
  const batch = emptyBatch()
  t.strictSame(stateOf(batch), empty)
  addEdit(batch, ({ rows }) => { rows.push(row(1, 10), row(2, undefined)) })
  addEdit(batch, ({ rows }) => { rows.push(row(3, 5)) })
  const before = { ...empty, keys: [1, 2, 3], bytes: 15, edits: 2 }
  t.strictSame(stateOf(batch), before)
  t.throws(() => { addEdit(batch, () => { throw new Error('no queue') }) }, { message: 'no queue' })
  t.strictSame(stateOf(batch), before)
})

t.test('a batch that is rolled back leaves each task with the record that it had before', async t => {
  const [name, other] = [`${q}/tasks/a`, `${q}/tasks/b`]
  const task = newTask(name)
  const [first, second] = [indexed(1), indexed(2)]
  const to = (queue: IndexedQueue, number: number | undefined): Edit => batch => {
    const before = queue.tasks.get(name)
    if (number === undefined) queue.tasks.delete(name)
    else queue.tasks.set(name, number)
    note(batch, name, { queue, task: number === undefined ? undefined : task, before })
  }
  const cases: Array<{ title: string, before?: number, edits: Edit[], task?: typeof task }> = [
    { title: 'a new one', edits: [to(first, 8)], task },
    { title: 'a new one that was attempted', edits: [to(first, 8), to(first, -8)], task },
    { title: 'a new one that was removed', edits: [to(first, 8), to(first, undefined)] },
    { title: 'one that was attempted', before: 7, edits: [to(first, -7)], task },
    { title: 'one that was attempted and removed', before: 7, edits: [to(first, -7), to(first, undefined)] },
    { title: 'one that was removed and created again', before: -7, edits: [to(first, undefined), to(first, 8)], task },
    { title: 'one that was created in a new queue of that name', before: 7, edits: [to(first, -7), to(second, 8)], task },
    { title: 'one that was removed from a new queue', before: 7, edits: [to(first, -7), to(second, 8), to(second, undefined)] },
    { title: 'one that was new in both queues', edits: [to(first, 7), to(second, 8)], task }
  ]
  for (const { title, before, edits, task } of cases) {
    const batch = emptyBatch()
    for (const queue of [first, second]) queue.tasks.set(other, 3)
    if (before !== undefined) first.tasks.set(name, before)
    for (const edit of edits) addEdit(batch, edit)
    t.equal(batch.changes.get(name)!.task, task, title)
    batch.shrinks = false
    revert(batch)
    const records = [first, second].map(({ tasks }) => [tasks.get(name), tasks.get(other), tasks.size])
    t.strictSame(records, [[before, 3, before === undefined ? 1 : 2], [undefined, 3, 1]], title)
    t.strictSame(stateOf(batch), { ...empty, edits: edits.length })
    first.tasks.delete(name)
  }
})

t.test('a batch rolls back in reverse order, and makes its changes again in order', async t => {
  const calls: string[] = []
  let isRefused = false
  const edit = (key: number): Edit => ({ rows, undo }) => {
    if (isRefused && key === 2) throw new Error('no queue')
    calls.push(`do ${key}`)
    undo.push(() => { calls.push(`undo ${key}`) })
    rows.push(row(key, key))
  }
  const batch = emptyBatch()
  addEdit(batch, edit(1))
  addEdit(batch, edit(2))
  const made = { ...empty, keys: [1, 2], bytes: 3, edits: 2, undo: 2 }
  t.strictSame(stateOf(batch), made)
  revert(batch)
  t.strictSame(calls.splice(0), ['do 1', 'do 2', 'undo 2', 'undo 1'])
  isRefused = true
  repeat(batch)
  t.strictSame(calls.splice(0), ['do 1', 'undo 1'], 'all or none')
  t.strictSame(stateOf(batch), { ...empty, edits: 2, failure: new Error('no queue') })
  isRefused = false
  repeat(batch)
  t.strictSame(calls, ['do 1', 'do 2'])
  t.strictSame(stateOf(batch), made, 'a later failure of an earlier batch may make it possible')
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
    {
      title: 'changed and removed',
      rows: [['tasks', 1, ten], ['tasks', 1, undefined]],
      bytes: 74,
      got: undefined,
      kept: [['tasks', 1, undefined]]
    },
    { title: 'removed', rows: [['tasks', 1, undefined]], bytes: 32, got: undefined, kept: [['tasks', 1, undefined]] },
    {
      title: 'removed and created again',
      rows: [['tasks', 1, undefined], ['tasks', 1, ten, true]],
      bytes: 74,
      got: ten,
      kept: [['tasks', 1, undefined], ['tasks', 1, ten]]
    },
    {
      title: 'removed, created again and removed',
      rows: [['tasks', 1, undefined], ['tasks', 1, ten, true], ['tasks', 1, undefined]],
      bytes: 32,
      got: undefined,
      kept: [['tasks', 1, undefined]]
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
  const { active } = table
  table.complete()
  t.equal(table.flushing, active)
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 70, ['old', 'old', null]])
  table.active.add([['tasks', 1, undefined], ['tasks', 3, Buffer.from('new')]])
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 137, [undefined, 'old', 'new']])
  table.drop()
  t.equal(table.flushing, undefined)
  t.strictSame([table.isEmpty, table.bytes, read()], [false, 67, [undefined, null, 'new']])
})

t.test('a map by name gives back what was set last, and counts each name once', async t => {
  const map = new NameMap<number | undefined>()
  const names = ['', 'a', 'a/b', ...Array.from({ length: 500 }, (_, i) => `${q}/tasks/${i}`)]
  t.strictSame([map.size, map.has('a'), map.get('a'), map.delete('a'), [...map.values()]], [0, false, undefined, false, []])
  for (const [index, name] of names.entries()) map.set(name, index)
  t.equal(map.size, names.length)
  t.strictSame(names.map(name => map.get(name)), names.map((_, index) => index))
  t.strictSame([...map.values()].sort((a, b) => a! - b!), names.map((_, index) => index))
  map.set('a', undefined)
  t.strictSame([map.size, map.has('a'), map.get('a'), map.has('b')], [names.length, true, undefined, false])
  t.strictSame([map.delete('a'), map.delete('a'), map.size, map.has('a')], [true, false, names.length - 1, false])
})

t.test('what stays in a map by name is iterated over once, whatever is added and deleted meanwhile', async t => {
  const map = new NameMap<string>()
  const names = (prefix: string) => Array.from({ length: 300 }, (_, i) => `${prefix}${i}`)
  for (const name of [...names('stays'), ...names('deleted')]) map.set(name, name)
  const [added, deleted] = [names('added'), names('deleted')]
  const found: string[] = []
  for (const name of map.values()) {
    found.push(name)
    const [more, less] = [added.pop(), deleted.pop()]
    if (more !== undefined) map.set(more, more)
    if (less !== undefined) map.delete(less)
  }
  t.strictSame(found.filter(name => name.startsWith('stays')).sort(), names('stays').sort())
})

t.test('a map by name grows in small parts, because a large one blocks the process while it grows', async t => {
  const makers: Record<string, (i: number) => string> = {
    'numbers in a row': i => `${q}/tasks/${i}`,
    'random numbers': i => `${q}/tasks/${Math.imul(i, 0x9e3779b1) >>> 0}${Math.imul(i, 0x85ebca6b) >>> 0}`,
    'names with the same end': i => `${q}/tasks/${i}-of-invoices`,
    'short names': i => i.toString(36)
  }
  for (const [title, nameOf] of Object.entries(makers)) {
    const parts: Array<Map<unknown, unknown>> = []
    const restore = t.intercept(globalThis, 'Map', { value: class extends Map { constructor () { super(); parts.push(this) } } })
    const map = new NameMap<number>()
    for (let i = 0; i < 6400; i++) map.set(nameOf(i), i)
    restore.restore()
    t.equal(parts.length, 64, title)
    t.ok(Math.max(...parts.map(({ size }) => size)) < 200, title)
  }
})

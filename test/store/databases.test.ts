import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import * as lmdb from 'lmdb'
import type { Database } from 'lmdb'
import t, { type Test } from 'tap'
import {
  beginRun, entriesOf, openDatabases, readProgress, readRecord, writeRows, type Databases, type Progress
} from '../../lib/store/lmdb/databases.js'
import { completeFormat, prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { encodeQueue, encodeState, encodeTask, encodeTombstone, seal, type Row } from '../../lib/store/lmdb/record-format.js'
import { RecordIndex, idOf } from '../../lib/store/lmdb/record-index.js'
import { StoreError } from '../../lib/store/store-error.js'
import { queue as q } from '../support/engine-harness.js'
import { folder } from '../support/folder.js'
import { failed, newTask, now } from './stored-task.js'

const progress: Progress = { sequence: 2 ** 40 + 1, run: 1, base: 2 ** 35, isOpen: true }

/** Of a new store, in their first run. */
async function opened (t: Test): Promise<Databases> {
  const directory = await folder(t)
  const databases = await openDatabases(directory, prepareDirectory(directory))
  t.teardown(() => databases.root.close())
  databases.root.transactionSync(() => { beginRun(databases, 0) })
  return databases
}

const write = async (databases: Databases, rows: Row[], checked: number[] = []) =>
  await writeRows(databases, rows, progress, bytes => { checked.push(bytes) })
const tombstone = (number: number): Row => ['names', number, encodeTombstone({ name: `n-${number}`, until: number })]
const taskRow = (number: number, id: string, queue = 1): Row => ['tasks', number, encodeTask(newTask(`${q}/tasks/${id}`), queue, id)]
const queueRow = (name: string, number: number): Row =>
  ['queues', name, encodeQueue({ name, settings: {} as never, state: 'RUNNING' }, number)]

/** Puts a record there without its seal. */
function overwrite (databases: Databases, table: 'tasks' | 'states', number: number, record: Buffer): void {
  (databases[table] as Database<unknown, number>).putSync(number, record)
}

/** What `action` throws, which names the file. */
function thrownBy (databases: Databases, action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    const { name, problem, message } = error as Error & { problem: string }
    return `${name} ${problem} ${message.replace(databases.file, 'FILE').replace(/;.*/, '')}`
  }
}

t.test('the files of a store are for its owner alone', { skip: process.platform === 'win32' }, async t => {
  const { file } = await opened(t)
  t.strictSame([file, `${file}-lock`].map(path => statSync(path).mode & 0o777), [0o600, 0o600])
})

t.test('the file has records as they were encoded, so that a release reads what another has written', async t => {
  const databases = await opened(t)
  const rows = [queueRow(q, 1), taskRow(1, 'a'), ['states', 1, encodeState(failed(newTask(`${q}/tasks/a`)))], tombstone(1)] as Row[]
  await write(databases, rows)
  for (const [table, key, record] of rows) {
    t.ok((databases[table] as Database<unknown, string | number>).getBinary(key)?.equals(record!), table)
  }
  t.strictSame([0, 1].map(key => databases.journal.getBinary(key)?.length), [29, 8])
})

t.test('databases that cannot be opened are damaged, or not accessible', async t => {
  const closed = new StoreError('closed', 'closed meanwhile')
  for (const [title, spoil, problem, onProgress] of [
    ['a file of something else', (file: string) => { writeFileSync(file, 'x'.repeat(5000)) }, 'damaged', undefined],
    ['a folder of its name', (file: string) => { rmSync(file); mkdirSync(file) }, 'access', undefined],
    ['a folder where the lock belongs', (file: string) => { rmSync(`${file}-lock`); mkdirSync(`${file}-lock`) }, 'access', undefined],
    ['an interruption', () => {}, 'closed', () => { throw closed }]
  ] as const) {
    const directory = await folder(t)
    const files = prepareDirectory(directory)
    await (await openDatabases(directory, files)).root.close()
    completeFormat(files, 1)
    spoil(files.data)
    const error = await openDatabases(directory, files, onProgress).then(() => undefined, (error: StoreError) => error)
    t.strictSame([error?.name, error?.problem], ['StoreError', problem], title)
  }
})

t.test('what keeps LMDB from opening its file is no damage if it is an error of the system', async t => {
  const directory = await folder(t)
  const { allDbs } = lmdb as unknown as { readonly allDbs: Map<string, Database> }
  for (const [code, problem] of [[28, 'full'], [122, 'full'], [5, 'access'], [1, 'access'], [-30_793, 'damaged']] as const) {
    // Where LMDB has opened the file and creates the first table in it.
    allDbs.set = (name, database) => {
      if (name === 'tasks-queues') throw Object.assign(new Error('LMDB'), { code })
      return Map.prototype.set.call(allDbs, name, database) as typeof allDbs
    }
    const opening = openDatabases(directory, prepareDirectory(directory)).finally(() => { Reflect.deleteProperty(allDbs, 'set') })
    await t.rejects(opening, { name: 'StoreError', problem, cause: { code } })
  }
  const databases = await openDatabases(directory, prepareDirectory(directory))
  await databases.root.close()
})

t.test('entries are read in the order of their keys, however many there are', async t => {
  const databases = await opened(t)
  const keys = () => [...entriesOf(databases, databases.names)].map(({ key, value }) => [key, value.name, value.until])
  t.strictSame(keys(), [])
  let from = 1
  for (const count of [499, 500, 501, 1000, 1001]) {
    const rows: Row[] = []
    while (from <= count) rows.push(tombstone(from++))
    await write(databases, rows)
    t.strictSame(keys(), Array.from({ length: count }, (_, i) => [i + 1, `n-${i + 1}`, i + 1]), String(count))
  }
  const entries = entriesOf(databases, databases.names)
  t.equal(entries.next().value?.key, 1)
  await write(databases, [['names', 1, undefined], ['names', 501, undefined], tombstone(2000)])
  const rest = [...entries].map(({ key }) => key)
  t.strictSame([rest.length, rest[0], rest.includes(501), rest.at(-1)], [1000, 2, false, 2000], 'each piece is read when it is needed')
  databases.names.putSync(700, Buffer.alloc(20) as never)
  t.equal(thrownBy(databases, () => [...entriesOf(databases, databases.names)]),
    'StoreError damaged FILE cannot be opened: a name that is remembered is damaged')
})

t.test('rows are written in pieces of 1000 or of a MiB, for each of which there must be space', async t => {
  const databases = await opened(t)
  const rows = Array.from({ length: 2001 }, (_, i) => tombstone(i + 1))
  const bytesOf = (some: Row[]): number => some.reduce((sum, [,, value]) => sum + value!.length, 0)
  const checked: number[] = []
  t.equal(await write(databases, rows, checked), true)
  t.strictSame(checked, [bytesOf(rows.slice(0, 1000)), bytesOf(rows.slice(1000, 2000)), bytesOf(rows.slice(2000))])
  t.equal(databases.names.getCount(), 2001)

  const large = (number: number): Row => ['names', number, Buffer.alloc(2 ** 19)]
  checked.length = 0
  await write(databases, [large(1), large(2), large(3), ['names', 4, undefined]], checked)
  t.strictSame(checked, [2 ** 20, 2 ** 19])
  t.equal(databases.names.getCount(), 2000, 'a row without a value is a removal')
  checked.length = 0
  await write(databases, [], checked)
  t.strictSame(checked, [0], 'no rows are a piece, for the progress')

  const more = Array.from({ length: 1500 }, (_, i) => tombstone(5000 + i))
  await t.rejects(writeRows(databases, more, { ...progress, sequence: 1 }, bytes => {
    if (bytes < bytesOf(rows.slice(0, 1000))) throw new Error('full')
  }), { message: 'full' })
  t.equal(databases.names.getCount(), 3000, 'the first piece is there')
  t.strictSame(readProgress(databases, 2), progress, 'and the progress is the former')
})

t.test('the progress is written with the last row, and read back', async t => {
  const databases = await opened(t)
  t.strictSame(readProgress(databases, 1), { sequence: 0, run: 0, base: 0, isOpen: false }, 'of a new store')
  const problem = 'StoreError damaged FILE cannot be opened: what it says of the journal is damaged'
  t.equal(thrownBy(databases, () => readProgress(databases, 2)), problem)
  for (const isOpen of [true, false]) {
    await writeRows(databases, [tombstone(1)], { ...progress, isOpen }, () => {})
    t.strictSame(readProgress(databases, 2), { ...progress, isOpen })
  }
  t.equal(thrownBy(databases, () => readProgress(databases, 1)),
    'StoreError damaged FILE cannot be opened: the number of its last run is lost')
  const sound = Buffer.from(databases.journal.get(0)!)
  t.equal(sound.length, 29)
  for (let at = 0; at < sound.length; at++) {
    const bytes = Buffer.from(sound)
    bytes[at]! ^= 1
    databases.journal.putSync(0, bytes)
    t.equal(thrownBy(databases, () => readProgress(databases, 2)), problem, `byte ${at}`)
  }
  databases.journal.putSync(0, Buffer.concat([sound, Buffer.alloc(1)]))
  t.equal(thrownBy(databases, () => readProgress(databases, 2)), problem, 'longer')
})

t.test('each run has the number after the last one, and earlier runs write nothing from then on', async t => {
  const databases = await opened(t)
  const begin = (known: number): number => databases.root.transactionSync(() => beginRun(databases, known))
  t.equal(begin(1), 2)
  t.equal(await write(databases, [tombstone(1)]), false)
  t.equal(databases.names.getCount(), 0)
  t.equal(begin(1), 3)
  t.equal(thrownBy(databases, () => begin(4)),
    'StoreError damaged FILE cannot be opened: it is older than format.json beside it, as after half a restore')
  t.equal(begin(3), 4)
  const problem = 'StoreError damaged FILE cannot be opened: the number of its last run is damaged'
  const value = Buffer.alloc(8)
  value.writeDoubleLE(4)
  databases.journal.putSync(1, value, 5)
  t.equal(thrownBy(databases, () => begin(0)), problem)
  databases.journal.putSync(1, Buffer.concat([value, value]), 4)
  t.equal(thrownBy(databases, () => begin(0)), problem)
  databases.journal.putSync(1, value, 4)
  t.equal(begin(0), 5)
})

t.test('a record that is damaged is refused with the name of its task', async t => {
  const databases = await opened(t)
  await write(databases, [taskRow(1, 'a'), ['states', 1, encodeState(failed(newTask(`${q}/tasks/a`)))]])
  t.equal(readRecord(databases, 'tasks', 2, 'b'), undefined)
  for (const table of ['tasks', 'states'] as const) {
    const found = readRecord(databases, table, 1, 'a')!
    const record = Buffer.from(found.toString('latin1', 0, found.length), 'latin1')
    record[5]! ^= 1
    overwrite(databases, table, 1, record)
    t.equal(thrownBy(databases, () => readRecord(databases, table, 1, 'a')),
      'StoreError damaged FILE: the record of task a is damaged, so that it cannot be run', table)
  }
})

t.test('a commit that LMDB aborts over its free pages is repeated in smaller ones, down to a 64th', async t => {
  const databases = await opened(t)
  const rows = Array.from({ length: 100 }, (_, i) => tombstone(i + 1))
  const { ifVersion } = databases.journal
  const sizes: number[] = []
  let aborts = 0
  let code: unknown = -30_782
  const put = databases.names.put.bind(databases.names)
  databases.names.put = ((...args: Parameters<typeof put>) => {
    sizes[sizes.length - 1]!++
    return put(...args)
  }) as typeof put
  databases.journal.ifVersion = (async (...args: Parameters<typeof ifVersion>) => {
    if (aborts-- > 0) throw Object.assign(new Error('aborted'), { code, commitError: Promise.resolve() })
    sizes.push(0)
    return await ifVersion.apply(databases.journal, args)
  }) as typeof ifVersion
  for (const [times, pieces] of [[0, [100]], [1, [25, 25, 25, 25]], [2, Array(14).fill(7).concat([2])], [3, Array(50).fill(2)]] as const) {
    aborts = times
    sizes.length = 0
    t.equal(await write(databases, rows), true)
    t.strictSame(sizes, pieces, `after ${times} aborts`)
    t.strictSame(readProgress(databases, 2), progress)
  }
  sizes.length = 0
  aborts = 1
  t.equal(await write(databases, []), true, 'without rows too')
  t.strictSame(sizes, [0])
  aborts = 4
  await t.rejects(write(databases, rows), { code: -30_782 })
  code = 28
  aborts = 1
  await t.rejects(write(databases, rows), { code: 28 })
  t.equal(aborts, 0, 'another error is not repeated')
  aborts = 0
  await t.rejects(writeRows(databases, rows, progress, () => { throw new Error('full') }), { message: 'full' })
})

t.test('a full disk after which LMDB begins no transaction is not taken for one that can be waited for', async t => {
  const databases = await opened(t)
  const { ifVersion } = databases.journal
  const fail = (code: number) => {
    databases.journal.ifVersion = (async () => {
      throw Object.assign(new Error('failed'), { commitError: Promise.reject(Object.assign(new Error('LMDB'), { code })) })
    }) as unknown as typeof ifVersion
  }
  fail(28)
  await t.rejects(write(databases, [tombstone(1)]), { code: 28 })
  const { transactionSync } = databases.root
  databases.root.transactionSync = () => { throw Object.assign(new Error('MDB_PANIC'), { code: -30_795 }) }
  const { code, cause } = await write(databases, [tombstone(1)]).then(() => { throw new Error('written') }, (error: unknown) => error) as
    { readonly code?: unknown, readonly cause?: { readonly code?: unknown } }
  t.strictSame([code, cause?.code], [undefined, 28])
  fail(5)
  await t.rejects(write(databases, [tombstone(1)]), { code: 5 })
  databases.root.transactionSync = transactionSync
  databases.journal.ifVersion = ifVersion
  t.equal(await write(databases, [tombstone(1)]), true)
})

t.test('an index', async t => {
  const load = (databases: Databases) => {
    const index = new RecordIndex()
    const orphans: number[][] = []
    const queues = index.loadQueues(databases).map(({ name }) => name)
    const tasks = [...index.loadTasks(databases, numbers => { orphans.push(numbers) })]
    return { index, orphans, queues, tasks }
  }

  t.test('has all tasks of the queues, and finds the records of queues that are gone', async t => {
    const databases = await opened(t)
    const [a, b, gone] = ['a', 'b', 'gone'].map(id => newTask(`${q}/tasks/${id}`)) as [ReturnType<typeof newTask>, never, never]
    await write(databases, [
      queueRow(q, 2), queueRow(`${q}-2`, 1),
      ['tasks', 3, encodeTask({ ...a, generatedId: true }, 2, 'a')], taskRow(5, 'b', 1), taskRow(8, 'gone', 7), taskRow(9, 'gone-2', 7),
      ['states', 5, encodeState({ ...failed(b), scheduleAt: now + 5 })], ['states', 9, encodeState(failed(gone))]
    ])
    const { index, orphans, queues, tasks } = load(databases)
    t.strictSame(queues, [q, `${q}-2`])
    t.strictSame(tasks, [
      { name: `${q}/tasks/a`, scheduleAt: now, createdAt: now, generatedId: true },
      { name: `${q}-2/tasks/b`, scheduleAt: now + 5, createdAt: now }
    ])
    t.strictSame(orphans, [[8, -9]])
    t.equal(index.ofTask(`${q}/tasks/a`)?.tasks.get(`${q}/tasks/a`), 3)
    t.equal(index.get(`${q}-2`)?.tasks.get(`${q}-2/tasks/b`), -5, 'negative: it has a state')
    t.equal(index.nextTask(), 10)
    t.equal(index.add(`${q}-3`).number, 8, 'after the highest of any task or queue')
  })

  t.test('gives no number again, of which queue it ever was', async t => {
    const databases = await opened(t)
    await write(databases, [queueRow(q, 9), queueRow(`${q}-2`, 4)])
    const { index, orphans } = load(databases)
    t.strictSame(orphans, [[]])
    t.equal(index.nextTask(), 1)
    const added = index.add(`${q}-3`)
    t.equal(added.number, 10)
    t.equal(index.has(added), true)
    index.remove(added)
    t.equal(index.has(added), false)
    t.equal(index.get(added.name), undefined)
    const again = index.add(added.name)
    t.strictSame([again.number, index.has(added), index.has(again)], [11, false, true])
    index.restore(added)
    t.strictSame([index.has(added), index.get(added.name) === added], [true, true])
    t.equal(idOf(added, `${added.name}/tasks/some-id`), 'some-id')
  })

  t.test('refuses records that do not belong together', async t => {
    const state = (number: number): Row => ['states', number, encodeState(failed(newTask(`${q}/tasks/a`)))]
    const underAnother = (databases: Databases, table: 'tasks' | 'states', number: number, [,, record]: Row): void => {
      seal(table, number + 1, record!)
      overwrite(databases, table, number, record!)
    }
    const lost = (number: number) =>
      `StoreError damaged FILE cannot be opened: what attempts have changed of task record ${number} is damaged, or that record is lost`
    for (const [what, rows, change, problem] of [
      ['a task under another number', [], databases => { underAnother(databases, 'tasks', 5, taskRow(5, 'a')) },
        'StoreError damaged FILE cannot be opened: task record 5 is damaged'],
      ['a task of five bytes', [], databases => { overwrite(databases, 'tasks', 5, Buffer.alloc(5)) },
        'StoreError damaged FILE cannot be opened: a record has another length than it says'],
      ['a state under another number', [taskRow(5, 'a')], databases => { underAnother(databases, 'states', 5, state(5)) }, lost(5)],
      ['a state before its task', [state(4), taskRow(5, 'a')], () => {}, lost(4)],
      ['a state after the last task', [taskRow(5, 'a'), state(5), state(6)], () => {}, lost(6)],
      ['a state without a task', [state(1)], () => {}, lost(1)],
      ['a queue under another name', [], databases => { databases.queues.putSync('x', sealedQueue()) },
        'StoreError damaged FILE cannot be opened: queue x is damaged'],
      ['a task and its state', [taskRow(5, 'a'), state(5)], () => {}, undefined]
    ] as Array<[string, Row[], (databases: Databases) => void, string | undefined]>) {
      const databases = await opened(t)
      await write(databases, [queueRow(q, 1), ...rows])
      change(databases)
      t.equal(thrownBy(databases, () => load(databases)), problem, what)
    }
  })
})

function sealedQueue (): Buffer {
  const [table, key, record] = queueRow(q, 3)
  seal(table, key, record!)
  return record!
}

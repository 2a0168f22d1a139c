import t from 'tap'
import type { Task } from '../../lib/cloud-tasks/task.js'
import {
  decodeHeader, decodeQueue, decodeState, decodeStateHeader, decodeTask, decodeTombstone, encodeQueue, encodeState, encodeTask,
  encodeTombstone, isSealed, seal, sealOf, type Table
} from '../../lib/store/lmdb/record-format.js'
import { NameIndex, type NameChanges } from '../../lib/store/lmdb/record-index.js'
import { failed, newTask } from './stored-task.js'

const base = {
  name: 'n', scheduleAt: 1_700_000_000_125.5, createdAt: 1_700_000_000_000, dispatchCount: 0, responseCount: 0, executionCount: 0
}
const httpTask: Task = {
  ...base,
  httpRequest: { url: 'http://localhost/é', httpMethod: 'PUT', body: Buffer.from([0, 255, 10]) },
  dispatchDeadlineMs: 15_000
}
const retryConfig = { maxAttempts: 3, maxRetrySeconds: 0, minBackoffSeconds: 1, maxBackoffSeconds: 2, maxDoublings: 1 }
const appEngineTask: Task = { ...base, appEngineHttpRequest: { relativeUri: '/work' }, retryConfig, generatedId: true }
const state = {
  scheduleAt: base.scheduleAt,
  dispatchCount: 2,
  responseCount: 1,
  executionCount: 1,
  previousResponse: 500,
  firstAttempt: { scheduleAt: 1, dispatchAt: 2 },
  lastAttempt: { scheduleAt: 3, dispatchAt: 4, responseAt: 5, status: 500 }
}
const tombstone = { name: 'projects/p', until: 5.25 }
const queue = { name: 'q', settings: {}, state: 'RUNNING' } as unknown as Parameters<typeof encodeQueue>[0]

function sealed (table: Table, key: string | number, record: Buffer): Buffer {
  seal(table, key, record)
  return record
}

const records: Array<[table: Table, key: string | number, record: () => Buffer]> = [
  ['tasks', 7, () => sealed('tasks', 7, encodeTask(httpTask, 0x01020304, 'id-1'))],
  ['tasks', 2 ** 32 + 5, () => sealed('tasks', 2 ** 32 + 5, encodeTask(appEngineTask, 1, '99'))],
  ['states', 7, () => sealed('states', 7, encodeState({ ...httpTask, ...state }))],
  ['names', 3, () => sealed('names', 3, encodeTombstone(tombstone))],
  ['queues', 'q', () => sealed('queues', 'q', encodeQueue(queue, 4))]
]

t.test('records are as format version 4 has them, so that a release reads what another has written', async t => {
  t.strictSame(records.map(([,, record]) => record().toString('hex')), [
    '040403020100f1536500d88756febc784204003800000069642d315b7b2275726c223a22687474703a2f2f6c6f63616c686f73742fc3a9222c226874' +
      '74704d6574686f64223a22505554227d2c31353030305d00ff0aece4ffc75a3cb778',
    '030100000000f1536500d88756febc784202008100000039395b7b2272656c6174697665557269223a222f776f726b227d2c6e756c6c2c7b226d6178' +
      '417474656d707473223a332c226d617852657472795365636f6e6473223a302c226d696e4261636b6f66665365636f6e6473223a312c226d61784261' +
      '636b6f66665365636f6e6473223a322c226d6178446f75626c696e6773223a317d5d1f60afea34e2bb05',
    '00d88756febc78427b226469737061746368436f756e74223a322c22726573706f6e7365436f756e74223a312c22657865637574696f6e436f756e74' +
      '223a312c2270726576696f7573526573706f6e7365223a3530302c226669727374417474656d7074223a7b227363686564756c654174223a312c2264' +
      '697370617463684174223a327d2c226c617374417474656d7074223a7b227363686564756c654174223a332c2264697370617463684174223a342c22' +
      '726573706f6e73654174223a352c22737461747573223a3530307d7d9e582ecbcdaf3119',
    '000000000000154070726f6a656374732f709d62323d00000000',
    '5b342c7b226e616d65223a2271222c2273657474696e6773223a7b7d2c227374617465223a2252554e4e494e47227d5d5694014c9b8f4370'
  ])
})

t.test('a record is read as it was written, whatever it consists of', async t => {
  const [url, relativeUri] = ['http://localhost/', '/']
  for (const task of [
    httpTask, appEngineTask, { ...base, httpRequest: { url } }, { ...base, httpRequest: { url }, retryConfig },
    { ...base, httpRequest: { url, body: Buffer.alloc(0) }, generatedId: true } as const,
    { ...base, httpRequest: { url, body: Buffer.from('b') }, retryConfig, dispatchDeadlineMs: 1 },
    { ...base, appEngineHttpRequest: { relativeUri, body: Buffer.from('b') } }
  ]) {
    const record = encodeTask(task, 5, 'some-id')
    // In a larger buffer, as lmdb gives it.
    const buffer = Buffer.concat([sealed('tasks', 7, record), Buffer.alloc(9, 1)])
    const decoded = decodeTask(buffer, record.length, 'n')
    const header = decodeHeader(buffer, record.length)
    buffer.fill(0)
    t.strictSame(decoded, task)
    const { scheduleAt, createdAt } = base
    t.strictSame({ ...header, seal: header.seal >>> 0 },
      { queue: 5, id: 'some-id', scheduleAt, createdAt, generatedId: 'generatedId' in task, seal: sealOf('tasks', 7) })
  }
  for (const one of [state, { scheduleAt: 1, dispatchCount: 1, responseCount: 0, executionCount: 0 }]) {
    const record = sealed('states', 7, encodeState({ ...httpTask, ...one }))
    const buffer = Buffer.concat([record, Buffer.alloc(9, 1)])
    t.strictSame(decodeState(buffer, record.length), one)
    const { dueAt, seal } = decodeStateHeader(buffer, record.length)
    t.strictSame([dueAt, seal >>> 0], [one.scheduleAt, sealOf('states', 7)])
  }
  for (const one of [tombstone, { name: '', until: 0 }]) {
    const record = sealed('names', 3, encodeTombstone(one))
    t.strictSame(decodeTombstone(Buffer.concat([record, Buffer.alloc(9, 1)]), record.length), one)
  }
  t.strictSame(decodeQueue(sealed('queues', 'q', encodeQueue(queue, 4)), 'q'), { number: 4, queue })
})

t.test('a byte of a record that is another one is noticed, and so is another key', async t => {
  for (const [table, key, make] of records) {
    const sound = make()
    const isSound = (record: Buffer, of: string | number = key): boolean => {
      try {
        if (table === 'names') return decodeTombstone(record, record.length).name !== ''
        if (table === 'queues') return decodeQueue(record, String(of)).number === 4
        return isSealed(table, of, record, record.length)
      } catch {
        return false
      }
    }
    t.equal(isSound(sound), true)
    // Of the second half of a name's seal nothing is used.
    const end = table === 'names' ? sound.length - 4 : sound.length
    const unnoticed = Array.from({ length: end }, (_, at) => at).filter(at => {
      const record = Buffer.from(sound)
      record[at]! ^= 1
      // The first half of the other seals is for the header.
      return isSound(record) && !(table !== 'names' && at >= end - 8 && at < end - 4)
    })
    t.strictSame(unnoticed, [], table)
    if (table === 'names') continue
    t.equal(isSound(sound, typeof key === 'number' ? key + 1 : 'q-2'), false, 'another key')
    if (typeof key === 'number') t.equal(isSealed(table === 'tasks' ? 'states' : 'tasks', key, sound, sound.length), false, 'another table')
    t.equal(isSealed(table, key, sound, 7), false, 'less than a seal')
  }
  t.equal(isSealed('states', 7, sealed('states', 7, Buffer.alloc(8)), 8), true, 'nothing but a seal')
})

t.test('what opening reads of a record is protected by a seal of its own', async t => {
  for (const [make, decode, end] of [
    [records[0]![2], decodeHeader, 23 + 4], [records[2]![2], decodeStateHeader, 8]
  ] as const) {
    const sound = make()
    const { seal } = decode(sound, sound.length)
    for (let at = 0; at < sound.length; at++) {
      const record = Buffer.from(sound)
      record[at]! ^= 1
      let found: number | undefined
      try {
        found = decode(record, record.length).seal
      } catch (error) {
        t.match((error as Error).message, /^a record has another length/)
      }
      const isProtected = at < end || (at >= sound.length - 8 && at < sound.length - 4)
      t.equal(found !== seal, isProtected, `byte ${at}`)
    }
  }
})

t.test('a record that is shorter than it says is refused', async t => {
  const bodyless = encodeTask(appEngineTask, 1, '99')
  const otherLength = { message: 'a record has another length than it says' }
  t.throws(() => decodeHeader(bodyless, bodyless.length - 1), otherLength)
  t.doesNotThrow(() => decodeHeader(Buffer.alloc(31), 31), 'no id and no request')
  t.throws(() => decodeHeader(Buffer.alloc(31), 30), otherLength)
  const longId = Buffer.alloc(31 + 4)
  longId.writeUInt16LE(4, 17)
  t.doesNotThrow(() => decodeHeader(longId, 35))
  longId.writeUInt16LE(5, 17)
  t.throws(() => decodeHeader(longId, 35), otherLength)
  t.throws(() => decodeStateHeader(Buffer.alloc(16), 15), { message: 'a record is too short' })
  t.doesNotThrow(() => decodeStateHeader(Buffer.alloc(16), 16))
  t.throws(() => decodeTombstone(sealed('names', 1, Buffer.alloc(15)), 15), { message: 'a name that is remembered is damaged' })
  const other = encodeQueue({ ...queue, name: 'q-2' }, 4)
  t.throws(() => decodeQueue(sealed('queues', 'q', other), 'q'), { message: 'queue q is damaged' })
})

t.test('a task that has failed keeps its request in one record and its attempts in another', async t => {
  const task = failed(newTask('projects/p/locations/l/queues/q/tasks/a'))
  const [record, rest] = [encodeTask(task, 1, 'a'), encodeState(task)]
  t.strictSame({ ...decodeTask(record, record.length, task.name), ...decodeState(rest, rest.length) }, task)
})

t.test('a name that is remembered again has its row only once, and all is as before after a rollback', async t => {
  const index = new NameIndex()
  const changes = (): NameChanges => ({ rows: [], undo: [] })
  const rows = (batch: NameChanges) => batch.rows.map(([table, number, value, created]) =>
    [table, number, value === undefined ? undefined : decodeTombstone(sealed('names', number, value), value.length).until, created])
  const rollback = ({ undo }: NameChanges): void => { for (const action of undo.reverse()) action() }
  const [first, again, forgotten, unknown] = [changes(), changes(), changes(), changes()]
  index.remember(first, { name: 'a', until: 1 })
  t.strictSame(rows(first), [['names', 1, 1, true]])
  index.remember(again, { name: 'a', until: 2 })
  t.strictSame(rows(again), [['names', 2, 2, true], ['names', 1, undefined, undefined]])
  index.forget(forgotten, 'a')
  t.strictSame(rows(forgotten), [['names', 2, undefined, undefined]])
  index.forget(unknown, 'a')
  t.strictSame([unknown.rows, unknown.undo], [[], []])
  rollback(forgotten)
  rollback(again)
  const after = changes()
  index.forget(after, 'a')
  t.strictSame(rows(after), [['names', 1, undefined, undefined]], 'the first is there again')
  rollback(after)
  rollback(first)
  index.forget(unknown, 'a')
  t.strictSame(unknown.rows, [], 'and then none')
  const next = changes()
  index.remember(next, { name: 'b', until: 3 })
  t.strictSame(rows(next), [['names', 3, 3, true]], 'numbers are not used again')
})

import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import type { SeenTask } from '../../../lib/console/api/task-view.js'
import type { EndedAttempt } from '../../../lib/console/history/attempt-record.js'
import { EndedTasks } from '../../../lib/console/history/ended-tasks.js'
import { errorInfo } from '../../../lib/console/history/error-info.js'
import { LogLines } from '../../../lib/console/history/log-lines.js'
import { TaskRecord } from '../../../lib/console/history/task-record.js'
import { queue } from '../../support/engine-harness.js'

const url = 'http://localhost/work'

function waiting (id = 'a', { body = '', headers = {} }: { body?: string, headers?: Record<string, string> } = {}): SeenTask {
  return {
    name: `${queue}/tasks/${id}`,
    httpRequest: { url, httpMethod: 'PUT', headers, body: Buffer.from(body) },
    createdAt: 1000,
    scheduleAt: 2000,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0
  }
}

/** The task after the dispatch of an attempt. */
function dispatched (number: number, at: number, task = waiting()): SeenTask {
  return {
    ...task,
    dispatchCount: number,
    responseCount: number - 1,
    lastAttempt: { scheduleAt: at, dispatchAt: at },
    ...(number === 1 ? undefined : { previousResponse: 500 })
  }
}

function end (task: SeenTask, result: EndedAttempt['result'], endedAt: number, rest: Partial<EndedAttempt> = {}): EndedAttempt {
  return { attempt: { task }, result, endedAt, retryAt: undefined, ...rest }
}

t.test('the record of a task', async t => {
  const row = { name: `${queue}/tasks/a`, id: 'a', queue, method: 'PUT', url, createdAt: 1000 }

  t.test('has the row of each of its states, with and without the task of the engine', async t => {
    const record = new TaskRecord(waiting(), false)
    t.strictSame(record.row(), { ...row, state: 'waiting', attempts: 0, scheduleAt: 2000 })
    const first = dispatched(1, 2000)
    record.begin(first)
    t.strictSame(record.row(), { ...row, state: 'running', attempts: 1, scheduleAt: 2000, startedAt: 2000 })
    t.equal(record.finish(end(first, 500, 2100, { retryAt: 9000 })), true)
    const retrying = { ...row, state: 'retrying', attempts: 1, scheduleAt: 9000, startedAt: 2000, lastResult: 500 }
    t.strictSame(record.row(), retrying)
    record.pause()
    t.equal(record.task, undefined, 'the engine has it, perhaps on disk')
    t.strictSame(record.row(), retrying)
    t.strictSame(record.row({ ...first, scheduleAt: 9500, dispatchCount: 4 }), { ...retrying, scheduleAt: 9500, attempts: 4 })
    const second = dispatched(2, 9000)
    record.begin(second)
    t.strictSame(record.row(), { ...retrying, state: 'running', attempts: 2, scheduleAt: 2000, startedAt: 9000 })
    record.finish(end(second, 201, 9200))
    record.close('done', 9999)
    const ended = { ...row, state: 'done', attempts: 2, startedAt: 9000, endedAt: 9200, lastResult: 201 }
    t.strictSame(record.row(), ended)
    record.pause()
    t.strictSame(record.row(), ended)
  })

  t.test('ended with its last attempt when it is done, and with its deletion, expiry or failure otherwise', async t => {
    for (const [why, state, endedAt] of [
      ['done', 'done', 2100], ['givenUp', 'failed', 5000], ['deleted', 'deleted', 5000], ['expired', 'expired', 5000]
    ] as const) {
      for (const listed of [false, true]) {
        const record = new TaskRecord(waiting(), false)
        const first = dispatched(1, 2000)
        record.begin(first)
        if (listed) record.attempt(1)
        record.finish(end(first, 200, 2100))
        record.close(why, 5000)
        t.strictSame([record.state, record.endedAt], [state, endedAt])
      }
    }
    const never = new TaskRecord(waiting(), false)
    never.close('done', 5000)
    t.strictSame([never.state, never.endedAt, never.detail().attemptList], ['done', 5000, []])
    for (const [key, value, state] of [['dropReason', 'no use', 'dropped'], ['postponedUntil', 9000, 'postponed']] as const) {
      const record = new TaskRecord(waiting(), false)
      record.begin(dispatched(1, 2000))
      Object.assign(record.attempt(1)!, { [key]: value })
      t.equal(record.state, 'running')
      record.finish(end(dispatched(1, 2000), 200, 2100))
      record.close('done', 5000)
      t.equal(record.state, state)
    }
  })

  t.test('accepts the end of an attempt once, and none of an attempt that it does not have', async t => {
    for (const listed of [false, true]) {
      const record = new TaskRecord(waiting(), false)
      t.equal(record.finish(end(dispatched(1, 2000), 200, 2100)), false, 'none has begun')
      const first = dispatched(1, 2000)
      record.begin(first)
      if (listed) record.attempt(1)
      t.equal(record.finish(end(dispatched(2, 2000), 200, 2100)), false)
      t.equal(record.running, 1)
      t.equal(record.finish(end(first, 200, 2100)), true)
      t.equal(record.running, 0)
      t.equal(record.finish(end(first, 500, 2200)), false)
      t.strictSame([record.running, record.lastResult], [0, 200])
    }
  })

  t.test('has the end of an attempt by its duration, as the wall clock may have been set back', async t => {
    for (const rest of [{ durationMs: 99.6 }, { durationMs: 99.6, retryAt: 7000 }]) {
      const record = new TaskRecord(waiting(), false)
      record.begin(dispatched(1, 2000))
      record.finish(end(dispatched(1, 2000), 500, 17, rest))
      t.equal(record.detail().attemptList[0]!.endedAt, 2100)
    }
    const { lastAttempt, ...unknown } = dispatched(1, 2000)
    const record = new TaskRecord(waiting(), false)
    record.begin({ ...unknown, lastAttempt: lastAttempt! })
    record.finish(end(unknown, 500, 17, { durationMs: 99.6 }))
    t.equal(record.detail().attemptList[0]!.endedAt, 17)
  })

  t.test('has the details of each attempt', async t => {
    const record = new TaskRecord(waiting(), false)
    const headers = { 'X-Own': '1', Cookie: 'x=1' }
    const first = dispatched(1, 2000, waiting('a', { headers }))
    record.begin(first)
    record.finish(end(first, 'unreachable', 2100, { retryAt: 9000, text: 'no', error: new Error('no route') }))
    const second = dispatched(2, 9000, waiting('a', { headers }))
    record.begin(second)
    const shown = record.detail().attemptList
    t.equal(shown[0]!.error!.message, 'no route')
    t.strictSame({ ...shown[0], headers: undefined, error: undefined }, {
      number: 1,
      startedAt: 2000,
      endedAt: 2100,
      result: 'unreachable',
      headers: undefined,
      text: 'no',
      logs: [],
      logsOmitted: 0,
      error: undefined,
      retryAt: 9000
    })
    t.strictSame(Object.keys(shown[1]!), ['number', 'startedAt', 'headers', 'logs', 'logsOmitted'])
    t.equal(shown[0]!.headers['X-CloudTasks-TaskRetryCount'], '0')
    t.equal(shown[0]!.headers['X-CloudTasks-TaskPreviousResponse'], undefined)
    t.equal(shown[1]!.headers['X-CloudTasks-TaskPreviousResponse'], '500')
    t.strictSame([shown[0]!.headers['X-Own'], shown[0]!.headers.Cookie], ['1', '[hidden]'])
    record.finish(end(second, 503, 9100, { retryAt: 9500 }))
    record.begin({ ...dispatched(3, 9500, waiting('a', { headers })), previousResponse: 503 })
    const previous = record.detail().attemptList.map(({ headers }) => headers['X-CloudTasks-TaskPreviousResponse'])
    t.strictSame(previous, [undefined, '500', '503'], 'each as it was when the attempt began')
    Object.assign(record.attempt(2)!, { dropReason: 'd', postponedUntil: 5, postponeReason: 'p', traceId: 'f' })
    t.hasStrict(record.detail().attemptList[1], { dropReason: 'd', postponedUntil: 5, postponeReason: 'p', trace: { id: 'f' } })
    record.pause()
    t.strictSame(record.detail(), {
      headers: {},
      payload: { text: '', kind: 'none', bytes: 0, cut: false },
      attemptList: record.detail().attemptList,
      omitted: 0
    })
    t.strictSame(record.detail().attemptList[0]!.headers, {}, 'they are created from the task')
  })

  t.test('has the result of its only attempt once that has ended, whether or not it was shown before', async t => {
    const restored = { ...dispatched(3, 2000), previousResponse: 500 }
    for (const shown of [false, true]) {
      const record = new TaskRecord(restored, false)
      record.begin(restored)
      if (shown) t.notOk('result' in record.detail().attemptList[0]!, 'the last result is that of an earlier attempt')
      record.finish(end(restored, 204, 2100))
      t.hasStrict(record.detail().attemptList, [{ number: 3, endedAt: 2100, result: 204 }])
      t.equal(record.detail().omitted, 2)
    }
    for (const rest of [{ error: new Error('no route') }, { text: 'no' }]) {
      const record = new TaskRecord(waiting(), false)
      record.begin(dispatched(1, 2000))
      record.finish(end(dispatched(1, 2000), 500, 2100, rest))
      const { error, text } = record.detail().attemptList[0]!
      t.strictSame([error?.message, text], [rest.error?.message, rest.text])
    }
    const deleted = new TaskRecord(waiting(), false)
    deleted.begin(dispatched(1, 2000))
    deleted.finish(end(dispatched(1, 2000), 500, 2100, { retryAt: 9000 }))
    deleted.close('deleted', 3000)
    t.notOk('scheduleAt' in deleted.row(), 'there is no retry')
  })

  t.test('has an error from the first who reports it, and responses of up to 4096 characters', async t => {
    const record = new TaskRecord(waiting(), false)
    record.begin(dispatched(1, 2000))
    record.attempt(1)!.error = errorInfo(new Error('of the worker'))
    record.finish(end(dispatched(1, 2000), 500, 2100, { error: new Error('of the engine'), text: 'x'.repeat(4097) }))
    const [attempt] = record.detail().attemptList
    t.equal(attempt!.error!.message, 'of the worker')
    t.equal(attempt!.text, `${'x'.repeat(4096)}…`)
  })

  t.test('has the headers that were received where there is no engine, and keeps the task between attempts', async t => {
    const record = new TaskRecord(waiting(), true)
    const first = dispatched(1, 2000, waiting('a', { headers: { 'x-own': '1', authorization: 'Bearer x' }, body: 'text' }))
    record.begin(first)
    record.finish(end(first, 500, 2100, { retryAt: 'unknown' }))
    record.pause()
    const { headers, attemptList, payload } = record.detail()
    t.equal(headers, undefined)
    t.strictSame(attemptList[0]!.headers, { 'x-own': '1', authorization: '[hidden]' })
    t.equal(payload.text, 'text')
    t.equal(record.row().scheduleAt, undefined)
    t.equal(new TaskRecord(dispatched(3, 2000), true).detail().omitted, 3)
  })

  t.test('measures what it keeps, and less once it is stripped', async t => {
    const headers = { ab: 'cde' }
    const record = new TaskRecord(waiting('a', { headers }), false)
    const empty = record.measure()
    const task = dispatched(1, 2000, waiting('a', { headers, body: 'x'.repeat(1000) }))
    record.begin(task)
    t.equal(record.measure(), empty, 'the engine has the payload')
    record.finish(end(task, 500, 2100))
    record.close('givenUp', 2200)
    t.equal(record.measure(), empty + 1005)
    const attempt = record.attempt(1)!
    t.equal(record.measure(), empty + 1005, 'a list of one attempt takes no more')
    attempt.logs = new LogLines(systemClock)
    attempt.logs.add('{"msg":"hello"}')
    Object.assign(attempt, { text: 'y'.repeat(600), dropReason: '12', postponeReason: '345', traceId: '6789' })
    attempt.error = { name: 'E', message: 'z'.repeat(600), stack: 'in a', code: 'C' }
    t.equal(record.measure(), empty + 1005 + 15 + 600 + 2 + 3 + 4 + 606)
    record.strip()
    t.equal(record.measure(), empty + 512 + 512 + 2 + 3 + 4 + 513)
    const { payload, attemptList: [stripped] } = record.detail()
    t.strictSame(payload, { text: 'x'.repeat(512), kind: 'text', bytes: 1000, cut: true })
    t.strictSame([stripped!.text, stripped!.logs, stripped!.logsOmitted], ['y'.repeat(512), [], 1])
    t.strictSame(stripped!.error, { name: 'E', message: 'z'.repeat(512) })
    const size = record.measure()
    record.strip()
    t.strictSame([record.measure(), record.detail().payload], [size, payload], 'stripping it again changes nothing')

    const received = new TaskRecord(waiting('a'), true)
    const plain = received.measure()
    received.begin(dispatched(1, 2000, waiting('a', { headers, body: 'xyz' })))
    t.equal(received.measure(), plain + 8)
    received.attempt(1)
    t.equal(received.measure(), plain + 8 + 5, 'its headers as they were received')
    const whole = new TaskRecord(waiting('a', { body: 'x'.repeat(512) }), false)
    whole.strip()
    t.strictSame(whole.detail().payload, { text: 'x'.repeat(512), kind: 'text', bytes: 512, cut: false })
  })
})

t.test('the tasks that ended last', async t => {
  const ended = (id: string, size = 10): TaskRecord => {
    const record = new TaskRecord(waiting(id, { body: 'x'.repeat(2000) }), false)
    record.close('deleted', 1)
    record.size = size
    return record
  }
  const ids = (tasks: EndedTasks): string[] => tasks.values().map(({ name }) => name.slice(name.lastIndexOf('/') + 1))

  t.test('are bounded in number: the oldest is evicted, and its size returned', async t => {
    const tasks = new EndedTasks(3)
    const records = ['a', 'b', 'c', 'd', 'e'].map((id, index) => ended(id, index + 1))
    t.strictSame(records.map(record => tasks.add(record)), [0, 0, 0, 1, 2])
    t.strictSame([ids(tasks), tasks.size], [['c', 'd', 'e'], 3])
    t.strictSame(records.map(({ forgotten }) => forgotten), [true, true, false, false, false])
    t.equal(tasks.get(records[0]!.name), undefined)
    t.equal(tasks.get(records[4]!.name), records[4])
    const none = new EndedTasks(0)
    const record = ended('a', 7)
    t.strictSame([none.add(record), record.forgotten, none.size, none.values()], [7, true, 0, []])
  })

  t.test('have one task of a name, the latest', async t => {
    const tasks = new EndedTasks(3)
    const [a, b, again] = [ended('a', 1), ended('b', 2), ended('a', 4)]
    t.strictSame([a, b, again].map(record => tasks.add(record)), [0, 0, 1])
    t.strictSame([ids(tasks), a.forgotten, tasks.get(a.name) === again], [['b', 'a'], true, true])
    t.equal(tasks.add(ended('c', 8)), 2, 'the place of the former counts until it is the oldest')
    t.strictSame(ids(tasks), ['a', 'c'])
    t.strictSame([tasks.forgetOldest(), tasks.forgetOldest(), tasks.forgetOldest()], [4, 8, undefined])
    t.strictSame([ids(tasks), tasks.size], [[], 0])
    tasks.add(ended('d'))
    t.strictSame(ids(tasks), ['d'])
  })

  t.test('are stripped from the oldest on, each once', async t => {
    const tasks = new EndedTasks(3)
    const records = ['a', 'b', 'a', 'c', 'd'].map(id => ended(id))
    for (const record of records.slice(0, 3)) tasks.add(record)
    for (const record of records) record.size = record.measure()
    const freed = records[1]!.size - (records[1]!.strip(), records[1]!.measure())
    t.equal(freed, 1488)
    t.equal(tasks.stripOldest(), freed, 'b, as the first a is gone')
    t.equal(records[1]!.size, records[1]!.measure())
    t.equal(tasks.stripOldest(), freed)
    t.equal(tasks.stripOldest(), undefined)
    tasks.add(records[3]!)
    t.equal(tasks.stripOldest(), freed)
    tasks.add(records[4]!)
    for (let count = 3; count > 0; count--) tasks.forgetOldest()
    t.equal(tasks.stripOldest(), undefined, 'none is left')
    tasks.add(ended('e'))
    t.type(tasks.stripOldest(), 'number')
  })
})

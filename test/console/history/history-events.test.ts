import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import type { Task } from '../../../lib/cloud-tasks/task.js'
import type { SeenTask } from '../../../lib/console/api/task-view.js'
import { servedFeed } from '../../../lib/console/history/attempt-feed.js'
import { History, type HistoryOptions } from '../../../lib/console/history/history.js'
import { Timeline } from '../../../lib/console/history/timeline.js'
import type { Attempt } from '../../../lib/engine/engine.js'
import type { AttemptResult } from '../../../lib/worker/attempt-result.js'
import type { Settled } from '../../../lib/worker/watchers.js'
import { parent, queue } from '../../support/engine-harness.js'
import { names } from '../../support/watched-engine.js'

/** A history without an engine: the test reports the events, and sees what the history reports. */
function open (options: Partial<HistoryOptions> = {}) {
  const clock = new ManualClock(1_000_000)
  const changes: unknown[][] = []
  const counts = { arrived: 0, started: 0, ended: [] as unknown[][] }
  const timeline = {
    arrived: () => { counts.arrived++ },
    started: () => { counts.started++ },
    ended: (...args: unknown[]) => { counts.ended.push(args) }
  } as unknown as Timeline
  const history = new History({
    history: 100,
    clock,
    timeline,
    onChange: (...args) => { changes.push(args) },
    onQueue: () => { changes.push([]) },
    ...options
  })
  const task = (id: string, number = 0, inQueue = queue, body = ''): SeenTask & Task => ({
    name: `${inQueue}/tasks/${id}`,
    httpRequest: { url: 'http://localhost/work', body: Buffer.from(body) },
    createdAt: 1_000_000,
    scheduleAt: 1_000_000,
    dispatchCount: number,
    responseCount: 0,
    executionCount: 0,
    lastAttempt: { scheduleAt: 1_000_000, dispatchAt: 1_000_000 }
  })
  const attempted = (seen: SeenTask, result: number, retryAt?: number | 'unknown'): void => {
    history.attempted({ attempt: { task: seen }, result, endedAt: clock.now(), retryAt })
  }
  const places = () => [history.running.values(), history.retrying.values(), history.past.values()].map(names)
  const read = () => changes.splice(0)
  return { clock, history, counts, read, task, attempted, places }
}

t.test('a history', async t => {
  t.test('reports each change of a task or a queue, and counts it in the timeline', async t => {
    const { history, counts, read, task, attempted } = open()
    const added = task('a')
    const { name } = added
    history.added(added)
    t.strictSame([read(), counts.arrived], [[[name, added]], 1])
    history.started({ task: task('a', 1) })
    t.strictSame([read(), counts.started], [[[name]], 1])
    history.line(name, 1, 'text')
    t.strictSame(read(), [[name]])
    attempted(task('a', 1), 500, 1_000_100)
    t.strictSame([read(), counts.ended.pop()], [[[name]], [1_000_000, false, true]])
    history.started({ task: task('a', 2) })
    attempted(task('a', 2), 299)
    t.strictSame([read().length, counts.ended.pop()], [2, [1_000_000, true, false]])
    history.ended(name, 'done')
    t.strictSame(read(), [[name]])
    history.changed()
    history.emptied(queue)
    t.strictSame(read(), [[], []])
    history.started({ task: task('b', 1) })
    read()
    history.undelivered({ task: task('b', 1) } as Attempt)
    t.strictSame(read(), [[task('b').name]])
  })

  t.test('ignores what it does not know', async t => {
    const { history, read, task, attempted, places } = open()
    const { name } = task('a')
    attempted(task('a', 1), 500)
    history.undelivered({ task: task('a', 1) } as Attempt)
    history.line(name, 1, 'text')
    history.failed(name, 1, new Error('x'))
    history.dropped(name, 1, 'x')
    history.postponed(name, 1, 5, 'x')
    history.traced(name, 1, 'a'.repeat(32))
    t.strictSame(read(), [])
    history.started({ task: task('a', 1) })
    read()
    history.line(name, 2, 'text')
    attempted(task('a', 2), 500)
    t.strictSame([read(), places()], [[], [['a'], [], []]])
    history.ended(task('b').name, 'deleted')
    t.strictSame(read(), [[task('b').name]], 'a waiting task has no record')
    t.equal(history.record(task('b').name), undefined)
  })

  t.test('keeps what the worker reports about an attempt, in bounded texts', async t => {
    const { history, task } = open()
    const { name } = task('a')
    history.started({ task: task('a', 1) })
    const detail = () => history.record(name)!.detail().attemptList[0]!
    history.failed(name, 1, new Error('x'))
    history.dropped(name, 1, 'd'.repeat(4097))
    history.postponed(name, 1, 5, undefined)
    history.traced(name, 1, 'no trace')
    t.strictSame([detail().error!.message, detail().dropReason, detail().postponedUntil], ['x', `${'d'.repeat(4096)}…`, 5])
    t.notOk('postponeReason' in detail() || 'trace' in detail())
    history.postponed(name, 1, 6, 'p'.repeat(4097))
    history.traced(name, 1, 'a'.repeat(32))
    t.strictSame([detail().postponedUntil, detail().postponeReason], [6, `${'p'.repeat(4096)}…`])
    t.strictSame(detail().trace, { id: 'a'.repeat(32) })
  })

  t.test('follows a task that runs twice at once until both attempts have ended', async t => {
    const { history, task, attempted, places } = open()
    const [first, second] = [task('a', 1), task('a', 2)]
    history.started({ task: first })
    history.started({ task: task('b', 1) })
    history.started({ task: second })
    t.strictSame(places(), [['a', 'b'], [], []], 'in the order of their first start')
    attempted(first, 500, 1_000_100)
    t.strictSame([places(), history.record(first.name)!.state], [[['a', 'b'], [], []], 'running'])
    history.undelivered({ task: second } as Attempt)
    t.strictSame(places(), [['b'], [], []])
    history.started({ task: first })
    history.started({ task: second })
    history.undelivered({ task: first } as Attempt)
    t.strictSame(places(), [['b', 'a'], [], []])
    attempted(second, 500, 1_000_100)
    t.strictSame(places(), [['b'], ['a'], []])
  })

  t.test('shows a task of a purged queue as deleted once its attempt has ended, or a later task has its name', async t => {
    const { history, task, attempted, places } = open()
    const other = `${parent}/queues/other`
    for (const seen of [task('runs', 1), task('again', 1), task('other', 1, other)]) history.started({ task: seen })
    for (const seen of [task('waits', 1), task('stays', 1, other)]) {
      history.started({ task: seen })
      attempted(seen, 500, 1_000_100)
    }
    const { size } = history
    const waits = history.record(task('waits').name)!.size
    history.emptied(queue)
    t.strictSame(places(), [['runs', 'again', 'other'], ['stays'], []])
    t.equal(history.size, size - waits)
    attempted(task('runs', 1), 500, 1_000_100)
    attempted(task('other', 1, other), 500, 1_000_100)
    t.strictSame(places(), [['again'], ['stays', 'other'], ['runs']])
    history.started({ task: task('again', 1) })
    t.strictSame(places(), [['again'], ['stays', 'other'], ['runs', 'again']])
    t.strictSame([...history.past.values()].map(({ state }) => state), ['deleted', 'deleted'])
    attempted(task('again', 1), 500, 1_000_100)
    t.strictSame(places(), [[], ['stays', 'other', 'again'], ['runs', 'again']])
  })

  t.test('forgets a task whose end is never reported, when the next one ends', async t => {
    const { history, task, attempted, places } = open()
    for (const id of ['a', 'b', 'c']) history.started({ task: task(id, 1) })
    attempted(task('a', 1), 200)
    const { size } = history
    t.strictSame(places(), [['a', 'b', 'c'], [], []])
    attempted(task('b', 1), 200)
    t.strictSame(places(), [['b', 'c'], [], []])
    t.equal(history.size, size)
    history.ended(task('b').name, 'done')
    attempted(task('c', 1), 200)
    history.ended(task('c').name, 'done')
    t.strictSame(places(), [[], [], ['b', 'c']])
  })

  t.test('remembers a waiting task once, and shows it when it runs after all', async t => {
    const { history, task, attempted, places } = open()
    history.remember(task('a'))
    const record = history.pending(task('a').name)!
    t.ok(history.size > 0)
    t.equal(history.size, record.size)
    history.remember(task('a'))
    t.equal(history.pending(task('a').name), record)
    t.strictSame([history.row(task('a')).state, history.row(task('b')).state], ['waiting', 'waiting'])
    t.equal(record.detail().omitted, 0)
    history.started({ task: task('a', 1) })
    t.strictSame([places(), record.detail().attemptList.length], [[['a'], [], []], 1])
    attempted(task('a', 1), 200)
    history.ended(task('a').name, 'done')
    t.strictSame(places(), [[], [], ['a']])
  })

  t.test('keeps the request of a task between its attempts where there is no engine', async t => {
    for (const isOnlyCopy of [false, true]) {
      const { history, counts, task, attempted } = open({ isOnlyCopy })
      history.started({ task: task('a', 1, queue, 'text') })
      attempted(task('a', 1), 500, 'unknown')
      t.equal(history.record(task('a').name)!.task === undefined, !isOnlyCopy)
      t.equal(counts.started, isOnlyCopy ? 0 : 1, 'without an engine the number of waiting tasks is unknown')
    }
  })

  t.test('keeps 10,000 tasks that wait for a retry, and knows that it is not complete with more', async t => {
    const { history, task, attempted } = open()
    const fail = (id: number): void => {
      history.started({ task: task(String(id), 1) })
      attempted(task(String(id), 1), 500, 1_000_100)
    }
    for (let id = 0; id < 10_000; id++) fail(id)
    t.strictSame([history.retrying.size, history.complete], [10_000, true])
    fail(10_000)
    t.strictSame([history.retrying.size, history.complete, history.record(task('0').name)], [10_000, false, undefined])
  })

  t.test('knows the size of all its records, and keeps within its budget, after any events', async t => {
    const budget = 40_000
    const { history, task, attempted } = open({ budget, history: 8 })
    let seed = 7
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
      return Math.floor(seed / 2 ** 31 * below)
    }
    const numbers = new Map<string, number>()
    for (let step = 0; step < 3000; step++) {
      const id = String(random(12))
      const { name } = task(id)
      const number = numbers.get(id) ?? 0
      const seen = task(id, number, queue, 'x'.repeat(random(5000)))
      switch (random(7)) {
        case 0:
        case 1:
          numbers.set(id, number + 1)
          history.started({ task: { ...seen, dispatchCount: number + 1 } })
          break
        case 2: attempted(seen, 500, 1_000_100); break
        case 3:
          attempted(seen, 200)
          history.ended(name, 'done')
          break
        case 4: history.line(name, number, 'y'.repeat(random(3000))); break
        case 5: history.ended(name, 'deleted'); break
        default: if (random(20) === 0) history.emptied(queue)
      }
      const records = [...history.running.values(), ...history.retrying.values(), ...history.past.values()]
      const sum = records.reduce((total, { size }) => total + size, 0)
      if (sum !== history.size) t.equal(history.size, sum, `step ${step}`)
      if (sum > budget && records.length > history.running.size) t.fail(`${sum} bytes at step ${step}`)
      if (records.some(({ forgotten }) => forgotten)) t.fail(`a forgotten record at step ${step}`)
    }
    t.equal(numbers.size, 12)
  })

  t.test('drops the log lines of an attempt when only running tasks are left to make room', async t => {
    const { history, task } = open({ budget: 5000 })
    const { name } = task('a')
    history.started({ task: task('a', 1) })
    for (let line = 0; line < 20; line++) history.line(name, 1, 'x'.repeat(1000))
    const { logs, logsOmitted } = history.record(name)!.detail().attemptList[0]!
    t.equal(logs.length + logsOmitted, 20)
    t.ok(logsOmitted > 0)
    t.ok(history.size <= 5000)
    t.equal(history.size, history.record(name)!.measure())
  })
})

t.test('the feed of attempts that a worker serves', async t => {
  const key = { id: 'a', queue: 'mail', attempt: 2 }
  const started = { ...key, executionCount: 1, scheduledTime: new Date(999_000), previousResponse: 503 }
  const request = { method: 'PUT', url: '/tasks/work', headers: { 'x-own': '1', none: undefined, 'x-list': ['a', 'b'] }, body: 'text' }
  const served = (options: Partial<HistoryOptions> = {}) => {
    const { history, clock, counts, places } = open({ isOnlyCopy: true, ...options })
    const feed = servedFeed({ history, clock, queueName: id => `${parent}/queues/${id}` })
    feed.started!(started, request)
    const record = history.record(`${parent}/queues/mail/tasks/a`)!
    return { feed, record, clock, counts, places }
  }

  t.test('begins with the task as its request describes it', async t => {
    const { record, clock } = served()
    t.strictSame(record.task, {
      name: `${parent}/queues/mail/tasks/a`,
      httpRequest: { url: '/tasks/work', httpMethod: 'PUT', headers: { 'x-own': '1', 'x-list': 'a,b' }, body: Buffer.from('text') },
      scheduleAt: 999_000,
      dispatchCount: 2,
      responseCount: 1,
      executionCount: 1,
      lastAttempt: { scheduleAt: 999_000, dispatchAt: clock.now() },
      previousResponse: 503
    })
    const { history, clock: other } = open({ isOnlyCopy: true })
    const feed = servedFeed({ history, clock: other, queueName: id => `${parent}/queues/${id}` })
    feed.started!({ ...started, previousResponse: undefined }, { ...request, body: undefined })
    const bare = history.record(record.name)!.task!
    t.notOk('previousResponse' in bare || 'body' in bare.httpRequest!)
  })

  t.test('ends with the state that the result and the status mean', async t => {
    const error = new Error('no')
    const cases: Array<[result: AttemptResult, outcome: Settled, state: string]> = [
      [{ result: 'done', value: 1 }, { status: 204, isLast: true }, 'done'],
      [{ result: 'dropped', reason: 'no use' }, { status: 299, isLast: true }, 'dropped'],
      [{ result: 'postponed', until: 5, reason: 'busy', error }, { status: 200, isLast: true }, 'postponed'],
      [{ result: 'failed', error }, { status: 500, isLast: false }, 'retrying'],
      [{ result: 'failed', error }, { status: 300, isLast: true }, 'failed']
    ]
    for (const [result, outcome, state] of cases) {
      const { feed, record, counts, clock } = served()
      feed.settled({ ...key, traceId: 'a'.repeat(32) }, result, outcome)
      t.equal(record.state, state)
      const [attempt] = record.detail().attemptList
      t.strictSame([attempt!.result, attempt!.endedAt, attempt!.trace], [outcome.status, clock.now(), { id: 'a'.repeat(32) }])
      t.strictSame([attempt!.error?.message, attempt!.dropReason, attempt!.postponedUntil, attempt!.postponeReason], [
        result.result === 'failed' ? 'no' : undefined,
        result.result === 'dropped' ? 'no use' : undefined,
        ...(result.result === 'postponed' ? [5, 'busy'] : [undefined, undefined])
      ])
      t.strictSame(counts.ended, [[clock.now(), outcome.status < 300, !outcome.isLast]])
    }
  })

  t.test('records the log lines of the attempt', async t => {
    const { feed, record } = served()
    const log = { info () {} } as unknown as FastifyBaseLogger
    feed.logOf(key, log).info('hello')
    t.strictSame(record.detail().attemptList[0]!.logs.map(({ message }) => message), ['hello'])
    feed.settled(key, { result: 'done', value: undefined }, { status: 204, isLast: true })
    t.notOk('trace' in record.detail().attemptList[0]!)
  })
})

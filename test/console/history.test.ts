import { PassThrough } from 'node:stream'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import t, { type Test } from 'tap'
import { systemClock } from '../../lib/clock/clock.js'
import type { LogLine } from '../../lib/console/api/api.js'
import { errorInfo } from '../../lib/console/history/error-info.js'
import { History, type HistoryOptions } from '../../lib/console/history/history.js'
import { LogLines } from '../../lib/console/history/log-lines.js'
import { teeLog } from '../../lib/console/history/log-tee.js'
import { RowPages, type RowQuery } from '../../lib/console/row-pages.js'
import { payloadOf } from '../../lib/console/api/task-view.js'
import { Timeline } from '../../lib/console/history/timeline.js'
import { httpRequest, parent, queue, stage, type Stage } from '../support/engine-harness.js'

interface Watched extends Stage {
  readonly history: History
  readonly timeline: Timeline
  readonly pages: RowPages
  /** Adds a task and returns its name. */
  readonly add: (id: string, size?: number) => Promise<string>
}

async function watch (options: Partial<HistoryOptions> = {}): Promise<Watched> {
  const set = await stage()
  const { engine, clock } = set
  const timeline = new Timeline(clock.now(), () => engine.queues().reduce((sum, { name }) => sum + engine.counts(name).waiting, 0))
  const history = new History({ history: 1000, timeline, onChange: () => {}, onQueue: () => {}, clock, ...options })
  engine.observe(history)
  const add = async (id: string, size?: number): Promise<string> => {
    const body = size === undefined ? {} : { body: Buffer.alloc(size, 'x') }
    const task = await engine.createTask(queue, { name: `${queue}/tasks/${id}`, httpRequest: { ...httpRequest, ...body } })
    await clock.settle()
    return task.name
  }
  return { ...set, history, timeline, pages: new RowPages(engine, history), add }
}

const names = (records: Iterable<{ readonly name: string }>): string[] =>
  Array.from(records, ({ name }) => name.slice(name.lastIndexOf('/') + 1))

t.test('a history', async t => {
  t.test('knows how long an attempt took, though the wall clock was set back meanwhile', async t => {
    const { add, history, last, clock, engine } = await watch()
    const name = await add('a')
    await clock.advance(1500)
    clock.set(clock.now() - 3_600_000)
    await last().answer(500)
    const { startedAt, endedAt } = history.record(name)!.detail(last().task).attemptList[0]!
    t.equal(endedAt! - startedAt, 1500)
    await engine.close()
  })

  t.test('forgets an attempt that was not delivered, and its task waits again', async t => {
    const { add, history, last, engine } = await watch()
    const name = await add('a')
    history.undelivered(last())
    t.strictSame(names(history.running.values()), [])
    t.equal(history.record(name), undefined)
    t.equal(history.size, 0)
    await last().answer(200)
    await engine.close()
  })

  t.test('follows a task from its first attempt to its end', async t => {
    const { add, history, last, clock } = await watch()
    const name = await add('a')
    t.same(names(history.running.values()), ['a'])
    t.equal(history.record(name)!.state, 'running')
    await last().answer(500)
    t.equal(history.record(name)!.state, 'retrying')
    t.same(names(history.retrying.values()), ['a'])
    const [attempt] = history.record(name)!.detail(last().task).attemptList
    t.match(attempt, { number: 1, result: 500, retryAt: clock.now() + 100, logs: [], logsOmitted: 0 })
    t.equal(attempt!.headers['X-CloudTasks-TaskRetryCount'], '0')

    await clock.advance(100)
    await last().fail(new Error('no route', { cause: new TypeError('refused') }))
    await clock.advance(200)
    await last().answer(200)
    const record = history.record(name)!
    t.match(record.row(), { state: 'done', attempts: 3, endedAt: clock.now(), lastResult: 200, scheduleAt: undefined })
    const { attemptList, omitted } = record.detail()
    t.same(attemptList.map(({ number, result }) => [number, result]), [[1, 500], [2, 'unreachable'], [3, 200]])
    t.match(attemptList[1]!.error, { message: 'no route', causes: [{ name: 'TypeError', message: 'refused' }] })
    t.equal(attemptList[1]!.headers['X-CloudTasks-TaskPreviousResponse'], '500')
    t.equal(omitted, 0)
    t.same([history.running.size, history.retrying.size, history.past.size], [0, 0, 1])
  })

  t.test('tells a task that was dropped, given up, deleted or purged away from one that is done', async t => {
    const { add, history, engine, clock, last } = await watch()
    const dropped = await add('dropped')
    history.dropped(dropped, 1, 'no such order')
    await last().answer(200)
    t.match(history.record(dropped)!.row(), { state: 'dropped' })
    t.equal(history.record(dropped)!.detail().attemptList[0]!.dropReason, 'no such order')

    const deleted = await add('deleted')
    await engine.deleteTask(deleted)
    t.match(history.record(deleted)!.row(), { state: 'deleted' })
    await last().answer(500)
    t.match(history.record(deleted)!.row(), { state: 'deleted', lastResult: 500 }, 'what its attempt came to is still told')

    await engine.updateQueue(queue, { retryConfig: { maxAttempts: 1 } })
    const failed = await add('failed')
    await last().answer(500)
    t.match(history.record(failed)!.row(), { state: 'failed' })

    await engine.updateQueue(queue)
    const waits = await add('waits')
    await last().answer(500)
    const runs = await add('runs')
    const attempt = last()
    await engine.purgeQueue(queue)
    await clock.settle()
    t.equal(history.record(waits), undefined)
    t.match(history.record(runs)!.row(), { state: 'running' }, 'an attempt goes on')
    await attempt.answer(200)
    t.match(history.record(runs)!.row(), { state: 'deleted' })

    const never = (await engine.createTask(queue, { name: `${queue}/tasks/never`, httpRequest, scheduleAt: clock.now() + 1000 })).name
    history.remember(engine.getTask(never))
    await engine.deleteTask(never)
    t.match(history.record(never)!.row(), { state: 'deleted', attempts: 0 })
  })

  t.test('of many attempts keeps the first and the latest', async t => {
    const { add, history, clock, last, engine } = await watch()
    await engine.updateQueue(queue, { retryConfig: { maxBackoffSeconds: 1, maxAttempts: -1 } })
    const name = await add('a')
    for (let attempt = 1; attempt < 30; attempt++) {
      await last().answer(500)
      await clock.advance(1000)
    }
    const { attemptList, omitted } = history.record(name)!.detail(last().task)
    t.same(attemptList.map(({ number }) => number), [1, 2, 23, 24, 25, 26, 27, 28, 29, 30])
    t.equal(omitted, 20)
  })

  t.test('keeps as many ended tasks as it was told, whatever their number', async t => {
    const { add, history, last } = await watch({ history: 3 })
    for (let id = 0; id < 10; id++) {
      await add(`t${id}`)
      await last().answer(200)
    }
    t.same(names(history.past.values()), ['t7', 't8', 't9'])
    t.equal(history.record(`${queue}/tasks/t6`), undefined)
    t.ok(history.size < 10_000)

    const none = await watch({ history: 0 })
    await none.add('a')
    await none.last().answer(200)
    t.same([none.history.past.size, none.history.size], [0, 0])
  })

  t.test('tells the same of a task that was done at once as of any other, and takes what its handler logs later', async t => {
    const { history, engine, clock, last } = await watch()
    const { name } = await engine.createTask(queue, {
      name: `${queue}/tasks/a`,
      dispatchDeadlineMs: 20_000,
      httpRequest: { ...httpRequest, headers: { 'X-Shop': '7' }, body: Buffer.from('{"n":1}') }
    })
    const startedAt = clock.now()
    await clock.settle()
    const running = history.record(name)!.detail().attemptList
    t.match(running, [{ number: 1, startedAt, endedAt: undefined, result: undefined }])
    await clock.advance(7)
    await last().answer(204)
    const app = await engine.createTask(queue, {
      name: `${queue}/tasks/app`,
      appEngineHttpRequest: { relativeUri: '/work', httpMethod: 'PUT' }
    })
    await clock.settle()
    await last().answer(201)

    const [record, other] = [...history.past.values()]
    t.match(record!.row(), {
      name,
      queue,
      method: 'POST',
      url: httpRequest.url,
      state: 'done',
      attempts: 1,
      lastResult: 204,
      endedAt: startedAt + 7,
      scheduleAt: undefined
    })
    t.match(record!.detail(), { omitted: 0, attemptList: [{ number: 1, startedAt, endedAt: startedAt + 7, result: 204, logs: [] }] })
    t.same(record!.detail().attemptList[0]!.headers, running[0]!.headers)
    t.match(record!.detail().headers, { 'X-Shop': '7' })
    t.same(record!.detail().payload.text, '{"n":1}')
    t.equal(record!.task!.dispatchDeadlineMs, 20_000)
    t.match(other!.row(), { name: app.name, method: 'PUT', url: '/work', lastResult: 201 })
    t.match(other!.detail().attemptList[0]!.headers, { 'X-AppEngine-QueueName': queue.slice(queue.lastIndexOf('/') + 1) })

    const before = history.size
    history.line(name, 1, { at: 1, level: 'warn', message: 'after the answer' })
    t.match(history.record(name)!.detail().attemptList, [{ result: 204, logs: [{ message: 'after the answer' }] }])
    t.ok(history.size > before)
    t.same(names(history.past.values()), ['a', 'app'])
  })

  t.test('has one task of a name: the one that ended last', async t => {
    const { add, history, clock, last, engine } = await watch({ history: 4 })
    await engine.updateQueue(queue, { tombstoneTtlSeconds: 3600 })
    const end = async (id: string, status = 200): Promise<string> => {
      const name = await add(id)
      await last().answer(status)
      return name
    }
    const name = await end('again')
    await end('other')
    await clock.advance(2 * 3600 * 1000)
    history.line(name, 1, { at: 1, level: 'info', message: 'of the first' })
    await end('again', 201)
    t.same(names(history.past.values()), ['other', 'again'])
    t.equal(history.past.size, 2)
    t.match(history.record(name)!.row(), { lastResult: 201 })
    t.same(history.record(name)!.detail().attemptList[0]!.logs, [])
    for (const id of ['b', 'c', 'd', 'e', 'f']) await end(id)
    t.same(names(history.past.values()), ['c', 'd', 'e', 'f'])
    t.equal(history.record(name), undefined)
    const { size } = history
    for (const id of ['g', 'h', 'i', 'j']) await end(id)
    t.equal(history.size, size, 'what is gone counts no more')
  })

  t.test('never takes more than its budget: large payloads, log lines and errors go first, then whole records', async t => {
    const budget = 300_000
    const { add, history, last, engine, clock } = await watch({ budget })
    for (let id = 0; id < 40; id++) {
      const name = await add(`t${id}`, 50_000)
      for (let line = 0; line < 50; line++) history.line(name, 1, { at: 1, level: 'info', message: 'y'.repeat(500) })
      history.failed(name, 1, new Error('z'.repeat(5000)))
      await last().answer(200)
      t.ok(history.size <= budget, `${history.size} after ${id}`)
    }
    t.equal(history.past.size, 40, 'stripped, not forgotten')
    const oldest = history.record(`${queue}/tasks/t0`)!
    t.match(oldest.detail().payload, { bytes: 50_000, cut: true, kind: 'text' })
    t.equal(oldest.detail().payload.text.length, 512)
    t.match(oldest.detail().attemptList[0], { logs: [], logsOmitted: 50, error: { name: 'Error', message: 'z'.repeat(512) } })
    const newest = history.record(`${queue}/tasks/t39`)!
    t.equal(newest.detail().payload.bytes, 50_000)
    t.equal(newest.detail().attemptList[0]!.logs.length, 50)

    for (let id = 40; id < 500; id++) {
      await add(`t${id}`, 10)
      await clock.advance(2)
      await last().answer(200)
    }
    t.ok(history.past.size < 400 && history.past.size > 100, `${history.past.size}`)
    t.ok(history.size <= budget)

    await engine.updateQueue(queue, { retryConfig: { minBackoffSeconds: 3600 } })
    for (let id = 0; id < 600; id++) {
      await add(`failing${id}`)
      await clock.advance(2)
      await last().answer(500)
    }
    t.ok(history.size <= budget)
    t.equal(history.complete, false, 'it knows that it does not have all that wait after a failure')
    const running = await add('running')
    for (let line = 0; line < 1000; line++) history.line(running, 1, 'y'.repeat(4000))
    t.ok(history.size <= budget + 64 * 1024)
  })
})

t.test('pages of tasks', async t => {
  const query = (given: Partial<RowQuery>): RowQuery => ({ queue: undefined, state: 'pending', pageToken: undefined, limit: 50, ...given })
  const collect = (pages: RowPages, given: Partial<RowQuery>): string[][] => {
    const found: string[][] = []
    let pageToken: string | undefined
    do {
      const page = pages.page(query({ ...given, pageToken }))
      found.push(names(page.tasks))
      pageToken = page.nextPageToken
    } while (pageToken !== undefined && found.length < 100)
    return found
  }

  t.test('come by state, in parts, and leave nothing out', async t => {
    const { add, pages, engine, last, clock } = await watch()
    const other = `${parent}/queues/other`
    await engine.updateQueue(other)
    for (let id = 0; id < 5; id++) {
      await add(`done${id}`)
      await last().answer(200)
    }
    for (let id = 0; id < 5; id++) {
      await add(`retrying${id}`)
      await last().answer(500)
    }
    for (let id = 0; id < 3; id++) await add(`running${id}`)
    for (let id = 0; id < 5; id++) {
      await engine.createTask(other, { name: `${other}/tasks/waiting${id}`, httpRequest, scheduleAt: clock.now() + 9000 })
    }
    t.same(collect(pages, { state: 'done', limit: 2 }), [['done4', 'done3'], ['done2', 'done1'], ['done0']])
    t.same(collect(pages, { state: 'ended', limit: 5 }), [['done4', 'done3', 'done2', 'done1', 'done0']])
    t.same(collect(pages, { state: 'failed' }), [[]])
    t.same(collect(pages, { state: 'retrying', limit: 3 }), [['retrying4', 'retrying3', 'retrying2'], ['retrying1', 'retrying0']])
    t.same(collect(pages, { state: 'running' }), [['running2', 'running1', 'running0']])
    t.same(collect(pages, { state: 'running', queue: other }), [[]])
    t.same(collect(pages, { state: 'waiting', limit: 2 }).flat().sort(), ['waiting0', 'waiting1', 'waiting2', 'waiting3', 'waiting4'])
    const all = collect(pages, { limit: 4 })
    t.equal(all.flat().length, 13)
    t.ok(all.every(page => page.length <= 4))
    t.equal(collect(pages, { queue: other }).flat().length, 5)
    t.throws(() => pages.page(query({ queue: `${parent}/queues/none` })), { code: 'NOT_FOUND' })
    for (const pageToken of ['!', 'bm8', Buffer.from('null').toString('base64url')]) {
      t.throws(() => pages.page(query({ pageToken })), { code: 'FST_TASKS_INVALID_PAGE' }, pageToken)
    }
  })

  t.test('show tasks that failed before the history began', async t => {
    const { add, pages, history, last } = await watch()
    await add('old')
    await last().answer(500)
    const { engine, clock } = await stage({ store: (await watchStore(t)) })
    const later = new History({ history: 10, timeline: new Timeline(clock.now(), () => 0), onChange: () => {}, onQueue: () => {}, clock })
    later.complete = false
    t.same(collect(new RowPages(engine, later), { state: 'retrying' }).flat(), ['before'])
    t.same(collect(pages, { state: 'retrying' }).flat(), ['old'])
    t.ok(history.complete)
  })

  async function watchStore (t: Test) {
    const former = await stage()
    await former.engine.createTask(queue, { name: `${queue}/tasks/before`, httpRequest })
    await former.engine.createTask(queue, { name: `${queue}/tasks/fresh`, httpRequest, scheduleAt: former.clock.now() + 1000 })
    await former.clock.settle()
    await former.last().answer(500)
    await former.engine.close()
    t.teardown(() => former.engine.close())
    return former.store
  }
})

t.test('a timeline has one bucket for each second, those without an event included', async t => {
  let waiting = 0
  const timeline = new Timeline(1_000_000, () => waiting)
  waiting = 3
  for (let task = 0; task < 3; task++) timeline.arrived(1_000_100)
  waiting = 2
  timeline.started(1_005_000)
  timeline.ended(1_005_500, false, false)
  timeline.ended(1_006_100, true, false)
  t.same(timeline.buckets(1_007_000, 8), [
    { at: 1_000_000, arrived: 3, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_001_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_002_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_003_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_004_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_005_000, arrived: 0, succeeded: 0, failed: 1, waiting: 2 },
    { at: 1_006_000, arrived: 0, succeeded: 1, failed: 0, waiting: 2 },
    { at: 1_007_000, arrived: 0, succeeded: 0, failed: 0, waiting: 2 }
  ])
  t.equal(timeline.buckets(1_007_000).length, 300)
  t.same(
    timeline.buckets(9_000_000).filter(({ arrived, succeeded, failed }) => arrived + succeeded + failed > 0),
    [],
    'what is older than five minutes is gone'
  )
  timeline.arrived(8_997_000)
  t.equal(timeline.buckets(9_000_000).at(-1)!.arrived, 1, 'a clock that was set back a little counts for the second at hand')
})

t.test('a timeline begins anew when the clock is set back', async t => {
  const timeline = new Timeline(9_000_000, () => 2)
  timeline.arrived(9_000_000)
  timeline.arrived(8_000_500)
  timeline.ended(8_001_000, true, false)
  t.strictSame(
    timeline.buckets(8_002_000, 4).map(({ at, arrived, succeeded }) => [at, arrived, succeeded]),
    [
      [7_999_000, 0, 0],
      [8_000_000, 1, 0],
      [8_001_000, 0, 1],
      [8_002_000, 0, 0]
    ]
  )
  t.equal(timeline.buckets(8_002_000).reduce((sum, { arrived }) => sum + arrived, 0), 1)
})

t.test('log lines', async t => {
  const collected = (make: (log: FastifyBaseLogger) => void, log: FastifyBaseLogger): LogLine[] => {
    const lines = new LogLines(systemClock)
    make(teeLog(log, systemClock, line => { lines.add(line) }))
    return lines.lines()
  }

  t.test('of pino are what pino wrote: its levels, redaction, serializers, bindings and formats', async t => {
    const written = new PassThrough()
    const { log } = Fastify({
      logger: { level: 'info', redact: ['password'], serializers: { order: (order: { id: string }) => order.id }, stream: written }
    })
    const lines = collected(tee => {
      tee.debug('below the level')
      tee.info({ password: 'hunter2', order: { id: 'o1' } }, 'paid %d', 5)
      tee.child({ shop: 'a' }).error(new Error('broken'))
      tee.fatal('the end')
    }, log)
    t.match(lines, [
      { level: 'info', message: 'paid 5', fields: '{"password":"[Redacted]","order":"o1"}' },
      { level: 'error', message: 'broken', fields: /"shop":"a","err":\{"type":"Error","message":"broken","stack":/ },
      { level: 'fatal', message: 'the end', fields: undefined }
    ])
    t.equal(lines.length, 3)
    t.equal(String(written.read()).trim().split('\n').length, 3, 'and they went where they belong')
    log.info('not heard')
    t.equal(lines.length, 3)
  })

  t.test('reach a stream that wants to know the level of each', async t => {
    const seen: unknown[] = []
    const low: string[] = []
    const high: string[] = []
    // As pino.multistream does it.
    const stream = {
      [Symbol.for('pino.metadata')]: true,
      lastLevel: 0,
      write (line: string) {
        low.push(line)
        if (this.lastLevel >= 50) high.push(line)
      },
      flush (done: () => void) { done() }
    }
    const lines = collected(tee => {
      tee.info('one')
      tee.error('two')
      ;(tee as unknown as { flush: (done: () => void) => void }).flush(() => { seen.push('flushed') })
    }, Fastify({ logger: { stream } }).log)
    t.same(lines.map(({ message }) => message), ['one', 'two'])
    t.same([low.length, high.length, seen], [2, 1, ['flushed']])
  })

  t.test('of other loggers are what those were given, without what is secret by its name', async t => {
    const calls: unknown[][] = []
    const make = (): FastifyBaseLogger =>
      ({
        level: 'info',
        silent () {},
        trace () {},
        debug () {},
        fatal () {},
        info: (...args: unknown[]) => {
          calls.push(args)
        },
        warn () {},
        error () {},
        child: make
      }) as unknown as FastifyBaseLogger
    const circular: Record<string, unknown> = {}
    circular.self = circular
    const lines = collected(tee => {
      tee.debug('left out')
      tee.info({ authorization: 'Bearer x', order: 1n }, 'hello %s', 'you')
      tee.child({}).warn('from a child')
      tee.error(new RangeError('too far'))
      tee.info(circular, 'round')
      tee.info({ get bad () { throw new Error('no') } }, 'a getter that throws')
    }, make())
    t.match(lines, [
      { level: 'info', message: 'hello you', fields: '{"authorization":"[hidden]","order":"1"}' },
      { level: 'warn', message: 'from a child' },
      { level: 'error', message: 'too far', fields: /RangeError/ },
      { level: 'info', message: 'round', fields: '"fields that cannot be printed"' },
      { level: 'info', message: 'a getter that throws' }
    ])
    t.equal(calls.length, 3)
  })

  t.test('are bounded: the first and the latest stay, long ones are cut', async t => {
    const lines = new LogLines(systemClock)
    for (let line = 0; line < 10_000; line++) lines.add(JSON.stringify({ level: 30, time: 1, msg: `line ${line}` }))
    const kept = lines.lines().map(({ message }) => Number(message.slice(5)))
    t.same(kept.slice(0, 50), Array.from({ length: 50 }, (_, line) => line))
    t.equal(kept.at(-1), 9999)
    t.equal(kept.length + lines.omitted, 10_000)

    const long = new LogLines(systemClock)
    for (let line = 0; line < 500; line++) {
      long.add(JSON.stringify({ level: 50, time: 1, msg: 'm'.repeat(100_000), field: 'f'.repeat(100_000) }))
    }
    long.add('x'.repeat(2_000_000))
    t.ok(long.chars <= 64 * 1024)
    t.ok(long.lines().every(({ message }) => message.length <= 4097))
    t.equal(long.lines()[0]!.level, 'error')
    t.match(long.lines()[0]!.fields, /^\{"field":"f+…$/)
    t.equal(long.lines().length + long.omitted, 501)
  })

  t.test('in a form of the app\'s own are shown as far as they can be understood', async t => {
    const lines = new LogLines(systemClock)
    for (const line of [
      'plain text\n',
      '[1]',
      '{"level":"WARN","time":"2030-01-01T00:00:00Z","message":"labelled"}',
      '{"level":35,"msg":7}'
    ]) { lines.add(line) }
    t.match(lines.lines(), [
      { level: 'info', message: 'plain text' },
      { level: 'info', message: '[1]' },
      { level: 'warn', message: 'labelled', at: Date.parse('2030-01-01T00:00:00Z') },
      { level: 'info', message: '' }
    ])
  })
})

t.test('an error tells its causes, whatever was thrown', async t => {
  const circle = new Error('circle')
  circle.cause = circle
  t.match(errorInfo(Object.assign(new TypeError('a', { cause: Object.assign(new Error('b'), { code: 'EPIPE' }) }), { code: 7 })), {
    name: 'TypeError', message: 'a', code: '7', stack: /^TypeError: a/, causes: [{ message: 'b', code: 'EPIPE' }]
  })
  t.notOk(errorInfo(circle).causes)
  t.match(errorInfo(new AggregateError([new Error('one'), new Error('two')], 'several')).causes, [{ message: 'one' }])
  t.match(errorInfo('a string'), { name: 'thrown', message: 'a string' })
  t.match(errorInfo(undefined), { message: 'undefined' })
  t.match(errorInfo({ code: 1 }), { message: '{ code: 1 }' })
  const hostile = new Error('x')
  for (const key of ['stack', 'message', 'name', 'code', 'cause']) {
    Object.defineProperty(hostile, key, {
      get () {
        throw new Error('gotcha')
      }
    })
  }
  t.match(errorInfo(hostile), { name: 'Error', message: '' })
  t.ok(errorInfo(new Error('m'.repeat(1e6))).message.length <= 4097)
  let deep = new Error('0')
  for (let level = 1; level < 100; level++) deep = new Error(String(level), { cause: deep })
  t.equal(errorInfo(deep).causes!.length, 8)
})

t.test('a payload is told for what it is', async t => {
  t.same(payloadOf(undefined), { text: '', kind: 'none', bytes: 0, cut: false })
  t.same(payloadOf(Buffer.from('{}'), { 'Content-Type': 'application/json; charset=utf-8' }), {
    text: '{}',
    kind: 'json',
    bytes: 2,
    cut: false
  })
  t.same(payloadOf(Buffer.from('hé')), { text: 'hé', kind: 'text', bytes: 3, cut: false })
  t.same(payloadOf(Buffer.from([0xff, 0xfe])), { text: '//4=', kind: 'binary', bytes: 2, cut: false })
  for (const character of ['a', 'é', '€', '😀']) {
    for (let shift = 0; shift < 4; shift++) {
      const { text, kind, cut, bytes } = payloadOf(Buffer.from(' '.repeat(shift) + character.repeat(10_000)))
      t.match(
        { kind, cut, broken: text.includes('\ufffd') },
        { kind: 'text', cut: bytes > 16_384, broken: false },
        `${character} ${shift}`
      )
    }
  }
})

import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { defineTasks, type TaskContext } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { testTasks } from '../../lib/testing/index.js'
import { AttemptContext, type AttemptContextParts } from '../../lib/worker/context.js'
import { retryLimits } from '../../lib/worker/limits/retry-limits.js'
import { AttemptWatchers } from '../../lib/worker/watchers.js'
import { create, start, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })

const NOW = Date.parse('2030-01-01T00:00:00Z')
const headers = { id: 'one', queue: 'q', retryCount: 2, executionCount: 1, scheduledAt: NOW - 1000 }

/** A context whose log writes to `lines`: the bindings of the logger, and the fields and message of each line. */
function contextOf (parts: Partial<AttemptContextParts> = {}) {
  const lines: unknown[][] = []
  const logger = (bound: object): unknown => ({
    child: (fields: object) => logger({ ...bound, ...fields }),
    info: (message: string) => { lines.push(['info', bound, message]) },
    debug: (fields: object, message: string) => { lines.push(['debug', { ...bound, ...fields }, message]) }
  })
  const log = logger({ req: 1 }) as never
  const context = new AttemptContext({
    name: 'work', headers, clock: new ManualClock(NOW), limits: retryLimits('queue', { maxAttempts: 3 }), deadlineAt: NOW + 5000, log, ...parts
  })
  return { context, lines, log: log as AttemptContext['log'] }
}

t.test('a context has the facts of its headers, its origin and its limits', async t => {
  const { context } = contextOf({ delivered: true, mayHaveOwnRetry: true })
  t.hasStrict(context, {
    name: 'work',
    id: 'one',
    queue: 'q',
    originalId: 'one',
    postponements: 0,
    sourceQueue: 'q',
    sourceId: 'one',
    delivered: true,
    isLetter: false,
    attempt: 3,
    retryCount: 2,
    executionCount: 1,
    scheduledTime: new Date(NOW - 1000),
    previousResponse: undefined,
    retryReason: undefined,
    maxAttempts: 3,
    isLastAttempt: true,
    deadline: new Date(NOW + 5000),
    mayHaveOwnRetry: true,
    durationMs: 0,
    traceId: undefined
  })
  const { context: copy } = contextOf({ origin: { id: 'first', postponements: 2 } })
  t.strictSame([copy.id, copy.originalId, copy.postponements, copy.sourceId], ['one', 'first', 2, 'one'])
  t.strictSame([copy.delivered, copy.mayHaveOwnRetry], [false, false])
  const { context: letter } = contextOf({ letterOf: { id: 'lost', queue: 'mail' } })
  t.strictSame([letter.id, letter.queue, letter.sourceId, letter.sourceQueue, letter.isLetter], ['lost', 'mail', 'one', 'q', true])
  const { context: expired } = contextOf({ headers: { ...headers, retryCount: -1 } })
  t.strictSame([expired.attempt, expired.retryCount], [0, 0])
})

t.test('a line of a handler names its task, and those of the plugin do too', async t => {
  for (const logFields of [undefined, { traceId: 'abc' }]) {
    const { context, lines } = contextOf()
    context.logFields = logFields
    t.equal(context.log, context.log)
    context.log.info('mine')
    context.debug({ more: 1 }, 'ours')
    const expected = { req: 1, ...logFields, task: 'work', id: 'one', attempt: 3 }
    t.strictSame(lines, [['info', expected, 'mine'], ['debug', { ...expected, more: 1 }, 'ours']])
    t.equal(context.traceId, logFields?.traceId)
  }
})

t.test('a watcher gets the log of a handler, once, and also through its request', async t => {
  const request = { log: undefined as unknown }
  const watchers = new AttemptWatchers()
  const { context, log } = contextOf({ request: request as never, watchers })
  t.equal(context.request, request)
  t.equal(request.log, undefined, 'as long as nothing replaces it')
  const watched: unknown[] = []
  watchers.add({
    logOf (attempt, log) {
      watched.push(attempt)
      return log.child({ watched: watched.length })
    },
    settled () {}
  })
  const other = contextOf({ request: request as never, watchers, log })
  t.equal(other.context.request, request)
  ;(request.log as AttemptContext['log']).info('through the request')
  other.context.log.info('mine')
  t.equal(watched.length, 1)
  t.equal(watched[0], other.context)
  t.equal(contextOf({ watchers }).context.request, undefined)
})

t.test('fields that a tracer has set reach the log of the request', async t => {
  const request = { log: undefined as unknown }
  const { context, lines } = contextOf({ request: request as never })
  context.logFields = { traceId: 'abc' }
  t.equal(context.request, request)
  ;(request.log as AttemptContext['log']).info('through the request')
  t.strictSame(lines, [['info', { req: 1, traceId: 'abc' }, 'through the request']])
})

t.test('a signal that is asked for after the run was aborted has aborted, with the first reason', async t => {
  const context = () => contextOf().context
  const task = context()
  const [first, second] = [new Error('first'), new Error('second')]
  task.abort(first)
  task.abort(second)
  t.equal(task.signal.aborted, true)
  t.equal(task.signal.reason, first)
  const early = context()
  const { signal } = early
  early.abort(first)
  early.abort(second)
  t.equal(signal.reason, first)
})

t.test('the limits of an attempt may become known while it runs', async t => {
  const check = (t: Test, maxAttempts: number | undefined, maxRetrySeconds: number, expected: [number | undefined, boolean]) => {
    const task = contextOf({ headers: { ...headers, retryCount: 0 } }).context
    task.limits = retryLimits('queue', { ...(maxAttempts === undefined ? {} : { maxAttempts }), maxRetrySeconds })
    t.strictSame([task.maxAttempts, task.isLastAttempt], expected)
  }
  check(t, 1, 0, [1, true])
  check(t, 2, 0, [2, false])
  check(t, -1, 0, [undefined, false])
  check(t, 1, 60, [1, false])
  check(t, undefined, 0, [undefined, false])
})

t.test('a task is postponed to a time within 30 days, to the millisecond', async t => {
  const now = NOW
  const MONTH = 2_592_000
  const context = () => contextOf().context
  for (const [delay, until] of [
    [0, now], [1.5, now + 1500], [MONTH, now + MONTH * 1000], [new Date(now), now], [new Date(now + MONTH * 1000), now + MONTH * 1000]
  ] as const) {
    const task = context()
    t.throws(() => task.retryAfter(delay), { code: 'FST_TASKS_POSTPONED' })
    const { result, error, ...rest } = task.ending!
    t.strictSame([result, rest], ['postponed', { until, reason: undefined }])
  }
  for (const delay of [
    -1, MONTH + 1, NaN, Infinity, '5', undefined, null, new Date(NaN), new Date(now - 1), new Date(now + MONTH * 1000 + 1)
  ]) {
    const task = context()
    t.throws(() => task.retryAfter(delay as number), { code: 'FST_TASKS_INVALID_DELAY' })
    t.equal(task.ending, undefined)
  }
})

t.test('the first of drop and retryAfter counts, and reasons are texts', async t => {
  const context = () => contextOf().context
  const task = context()
  t.throws(() => task.drop(5 as never), { code: 'FST_TASKS_DROPPED' })
  const first = task.ending
  t.hasStrict(first, { result: 'dropped', reason: '5' })
  t.throws(() => task.retryAfter(1), { code: 'FST_TASKS_DROPPED' })
  t.throws(() => task.drop('again'), { code: 'FST_TASKS_DROPPED' })
  t.equal(task.ending, first)
  const postponed = context()
  t.throws(() => postponed.retryAfter(1, 7 as never), { code: 'FST_TASKS_POSTPONED' })
  t.throws(() => postponed.drop('again'), { code: 'FST_TASKS_POSTPONED' })
  t.hasStrict(postponed.ending, { result: 'postponed', reason: '7' })
})

t.test('the context of a handler', async t => {
  t.test('reads the attempt from the headers of Cloud Tasks', async t => {
    let seen: TaskContext | undefined
    const { app, log } = await start(t, {
      tasks,
      auth: false,
      queues: { mail: { retryConfig: { maxAttempts: 5 } } },
      handlers: {
        work (_, task) {
          seen = task
          task.log.info('from the handler')
        }
      }
    })
    handleOf(app)!.clock.switchTo(new ManualClock(NOW))
    await app.inject({
      method: 'POST',
      url: '/tasks/work',
      headers: {
        'x-cloudtasks-queuename': 'mail',
        'x-cloudtasks-taskname': 'abc-1',
        'x-cloudtasks-taskretrycount': '3',
        'x-cloudtasks-taskexecutioncount': '2',
        'x-cloudtasks-tasketa': '1721236265.266817',
        'x-cloudtasks-taskpreviousresponse': '404',
        'x-cloudtasks-taskretryreason': '',
        'fastify-cloud-tasks-deadline': '60'
      },
      payload: { n: 1 }
    })
    t.hasStrict(seen, {
      name: 'work',
      id: 'abc-1',
      queue: 'mail',
      attempt: 4,
      retryCount: 3,
      executionCount: 2,
      previousResponse: 404,
      retryReason: undefined,
      maxAttempts: 5,
      isLastAttempt: false
    })
    t.equal(seen?.scheduledTime.getTime(), 1721236265266)
    t.equal(seen?.deadline.getTime(), NOW + 60_000)
    t.equal(seen?.signal.aborted, false)
    t.hasStrict(log.find(line => line.msg === 'from the handler'), { task: 'work', id: 'abc-1', attempt: 4 })
  })

  t.test('without those headers, as from Cloud Scheduler, is a first attempt', async t => {
    let seen: TaskContext | undefined
    const { app } = await start(t, { tasks, auth: false, handlers: { work: (_, task) => { seen = task } } })
    t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 1 } })).statusCode, 204)
    t.hasStrict(seen, { attempt: 1, queue: 'default', isLastAttempt: false, maxAttempts: 100, previousResponse: undefined })
  })

  t.test('counts attempts of the embedded queue and knows the response before', async t => {
    const seen: unknown[] = []
    const { app } = await create(t, {
      tasks,
      handlers: {
        work (_, task) {
          seen.push([task.attempt, task.retryCount, task.executionCount, task.previousResponse])
          if (task.attempt < 3) throw new Error('again')
        }
      }
    })
    const kit = testTasks(app)
    await app.enqueue('work', { n: 1 })
    await kit.drain({ scheduled: true })
    t.strictSame(
      seen,
      [
        [1, 0, 0, undefined],
        [2, 1, 0, 500],
        [3, 2, 0, 500]
      ],
      'the execution count leaves 5xx out, as recorded from production'
    )
  })

  t.test('of an App Engine target follows App Engine\'s way of counting', async t => {
    const seen: unknown[] = []
    const { app } = await create(t, {
      tasks,
      target: { type: 'appEngine' },
      handlers: {
        work (_, task) {
          seen.push([task.attempt, task.executionCount, task.previousResponse, task.retryReason])
          if (task.attempt < 2) throw new Error('again')
        }
      }
    })
    const kit = testTasks(app)
    await app.enqueue('work', { n: 1 })
    await kit.drain({ scheduled: true })
    t.strictSame(seen, [[1, 0, undefined, undefined], [2, 1, 500, 'App Error']])
  })

  t.test('is a handler\'s second argument, and `this` is the instance with the host\'s decorators', async t => {
    const attempts = watchAttempts(t)
    let mailer: unknown
    const { app } = await start(
      t,
      {
        tasks,
        handlers: {
          work () {
            mailer = (this as FastifyInstance & { mailer: unknown }).mailer
          }
        }
      },
      app => {
        app.decorate('mailer', { name: 'mailer' })
      }
    )
    await app.enqueue('work', { n: 1 })
    await attempts.ended(1)
    t.strictSame(mailer, { name: 'mailer' })
  })
})

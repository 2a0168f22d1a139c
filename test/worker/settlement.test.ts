import { AsyncResource } from 'node:async_hooks'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { Copied, NewCopy } from '../../lib/copies/copies.js'
import type { TaskContext } from '../../lib/index.js'
import type { AttemptResult } from '../../lib/worker/attempt-result.js'
import { AttemptContext, type AttemptContextParts } from '../../lib/worker/context.js'
import { isRetried, retryLimits, UNKNOWN_LIMITS, type RetryLimits } from '../../lib/worker/limits/retry-limits.js'
import { Runs } from '../../lib/worker/run.js'
import { Settlement } from '../../lib/worker/settlement.js'
import { AttemptWatchers } from '../../lib/worker/watchers.js'

const NOW = Date.parse('2030-01-01T00:00:00Z')
const task = { name: 'work', path: '/work', method: 'POST', deadLetterQueue: undefined } as never
const LAST = retryLimits('queue', { maxAttempts: 1 })
const MORE = retryLimits('queue', { maxAttempts: 2 })
const boom = Object.assign(new TypeError('boom'), { code: 'E_BOOM' })
const invalid = new Error('payload must be integer')

interface Given {
  /** Limits of the failed attempt. */
  readonly limits?: RetryLimits | Promise<RetryLimits>
  readonly options?: object
  /** Whether the end of the task was recorded before. */
  readonly endedBefore?: boolean
  readonly copied?: Copied
  readonly context?: Partial<AttemptContextParts>
}

/** A settlement in which only the log, the hooks and the copies are watched. */
function setUp ({ limits = MORE, options = {}, endedBefore = false, copied = { outcome: 'created' }, context: parts = {} }: Given = {}) {
  const clock = new ManualClock(NOW)
  const lines: Array<[level: string, fields: unknown, message: string]> = []
  const line = (level: string) => (fields: unknown, message?: string): void => {
    lines.push(message === undefined ? [level, {}, fields as string] : [level, fields, message])
  }
  const log = { ...Object.fromEntries(['debug', 'info', 'warn', 'error'].map(level => [level, line(level)])), child: () => log } as never
  const calls: unknown[][] = []
  const copies: NewCopy[] = []
  const ended: unknown[] = []
  const watchers = new AttemptWatchers()
  const settlement = new Settlement(
    {
      onDropped: (...given: unknown[]) => { calls.push(['onDropped', ...given]) },
      onExhausted: (...given: unknown[]) => { calls.push(['onExhausted', ...given]) },
      ...options
    } as never,
    new Runs(clock, new AsyncResource('test')),
    watchers,
    {
      limitsOf: () => limits,
      limitsOfFailed: () => limits,
      knownLimits: () => UNKNOWN_LIMITS,
      recordEnd: attempt => { ended.push(attempt); return !endedBefore },
      close () {}
    },
    { copy: async (_: unknown, __: unknown, copy: NewCopy) => { copies.push(copy); return copied } } as never,
    () => clock.now()
  )
  const context = new AttemptContext({
    name: 'work',
    headers: { id: 'one', queue: 'q', retryCount: 0, executionCount: 0, scheduledAt: NOW },
    limits: UNKNOWN_LIMITS,
    clock,
    deadlineAt: NOW + 60_000,
    log,
    ...parts
  })
  const settle = async (result: AttemptResult) => await settlement.settle(task, { n: 1 }, context, result)
  return { settlement, settle, context, lines, calls, copies, ended, watchers, clock }
}

const dropped = { result: 'dropped', reason: 'unwanted' } as const
const postponed = { result: 'postponed', until: NOW + 5000, reason: 'later', error: new Error('x') } as const

t.test('each result of an attempt has its outcome, status, code and error', async t => {
  for (const [result, outcome, status, code, error] of [
    [{ result: 'done', value: 1 }, 'done', 204, undefined, undefined],
    [dropped, 'dropped', 200, 'FST_TASKS_DROPPED', undefined],
    [postponed, 'postponed', 200, 'FST_TASKS_POSTPONED', undefined],
    [{ result: 'failed', error: boom }, 'retry', 500, 'FST_TASKS_ATTEMPT_FAILED', boom],
    [{ result: 'deadline', error: boom }, 'retry', 504, 'FST_TASKS_DEADLINE_EXCEEDED', boom],
    [{ result: 'disconnected', error: boom }, 'retry', 499, 'FST_TASKS_DISCONNECTED', boom],
    [{ result: 'aborted', error: boom }, 'retry', 503, 'FST_TASKS_ABORTED', boom],
    [{ result: 'invalid', error: boom }, 'retry', 400, 'FST_TASKS_INVALID_PAYLOAD', boom]
  ] as const) {
    for (const last of [true, false]) {
      const { settle, settlement, calls, ended, watchers } = setUp({ limits: Promise.resolve(last ? LAST : MORE) })
      const seen: unknown[] = []
      watchers.add({ logOf: (_, log) => log, settled: (_, result, settled) => { seen.push(result, settled) } })
      const exhausted = outcome === 'retry' && last
      t.strictSame(await settle(result), { result: outcome, status, error, code, exhausted }, result.result)
      t.strictSame(seen, [result, { status, isLast: outcome !== 'retry' || last }])
      t.equal(ended.length, exhausted ? 1 : 0)
      t.strictSame(settlement.countsOf('work'), {
        done: 0, retry: 0, dropped: 0, postponed: 0, exhausted: exhausted ? 1 : 0, expired: 0, [outcome]: 1
      })
      t.strictSame(calls.map(([hook]) => hook), exhausted ? ['onExhausted'] : outcome === 'dropped' ? ['onDropped'] : [])
    }
  }
  t.strictSame(setUp().settlement.countsOf('none'), { done: 0, retry: 0, dropped: 0, postponed: 0, exhausted: 0, expired: 0 })
})

t.test('a hook gets the payload, what happened and the context', async t => {
  const given = setUp({ limits: LAST })
  await given.settle({ result: 'failed', error: boom })
  t.strictSame(given.calls, [['onExhausted', { n: 1 }, boom, given.context]])
  t.equal(given.calls[0]?.[3], given.context)
  const other = setUp()
  await other.settle(dropped)
  t.strictSame(other.calls.map(call => call.slice(0, 3)), [['onDropped', { n: 1 }, 'unwanted']])
  t.equal(other.calls[0]?.[3], other.context)
})

t.test('without hooks, or with hooks that fail, an attempt is settled all the same', async t => {
  for (const [hook, error] of [[undefined, undefined], [() => { throw boom }, boom], [async () => { throw boom }, boom]] as const) {
    const { settle, lines } = setUp({ limits: LAST, options: { onDropped: hook, onExhausted: hook } })
    t.equal((await settle(dropped)).status, 200)
    t.equal((await settle({ result: 'failed', error: 1 })).status, 500)
    const failed = lines.filter(([, , message]) => message.endsWith(' failed')).map(([level, fields, message]) => [level, fields, message])
    t.strictSame(failed, error === undefined
      ? []
      : [['error', { err: error }, 'onDropped failed'], ['error', { err: error }, 'onExhausted failed']])
  }
})

t.test('an end that was recorded before is not another one', async t => {
  const { settle, calls, settlement } = setUp({ limits: LAST, endedBefore: true })
  t.equal((await settle({ result: 'failed', error: boom })).exhausted, false)
  t.strictSame(calls, [])
  t.equal(settlement.countsOf('work').exhausted, 0)
})

t.test('the log says with which level and facts an attempt ended', async t => {
  for (const [limits, result, level, fields] of [
    [MORE, { result: 'done', value: 1 }, 'debug', { task: 'work', id: 'one', attempt: 1, durationMs: 0 }],
    [MORE, dropped, 'warn', { reason: 'unwanted' }],
    [MORE, postponed, 'info', { until: new Date(NOW + 5000), reason: 'later', postponements: 1 }],
    [MORE, { result: 'failed', error: boom }, 'warn', { err: boom, status: 500, maxAttempts: 2 }],
    [LAST, { result: 'failed', error: boom }, 'error', { err: boom }]
  ] as const) {
    const { settle, lines } = setUp({ limits })
    await settle(result)
    t.strictSame(lines.map(line => line.slice(0, 2)), [[level, fields]])
  }
})

t.test('the log says whether a failed attempt is certain to be retried, or why it was the last', async t => {
  for (const limits of [MORE, LAST, UNKNOWN_LIMITS, retryLimits('options', { maxAttempts: 1 }), retryLimits('options', { maxAttempts: 2 })]) {
    const { settle, lines } = setUp({ limits })
    const { exhausted } = await settle({ result: 'failed', error: boom })
    t.equal(lines[0]?.[2], exhausted
      ? limits.source === 'options'
        ? "last attempt failed according to the option 'queues'; the queue's settings could not be read"
        : 'last attempt failed, it will not be retried'
      : isRetried(limits, 1)
        ? 'attempt failed, it will be retried'
        : 'attempt failed, it will be retried unless the queue allows no more attempts')
  }
})

t.test('a postponed task is copied with its origin, and the attempt has failed where that is not possible', async t => {
  const origin = { id: 'first', postponements: 2 }
  for (const [copied, status, level] of [
    [{ outcome: 'created' }, 200, ['info']],
    [{ outcome: 'duplicate' }, 200, ['info']],
    [{ outcome: 'gone' }, 200, ['info', 'info']],
    [{ outcome: 'closing' }, 500, ['warn']],
    [{ outcome: 'failed', problem: 'it may not', cause: boom }, 500, ['warn']]
  ] as const) {
    const { settle, copies, lines } = setUp({ copied: copied as Copied, context: { origin } })
    const { status: answered, error } = await settle(postponed)
    t.strictSame([answered, lines.map(([level]) => level)], [status, level], copied.outcome)
    t.strictSame(copies, [{ queue: 'q', origin: { id: 'first', postponements: 3 }, scheduleAt: NOW + 5000 }])
    if (status === 200) continue
    const { code, cause } = error as { code: string, cause: unknown }
    t.strictSame([code, cause], ['FST_TASKS_POSTPONE_FAILED', copied.outcome === 'failed' ? boom : undefined])
  }
})

t.test('a dead letter', async t => {
  const options = { deadLetterQueue: 'letters' }

  t.test('says what failed, where and when', async t => {
    for (const [error, described] of [
      [boom, { name: 'TypeError', code: 'E_BOOM', message: 'boom' }],
      [Object.assign(new Error('x'), { code: 7 }), { name: 'Error', message: 'x' }],
      [Object.assign(new Error('x'), { name: 5, message: 6 }), { name: '5', message: '6' }],
      ['a text', { name: 'Error', message: 'a text' }],
      [undefined, { name: 'Error', message: 'undefined' }]
    ] as const) {
      const { settle, copies, lines } = setUp({ limits: LAST, options })
      await settle({ result: 'failed', error })
      t.strictSame(copies, [{
        queue: 'letters',
        origin: { id: 'one', postponements: 0, letter: { queue: 'q', attempts: 1, at: NOW, error: described, task: 'work' } },
        mayHaveEnded: false
      }])
      t.strictSame(lines[0], ['info', { deadLetterQueue: 'letters' }, 'kept as a dead letter'])
    }
  })

  t.test('of a copy says the ids of both, and how often it was postponed', async t => {
    const { settle, copies } = setUp({ limits: LAST, options, context: { origin: { id: 'first', postponements: 4 } } })
    await settle({ result: 'failed', error: boom })
    t.strictSame([copies[0]?.origin.id, copies[0]?.origin.postponements, copies[0]?.origin.letter?.id], ['first', 4, 'one'])
  })

  t.test('is made of the last failure and of an invalid payload that is dropped, and of nothing else', async t => {
    for (const [result, limits, made] of [
      [{ result: 'failed', error: boom }, LAST, 1],
      [{ result: 'failed', error: boom }, MORE, 0],
      [{ ...dropped, invalid }, MORE, 1],
      [dropped, LAST, 0],
      [{ result: 'done', value: 1 }, LAST, 0]
    ] as const) {
      const { settle, copies } = setUp({ limits, options })
      await settle(result)
      t.equal(copies.length, made)
    }
    const { settle, copies } = setUp({ options })
    await settle({ ...dropped, invalid })
    t.equal(copies[0]?.origin.letter?.error.message, invalid.message)
  })

  t.test('is not made without a queue for it, for a task that opts out, and for a letter', async t => {
    const letterOf = { id: 'original', queue: 'q' }
    for (const given of [{ options: {} }, { options, context: { letterOf } }]) {
      const { settle, copies } = setUp({ limits: LAST, ...given })
      await settle({ ...dropped, invalid })
      await settle({ result: 'failed', error: boom })
      t.strictSame(copies, [])
    }
    const { settlement, context, copies } = setUp({ limits: LAST, options })
    await settlement.settle({ ...task as object, deadLetterQueue: false } as never, {}, context, { result: 'failed', error: boom })
    t.strictSame(copies, [])
  })

  t.test('of an attempt near its deadline is made even where the task is gone', async t => {
    for (const [result, beforeDeadline, mayHaveEnded] of [
      ['failed', 1000, false], ['failed', 999, true], ['deadline', 60_000, true], ['disconnected', 60_000, true], ['aborted', 60_000, false]
    ] as const) {
      const { settle, copies, clock } = setUp({ limits: LAST, options })
      clock.pass(60_000 - beforeDeadline)
      await settle({ result, error: boom })
      t.equal(copies[0]?.mayHaveEnded, mayHaveEnded, `${result} ${beforeDeadline}`)
    }
  })

  t.test('that could not be made is logged as an error, unless the task is gone', async t => {
    for (const [copied, level, fields] of [
      [{ outcome: 'duplicate' }, 'info', { deadLetterQueue: 'letters' }],
      [{ outcome: 'failed', problem: 'it may not', cause: boom }, 'error',
        { err: boom, queue: 'q', deadLetterQueue: 'letters', problem: 'it may not' }],
      [{ outcome: 'closing' }, 'error', { err: undefined, queue: 'q', deadLetterQueue: 'letters', problem: 'the server is closing' }]
    ] as const) {
      const { settle, lines } = setUp({ limits: LAST, options, copied: copied as Copied })
      await settle({ result: 'failed', error: boom })
      t.strictSame(lines[0]?.slice(0, 2), [level, fields])
      t.equal(lines.length, 2)
    }
    const { settle, lines } = setUp({ limits: LAST, options, copied: { outcome: 'gone' } })
    await settle({ result: 'failed', error: boom })
    t.equal(lines.length, 1)
  })

  t.test('that is run in place stays when it fails, and is retried where its payload is invalid', async t => {
    const context = { letterOf: { id: 'original', queue: 'q' } }
    const { settle, ended, calls } = setUp({ limits: LAST, options, context })
    t.equal((await settle({ result: 'failed', error: boom })).exhausted, false)
    const { result, error } = await settle({ ...dropped, invalid })
    t.strictSame([result, error], ['retry', invalid])
    t.equal((await settle(dropped)).result, 'dropped')
    t.strictSame([ended.length, calls.length], [0, 1])
  })
})

t.test('the last attempt of a task without a handler leaves a dead letter, and calls no hook', async t => {
  const route = { method: 'POST', path: '/gone' } as const
  for (const [limits, last] of [[LAST, true], [MORE, false]] as const) {
    const { settlement, context, copies, calls } = setUp({ limits, options: { deadLetterQueue: 'letters' } })
    t.equal(await settlement.unknown(route, boom, context), last)
    t.strictSame(copies.map(({ origin }) => 'task' in origin.letter!), last ? [false] : [])
    t.strictSame(calls, [])
  }
})

t.test('an expired task is counted, and its end is passed to onExhausted once', async t => {
  for (const endedBefore of [false, true]) {
    const { settlement, context, calls, ended } = setUp({ endedBefore })
    await settlement.expired(task, { n: 1 }, boom, context)
    t.equal(settlement.countsOf('work').expired, 1)
    t.strictSame([calls.length, ended.length], [endedBefore ? 0 : 1, 1])
  }
})

t.test('what a hook sees of the context is that of the last attempt, whose limits were read when it failed', async t => {
  let seen: unknown
  const { settle } = setUp({
    limits: Promise.resolve(LAST),
    options: { onExhausted: (_: unknown, __: unknown, task: TaskContext) => { seen = [task.maxAttempts, task.isLastAttempt] } }
  })
  await settle({ result: 'failed', error: boom })
  t.strictSame(seen, [1, true])
})

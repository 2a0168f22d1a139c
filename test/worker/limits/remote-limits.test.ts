import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import t from 'tap'
import { DEFAULT_QUEUE_SETTINGS } from '../../../lib/cloud-tasks/limits.js'
import type { RetryConfig } from '../../../lib/cloud-tasks/task.js'
import type { RetryReading, RetrySettings } from '../../../lib/transport/transport.js'
import { RemoteLimits } from '../../../lib/worker/limits/remote-limits.js'
import { isLastAttempt, type LimitedAttempt } from '../../../lib/worker/limits/retry-limits.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { gate } from '../../support/app.js'

const MINUTE = 60_000

interface Warning { readonly fields: Record<string, unknown>, readonly message: string }

interface Setup {
  readonly limits: RemoteLimits
  readonly clock: ManualClock
  /** Readings in their order, as QUEUE or QUEUE/ID. */
  readonly reads: string[]
  readonly warnings: Warning[]
  /** What is read next, by QUEUE or QUEUE/ID. */
  readonly answers: Map<string, RetryReading | Promise<RetryReading>>
}

function read (retryConfig: Partial<RetryConfig> = {}): RetryReading {
  return { outcome: 'read', retryConfig: { ...DEFAULT_QUEUE_SETTINGS.retryConfig, ...retryConfig } }
}

const denied: RetryReading = { outcome: 'denied', problem: 'grant the role', cause: new Error('7 PERMISSION_DENIED') }
const failed: RetryReading = { outcome: 'failed', problem: 'could not be reached', cause: new Error('14 UNAVAILABLE') }

/** Limits with a clock that the test moves, over settings that the test decides. */
function setUp (
  { named = {}, keepsLetters = () => false, ...settings }:
    { named?: Record<string, Partial<RetryConfig>>, keepsLetters?: (queue: string) => boolean } & Partial<RetrySettings> = {}
): Setup {
  const clock = new ManualClock()
  const reads: string[] = []
  const warnings: Warning[] = []
  const answers = new Map<string, RetryReading | Promise<RetryReading>>()
  const answer = async (key: string): Promise<RetryReading> => {
    reads.push(key)
    return await (answers.get(key) ?? { outcome: 'missing' })
  }
  const limits = new RemoteLimits({
    settings: { ofQueue: answer, ofTask: async (queue, id) => await answer(`${queue}/${id}`), ...settings },
    named: queue => named[queue] ?? {},
    keepsLetters,
    clock,
    scope: new AsyncResource('test'),
    log: { warn (fields: Record<string, unknown>, message: string) { warnings.push({ fields, message }) } } as never
  })
  return { limits, clock, reads, warnings, answers }
}

function attempt (number: number, given: Partial<LimitedAttempt> = {}): LimitedAttempt {
  return { queue: 'q', id: 'one', attempt: number, scheduledTime: new Date(number), mayHaveOwnRetry: false, ...given }
}

t.test("the queue's settings apply, regardless of the options", async t => {
  for (const [inOptions, inQueue] of [[2, 100], [100, 2]] as const) {
    t.test(`options ${inOptions}, queue ${inQueue}: one line says that they differ`, async t => {
      const { limits, warnings, answers } = setUp({ named: { q: { maxAttempts: inOptions } } })
      answers.set('q', read({ maxAttempts: inQueue }))
      for (const number of [1, 2, 3]) {
        const known = await limits.limitsOf(attempt(number))
        t.strictSame(known, { maxAttempts: inQueue, maxRetrySeconds: 0, source: 'queue' })
        t.equal(isLastAttempt(known, number), number >= inQueue)
      }
      t.strictSame(
        warnings.map(({ fields }) => fields),
        [{ queue: 'q', queueSettings: { maxAttempts: inQueue, maxRetrySeconds: 0 }, options: { maxAttempts: inOptions } }]
      )
      t.equal(warnings[0]?.message.includes("'fastify-cloud-tasks queues sync'"), true)
    })
  }

  t.test('no line is logged where the options say the same, or do not name it', async t => {
    const { limits, warnings, answers } = setUp({ named: { q: { maxAttempts: -1, maxRetrySeconds: 60 }, r: { minBackoffSeconds: 5 } } })
    answers.set('q', read({ maxAttempts: -1, maxRetrySeconds: 60 })).set('r', read({ maxAttempts: 7 }))
    t.strictSame(await limits.limitsOf(attempt(1)), { maxAttempts: undefined, maxRetrySeconds: 60, source: 'queue' })
    t.equal((await limits.limitsOf(attempt(1, { queue: 'r' }))).maxAttempts, 7)
    t.strictSame(warnings, [])
  })

  t.test('a queue that is only known by its name, as of a task of another registry, is read as well', async t => {
    const { limits, answers, reads } = setUp()
    answers.set('other', read({ maxAttempts: 3 }))
    t.equal((await limits.limitsOf(attempt(1, { queue: 'other' }))).maxAttempts, 3)
    t.strictSame(reads, ['other'])
  })
})

t.test('reading', async t => {
  t.test('happens once for many attempts, and again after five minutes, in the background of an attempt', async t => {
    const { limits, clock, reads, answers } = setUp()
    answers.set('q', read({ maxAttempts: 2 }))
    await Promise.all(Array.from({ length: 50 }, async () => await limits.limitsOf(attempt(1))))
    t.strictSame(reads, ['q'])
    await clock.advance(5 * MINUTE - 1)
    t.equal((limits.limitsOf(attempt(1)) as { maxAttempts: number }).maxAttempts, 2, 'without waiting')
    t.strictSame(reads, ['q'])
    await clock.advance(1)
    answers.set('q', read({ maxAttempts: 9 }))
    t.equal((limits.limitsOf(attempt(1)) as { maxAttempts: number }).maxAttempts, 2, 'without waiting')
    t.strictSame(reads, ['q', 'q'])
    await clock.settle()
    t.equal((limits.limitsOf(attempt(1)) as { maxAttempts: number }).maxAttempts, 9)
  })

  t.test('never happens without attempts', async t => {
    const { limits, clock, reads, answers } = setUp()
    answers.set('q', read()).set('r', read())
    limits.prepare(['q', 'r'])
    await clock.advance(24 * 60 * MINUTE)
    t.strictSame(reads, ['q', 'r'])
    t.equal(clock.pending, 0)
  })

  t.test('is waited for by an attempt for two seconds at most, and by no attempt after that', async t => {
    const { limits, clock, answers, reads } = setUp({ named: { q: { maxAttempts: 4 } } })
    const slow = gate()
    answers.set('q', slow.opened.then(() => read({ maxAttempts: 8 })))
    let known: unknown
    const first = Promise.resolve(limits.limitsOf(attempt(1))).then(limits => { known = limits })
    await clock.advance(1999)
    t.equal(known, undefined)
    await clock.advance(1)
    await first
    t.strictSame(known, { maxAttempts: 4, maxRetrySeconds: 0, source: 'options' })
    t.notOk(limits.limitsOf(attempt(1)) instanceof Promise)
    slow.open()
    await clock.settle()
    t.strictSame(limits.limitsOf(attempt(1)), { maxAttempts: 8, maxRetrySeconds: 0, source: 'queue' })
    t.strictSame(reads, ['q'])
    t.equal(clock.pending, 0, 'no timer is left')
  })

  t.test('that fails is tried again after ten seconds, without another line', async t => {
    const { limits, clock, answers, reads, warnings } = setUp()
    answers.set('q', failed)
    t.equal((await limits.limitsOf(attempt(1))).source, 'unknown')
    await clock.advance(9999)
    await limits.limitsOf(attempt(1))
    t.strictSame(reads, ['q'])
    await clock.advance(1)
    t.notOk(limits.limitsOf(attempt(1)) instanceof Promise, 'nor is it waited for again')
    await clock.settle()
    t.strictSame(reads, ['q', 'q'])
    t.strictSame(warnings.map(({ fields }) => fields), [{ queue: 'q', err: failed.cause }])
  })

  t.test('that fails later leaves what was known', async t => {
    const { limits, clock, answers } = setUp()
    answers.set('q', read({ maxAttempts: 5 }))
    await limits.limitsOf(attempt(1))
    for (const outcome of [failed, denied, { outcome: 'missing' } as const]) {
      answers.set('q', outcome)
      await clock.advance(10 * MINUTE)
      limits.limitsOf(attempt(1))
      await clock.settle()
      t.equal((await limits.limitsOfFailed(attempt(1))).maxAttempts, 5)
    }
  })

  t.test('happens in the async context of no attempt', async t => {
    const storage = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const { limits } = setUp({
      ofQueue: async () => {
        seen.push(storage.getStore())
        return read()
      }
    })
    await storage.run('tenant', async () => {
      await limits.limitsOf(attempt(1))
      seen.push(storage.getStore())
    })
    t.strictSame(seen, [undefined, 'tenant'])
  })

  t.test('ends with close: those that wait go on, and nothing is read or logged any more', async t => {
    const { limits, clock, answers, reads, warnings } = setUp()
    const slow = gate()
    answers.set('q', slow.opened.then(() => failed)).set('q/one', slow.opened.then(() => failed))
    const waiting = [limits.limitsOf(attempt(1)), limits.limitsOf(attempt(2, { mayHaveOwnRetry: true }))]
    limits.close()
    t.strictSame((await Promise.all(waiting)).map(({ source }) => source), ['unknown', 'unknown'])
    slow.open()
    await clock.settle()
    limits.limitsOf(attempt(1, { queue: 'r' }))
    await clock.advance(MINUTE)
    t.strictSame(reads, ['q', 'q/one'])
    t.strictSame(warnings, [])
  })
})

t.test('a queue that may not be read', async t => {
  t.test('leaves the options, for what they name, and is logged once for all queues', async t => {
    const { limits, clock, answers, reads, warnings } = setUp({
      named: { q: { maxAttempts: 3 }, r: { maxRetrySeconds: 60 }, s: { maxDoublings: 1 } }
    })
    for (const queue of ['q', 'r', 's', 't']) answers.set(queue, denied)
    t.strictSame(await limits.limitsOf(attempt(1)), { maxAttempts: 3, maxRetrySeconds: 0, source: 'options' })
    t.strictSame(await limits.limitsOf(attempt(1, { queue: 'r' })), { maxAttempts: undefined, maxRetrySeconds: 60, source: 'options' })
    for (const queue of ['s', 't']) {
      t.strictSame(await limits.limitsOf(attempt(1, { queue })), { maxAttempts: undefined, maxRetrySeconds: 0, source: 'unknown' })
    }
    await clock.advance(4 * MINUTE)
    await limits.limitsOf(attempt(2))
    t.strictSame(reads, ['q', 'r', 's', 't'])
    await clock.advance(MINUTE)
    await limits.limitsOf(attempt(2))
    await clock.settle()
    t.strictSame(reads, ['q', 'r', 's', 't', 'q'], 'it is tried again after five minutes: a role may have been granted')
    t.strictSame(warnings.map(({ fields }) => fields), [{ queue: 'q', err: denied.cause }])
    t.equal(warnings[0]?.message.endsWith(': grant the role'), true)
  })

  t.test('and an attempt beyond the options proves them wrong: one warning, and no attempt is the last', async t => {
    const { limits, answers, warnings } = setUp({ named: { q: { maxAttempts: 2 } } })
    answers.set('q', denied)
    t.equal(isLastAttempt(await limits.limitsOfFailed(attempt(2)), 2), true)
    t.equal(limits.recordEnd(attempt(2)), true)
    for (const number of [3, 4, 5]) {
      t.strictSame(await limits.limitsOf(attempt(number)), { maxAttempts: undefined, maxRetrySeconds: 0, source: 'unknown' })
      t.equal((await limits.limitsOfFailed(attempt(number))).source, 'unknown')
    }
    t.equal((await limits.limitsOfFailed(attempt(2, { id: 'another' }))).source, 'unknown', 'nor of another task')
    t.strictSame(warnings.slice(1).map(({ fields }) => fields), [{ queue: 'q', id: 'one', attempt: 3, maxAttempts: 2 }])
    t.equal(warnings[1]?.message.includes("'fastify-cloud-tasks queues sync'"), true)
  })

  t.test('of options with a limit on time, attempts beyond the other limit prove nothing', async t => {
    const { limits, answers, warnings } = setUp({ named: { q: { maxAttempts: 2, maxRetrySeconds: 60 } } })
    answers.set('q', denied)
    for (const number of [1, 2, 3]) {
      const known = await limits.limitsOf(attempt(number))
      t.strictSame(known, { maxAttempts: 2, maxRetrySeconds: 60, source: 'options' })
      t.equal(isLastAttempt(known, number), false)
    }
    t.equal(warnings.length, 1)
  })
})

t.test('a queue that does not exist leaves the options, and one line says so', async t => {
  const { limits, clock, reads, warnings } = setUp({ named: { q: { maxAttempts: 3 } } })
  t.equal((await limits.limitsOf(attempt(1))).source, 'options')
  await clock.advance(5 * MINUTE)
  limits.limitsOf(attempt(1))
  await clock.settle()
  t.strictSame(reads, ['q', 'q'])
  t.strictSame(warnings.map(({ fields }) => fields), [{ queue: 'q' }])
})

t.test('a queue that changes', async t => {
  t.test('to fewer attempts ends a task with the attempt that is the last by now', async t => {
    const { limits, clock, answers } = setUp()
    answers.set('q', read({ maxAttempts: 100 }))
    await limits.limitsOf(attempt(1))
    answers.set('q', read({ maxAttempts: 2 }))
    await clock.advance(10_000)
    t.equal((await limits.limitsOf(attempt(2))).maxAttempts, 100, 'known for less than five minutes')
    t.equal((await limits.limitsOfFailed(attempt(2))).maxAttempts, 2)
  })

  t.test('to more attempts does not end a task with the attempt that was the last before', async t => {
    const { limits, clock, answers, reads } = setUp()
    answers.set('q', read({ maxAttempts: 2 }))
    await limits.limitsOf(attempt(1))
    answers.set('q', read({ maxAttempts: 5 }))
    await clock.advance(10_000)
    t.equal((await limits.limitsOfFailed(attempt(2))).maxAttempts, 5)
    await limits.limitsOfFailed(attempt(2))
    t.strictSame(reads, ['q', 'q'], 'many failures at a time read it once')
  })

  t.test('is read again as soon as an attempt arrives that it did not allow', async t => {
    const { limits, clock, answers } = setUp()
    answers.set('q', read({ maxAttempts: 2 }))
    await limits.limitsOf(attempt(2))
    answers.set('q', read({ maxAttempts: 5 }))
    await clock.advance(1000)
    t.equal((await limits.limitsOf(attempt(3))).maxAttempts, 5)
  })

  t.test('to fewer attempts than a task has had ends it with the next failure', async t => {
    const { limits, clock, answers } = setUp()
    answers.set('q', read({ maxAttempts: 2 }))
    await clock.advance(1000)
    const known = await limits.limitsOf(attempt(7))
    t.strictSame(known, { maxAttempts: 2, maxRetrySeconds: 0, source: 'queue' })
    t.equal(isLastAttempt(known, 7), true)
  })
})

t.test("a task's own retryConfig", async t => {
  const foreign = (number: number, id = 'one') => attempt(number, { id, mayHaveOwnRetry: true })

  for (const [own, inQueue] of [[2, 100], [100, 2]] as const) {
    t.test(`of ${own} attempts counts instead of the queue's ${inQueue}`, async t => {
      const { limits, answers, reads } = setUp()
      answers.set('q', read({ maxAttempts: inQueue })).set('q/one', read({ maxAttempts: own }))
      await limits.limitsOf(foreign(1))
      t.strictSame(reads, ['q'], 'the task is not read for its first attempt')
      t.strictSame(await limits.limitsOfFailed(foreign(1)), { maxAttempts: own, maxRetrySeconds: 0, source: 'task' })
      for (const number of [2, 3]) {
        t.equal((await limits.limitsOf(foreign(number))).maxAttempts, own)
        t.equal(isLastAttempt(await limits.limitsOfFailed(foreign(number)), number), number >= own)
      }
      t.strictSame(reads, ['q', 'q/one'], 'a task is read once')
    })
  }

  t.test('is known before a second attempt runs, in a process that has not seen the first', async t => {
    const { limits, answers } = setUp()
    answers.set('q', read()).set('q/one', read({ maxAttempts: 2 }))
    t.equal(isLastAttempt(await limits.limitsOf(foreign(2)), 2), true)
  })

  t.test('is not looked for where the task says that it has none', async t => {
    const { limits, answers, reads } = setUp()
    answers.set('q', read({ maxAttempts: 3 }))
    for (const number of [1, 2, 3]) {
      await limits.limitsOf(attempt(number))
      t.equal((await limits.limitsOfFailed(attempt(number))).source, 'queue')
    }
    t.strictSame(reads, ['q'])
  })

  t.test("that a task does not have leaves the queue's", async t => {
    const { limits, answers, reads } = setUp()
    answers.set('q', read({ maxAttempts: 3 }))
    for (const number of [2, 3]) t.equal((await limits.limitsOf(foreign(number))).source, 'queue')
    t.equal(isLastAttempt(await limits.limitsOfFailed(foreign(4)), 4), true)
    t.strictSame(reads.sort(), ['q', 'q/one'])
  })

  t.test('that may not be read is asked for once in five minutes, and one line says so', async t => {
    const { limits, clock, answers, reads, warnings } = setUp()
    answers.set('q', read({ maxAttempts: 3 })).set('q/one', denied).set('q/two', read({ maxAttempts: 50 }))
    t.equal((await limits.limitsOfFailed(foreign(2))).maxAttempts, 3)
    await clock.advance(4 * MINUTE)
    t.equal((await limits.limitsOf(foreign(2, 'two'))).maxAttempts, 3)
    t.equal((await limits.limitsOf(foreign(4))).source, 'unknown', 'and an attempt beyond the queue ends nothing')
    t.strictSame(reads.filter(key => key !== 'q'), ['q/one'])
    t.strictSame(warnings.map(({ fields }) => fields), [{ err: denied.cause }])
    await clock.advance(MINUTE)
    answers.set('q/three', read({ maxAttempts: 50 }))
    t.equal((await limits.limitsOf(foreign(3, 'three'))).maxAttempts, 50)
  })

  t.test('that cannot be read, with a client of the host, leaves the queue; attempts beyond it end nothing', async t => {
    const { limits, answers } = setUp({ ofTask: undefined, named: { r: { maxAttempts: 2 } } })
    answers.set('q', read({ maxAttempts: 2 })).set('r', denied)
    t.equal(isLastAttempt(await limits.limitsOf(foreign(2)), 2), true)
    t.equal((await limits.limitsOf(foreign(3))).source, 'unknown')
    const other = attempt(3, { queue: 'r', mayHaveOwnRetry: true })
    t.equal((await limits.limitsOf(other)).source, 'unknown')
    t.equal((await limits.limitsOf(attempt(2, { queue: 'r' }))).source, 'options', 'nor does it prove the options wrong for other tasks')
  })
})

t.test('a task ends once', async t => {
  const { limits, answers } = setUp()
  answers.set('q', read({ maxAttempts: 2 }))
  await limits.limitsOf(attempt(2))
  t.equal(limits.recordEnd(attempt(2)), true)
  await limits.limitsOf(attempt(2))
  t.equal(limits.recordEnd(attempt(2)), false, 'though its last attempt was delivered twice')
  await limits.limitsOf(attempt(3))
  t.equal(limits.recordEnd(attempt(3)), false, 'though the queue allows more by now')
  t.equal(limits.recordEnd(attempt(2, { id: 'two' })), true)
  t.equal(limits.recordEnd(attempt(2, { queue: 'r' })), true)
  await limits.limitsOf(attempt(1, { scheduledTime: new Date(10_000) }))
  t.equal(limits.recordEnd(attempt(2, { scheduledTime: new Date(20_000) })), true, 'and an id that is used again is another task')
  for (let i = 0; i < 10_000; i++) limits.recordEnd(attempt(2, { id: String(i) }))
  t.equal(limits.recordEnd(attempt(2)), true, 'the oldest of ten thousand is forgotten')
})

t.test('queues whose tasks have no known end are named once where dead letters are kept', async t => {
  const { limits, answers, warnings } = setUp({
    keepsLetters: queue => queue !== 'opted-out',
    named: { named: { maxAttempts: 3 }, timed: { maxRetrySeconds: 60 }, endless: { maxAttempts: -1 } }
  })
  answers.set('read', read()).set('limited', read({ maxRetrySeconds: 5 })).set('unlimited', read({ maxAttempts: -1 }))
  for (const queue of ['unread', 'denied', 'failed', 'named', 'timed', 'endless', 'read', 'limited', 'unlimited', 'opted-out']) {
    if (queue === 'denied') answers.set(queue, denied)
    if (queue === 'failed') answers.set(queue, failed)
    await limits.limitsOf(attempt(1, { queue }))
    await limits.limitsOfFailed(attempt(1, { queue }))
  }
  const named = warnings.filter(({ message }) => message.includes('not kept as dead letters'))
  t.strictSame(named.map(({ fields }) => fields.queue), ['unread', 'denied', 'failed', 'timed', 'limited'])
  t.strictSame(named.map(({ message }) => message.includes('maxRetrySeconds')), [false, false, false, true, true])
})

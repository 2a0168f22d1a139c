import t from 'tap'
import { EndedTasks } from '../../../lib/worker/limits/ended-tasks.js'
import { EmbeddedLimits, isLastAttempt, isRetried, retryLimits, type LimitedAttempt } from '../../../lib/worker/limits/retry-limits.js'
import { completeQueueSettings } from '../../../lib/cloud-tasks/limits.js'

function attempt (number: number, at: number, { queue = 'q', id = 'one' } = {}): LimitedAttempt {
  return { queue, id, attempt: number, scheduledTime: new Date(at), mayHaveOwnRetry: false }
}

t.test('the end of a task is recorded once, for its queue and id', async t => {
  const ends = new EndedTasks()
  t.strictSame([ends.add(attempt(3, 100)), ends.add(attempt(3, 100)), ends.add(attempt(4, 200))], [true, false, false])
  t.strictSame([ends.add(attempt(3, 100, { id: 'two' })), ends.add(attempt(3, 100, { queue: 'r' }))], [true, true])
})

t.test('only an attempt of a new task with the same id forgets the end of the former one', async t => {
  for (const [what, number, at, ended] of [
    ['a duplicate delivery', 3, 100, true],
    ['a later attempt of the same task', 4, 200, true],
    ['the first attempt of a new task', 1, 200, false],
    ['as late an attempt of a new task', 3, 200, false]
  ] as const) {
    const ends = new EndedTasks()
    ends.add(attempt(3, 100))
    ends.see(attempt(number, at, { id: 'another' }))
    ends.see(attempt(number, at))
    t.equal(ends.add(attempt(3, 300)), !ended, what)
  }
})

t.test('ten thousand ends are remembered, and the oldest is forgotten first', async t => {
  const ends = new EndedTasks()
  for (let i = 0; i < 10_000; i++) ends.add(attempt(1, 0, { id: String(i) }))
  t.equal(ends.add(attempt(1, 0, { id: '0' })), false)
  ends.add(attempt(1, 0, { id: 'more' }))
  t.equal(ends.add(attempt(1, 0, { id: '1' })), false)
  t.equal(ends.add(attempt(1, 0, { id: '0' })), true)
})

t.test('an attempt is the last, or is certain to be retried, as the limits and their source say', async t => {
  for (const [limits, last, retried] of [
    [retryLimits('queue', { maxAttempts: 2 }), [false, true, true], [true, false, false]],
    [retryLimits('task', { maxAttempts: 2, maxRetrySeconds: 60 }), [false, false, false], [true, false, false]],
    [retryLimits('queue', { maxAttempts: -1 }), [false, false, false], [true, true, true]],
    [retryLimits('queue', { maxAttempts: -1, maxRetrySeconds: 60 }), [false, false, false], [false, false, false]],
    [retryLimits('options', { maxAttempts: 2 }), [false, true, true], [false, false, false]],
    [retryLimits('unknown', {}), [false, false, false], [false, false, false]]
  ] as const) {
    t.strictSame([1, 2, 3].map(number => isLastAttempt(limits, number)), last)
    t.strictSame([1, 2, 3].map(number => isRetried(limits, number)), retried)
  }
})

t.test('limits of the embedded queue are those of its queues, and each end is the first', async t => {
  const settings = (maxAttempts: number) => completeQueueSettings({ retryConfig: { maxAttempts } })
  const limits = new EmbeddedLimits(new Map([['q', settings(2)]]), settings(7))
  for (const [queue, maxAttempts] of [['q', 2], ['other', 7]] as const) {
    const known = { maxAttempts, maxRetrySeconds: 0, source: 'queue' }
    const one = attempt(1, 0, { queue })
    t.strictSame([limits.limitsOf(one), limits.limitsOfFailed(one), limits.knownLimits(queue)], [known, known, known])
  }
  t.strictSame([limits.recordEnd(), limits.recordEnd()], [true, true])
})

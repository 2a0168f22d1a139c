import { AsyncResource } from 'node:async_hooks'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { AttemptContext } from '../../lib/worker/context.js'
import { settleExpired } from '../../lib/worker/expired.js'
import { retryLimits } from '../../lib/worker/limits/retry-limits.js'
import { Runs } from '../../lib/worker/run.js'

const NOW = Date.parse('2030-01-01T00:00:00Z')
const QUEUES = 'projects/p/locations/l/queues'
const never = async () => await new Promise(() => {})

/** Settles an expired task, and returns what was settled. `read` is what becomes of its text. */
async function settle (stored: object, { read = JSON.parse, path = '/v1/tasks/work', during = () => {} }: {
  read?: (text: string) => unknown, path?: string, during?: (runs: Runs, clock: ManualClock) => unknown
} = {}) {
  const clock = new ManualClock(NOW)
  const runs = new Runs(clock, new AsyncResource('test'))
  const settled: Array<{ task: string, payload: unknown, code: unknown, context: AttemptContext }> = []
  const parts = {
    app: { prefix: '/v1', log: {} },
    config: { prefix: '/tasks', deadLetterQueue: 'letters' },
    clock,
    registry: new Map(['other', 'work'].map(name => [name, { name, path: `/${name}` }])),
    payloads: { read: (_: unknown, text: string) => read(text) },
    runs,
    settlement: {
      expired: async ({ name }: { name: string }, payload: unknown, { code }: { code?: unknown }, context: AttemptContext) => {
        settled.push({ task: name, payload, code, context })
      }
    },
    limits: { knownLimits: (queue: string) => retryLimits('queue', { maxAttempts: queue === 'q' ? 4 : 9 }) }
  }
  const task = { name: `${QUEUES}/q/tasks/one`, dispatchCount: 4, executionCount: 2, scheduleAt: NOW - 5000, ...stored }
  const done = settleExpired(parts as never, task as never, path)
  await during(runs, clock)
  await done
  return settled
}

const body = Buffer.from('{"n":1}')

t.test('an expired task ends with the payload and the context of its last attempt', async t => {
  const [end, ...more] = await settle({ httpRequest: { body }, previousResponse: 500 })
  t.equal(more.length, 0)
  t.strictSame([end?.task, end?.payload, end?.code], ['work', { n: 1 }, 'FST_TASKS_EXPIRED'])
  t.hasStrict(end?.context, {
    name: 'work',
    id: 'one',
    queue: 'q',
    attempt: 4,
    retryCount: 3,
    executionCount: 2,
    scheduledTime: new Date(NOW - 5000),
    previousResponse: 500,
    maxAttempts: 4,
    isLastAttempt: true,
    deadline: new Date(NOW)
  })
  const [unseen] = await settle({ httpRequest: { body }, dispatchCount: 0 })
  t.strictSame([unseen?.context.attempt, unseen?.context.retryCount, unseen?.context.previousResponse], [0, 0, undefined])
})

t.test('its payload is what the validator makes of it, else its JSON, else nothing', async t => {
  const refuse = () => { throw new Error('invalid') }
  for (const [stored, read, payload] of [
    [{ httpRequest: { body } }, async () => 'validated', 'validated'],
    [{ httpRequest: { body } }, () => undefined, undefined],
    [{ appEngineHttpRequest: { body } }, refuse, { n: 1 }],
    [{ httpRequest: { body } }, async () => refuse(), { n: 1 }],
    [{ httpRequest: { body: Buffer.from('{') } }, refuse, undefined],
    [{ httpRequest: {} }, (text: string) => ({ text }), { text: '' }],
    [{}, (text: string) => ({ text }), { text: '' }]
  ] as const) t.strictSame((await settle(stored, { read }))[0]?.payload, payload)
})

t.test('a validator that never settles holds up a closing server for its grace period only', async t => {
  const [end] = await settle({ httpRequest: { body } }, {
    read: never,
    during: async (runs, clock) => {
      const drained = runs.drain(1000, false)
      await clock.advance(1000)
      await drained
    }
  })
  t.strictSame(end?.payload, { n: 1 })
})

t.test('a task of no route here, and a dead letter, are left to the log', async t => {
  for (const path of ['/v1/tasks/none', '/tasks/work', '/work', '/v1/tasks/work/']) t.strictSame(await settle({}, { path }), [])
  t.strictSame(await settle({ name: `${QUEUES}/letters/tasks/one` }), [])
})

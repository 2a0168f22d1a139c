import { AsyncResource } from 'node:async_hooks'
import t, { type Test } from 'tap'
import { attemptChannel, type AttemptEvent } from '../../lib/events.js'
import { AttemptContext } from '../../lib/worker/context.js'
import { UNKNOWN_LIMITS } from '../../lib/worker/limits/retry-limits.js'
import type { Outcome } from '../../lib/worker/settlement.js'
import { tracedAttempt } from '../../lib/worker/traced-attempt.js'

const done: Outcome = { result: 'done', status: 204, error: undefined, code: undefined, exhausted: false }
const boom = new Error('boom')
const failed: Outcome = { result: 'retry', status: 500, error: boom, code: 'FST_TASKS_ATTEMPT_FAILED', exhausted: true }
const listening = new AsyncResource('test')

function contextOf (): AttemptContext {
  const headers = { id: 'one', queue: 'q', retryCount: 1, executionCount: 0, scheduledAt: 0 }
  return new AttemptContext({ name: 'work', headers, limits: UNKNOWN_LIMITS, deadlineAt: 0, log: undefined as never })
}

/** Names and snapshots of what is published during the test. */
function watch (t: Test, onStart: (event: AttemptEvent) => void = () => {}) {
  const seen: Array<[name: string, event: AttemptEvent]> = []
  const listener = (name: string) => (event: AttemptEvent) => {
    if (name === 'start') onStart(event)
    seen.push([name, { ...event }])
  }
  const subscribers = Object.fromEntries(['start', 'asyncEnd', 'error'].map(name => [name, listener(name)])) as never
  attemptChannel.subscribe(subscribers)
  t.teardown(() => { attemptChannel.unsubscribe(subscribers) })
  return seen
}

t.test('an attempt without subscribers is only its work', async t => {
  const work = Promise.resolve(done)
  t.equal(tracedAttempt(contextOf(), {}, true, {} as never, () => work), work)
})

t.test('an attempt is published when it starts, with all its keys, and when it has ended, with its outcome', async t => {
  for (const outcome of [done, failed]) {
    await t.test(outcome.result, async t => {
      const seen = watch(t)
      const context = contextOf()
      const headers = { 'content-length': '7', 'fastify-cloud-tasks-traceparent': 'parent', 'fastify-cloud-tasks-tracestate': 'state' }
      t.equal(await tracedAttempt(context, headers, true, { listening } as never, async () => {
        context.durationMs = 5
        return outcome
      }), outcome)
      const start = {
        task: 'work',
        id: 'one',
        queue: 'q',
        attempt: 2,
        bodySize: 7,
        trace: { parent: 'parent', state: 'state' },
        listening,
        result: undefined,
        status: undefined,
        durationMs: 0,
        exhausted: false,
        error: undefined,
        logFields: undefined,
        around: undefined
      }
      const { result, status, exhausted } = outcome
      const names = result === 'done' ? ['start', 'asyncEnd'] : ['start', 'error', 'asyncEnd']
      t.strictSame(seen.map(([name]) => name), names)
      t.strictSame(seen[0]?.[1], start)
      const end = { ...start, result, status, exhausted, durationMs: 5 }
      t.strictSame(seen.at(-1)?.[1], result === 'done' ? { ...end, result: 'done' } : { ...end, error: boom })
      if (result === 'retry') t.equal(seen[1]?.[1].result, 'retry')
    })
  }
})

t.test('trace headers are published of verified callers only, and the state only with its parent', async t => {
  const parent = 'fastify-cloud-tasks-traceparent'
  const state = 'fastify-cloud-tasks-tracestate'
  for (const [headers, verified, trace, bodySize] of [
    [{ [parent]: 'p', [state]: 's', 'content-length': '0' }, false, undefined, 0],
    [{ [parent]: 'p' }, true, { parent: 'p', state: undefined }, undefined],
    [{ [parent]: 'p', [state]: ['s', 's'] }, true, { parent: 'p', state: undefined }, undefined],
    [{ [parent]: ['p', 'p'] }, true, undefined, undefined],
    [{ [state]: 's' }, true, undefined, undefined]
  ] as const) {
    await t.test(JSON.stringify(headers), async t => {
      const seen = watch(t)
      await tracedAttempt(contextOf(), headers as never, verified, { listening } as never, async () => done)
      t.strictSame([seen[0]?.[1].trace, seen[0]?.[1].bodySize], [trace, bodySize])
    })
  }
})

t.test('a subscriber wraps the work and names fields of its log, before it begins', async t => {
  const calls: string[] = []
  watch(t, event => {
    event.logFields = { traceId: 'abc' }
    event.around = work => {
      calls.push('around')
      return work()
    }
  })
  const context = contextOf()
  await tracedAttempt(context, {}, true, { listening } as never, async () => {
    calls.push(`work ${context.traceId}`)
    return done
  })
  t.strictSame(calls, ['around', 'work abc'])
})

t.test('work that rejects, which no attempt does, rejects the attempt', async t => {
  watch(t)
  await t.rejects(tracedAttempt(contextOf(), {}, true, { listening } as never, async () => { throw boom }), boom)
})

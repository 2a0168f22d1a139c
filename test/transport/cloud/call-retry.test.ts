import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { withRetries, type Fault, type RetryOptions } from '../../../lib/transport/cloud/call-retry.js'

const passing: Fault = { transient: true, mayHaveArrived: false }
const unanswered: Fault = { transient: true, mayHaveArrived: true }
const final: Fault = { transient: false, mayHaveArrived: false }

interface Setting extends Partial<RetryOptions<Fault>> {
  /** Duration of each try. */
  readonly callMs?: number
}

/** A call whose tries fail with these faults, one after the other, and then succeed. */
function begin (faults: readonly Fault[], { callMs = 0, ...options }: Setting = {}) {
  const clock = new ManualClock()
  const timeouts: number[] = []
  const startedAt: number[] = []
  let tries = 0
  const result = withRetries<string, Fault>(
    async timeoutMs => {
      timeouts.push(timeoutMs)
      startedAt.push(clock.monotonic())
      if (callMs > 0) await new Promise<void>(resolve => { clock.setTimeout(resolve, callMs) })
      const fault = faults[tries++]
      if (fault === undefined) return 'value'
      throw fault
    },
    { classifyError: fault => fault as Fault, budgetMs: 10_000, signal: new AbortController().signal, clock, random: () => 1, ...options }
  )
  return { result, timeouts, startedAt, clock }
}

/** As `begin`, to its end. */
async function end (faults: readonly Fault[], setting: Setting = {}) {
  const { result, clock, ...rest } = begin(faults, setting)
  await clock.advance(600_000)
  return { ...rest, result: await result, pending: clock.pending }
}

const endless = Array.from({ length: 500 }, () => passing)

t.test('the first try may take half of the budget, each later one all that is left of it', async t => {
  const { result, timeouts } = await end([passing, passing], { callMs: 1000 })
  t.strictSame(result, { ok: true, value: 'value' })
  // Tries of 1000 ms, waits of 100 and 200 ms.
  t.strictSame(timeouts, [5000, 8900, 7700])
})

t.test('no try begins once the budget would be used up by the wait before it', async t => {
  const { result, timeouts, pending } = await end(endless, { budgetMs: 1000 })
  t.strictSame(timeouts, [500, 900, 700, 300])
  t.strictSame(result, { ok: false, fault: passing, tries: 4, ambiguous: false })
  t.equal(pending, 0)
  t.equal((await end(endless, { budgetMs: 301 })).timeouts.length, 3)
  t.equal((await end(endless, { budgetMs: 300 })).timeouts.length, 2, 'nothing would be left for a third try')
})

t.test('the wait doubles from 100 ms to 2 s, and is at least half of that', async t => {
  for (const [random, expected] of [
    [1, [0, 100, 300, 700, 1500, 3100, 5100, 7100]],
    [0.5, [0, 75, 225, 525, 1125, 2325, 3825, 5325]],
    [0, [0, 50, 150, 350, 750, 1550, 2550, 3550]]
  ] as const) {
    const { startedAt } = await end(endless, { budgetMs: 60_000, random: () => random })
    t.strictSame(startedAt.slice(0, 8), expected)
  }
})

t.test('a final fault ends the call at once', async t => {
  const { result, timeouts } = await end([final])
  t.strictSame(result, { ok: false, fault: final, tries: 1, ambiguous: false })
  t.equal(timeouts.length, 1)
})

t.test('a result is ambiguous once any earlier try may have taken effect', async t => {
  const ambiguity = async (...faults: Fault[]) => {
    const { result } = await end(faults)
    return result.ok ? undefined : result.ambiguous
  }
  t.equal(await ambiguity(passing, final), false)
  t.equal(await ambiguity({ ...final, mayHaveArrived: true }), false, 'the last try is described by its fault')
  t.equal(await ambiguity(unanswered, final), true)
  t.equal(await ambiguity(unanswered, passing, passing, final), true)
  t.equal(await ambiguity(passing, unanswered, final), true)
})

t.test('the signal ends the wait between tries, and leaves no timer', async t => {
  for (const aborted of ['during the first try', 'during the wait']) {
    const controller = new AbortController()
    const { result, clock, timeouts } = begin([unanswered, final], { signal: controller.signal, callMs: 10 })
    if (aborted === 'during the first try') controller.abort()
    await clock.advance(10)
    t.equal(clock.pending, aborted === 'during the wait' ? 1 : 0)
    controller.abort()
    t.strictSame(await result, { ok: false, fault: unanswered, tries: 1, ambiguous: false }, aborted)
    t.equal(timeouts.length, 1)
    t.equal(clock.pending, 0)
  }
})

t.test('processes that fail together retry at different times', async t => {
  const { startedAt } = await end(endless, { random: undefined })
  const waits = startedAt.slice(1).map((at, index) => at - startedAt[index]!)
  t.equal(new Set(waits.slice(5)).size > 1, true)
  t.ok(waits.slice(5).every(wait => wait >= 1000 && wait <= 2000), waits.join())
})

import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { withRetries, type Fault } from '../../../lib/transport/cloud/call-retry.js'

const passing: Fault = { transient: true, mayHaveArrived: false }
const unanswered: Fault = { transient: true, mayHaveArrived: true }
const final: Fault = { transient: false, mayHaveArrived: false }

/** A call whose tries take `callMs` each and fail with these faults, one after the other. */
async function failing (faults: readonly Fault[], { budgetMs = 10_000, callMs = 0 } = {}) {
  const clock = new ManualClock()
  const timeouts: number[] = []
  let tries = 0
  const ended: Array<Awaited<ReturnType<typeof withRetries<string, Fault>>>> = []
  withRetries<string, Fault>(
    async timeoutMs => {
      timeouts.push(timeoutMs)
      await new Promise<void>(resolve => {
        clock.setTimeout(resolve, callMs)
      })
      const fault = faults[tries++]
      if (fault === undefined) return 'value'
      throw fault
    },
    { classifyError: fault => fault as Fault, budgetMs, signal: new AbortController().signal, clock, random: () => 1 }
  ).then(result => {
    ended.push(result)
  })
  for (let i = 0; i < 1000 && ended.length === 0; i++) await clock.advance(100)
  return { result: ended[0], timeouts, pending: clock.pending }
}

t.test('the first try may take half of the budget, each later one all that is left of it', async t => {
  const { result, timeouts } = await failing([passing, passing], { callMs: 1000 })
  t.strictSame(result, { ok: true, value: 'value' })
  // Tries of 1000 ms, waits of 100 and 200 ms.
  t.strictSame(timeouts, [5000, 8900, 7700])
})

t.test('no try begins once the budget would be used up by the wait before it', async t => {
  const { result, timeouts, pending } = await failing(Array.from({ length: 50 }, () => passing), { budgetMs: 1000, callMs: 0 })
  t.strictSame(timeouts, [500, 900, 700, 300])
  t.strictSame(result, { ok: false, fault: passing, tries: 4, ambiguous: false })
  t.equal(pending, 0)
})

t.test('a final fault ends the call at once', async t => {
  const { result, timeouts } = await failing([final])
  t.strictSame(result, { ok: false, fault: final, tries: 1, ambiguous: false })
  t.equal(timeouts.length, 1)
})

t.test('a result is ambiguous once any earlier try may have taken effect', async t => {
  const ambiguity = async (...faults: Fault[]) => {
    const { result } = await failing(faults)
    return result?.ok === false ? result.ambiguous : undefined
  }
  t.equal(await ambiguity(passing, final), false)
  t.equal(await ambiguity(unanswered, final), true)
  t.equal(await ambiguity(unanswered, passing, passing, final), true)
  t.equal(await ambiguity(passing, unanswered, final), true)
})

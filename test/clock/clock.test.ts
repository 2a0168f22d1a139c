import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import t from 'tap'
import { nextTurn, sleep, systemClock } from '../../lib/clock/clock.js'
import { parseDuration } from '../../lib/clock/duration.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { SwitchableClock } from '../../lib/clock/switchable-clock.js'

t.test('a manual clock', async t => {
  t.test('fires its timers in the order in which they are due, each at its time', async t => {
    const clock = new ManualClock(1000)
    const fired: Array<[string, number]> = []
    const at = (name: string, ms: number) => clock.setTimeout(() => { fired.push([name, clock.now()]) }, ms)
    at('b', 20)
    at('a', 10)
    at('a too', 10)
    clock.setTimeout(() => { at('c', 5) }, 12)
    clock.clearTimeout(at('never', 15))
    at('later', 31)
    await clock.advance(30)
    t.strictSame(fired, [['a', 1010], ['a too', 1010], ['c', 1017], ['b', 1020]])
    t.equal(clock.now(), 1030)
    t.equal(clock.nextTimerAt, 1031)
    t.equal(clock.pending, 1)
  })

  t.test('can be moved from timer to timer', async t => {
    const clock = new ManualClock(0)
    clock.setTimeout(() => {}, 10)
    clock.setTimeout(() => {}, 20)
    t.equal(clock.step(15), true)
    t.equal(clock.now(), 10)
    t.equal(clock.step(5), false)
    t.equal(clock.now(), 15)
    t.equal(clock.step(5), true)
    t.equal(clock.step(5), false)
    t.equal(clock.now(), 25)
  })

  t.test('starts in 2030, and fires an overdue timer at once and one at the end of a step in that step', async t => {
    const clock = new ManualClock()
    t.equal(clock.now(), Date.parse('2030-01-01T00:00:00Z'))
    t.equal(clock.nextTimerAt, undefined)
    let fired = 0
    clock.setTimeout(() => { fired++ }, -5)
    t.equal(clock.step(0), true)
    t.strictSame([fired, clock.monotonic()], [1, 0])
    clock.setTimeout(() => { fired++ }, 10)
    t.equal(clock.step(10), true)
    t.strictSame([fired, clock.monotonic(), clock.pending], [2, 10, 0])
  })

  t.test('passes time without a turn of the event loop', async t => {
    const clock = new ManualClock(0)
    const fired: number[] = []
    for (const ms of [20, 10, 30, 41]) clock.setTimeout(() => { fired.push(clock.now()) }, ms)
    clock.setImmediate(() => { fired.push(-1) })
    clock.pass(40)
    t.strictSame([fired, clock.now(), clock.pending], [[10, 20, 30], 40, 2])
  })

  t.test('never goes back where a timer advances it further than the call that fires the timer', async t => {
    const clock = new ManualClock(0)
    clock.setTimeout(() => { clock.pass(20) }, 5)
    clock.pass(10)
    t.equal(clock.monotonic(), 25)
    await Promise.all([clock.advance(10), clock.advance(30)])
    t.equal(clock.monotonic(), 55)
  })

  t.test('settles once no immediate waits any more, and a turn runs those that wait when it begins', async t => {
    const clock = new ManualClock()
    const seen: number[] = []
    const again = (n: number): void => {
      seen.push(n)
      if (n < 3) clock.setImmediate(() => { again(n + 1) })
    }
    clock.setImmediate(() => { again(1) })
    clock.clearImmediate(clock.setImmediate(() => { seen.push(99) }))
    await clock.turn()
    t.strictSame([seen, clock.pending], [[1], 1])
    await clock.settle()
    t.strictSame([seen, clock.pending], [[1, 2, 3], 0])
  })

  t.test('whose wall clock is set fires nothing, and its timers take as long as before', async t => {
    const clock = new ManualClock()
    let fired = 0
    clock.setTimeout(() => { fired++ }, 1000)
    const before = clock.monotonic()
    clock.set(clock.now() + 86_400_000)
    await clock.advance(999)
    t.equal(fired, 0)
    clock.set(0)
    await clock.advance(1)
    t.equal(fired, 1)
    t.equal(clock.now(), 1)
    t.equal(clock.monotonic() - before, 1000)
  })

  t.test('runs callbacks in the async context in which they were set', async t => {
    const storage = new AsyncLocalStorage<string>()
    const clock = new ManualClock()
    const seen: unknown[] = []
    storage.run('setter', () => {
      clock.setTimeout(() => { seen.push(storage.getStore()) }, 1)
      clock.setImmediate(() => { seen.push(storage.getStore()) })
    })
    await storage.run('mover', async () => { await clock.advance(1) })
    t.strictSame(seen, ['setter', 'setter'])
  })
})

t.test('a clock that is switched', async t => {
  t.test('takes what waits along: it waits for what is left, on the new clock', async t => {
    const [first, second] = [new ManualClock(1000), new ManualClock(5_000_000)]
    const clock = new SwitchableClock(first)
    const fired: string[] = []
    clock.setTimeout(() => { fired.push('timer') }, 100)
    clock.clearTimeout(clock.setTimeout(() => { fired.push('cleared') }, 100))
    const cancelled = clock.setTimeout(() => { fired.push('cleared later') }, 100)
    clock.setImmediate(() => { fired.push('immediate') })
    clock.clearImmediate(clock.setImmediate(() => { fired.push('cleared immediate') }))
    first.step(40)
    clock.switchTo(second)
    t.equal(clock.now(), 5_000_000)
    t.equal(first.pending, 0)
    clock.clearTimeout(cancelled)
    await second.advance(59)
    t.strictSame(fired, ['immediate'])
    await second.advance(1)
    t.strictSame(fired, ['immediate', 'timer'])
    t.equal(second.pending, 0)
  })

  t.test('takes along nothing that has fired or was cleared, and ignores a handle that is undefined', async t => {
    const [first, second] = [new ManualClock(), new ManualClock()]
    const clock = new SwitchableClock(first)
    const fired: string[] = []
    const timer = clock.setTimeout(() => { fired.push('timer') }, 10)
    const immediate = clock.setImmediate(() => { fired.push('immediate') })
    const overdue = clock.setTimeout(() => { fired.push('overdue') }, -5)
    await first.advance(10)
    for (const handle of [timer, overdue, undefined]) clock.clearTimeout(handle)
    for (const handle of [immediate, undefined]) clock.clearImmediate(handle)
    t.strictSame(fired.splice(0).sort(), ['immediate', 'overdue', 'timer'])
    clock.clearTimeout(clock.setTimeout(() => {}, 10))
    clock.clearImmediate(clock.setImmediate(() => {}))
    t.equal(first.pending, 0)
    clock.switchTo(second)
    t.equal(second.pending, 0)
    clock.setTimeout(() => { fired.push('late') }, 10)
    const late = clock.setTimeout(() => { fired.push('cleared on the new clock') }, 10)
    const cleared = clock.setImmediate(() => { fired.push('cleared on the new clock') })
    clock.clearTimeout(late)
    clock.clearImmediate(cleared)
    await second.advance(10)
    t.strictSame([fired, second.pending], [['late'], 0])
  })

  t.test('never asks for a negative delay of the clock that it delegates to', async t => {
    const delays: number[] = []
    const inner = { ...systemClock, monotonic: () => 0, setTimeout: (_: unknown, ms: number) => delays.push(ms), clearTimeout: () => {} }
    const clock = new SwitchableClock(inner)
    clock.setTimeout(() => {}, -5)
    clock.setTimeout(() => {}, 7)
    clock.switchTo(inner)
    t.strictSame(delays, [0, 7, 0, 7])
  })

  t.test('never goes back in monotonic time', async t => {
    const [first, second] = [new ManualClock(), new ManualClock()]
    second.step(1_000_000)
    const clock = new SwitchableClock(first)
    first.step(500)
    t.equal(clock.monotonic(), 500)
    clock.switchTo(second)
    t.equal(clock.monotonic(), 500)
    second.step(7)
    t.equal(clock.monotonic(), 507)
    clock.switchTo(first)
    t.equal(clock.monotonic(), 507)
    first.step(1)
    t.equal(clock.monotonic(), 508)
  })

  t.test('reads whole milliseconds on a manual clock, so that times that are computed from it are exact', async t => {
    for (const before of [0.25, 123.456, 5000.000001]) {
      const [first, second] = [new ManualClock(), new ManualClock()]
      const clock = new SwitchableClock(first)
      first.step(before)
      clock.switchTo(second)
      t.equal(clock.monotonic(), Math.ceil(before))
      const endsAt = clock.monotonic() + 600_000
      let ended = false
      clock.setTimeout(() => { ended = true }, endsAt - clock.monotonic())
      await second.advance(600_000)
      t.equal(ended, true)
    }
  })

  t.test('goes by the system at first, and fires what is overdue at once when it is given back', async t => {
    const clock = new SwitchableClock()
    t.equal(clock.current, systemClock)
    const manual = new ManualClock()
    clock.switchTo(manual)
    const fired = new Promise<void>(resolve => { clock.setTimeout(resolve, 0) })
    clock.switchTo(systemClock)
    await fired
    t.ok(Math.abs(clock.now() - Date.now()) < 1000)
  })
})

t.test('sleeping', async t => {
  t.test('ends after its time and leaves nothing behind', async t => {
    const clock = new ManualClock()
    const controller = new AbortController()
    let awake = false
    const slept = sleep(clock, 1000, controller.signal).then(() => { awake = true })
    await clock.advance(999)
    t.equal(awake, false)
    await clock.advance(1)
    await slept
    t.equal(getEventListeners(controller.signal, 'abort').length, 0)
    controller.abort()
    t.equal(clock.pending, 0)
  })

  t.test('rejects with the reason as soon as it is aborted, and leaves no timer', async t => {
    const clock = new ManualClock()
    const controller = new AbortController()
    const reason = new Error('closing')
    const slept = sleep(clock, 1000, controller.signal)
    controller.abort(reason)
    await t.rejects(slept, reason)
    await t.rejects(sleep(clock, 1000, controller.signal), reason)
    t.equal(clock.pending, 0)
  })
})

t.test("the system's clock", async t => {
  t.test('limits a delay to the longest that Node can wait, which would fire a longer one at once', async t => {
    const { setTimeout } = globalThis
    t.teardown(() => { globalThis.setTimeout = setTimeout })
    const delays: unknown[] = []
    globalThis.setTimeout = ((_: unknown, ms: number) => delays.push(ms)) as never
    for (const ms of [5, 2_147_483_647, 2_147_483_648]) systemClock.setTimeout(() => {}, ms)
    t.strictSame(delays, [5, 2_147_483_647, 2_147_483_647])
  })

  t.test('calls each callback once, and none that was cleared', async t => {
    const seen: string[] = []
    systemClock.clearTimeout(systemClock.setTimeout(() => { seen.push('cleared timer') }, 0))
    systemClock.clearImmediate(systemClock.setImmediate(() => { seen.push('cleared immediate') }))
    const before = systemClock.monotonic()
    await new Promise<void>(resolve => { systemClock.setTimeout(resolve, 1) })
    await new Promise<void>(resolve => { systemClock.setImmediate(resolve) })
    t.strictSame(seen, [])
    t.ok(systemClock.monotonic() > before)
  })

  t.test('has a next turn even while a test runner has replaced the timers', async t => {
    const { setImmediate } = globalThis
    t.teardown(() => { globalThis.setImmediate = setImmediate })
    globalThis.setImmediate = (() => {}) as never
    await nextTurn()
    t.pass()
  })
})

t.test('a duration is a number with a unit, or 0', async t => {
  for (const [text, seconds] of [
    ['0', 0], ['0s', 0], ['30s', 30], ['1.5h', 5400], ['2m', 120], ['7d', 604_800], ['250ms', 0.25], ['12.25s', 12.25]
  ] as const) t.equal(parseDuration(text), seconds, text)
  for (const text of ['', '5', '1.s', '.5s', '-1s', '1 s', ' 1s', '1s ', '1e3s', '1h30m', '1w', 's', '1S', '00']) {
    t.equal(parseDuration(text), undefined, text)
  }
})

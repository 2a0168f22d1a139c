import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { sleep, systemClock } from '../../lib/clock/clock.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { SwitchableClock } from '../../lib/clock/switchable-clock.js'

t.test('a manual clock', async t => {
  t.test('fires its timers in the order in which they are due, each at its time', async t => {
    const clock = new ManualClock(1000)
    const fired: Array<[string, number]> = []
    const at = (name: string, ms: number) => clock.setTimeout(() => { fired.push([name, clock.now()]) }, ms)
    at('b', 20)
    at('a', 10)
    clock.setTimeout(() => { at('c', 5) }, 12)
    clock.clearTimeout(at('never', 15))
    at('later', 31)
    await clock.advance(30)
    t.strictSame(fired, [['a', 1010], ['c', 1017], ['b', 1020]])
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

t.test('the system\'s clock fires no timer early that is longer than Node can wait', async t => {
  let fired = false
  const timer = systemClock.setTimeout(() => { fired = true }, 40 * 86_400_000)
  await new Promise<void>(resolve => { systemClock.setTimeout(resolve, 20) })
  systemClock.clearTimeout(timer)
  t.equal(fired, false)
})

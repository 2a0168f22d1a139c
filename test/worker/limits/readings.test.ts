import { AsyncResource } from 'node:async_hooks'
import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { Readings, type Reading } from '../../../lib/worker/limits/readings.js'
import { gate } from '../../support/app.js'

const failed = { outcome: 'failed', problem: 'x', cause: 1 } as const
const denied = { outcome: 'denied', problem: 'x', cause: 1 } as const

/** Readings of values that `next` decides. `log` has what was read and what came of it, in its order. */
function setUp ({ maxKeys = 10, refreshMs = 1000 } = {}) {
  const clock = new ManualClock()
  const log: unknown[] = []
  const setup = { next: (_key: string): Reading<number> | Promise<Reading<number>> => ({ outcome: 'read', value: 1 }) }
  const readings = new Readings<number>({
    read: async key => {
      log.push(key)
      return await setup.next(key)
    },
    clock,
    scope: new AsyncResource('test'),
    refreshMs,
    maxKeys,
    onRead: (key, value) => { log.push([key, value]) },
    onUnread: (key, { outcome }) => { log.push([key, outcome]) }
  })
  const value = (value: number): void => { setup.next = () => ({ outcome: 'read', value }) }
  return Object.assign(setup, { clock, log, readings, value })
}

t.test('a value is read when it is first asked for, and is then known', async t => {
  const { readings, log } = setUp()
  t.equal(readings.known('a'), undefined)
  t.equal(await readings.get('a'), 1)
  t.equal(readings.get('a'), 1)
  t.equal(readings.known('a'), 1)
  t.strictSame(log, ['a', ['a', 1]])
  readings.prepare('b')
  readings.prepare('b')
  t.strictSame(log.slice(2), ['b'])
  t.equal(await readings.get('b'), 1)
  t.strictSame(log.slice(2), ['b', ['b', 1]])
})

t.test('each value that is too old is waited for, while readings succeed', async t => {
  const { readings, clock, value } = setUp()
  for (const expected of [1, 2, 3]) {
    value(expected)
    t.equal(await readings.get('a', 1), expected)
    await clock.advance(1)
  }
})

t.test('a value is refreshed in the background at its age, and waited for beyond the age that is asked for', async t => {
  const { readings, clock, log, value } = setUp()
  await readings.get('a')
  value(2)
  await clock.advance(999)
  t.equal(readings.get('a', 1000), 1)
  t.equal(log.length, 2)
  await clock.advance(1)
  t.equal(readings.get('a', 1001), 1)
  await clock.settle()
  t.equal(readings.get('a', 1), 2)
  value(3)
  await clock.advance(500)
  t.equal(readings.get('a', 501), 2)
  t.equal(await readings.get('a', 500), 3)
  t.equal(log.length, 6)
})

t.test('after a failure a key is read again later, and much later where an early retry would not help', async t => {
  for (const [reading, ms] of [[failed, 10_000], [denied, 300_000], [{ outcome: 'missing' }, 300_000]] as const) {
    const setup = setUp()
    const { readings, clock, log } = setup
    setup.next = () => reading
    t.equal(await readings.get('a'), undefined)
    await clock.advance(ms - 1)
    t.equal(readings.get('a'), undefined)
    t.strictSame(log, ['a', ['a', reading.outcome]])
    await clock.advance(1)
    t.equal(readings.get('a'), undefined, 'without waiting')
    await clock.settle()
    t.equal(log.length, 4)
    t.equal(readings.known('a'), undefined)
    setup.value(7)
    await clock.advance(ms)
    t.equal(readings.get('a'), undefined)
    await clock.settle()
    t.equal(readings.get('a'), 7)
    setup.value(8)
    await clock.advance(1)
    t.equal(await readings.get('a', 1), 8, 'and waited for again after a success')
  }
})

t.test('a key that fails leaves others alone', async t => {
  const setup = setUp()
  setup.next = key => key === 'a' ? failed : { outcome: 'read', value: 1 }
  await setup.readings.get('a')
  t.equal(await setup.readings.get('b'), 1)
})

t.test('an attempt waits for two seconds at most, and leaves no timer', async t => {
  const setup = setUp()
  const { readings, clock } = setup
  const slow = gate()
  setup.next = async () => {
    await slow.opened
    return { outcome: 'read', value: 5 }
  }
  let got: unknown = 'nothing'
  const waiting = Promise.resolve(readings.get('a')).then(value => { got = value })
  await clock.advance(1999)
  t.equal(got, 'nothing')
  await clock.advance(1)
  await waiting
  t.equal(got, undefined)
  t.equal(readings.get('a'), undefined)
  slow.open()
  await clock.settle()
  t.equal(readings.get('a'), 5)
  t.equal(clock.pending, 0)

  const quick = setUp()
  await quick.readings.get('a')
  t.equal(quick.clock.pending, 0)
})

t.test('the oldest keys are forgotten beyond the greatest number', async t => {
  const { readings } = setUp({ maxKeys: 2 })
  for (const key of ['a', 'b', 'a']) await readings.get(key)
  t.strictSame(['a', 'b'].map(key => readings.known(key)), [1, 1])
  await readings.get('c')
  t.strictSame(['a', 'b', 'c'].map(key => readings.known(key)), [undefined, 1, 1])
})

t.test('closed, waiting attempts go on with the last values, and what is read later is ignored', async t => {
  const setup = setUp()
  const { readings, clock, log } = setup
  await readings.get('a')
  const slow = gate()
  setup.next = async () => {
    await slow.opened
    return { outcome: 'read', value: 9 }
  }
  await clock.advance(1)
  const waiting = [readings.get('a', 1), readings.get('b')]
  readings.close()
  t.strictSame(await Promise.all(waiting), [1, undefined])
  t.equal(clock.pending, 0)
  slow.open()
  await clock.settle()
  t.strictSame(['a', 'b'].map(key => readings.known(key)), [1, undefined])
  readings.prepare('c')
  t.equal(readings.get('c'), undefined)
  await clock.settle()
  t.strictSame(log, ['a', ['a', 1], 'a', 'b'])
})

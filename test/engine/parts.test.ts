import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import fc from 'fast-check'
import t from 'tap'
import { nextTurn } from '../../lib/clock/clock.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { ExpiryReports } from '../../lib/engine/expiry.js'
import { DueHeap, type Due } from '../../lib/engine/memory/due-heap.js'
import { InFlight } from '../../lib/engine/memory/in-flight.js'
import { Observers } from '../../lib/engine/observers.js'
import { NameMap } from '../../lib/store/name-map.js'
import { RateLimiter } from '../../lib/engine/memory/rate-limiter.js'
import { Tombstones } from '../../lib/engine/memory/tombstones.js'
import { FragileStore, httpRequest, queue, startEngine } from '../support/engine-harness.js'

const limits = (maxDispatchesPerSecond: number, maxBurstSize: number) => ({
  maxDispatchesPerSecond,
  maxBurstSize,
  maxConcurrentDispatches: 1
})

t.test('a limiter never allows more than burst + rate * t in any span, and names the time of the next token', async t => {
  const rates = fc.oneof(fc.double({ min: 0.01, max: 500, noNaN: true }), fc.constantFrom(1, 3, 500))
  fc.assert(fc.property(rates, fc.integer({ min: 1, max: 100 }), fc.array(fc.nat(3000), { minLength: 1, maxLength: 200 }),
    (rate, burst, gaps) => {
      const limiter = new RateLimiter(limits(rate, burst), 0)
      const taken: number[] = []
      let now = 0
      for (const gap of gaps) {
        now += gap
        if (limiter.take(now)) {
          taken.push(now)
          continue
        }
        const next = limiter.nextAt(now)
        // Not before time, not later than one token takes, and then for sure.
        if (next <= now || next - now > 1000 / rate + 1e-6) return false
        if (limiter.take(now + (next - now) * 0.5)) return false
        now = Math.ceil(next)
        if (!limiter.take(now)) return false
        taken.push(now)
      }
      return taken.every((from, i) => taken.slice(i).every((to, j) => j + 1 <= burst + (to - from) / 1000 * rate + 1e-6))
    }))
})

t.test('a limiter that is asked all the time allows its whole rate', async t => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 10, max: 100 }), (rate, burst) => {
    const limiter = new RateLimiter(limits(rate, burst), 0)
    let taken = 0
    for (let now = 0; now <= 10_000; now++) {
      while (limiter.take(now)) taken++
    }
    return Math.abs(taken - (burst + 10 * rate)) <= 1
  }), { numRuns: 30 })
})

t.test('a clock that is set back neither stops a limiter nor fills it', async t => {
  const limiter = new RateLimiter(limits(2, 10), 1_000_000)
  for (let i = 0; i < 10; i++) t.ok(limiter.take(1_000_000))
  t.notOk(limiter.take(0))
  t.equal(limiter.nextAt(0), 500)
  t.notOk(limiter.take(499))
  t.ok(limiter.take(500))
  t.notOk(limiter.take(500))
})

t.test('a limiter applies new limits at once, and keeps its tokens', async t => {
  const limiter = new RateLimiter(limits(1, 10), 0)
  for (let i = 0; i < 10; i++) limiter.take(0)
  t.equal(limiter.nextAt(0), 1000)
  limiter.configure(limits(100, 20), 500)
  t.equal(limiter.nextAt(500), 505, 'half a token was saved, the rest is refilled at the new rate')
  limiter.configure(limits(100, 20), 10_000)
  limiter.configure(limits(1, 10), 10_000)
  for (let i = 0; i < 10; i++) t.ok(limiter.take(10_000))
  t.notOk(limiter.take(10_000), 'tokens above the new burst are lost')
})

t.test('a heap returns its items in order of time, then of arrival, whatever was removed in between', async t => {
  interface Item extends Due { readonly id: number }
  const step = fc.oneof(
    // Mostly additions: an item that moves up after a removal takes a heap of some depth.
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('add' as const), at: fc.nat(1000) }) },
    fc.record({ kind: fc.constant('remove' as const), which: fc.nat(1000) }),
    fc.record({ kind: fc.constant('schedule' as const), which: fc.nat(1000), at: fc.nat(1000) }),
    fc.record({ kind: fc.constant('pop' as const) }))
  fc.assert(fc.property(fc.array(step, { minLength: 50, maxLength: 300 }), steps => {
    const heap = new DueHeap<Item>()
    const inside: Item[] = []
    let made = 0
    const earliest = (): Item | undefined => [...inside].sort((a, b) => a.dueAt - b.dueAt || a.order - b.order)[0]
    for (const step of steps) {
      const pick = 'which' in step ? inside[step.which % (inside.length || 1)] : undefined
      if (step.kind === 'add') {
        const item = { id: made, dueAt: step.at, order: made++, position: -1 }
        heap.add(item)
        inside.push(item)
      } else if (step.kind === 'schedule' && pick !== undefined) {
        heap.schedule(pick, step.at)
      } else {
        const gone = step.kind === 'pop' ? earliest() : pick
        if (gone === undefined) continue
        heap.remove(gone)
        heap.remove(gone)
        inside.splice(inside.indexOf(gone), 1)
        if (gone.position !== -1) return false
      }
      if (heap.size !== inside.length || heap.first !== earliest()) return false
    }
    return true
  }))
})

t.test('a map in parts holds what a map holds, and lists it while it changes', async t => {
  const names = fc.oneof(fc.string({ maxLength: 3 }), fc.nat(50).map(n => `projects/p/locations/l/queues/q/tasks/${n}-receipt`))
  const step = fc.tuple(fc.constantFrom('set' as const, 'set' as const, 'delete' as const), names, fc.nat(9))
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), steps => {
    const parts = new NameMap<number>()
    const whole = new Map<string, number>()
    for (const [kind, name, value] of steps) {
      if (kind === 'set') {
        parts.set(name, value)
        whole.set(name, value)
      } else if (parts.delete(name) !== whole.delete(name)) return false
      if (parts.size !== whole.size || parts.get(name) !== whole.get(name) || parts.has(name) !== whole.has(name)) return false
    }
    return [...parts.values()].sort().join() === [...whole.values()].sort().join()
  }))

  const map = new NameMap<string>()
  for (let i = 0; i < 1000; i++) map.set(`n${i}`, `n${i}`)
  const seen: string[] = []
  for (const name of map.values()) {
    if (name === 'later') continue
    seen.push(name)
    map.delete(name)
    map.set(`later-${name}`, 'later')
  }
  t.equal(seen.length, 1000)
  t.equal(new Set(seen).size, 1000, 'each entry that stays is returned once')
  t.equal(map.size, 1000)
})

t.test('a name cannot be reused until its tombstone expires, and its memory is freed soon after', async t => {
  const clock = new ManualClock()
  const names = new Tombstones(clock)
  const minute = 60_000
  for (let i = 0; i < 100; i++) names.add(`n${i}`, (100 - i) * minute)
  t.same(names.sweep(8), [])
  clock.step(2 * minute)
  t.same(names.sweep(8).sort(), ['n98', 'n99'])
  clock.step(98 * minute - 1)
  t.ok(names.has('n0'))
  clock.step(1)
  t.notOk(names.has('n0'))
  t.equal(names.sweep(8).length, 8, 'a few at a time')
  t.equal(names.size, 90)

  names.add('n0', 400 * minute)
  clock.step(100 * minute)
  while (names.size > 1) names.sweep(8)
  t.same(names.sweep(8), [])
  t.ok(names.has('n0'), 'a name that was used again stays')
  t.same(names.get('n0'), { name: 'n0', until: clock.now() + 300 * minute })
  clock.step(300 * minute)
  t.same(names.sweep(8), ['n0'])
  names.add('x', minute)
  names.withdraw('x')
  t.notOk(names.has('x'))
  clock.step(100 * minute)
  t.same(names.sweep(8), [], 'a withdrawn name is not reported')
  t.equal(names.size, 0)
})

t.test('a tombstone has its full duration regardless of jumps of the wall clock', async t => {
  const clock = new ManualClock()
  const names = new Tombstones(clock)
  names.add('x', 3_600_000)
  clock.set(clock.now() + 86_400_000)
  t.ok(names.has('x'), 'ahead')
  t.same(names.get('x'), { name: 'x', until: clock.now() + 3_600_000 })
  clock.set(clock.now() - 30 * 86_400_000)
  clock.step(3_599_999)
  t.ok(names.has('x'), 'back')
  clock.step(1)
  t.notOk(names.has('x'))
})

t.test('a tombstone is stored with whole milliseconds, rounded', async t => {
  const clock = new ManualClock()
  const names = new Tombstones(clock)
  const begin = clock.now()
  clock.step(0.4)
  names.add('a', 1000)
  clock.step(0.2)
  names.add('b', 1000)
  t.strictSame(['a', 'b'].map(name => names.get(name)), [{ name: 'a', until: begin + 1000 }, { name: 'b', until: begin + 1001 }])
})

t.test('expired tasks are reported a second after the first of them, each in one report', async t => {
  const clock = new ManualClock()
  const reported: unknown[] = []
  const reports = new ExpiryReports(clock, report => { reported.push(report) })
  reports.add('a')
  clock.pass(999)
  reports.add('b')
  t.strictSame(reported.splice(0), [])
  clock.pass(1)
  t.strictSame(reported.splice(0), [{ count: 2, names: ['a', 'b'] }])
  reports.flush()
  for (let task = 0; task < 12; task++) reports.add(`t${task}`)
  reports.flush()
  t.strictSame(reported.splice(0), [{ count: 12, names: Array.from({ length: 10 }, (_, task) => `t${task}`) }])
  t.equal(clock.pending, 0)
})

t.test("an observer gets the events that it has a function for, in the engine's context, until it is removed", async t => {
  const storage = new AsyncLocalStorage<string>()
  const errors: unknown[] = []
  const scope = storage.run('engine', () => new AsyncResource('test'))
  const observers = new Observers(scope, (error, where) => { errors.push([error, where]) })
  t.equal(observers.none, true)
  const seen: unknown[] = []
  const removals = [
    { ended () { throw seen } },
    { emptied () { seen.push('another event') } },
    { ended (...what: unknown[]) { seen.push([storage.getStore(), ...what]) } }
  ].map(observer => observers.add(observer))
  t.equal(observers.none, false)
  storage.run('caller', () => { observers.notify('ended', 'a', 'done') })
  t.strictSame(seen.splice(0), [['engine', 'a', 'done']])
  t.strictSame(errors.splice(0), [[seen, { during: 'observe' }]], 'an error has no effect')
  removals[0]!()
  removals[2]!()
  observers.notify('ended', 'a', 'done')
  t.strictSame([seen, errors, observers.none], [[], [], false])
  removals[1]!()
  t.equal(observers.none, true)
})

t.test('what is in flight is waited for by all who wait, and only then', async t => {
  const inFlight = new InFlight()
  await inFlight.idle()
  inFlight.enter()
  inFlight.enter()
  let ended = 0
  const both = [1, 2].map(async () => {
    await inFlight.idle()
    ended++
  })
  inFlight.leave()
  await nextTurn()
  t.equal(ended, 0)
  inFlight.leave()
  await Promise.all(both)
  t.equal(ended, 2)
})

t.test('failed writes are retried automatically, and reported once a minute with a count', async t => {
  const store = new FragileStore()
  const reported: Array<{ during: string, count?: number }> = []
  const onError = (_: unknown, where: { during: string, count?: number }): void => { reported.push(where) }
  const { engine, clock, attempts } = await startEngine({ store, onError })
  for (let i = 0; i < 50; i++) await engine.createTask(queue, { httpRequest })
  await clock.settle()
  store.broken.add('removeTask')
  for (const attempt of attempts) await attempt.answer(200)
  t.equal(attempts.length, 50)
  t.strictSame(reported.map(({ count }) => count), [undefined])
  await clock.advance(59_000)
  t.equal(reported.length, 1, 'retries are not reported one by one')
  await clock.advance(10_000)
  t.equal(reported.length, 2)
  t.ok(reported[1]!.count! > 49, `${reported[1]!.count} more`)
  store.broken.clear()
  await clock.advance(5000)
  t.equal([...(await store.load()).tasks].length, 0, 'without any other event')
  await engine.close()
  t.equal(clock.pending, 0)
})

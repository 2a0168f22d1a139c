import t from 'tap'
import { Timeline } from '../../../lib/console/history/timeline.js'

t.test('a timeline has one bucket for each second, those without an event included', async t => {
  let waiting = 0
  const timeline = new Timeline(1_000_000, () => waiting)
  waiting = 3
  for (let task = 0; task < 3; task++) timeline.arrived(1_000_100)
  waiting = 2
  timeline.started(1_005_000)
  timeline.ended(1_005_500, false, false)
  timeline.ended(1_006_100, true, false)
  t.same(timeline.buckets(1_007_000, 8), [
    { at: 1_000_000, arrived: 3, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_001_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_002_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_003_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_004_000, arrived: 0, succeeded: 0, failed: 0, waiting: 3 },
    { at: 1_005_000, arrived: 0, succeeded: 0, failed: 1, waiting: 2 },
    { at: 1_006_000, arrived: 0, succeeded: 1, failed: 0, waiting: 2 },
    { at: 1_007_000, arrived: 0, succeeded: 0, failed: 0, waiting: 2 }
  ])
  t.equal(timeline.buckets(1_007_000).length, 300)
  t.same(
    timeline.buckets(9_000_000).filter(({ arrived, succeeded, failed }) => arrived + succeeded + failed > 0),
    [],
    'what is older than five minutes is gone'
  )
  timeline.arrived(8_997_000)
  t.equal(timeline.buckets(9_000_000).at(-1)!.arrived, 1, 'a clock that was set back a little counts for the second at hand')
})

t.test('a timeline begins anew when the clock is set back', async t => {
  const timeline = new Timeline(9_000_000, () => 2)
  timeline.arrived(9_000_000)
  timeline.arrived(8_000_500)
  timeline.ended(8_001_000, true, false)
  t.strictSame(
    timeline.buckets(8_002_000, 4).map(({ at, arrived, succeeded }) => [at, arrived, succeeded]),
    [
      [7_999_000, 0, 0],
      [8_000_000, 1, 0],
      [8_001_000, 0, 1],
      [8_002_000, 0, 0]
    ]
  )
  t.equal(timeline.buckets(8_002_000).reduce((sum, { arrived }) => sum + arrived, 0), 1)
})

t.test('a timeline counts the waiting tasks at the end of each second, before the next event', async t => {
  const events: Array<[what: string, act: (timeline: Timeline, now: number) => void, effect: number]> = [
    ['arrived', (timeline, now) => { timeline.arrived(now) }, 1],
    ['started', (timeline, now) => { timeline.started(now) }, -1],
    ['ended for a retry', (timeline, now) => { timeline.ended(now, false, true) }, 1],
    ['ended', (timeline, now) => { timeline.ended(now, true, false) }, 0]
  ]
  for (const [what, act, effect] of events) {
    let waiting = 5
    const timeline = new Timeline(1_000_000, () => waiting)
    waiting += effect
    act(timeline, 1_002_000)
    t.strictSame(timeline.buckets(1_003_999, 4).map(({ waiting }) => waiting), [5, 5, 5 + effect, 5 + effect], what)
  }
  let waiting = 0
  const timeline = new Timeline(1_000_000, () => waiting)
  waiting = 0
  timeline.arrived(1_001_000)
  t.equal(timeline.buckets(1_001_000, 2)[0]!.waiting, 0, 'a task that has already started leaves no negative number')
})

t.test('a timeline forgets what is older than 300 seconds, and keeps all that is not', async t => {
  for (const later of [299, 300, 301, 599, 600, 1000]) {
    let waiting = 1
    const timeline = new Timeline(1_000_000, () => waiting)
    timeline.arrived(1_000_000)
    timeline.ended(1_000_000, true, false)
    timeline.ended(1_000_000, false, false)
    waiting = 3
    timeline.arrived(1_000_000 + later * 1000)
    const buckets = timeline.buckets(1_000_000 + later * 1000, 1000)
    t.equal(buckets.length, 300)
    t.strictSame(buckets.map(({ at }) => at), Array.from({ length: 300 }, (_, index) => 1_000_000 + (later - 299 + index) * 1000))
    const sums = (['arrived', 'succeeded', 'failed'] as const).map(key => buckets.reduce((sum, bucket) => sum + bucket[key], 0))
    t.strictSame(sums, later === 299 ? [2, 1, 1] : [1, 0, 0], `${later} seconds`)
    t.strictSame(new Set(buckets.slice(1, -1).map(({ waiting }) => waiting)), new Set([2]))
    t.equal(buckets[299]!.waiting, 3)
  }
})

t.test('a timeline counts for the latest second when the clock is set back by up to five seconds', async t => {
  for (const [back, at] of [[4999, 0], [5000, 0], [5001, -6000], [60_000, -60_000]] as const) {
    const timeline = new Timeline(2_000_000, () => 4)
    timeline.arrived(2_000_000)
    timeline.ended(2_000_000, true, false)
    timeline.arrived(2_000_000 - back)
    const buckets = timeline.buckets(2_000_000 - back)
    t.strictSame(buckets.filter(({ arrived }) => arrived > 0).map(({ at, arrived, succeeded }) => [at - 2_000_000, arrived, succeeded]), [
      at === 0 ? [0, 2, 1] : [at, 1, 0]
    ], `${back} ms`)
    t.equal(buckets.at(-1)!.at, 2_000_000 + at)
    if (at !== 0) t.strictSame(new Set(buckets.map(({ waiting }) => waiting)), new Set([4]))
  }
})

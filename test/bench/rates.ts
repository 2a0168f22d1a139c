/**
 * Whether the limits of queues hold on the real clock: `npm run bench -- rates [TASKS]`. The rate and the concurrency of 1, 50
 * and 500 over ten seconds, a rate of 0.1, settings that change while tasks wait, and 20 queues beside one with TASKS due
 * tasks, by default a million. Exits with 1 if something does not hold.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { maxBurstSize } from '../../lib/cloud-tasks/limits.js'
import { Engine, type Attempt, type Answer } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { median, percentile } from './measure.js'

const TOLERANCE = 0.02
const SPAN_MS = 10_000
const ROUNDS = 400
const DONE = { status: 204 }
const parent = 'projects/bench/locations/here'
const httpRequest = { url: 'http://localhost/tasks/work', headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') }
const million = Number(process.argv[3] ?? 1_000_000)

await rates()
await concurrency()
await changes()
await fairness()

/** After its burst a queue dispatches at its rate. All of them in one engine, so that each has the others beside it. */
async function rates (): Promise<void> {
  console.log(`rate over ${SPAN_MS / 1000} s, after the burst`)
  const startedAt = new Map<string, number[]>()
  const engine = await open(async attempt => {
    startedAt.get(attempt.queue)!.push(performance.now())
    return DONE
  })
  const spans = new Map([[500, SPAN_MS], [50, SPAN_MS], [1, SPAN_MS], [0.1, 2 * SPAN_MS]])
  for (const [rate, ms] of spans) {
    startedAt.set(idOf(rate), [])
    await engine.createQueue(nameOf(idOf(rate)), { rateLimits: { maxDispatchesPerSecond: rate, maxConcurrentDispatches: 1000 } })
    await fill(engine, idOf(rate), maxBurstSize(rate) + Math.ceil(rate * ms / 1000) + rate + 1)
  }
  engine.start()
  await sleep(2 * SPAN_MS + 500)
  await engine.close()
  for (const [rate, ms] of spans) {
    // What goes at once has to be the burst; time counts from the token after it.
    const times = startedAt.get(idOf(rate))!.slice(maxBurstSize(rate))
    const intervals = Math.round(rate * ms / 1000) - (rate < 1 ? 1 : 0)
    const measured = intervals / (times[intervals]! - times[0]!) * 1000
    check(`${rate}/s`, `${measured.toFixed(4)}/s, ${percent(measured / rate)}`, Math.abs(measured / rate - 1) <= TOLERANCE)
  }
}

/** As many attempts run as may, at no time more. */
async function concurrency (): Promise<void> {
  console.log(`attempts of 50 ms under way over ${SPAN_MS / 1000} s, mean and most`)
  for (const limit of [1, 50, 500]) {
    let [running, most, area, changedAt] = [0, 0, 0, 0]
    const change = (by: number): void => {
      const now = performance.now()
      area += running * (now - changedAt)
      changedAt = now
      running += by
      most = Math.max(most, running)
    }
    const engine = await open(async () => {
      change(1)
      await sleep(50)
      change(-1)
      return DONE
    })
    await engine.createQueue(nameOf('q'), { rateLimits: { maxDispatchesPerSecond: 1_000_000, maxConcurrentDispatches: limit } })
    await fill(engine, 'q', limit * (SPAN_MS / 50 + 20))
    const startedAt = changedAt = performance.now()
    engine.start()
    await sleep(SPAN_MS)
    change(0)
    const mean = area / (changedAt - startedAt)
    check(String(limit), `${mean.toFixed(3)} and ${most}, ${percent(mean / limit)}`, most === limit && mean >= limit * (1 - TOLERANCE))
    await engine.close()
  }
}

/** What a change of settings makes of tasks that wait already. */
async function changes (): Promise<void> {
  console.log('settings that change while tasks wait')
  let [started, running] = [0, 0]
  let onStart = (): void => {}
  const engine = await open(async () => {
    started++
    running++
    onStart()
    await sleep(20)
    running--
    return DONE
  })
  const set = (maxDispatchesPerSecond: number, maxConcurrentDispatches: number) =>
    engine.updateQueue(nameOf('q'), { rateLimits: { maxDispatchesPerSecond, maxConcurrentDispatches } })
  const startedIn = async (ms: number): Promise<number> => {
    started = 0
    await sleep(ms)
    return started
  }
  await set(0.01, 1000)
  await fill(engine, 'q', 20_000)
  engine.start()
  await sleep(200)

  const next = new Promise<void>(resolve => { onStart = resolve })
  const changedAt = performance.now()
  await set(200, 1000)
  await next
  const first = performance.now() - changedAt
  check('0.01/s to 200/s', `the next dispatch after ${first.toFixed(1)} ms`, first <= 20)
  const fast = await startedIn(2000)
  check('', `${fast} in the next 2 s`, Math.abs(fast / 400 - 1) <= TOLERANCE)
  await set(5, 1000)
  const slow = await startedIn(2000)
  check('200/s to 5/s', `${slow} in the next 2 s`, slow >= 9 && slow <= 11)
  await set(1_000_000, 2)
  await sleep(200)
  check('concurrency to 2', `${running} under way`, running === 2)
  await set(1_000_000, 50)
  await sleep(5)
  check('concurrency to 50', `${running} under way after 5 ms`, running === 50)
  await set(1_000_000, 3)
  await sleep(60)
  check('concurrency to 3', `${running} under way after 60 ms`, running === 3)
  await engine.pauseQueue(nameOf('q'))
  const paused = await startedIn(200)
  check('pause', `${paused} dispatches in the next 200 ms`, paused === 0)
  await engine.resumeQueue(nameOf('q'))
  const resumed = await startedIn(200)
  check('resume', `${resumed} dispatches in the next 200 ms`, resumed > 0)
  await engine.close()
}

/** How long tasks of 20 queues wait for their dispatch, alone and beside a queue that has a million due tasks. */
async function fairness (): Promise<void> {
  console.log(`20 queues with a task each every 25 ms, created to dispatched; the least that one of them got done of its ${ROUNDS}`)
  const small = Array.from({ length: 20 }, (_, index) => `small-${index}`)
  const waits = new Map<string, number[]>()
  const createdAt = new Map<string, number>()
  let big = 0
  const engine = await open(async ({ queue, task }) => {
    if (queue === 'big') big++
    else waits.get(queue)!.push(performance.now() - createdAt.get(task.name)!)
    return DONE
  })
  const rateLimits = { maxDispatchesPerSecond: 1_000_000, maxConcurrentDispatches: 1000 }
  for (const id of ['big', ...small]) await engine.createQueue(nameOf(id), { rateLimits })
  engine.start()
  const trickle = async (): Promise<void> => {
    for (const id of small) waits.set(id, [])
    for (let round = 0; round < ROUNDS; round++) {
      for (const id of small) {
        const name = `${nameOf(id)}/tasks/t${createdAt.size}`
        createdAt.set(name, performance.now())
        await engine.createTask(nameOf(id), { name, httpRequest })
      }
      await sleep(25)
    }
  }
  const report = (title: string, limitMs: number, more: string = ''): void => {
    const all = [...waits.values()].flat()
    const least = Math.min(...[...waits.values()].map(of => of.length))
    const p99 = percentile(all, 99)
    check(
      title,
      `p50 ${median(all).toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, longest ${Math.max(...all).toFixed(1)} ms; ${least}${more}`,
      least === ROUNDS && p99 <= limitMs
    )
  }

  await trickle()
  await sleep(200)
  report('alone', 20)
  await engine.pauseQueue(nameOf('big'))
  await fill(engine, 'big', million)
  await engine.resumeQueue(nameOf('big'))
  const resumedAt = performance.now()
  await trickle()
  const rate = big / (performance.now() - resumedAt) * 1000
  await sleep(200)
  const { waiting } = engine.counts(nameOf('big'))
  report('beside', 20, `, while the big queue ran ${Math.round(rate).toLocaleString('en')}/s and had ${waiting.toLocaleString('en')} left`)
  await engine.close()
}

async function open (dispatch: (attempt: Attempt) => Promise<Answer>): Promise<Engine> {
  const engine = new Engine({ store: new MemoryStore(), dispatch, maxDispatchesPerSecond: 1_000_000 })
  await engine.open()
  return engine
}

async function fill (engine: Engine, id: string, count: number): Promise<void> {
  for (let index = 0; index < count; index++) await engine.createTask(nameOf(id), { httpRequest })
}

function check (what: string, measured: string, holds: boolean): void {
  console.log(`  ${what.padEnd(20)} ${measured}${holds ? '' : '   DOES NOT HOLD'}`)
  if (!holds) process.exitCode = 1
}

function percent (ratio: number): string {
  return `${((ratio - 1) * 100).toFixed(2)} %`
}

function idOf (rate: number): string {
  return `rate-${String(rate).replace('.', '-')}`
}

function nameOf (id: string): string {
  return `${parent}/queues/${id}`
}

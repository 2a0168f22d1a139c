/**
 * The embedded queue in memory, the whole way: enqueue, validation, route by loopback, handler. Beside it what
 * `app.inject` alone reaches on the same route in the same run, rounds alternating. Then the latency of an idle queue.
 */
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { inFlight, median, percentile, perSecond } from './measure.js'

const COUNT = Number(process.argv[3] ?? 20_000)
const ROUNDS = 5
const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer(), text: Type.String() }) } })
const payload = { n: 1, text: 'x'.repeat(180) }
const body = JSON.stringify(payload)

let handled = 0
let reached = (): void => {}
let goal = Infinity
let startedAt = 0

async function createApp (concurrency: number, auth: false | undefined) {
  const app = Fastify()
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    ...(auth === undefined ? {} : { auth }),
    queues: { default: { rateLimits: { maxConcurrentDispatches: concurrency, maxDispatchesPerSecond: 1_000_000 } } },
    handlers: {
      work () {
        startedAt = performance.now()
        if (++handled === goal) reached()
      }
    }
  })
  await app.ready()
  return app
}

function until (count: number): Promise<void> {
  handled = 0
  goal = count
  return new Promise(resolve => { reached = resolve })
}

/** Only `app.inject` on the task's own route. */
async function injectAlone (width: number): Promise<number> {
  const app = await createApp(64, false)
  const before = performance.now()
  await inFlight(
    COUNT,
    width,
    async () => await app.inject({ method: 'POST', url: '/tasks/work', headers: { 'content-type': 'application/json' }, payload: body })
  )
  const ms = performance.now() - before
  await app.close()
  return perSecond(COUNT, ms)
}

async function addAndDrain (width: number): Promise<{ add: number, through: number }> {
  const app = await createApp(width, undefined)
  const client = tasksOf(app, tasks)
  const done = until(COUNT)
  const before = performance.now()
  await inFlight(COUNT, width, async () => await client.enqueue('work', payload))
  const added = performance.now() - before
  await done
  const ms = performance.now() - before
  await app.close()
  return { add: perSecond(COUNT, added), through: perSecond(COUNT, ms) }
}

/** From the call of `enqueue` to the start of the handler, one task at a time on an idle server. */
async function idleLatency (samples: number): Promise<number[]> {
  const app = await createApp(64, undefined)
  const client = tasksOf(app, tasks)
  const latencies: number[] = []
  for (let sample = 0; sample < samples; sample++) {
    const done = until(1)
    const before = performance.now()
    await client.enqueue('work', payload)
    await done
    latencies.push(startedAt - before)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  await app.close()
  return latencies
}

await injectAlone(64)
await addAndDrain(64)
for (const width of [1, 64]) {
  const [alone, add, through]: [number[], number[], number[]] = [[], [], []]
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(await injectAlone(width))
    const result = await addAndDrain(width)
    add.push(result.add)
    through.push(result.through)
  }
  const ratio = median(through.map((value, round) => value / alone[round]!))
  console.log(`${width} in flight, medians of ${ROUNDS} rounds of ${COUNT}`)
  console.log(`  app.inject alone          ${median(alone)}/s`)
  console.log(`  enqueue, acknowledged     ${median(add)}/s`)
  console.log(`  enqueue to handler done   ${median(through)}/s, ${ratio.toFixed(2)} of app.inject alone`)
}
const latencies = (await idleLatency(2200)).slice(200)
console.log(
  `idle latency, enqueue to handler start: p50 ${percentile(latencies, 50).toFixed(3)} ms, p99 ${percentile(latencies, 99).toFixed(3)} ms (${latencies.length} samples)`
)

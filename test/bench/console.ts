/**
 * What a console costs: tasks through the embedded queue, the whole way, with and without it, rounds alternating; with one
 * page that listens as well. CPU time says more than throughput where other work shares the machine. Then how quickly the
 * page is answered while a million tasks wait.
 */
import { get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import taskConsole from '../../lib/console/plugin.js'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { inFlight, median, percentile, perSecond } from './measure.js'

const COUNT = Number(process.argv[3] ?? 20_000)
const ROUNDS = Number(process.argv[4] ?? 9)
const PENDING = Number(process.argv[5] ?? 1_000_000)
const WIDTH = 64
const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer(), text: Type.String() }) } })
const payload = { n: 1, text: 'x'.repeat(180) }

let handled = 0
let reached = (): void => {}

type Mode = 'without' | 'with' | 'watched'

async function createApp (mode: Mode): Promise<FastifyInstance> {
  const app = Fastify()
  if (mode !== 'without') await app.register(taskConsole, { prefix: '/console' })
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { default: { rateLimits: { maxConcurrentDispatches: WIDTH, maxDispatchesPerSecond: 1_000_000 } } },
    handlers: { work () { if (++handled === COUNT) reached() } }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app
}

/** A page that reads all events. */
async function watch (app: FastifyInstance): Promise<() => number> {
  const { port } = app.server.address() as AddressInfo
  let bytes = 0
  await new Promise<void>(resolve => {
    get({ host: '127.0.0.1', port, path: '/console/api/events' }, response => {
      response.on('data', (chunk: Buffer) => { bytes += chunk.length })
      response.on('error', () => {})
      resolve()
    })
  })
  return () => bytes
}

/** Rate, and microseconds of CPU a task. */
async function throughput (mode: Mode): Promise<{ rate: number, cpu: number }> {
  const app = await createApp(mode)
  const { enqueue } = tasksOf(app, tasks)
  if (mode === 'watched') await watch(app)
  handled = 0
  const done = new Promise<void>(resolve => { reached = resolve })
  globalThis.gc?.()
  const cpuBefore = process.cpuUsage()
  const before = performance.now()
  await inFlight(COUNT, WIDTH, async () => await enqueue('work', payload))
  await done
  const ms = performance.now() - before
  const { user, system } = process.cpuUsage(cpuBefore)
  await app.close()
  return { rate: perSecond(COUNT, ms), cpu: (user + system) / COUNT }
}

async function compare (): Promise<void> {
  const modes: Mode[] = ['without', 'with', 'watched']
  const results = Object.fromEntries(modes.map(mode => [mode, [] as Array<{ rate: number, cpu: number }>])) as Record<
    Mode,
    Array<{ rate: number, cpu: number }>
  >
  for (const mode of modes) await throughput(mode)
  for (let round = 0; round < ROUNDS; round++) {
    for (const mode of round % 2 === 0 ? modes : modes.toReversed()) results[mode].push(await throughput(mode))
  }
  console.log(`${COUNT} tasks, ${WIDTH} in flight, medians of ${ROUNDS} rounds`)
  for (const mode of modes) {
    const cpu = median(results[mode].map((result, round) => result.cpu / results.without[round]!.cpu))
    const rate = median(results[mode].map((result, round) => result.rate / results.without[round]!.rate))
    console.log(
      `  ${mode.padEnd(8)} ${median(results[mode].map(result => result.rate))}/s, ${median(results[mode].map(result => result.cpu)).toFixed(1)} us CPU a task; ` +
        `of 'without': rate ${rate.toFixed(3)}, CPU ${cpu.toFixed(3)}`
    )
  }
}

async function million (): Promise<void> {
  const app = await createApp('with')
  const { enqueue } = tasksOf(app, tasks)
  await inFlight(PENDING, WIDTH, async () => await enqueue('work', payload, { scheduleDelaySeconds: 3600 }))
  const bytes = await watch(app)
  console.log(`with ${PENDING} pending:`)
  for (const url of ['overview', 'tasks?limit=50', 'tasks?state=waiting&limit=100', 'tasks?state=retrying', 'tasks?state=ended']) {
    const times: number[] = []
    for (let index = 0; index < 200; index++) {
      const before = performance.now()
      const { statusCode } = await app.inject(`/console/api/${url}`)
      if (statusCode !== 200) throw new Error(`${url}: ${statusCode}`)
      times.push(performance.now() - before)
    }
    console.log(
      `  ${url.padEnd(30)} p50 ${percentile(times, 50).toFixed(2)} ms, p99 ${percentile(times, 99).toFixed(2)} ms, longest ${Math.max(...times).toFixed(1)} ms`
    )
  }
  console.log(`  sent meanwhile: ${bytes()} bytes`)
  await app.close()
}

await compare()
await million()

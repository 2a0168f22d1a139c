/**
 * `enqueueMany` of 1,000 items on disk beside as many single calls of `enqueue` with 64 of them waiting:
 * `npm run bench -- bulk [ROUNDS]`. Nothing is worked off meanwhile. CPU time says more where other work shares the machine.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { compile, inFlight, median } from './measure.js'

const ROUNDS = Number(process.argv[3] ?? 9)
const ITEMS = 1000
const CALLS = 10
const payload = { n: 1, text: 'x'.repeat(181) }
const items = Array.from({ length: ITEMS }, () => ({ payload }))
const cache = join(import.meta.dirname, '../../node_modules/.cache')
await mkdir(cache, { recursive: true })
const build = await mkdtemp(join(cache, 'bench-bulk-'))
const directory = await mkdtemp(join(tmpdir(), 'bench-bulk-'))

interface Cost { ms: number, cpu: number }

/** Of an item: microseconds on the clock and of CPU time. */
async function cost (work: () => Promise<unknown>): Promise<Cost> {
  const [startedAt, before] = [performance.now(), process.cpuUsage()]
  await work()
  const { user, system } = process.cpuUsage(before)
  return { ms: (performance.now() - startedAt) * 1000 / (CALLS * ITEMS), cpu: (user + system) / (CALLS * ITEMS) }
}

try {
  compile(build)
  const { default: cloudTasks, defineTasks, tasksOf } = await import(join(build, 'index.js')) as typeof import('../../lib/index.js')
  const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer(), text: Type.String() }) } })
  const app = Fastify()
  await app.register(cloudTasks, { tasks, handlers: { work () {} }, transport: 'local', local: { directory } })
  const { enqueue, enqueueMany } = tasksOf(app, tasks)
  const ways = {
    single: async () => { await inFlight(CALLS * ITEMS, 64, async () => await enqueue('work', payload)) },
    many: async () => { for (let call = 0; call < CALLS; call++) await enqueueMany('work', items) }
  }
  for (const work of Object.values(ways)) await work()
  const [single, many]: [Cost[], Cost[]] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    single.push(await cost(ways.single))
    many.push(await cost(ways.many))
  }
  await app.close()
  const of = (costs: Cost[], key: keyof Cost): string => median(costs.map(cost => cost[key])).toFixed(1)
  const ratio = (key: keyof Cost): string => median(single.map((cost, round) => cost[key] / many[round]![key])).toFixed(2)
  console.log(`enqueueMany of ${ITEMS}, durable, medians of ${ROUNDS} rounds of ${CALLS * ITEMS}`)
  console.log(`  single calls, 64 waiting  ${of(single, 'ms')} us, ${of(single, 'cpu')} us of CPU each`)
  console.log(`  enqueueMany               ${of(many, 'ms')} us, ${of(many, 'cpu')} us of CPU each`)
  console.log(`  over single calls         ${ratio('ms')} times as fast, ${ratio('cpu')} by CPU time`)
} finally {
  await rm(build, { recursive: true, force: true })
  await rm(directory, { recursive: true, force: true })
}

/**
 * A million pending tasks on disk: `npm run bench -- million [TASKS] [BYTES]`. Prints the heap that a task takes, what an
 * enqueue costs beside an empty store, how long opening takes, and the longest pause of the event loop meanwhile.
 * Run node with `--expose-gc` for an exact heap: `NODE_OPTIONS=--expose-gc npm run bench -- million`.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine } from '../../lib/engine/engine.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { inFlight, longestPause, median, perSecond } from './measure.js'

const count = Number(process.argv[3] ?? 1_000_000)
const body = Buffer.alloc(Number(process.argv[4] ?? 250), 'x')
const SAMPLE = 20_000
const QUEUES = 100
const parent = 'projects/bench/locations/here'
const queues = Array.from({ length: QUEUES }, (_, i) => `${parent}/queues/q${i}`)
const httpRequest = { url: 'http://localhost/tasks/send-receipt', headers: { 'content-type': 'application/json' }, body }
const folder = await mkdtemp(join(tmpdir(), 'million-'))
const fast = { rateLimits: { maxDispatchesPerSecond: 1_000_000, maxConcurrentDispatches: 1000 } }

try {
  await oneQueue('one paused queue')
  await oneQueue('one paused queue, named tasks that are due in 30 days', i => ({
    name: `${queues[0]!}/tasks/${String((i * 7919) % 2 ** 26).padStart(8, '0')}-order-${i}`,
    scheduleAt: Date.now() + 29 * 86_400_000
  }))
  await hundredQueues()
} finally {
  await rm(folder, { recursive: true })
}

async function oneQueue (title: string, more: (i: number) => object = () => ({})): Promise<void> {
  console.log(title)
  const directory = join(folder, title)
  let engine = await open(directory)
  await engine.createQueue(queues[0]!, fast)
  await engine.pauseQueue(queues[0]!)
  await add(engine, SAMPLE, 1, more)
  const empty = await addRate(engine, count, more)
  await report('purging what is there', () => engine.purgeQueue(queues[0]!))
  const before = heap()
  await add(engine, count, 1, more, count + 5 * SAMPLE)
  console.log(`  heap for each of ${count.toLocaleString('en')} pending tasks: ${((heap() - before) / count).toFixed(0)} bytes`)
  const full = await addRate(engine, 3 * count, more)
  console.log(
    `  enqueue, 64 in flight: ${empty.rate}/s when empty, ${full.rate}/s at ${count.toLocaleString('en')} pending: ${(empty.rate / full.rate).toFixed(2)} times the time`
  )
  console.log(
    `    CPU of each: ${empty.cpu.toFixed(1)} us when empty, ${full.cpu.toFixed(1)} us: ${(full.cpu / empty.cpu).toFixed(2)} times`
  )
  await engine.close()
  engine = new Engine({ store: new LmdbStore({ directory }), dispatch })
  globalThis.gc?.()
  await report('opening', () => engine.open())
  console.log(
    `  file: ${((await stat(join(directory, 'tasks.mdb'))).size / 2 ** 20).toFixed(0)} MiB; resident: ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`
  )
  if (title === 'one paused queue') {
    await report('draining', () => drain(engine, [queues[0]!]), count)
  } else {
    await report('purging', () => engine.purgeQueue(queues[0]!), count)
  }
  await engine.close()
}

async function hundredQueues (): Promise<void> {
  console.log(`${QUEUES} queues`)
  const directory = join(folder, 'many')
  let engine = await open(directory)
  for (const queue of queues) {
    await engine.createQueue(queue, fast)
    await engine.pauseQueue(queue)
  }
  await add(engine, count, QUEUES)
  await engine.close()
  engine = new Engine({ store: new LmdbStore({ directory }), dispatch })
  await report('opening', () => engine.open())
  await report('deleting ten of them', async () => {
    for (const queue of queues.slice(0, 10)) await engine.deleteQueue(queue)
  })
  await report('draining', () => drain(engine, queues.slice(10)), count * 0.9)
  await engine.close()
}

async function dispatch (): Promise<{ status: number }> {
  return { status: 204 }
}

async function open (directory: string): Promise<Engine> {
  const engine = new Engine({ store: new LmdbStore({ directory }), dispatch, maxDispatchesPerSecond: 1_000_000 })
  await engine.open()
  return engine
}

async function add (engine: Engine, n: number, width: number, more: (i: number) => object = () => ({}), from: number = 0): Promise<void> {
  await inFlight(n, 512, async i => { await engine.createTask(queues[i % width]!, { httpRequest, ...more(from + i) }) })
}

/** Medians of five samples: how many a second, and the CPU time of each in microseconds, which other load does not blur. */
async function addRate (engine: Engine, from: number, more: (i: number) => object): Promise<{ rate: number, cpu: number }> {
  const [rates, cpus]: [number[], number[]] = [[], []]
  for (let round = 0; round < 5; round++) {
    const start = performance.now()
    const cpu = process.cpuUsage()
    await inFlight(SAMPLE, 64, async i => { await engine.createTask(queues[0]!, { httpRequest, ...more(from + round * SAMPLE + i) }) })
    rates.push(perSecond(SAMPLE, performance.now() - start))
    const { user, system } = process.cpuUsage(cpu)
    cpus.push((user + system) / SAMPLE)
  }
  return { rate: median(rates), cpu: median(cpus) }
}

async function drain (engine: Engine, names: string[]): Promise<void> {
  engine.start()
  for (const name of names) await engine.resumeQueue(name)
  while (names.some(name => engine.counts(name).waiting + engine.counts(name).running > 0)) await sleep(20)
  await engine.stop()
}

async function report (what: string, work: () => Promise<unknown>, n?: number): Promise<void> {
  await sleep(50)
  const longest = longestPause()
  const start = performance.now()
  await work()
  const ms = performance.now() - start
  const pauses = longest()
  console.log(
    `  ${what}: ${(ms / 1000).toFixed(2)} s${n === undefined ? '' : `, ${perSecond(n, ms)}/s`}, longest pause of the event loop ${pauses.ms.toFixed(0)} ms, ${pauses.cpuMs.toFixed(0)} ms of CPU time`
  )
}

function heap (): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/**
 * What the engine costs by itself: `npm run bench -- engine [lmdb] [TASKS]`, on a store in memory, or on disk with durable
 * acknowledgements; 64 calls are in flight.
 * The rate of a queue is limited as in production (500/s, bursts of 100), so the tasks are spread over as many queues as
 * it takes to dispatch them all at once.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from '../../lib/engine/engine.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { longestPause } from './measure.js'

const onDisk = process.argv.includes('lmdb')
const count = Number(process.argv.slice(2).find(word => /^\d+$/.test(word)) ?? 200_000)
const parent = 'projects/bench/locations/here'
const body = Buffer.from(JSON.stringify({ order: '42', email: 'a@example.com' }))
const queues = Array.from({ length: Math.ceil(count / 100) }, (_, i) => `${parent}/queues/q${i}`)

for (let round = 0; round < (onDisk ? 5 : 2); round++) await enqueueAndDispatch()
if (!onDisk) await pending()

async function enqueueAndDispatch (): Promise<void> {
  let left = count
  let finish = () => {}
  const finished = new Promise<void>(resolve => { finish = resolve })
  const directory = await mkdtemp(join(tmpdir(), 'engine-'))
  const engine = new Engine({
    store: onDisk ? new LmdbStore({ directory }) : new MemoryStore(),
    dispatch: async () => {
      if (--left === 0) finish()
      return { status: 204 }
    }
  })
  await engine.open()
  for (const queue of queues) await engine.createQueue(queue)

  await timed('createTask, ids by the service', () => createAll(engine, i => queues[i % queues.length]!, () => undefined))
  const longest = longestPause()
  await timed('dispatch, no-op', () => {
    engine.start()
    return finished
  })
  console.log(`  longest pause of the event loop while dispatching: ${longest().ms.toFixed(1)} ms`)
  await engine.close()
  await rm(directory, { recursive: true })
}

async function pending (): Promise<void> {
  const engine = new Engine({ store: nowhere(), dispatch: async () => ({ status: 204 }) })
  await engine.open()
  await engine.createQueue(queues[0]!)
  const n = 5 * count
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  await timed('createTask, named, a store that keeps nothing', () =>
    createAll(engine, () => queues[0]!, i => `${queues[0]!}/tasks/${String(i * 7919 % n).padStart(8, '0')}-order-${i}`, n), n)
  globalThis.gc?.()
  const bytes = (process.memoryUsage().heapUsed - before) / n
  console.log(
    `  heap per pending task: ${bytes.toFixed(0)} bytes${globalThis.gc === undefined ? ' (inexact: run node with --expose-gc)' : ''}`
  )
  const longest = longestPause()
  await timed('purge', () => engine.purgeQueue(queues[0]!), n)
  console.log(`  longest pause of the event loop while purging: ${longest().ms.toFixed(1)} ms`)
  await engine.close()
}

async function createAll (
  engine: Engine, queueOf: (i: number) => string, nameOf: (i: number) => string | undefined, n: number = count
): Promise<void> {
  const httpRequest = { url: 'http://localhost/tasks/send-receipt', headers: { 'content-type': 'application/json' }, body }
  for (let i = 0; i < n;) {
    const batch: Array<Promise<unknown>> = []
    for (const end = Math.min(n, i + 64); i < end; i++) {
      const name = nameOf(i)
      batch.push(engine.createTask(queueOf(i), name === undefined ? { httpRequest } : { name, httpRequest }))
    }
    await Promise.all(batch)
    if (i % 1024 === 0) await new Promise(resolve => { setImmediate(resolve) })
  }
}

async function timed (what: string, work: () => Promise<unknown>, n: number = count): Promise<void> {
  const start = performance.now()
  const cpu = process.cpuUsage()
  await work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  console.log(`${what}: ${Math.round(n / seconds).toLocaleString('en')}/s, ${((user + system) / n).toFixed(1)} us CPU each`)
}

/** A store that keeps nothing, so that what is measured is the engine's own. */
function nowhere (): MemoryStore {
  const store = new MemoryStore()
  const done = Promise.resolve()
  store.putTask = () => done
  store.removeTask = () => done
  return store
}

/**
 * What the engine costs by itself, on a store in memory: `npx tsx test/bench/engine.ts [TASKS]`.
 * The rate of a queue is limited as in production (500/s, bursts of 100), so the tasks are spread over as many queues as
 * it takes to dispatch them all at once.
 */
import { Engine } from '../../lib/engine/engine.js'
import { MemoryStore } from '../../lib/engine/memory-store.js'

const count = Number(process.argv[2] ?? 200_000)
const parent = 'projects/bench/locations/here'
const body = Buffer.from(JSON.stringify({ order: '42', email: 'a@example.com' }))
const queues = Array.from({ length: Math.ceil(count / 100) }, (_, i) => `${parent}/queues/q${i}`)

await enqueueAndDispatch()
await enqueueAndDispatch()
await pending()

async function enqueueAndDispatch (): Promise<void> {
  let left = count
  let finish = () => {}
  const finished = new Promise<void>(resolve => { finish = resolve })
  const engine = new Engine({
    store: new MemoryStore(),
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
  console.log(`  longest pause of the event loop while dispatching: ${longest().toFixed(1)} ms`)
  await engine.close()
}

async function pending (): Promise<void> {
  const engine = new Engine({ store: nowhere(), dispatch: async () => ({ status: 204 }) })
  await engine.open()
  await engine.createQueue(queues[0]!)
  const n = 5 * count
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  await timed('createTask, named, a store that keeps nothing', () =>
    createAll(engine, () => queues[0]!, i => `${queues[0]!}/tasks/${String(i * 7919 % n).padStart(8, '0')}-order-${i}`, n))
  globalThis.gc?.()
  const bytes = (process.memoryUsage().heapUsed - before) / n
  console.log(`  heap per pending task: ${bytes.toFixed(0)} bytes${globalThis.gc === undefined ? ' (inexact: run node with --expose-gc)' : ''}`)
  const longest = longestPause()
  await timed('purge', () => engine.purgeQueue(queues[0]!), n)
  console.log(`  longest pause of the event loop while purging: ${longest().toFixed(1)} ms`)
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

async function timed (what: string, work: () => Promise<unknown>, n: number = what.includes('named') ? 5 * count : count): Promise<void> {
  const start = performance.now()
  await work()
  const seconds = (performance.now() - start) / 1000
  console.log(`${what}: ${Math.round(n / seconds).toLocaleString('en')}/s`)
}

/** Starts watching the event loop; the function it returns stops and tells the longest time between two of its turns. */
function longestPause (): () => number {
  let longest = 0
  let last = performance.now()
  let immediate = setImmediate(function look () {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    immediate = setImmediate(look)
  })
  return () => {
    clearImmediate(immediate)
    return longest
  }
}

/** A store that keeps nothing, so that what is measured is the engine's own. */
function nowhere (): MemoryStore {
  const store = new MemoryStore()
  const done = Promise.resolve()
  store.putTask = () => done
  store.removeTask = () => done
  return store
}

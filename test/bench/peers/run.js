/**
 * One contender's part of one round, in a process of its own that has nothing else to do. Takes what to do as JSON in its
 * first argument, sends what it measured to its parent, and ends.
 */
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { contenders, WIDTH } from './contenders.js'

const { contender, folder, port, build, jobs } = JSON.parse(process.argv[2])
const { open } = await import(contenders[contender].module)
// 200 bytes as JSON.
const payload = { n: 1, text: 'x'.repeat(181) }

const LATENCY_SAMPLES = 500
const LATENCY_MS = 5000

let handled = 0
let goal = Infinity
let reached = () => {}
let startedAt = 0

function handler () {
  startedAt = performance.now()
  if (++handled === goal) reached()
}

// Everything has run once before anything is measured.
await through(Math.ceil(jobs / 10))
const [adding, working] = [await addThenDrain(), await through(jobs)]
process.send({ ...adding, ...working })
process.disconnect()
// Some clients leave a timer behind.
setTimeout(() => { process.exit() }, 1000).unref()

/** Adding while no worker runs, 64 at a time and one at a time; then the backlog is worked off. */
async function addThenDrain () {
  const queue = await openAnew()
  const add64 = await perSecond(jobs, () => inFlight(jobs, WIDTH, () => queue.add(payload)))
  const few = Math.ceil(jobs / 10)
  const add1 = await perSecond(few, () => inFlight(few, 1, () => queue.add(payload)))
  const drain = await perSecond(jobs + few, async () => {
    const done = until(jobs + few)
    await queue.work()
    await done
  })
  await queue.close()
  return { add64, add1, drain }
}

/** Added and worked off at the same time; then the time from `add` to the handler while nothing else is there. */
async function through (count) {
  const queue = await openAnew()
  await queue.work()
  const done = until(count)
  const throughput = await perSecond(count, async () => {
    await inFlight(count, WIDTH, () => queue.add(payload))
    await done
  })
  const latencies = []
  const end = performance.now() + LATENCY_MS
  for (let sample = 0; sample < LATENCY_SAMPLES && performance.now() < end; sample++) {
    // So that a queue has settled the last job.
    await new Promise(resolve => setTimeout(resolve, 5))
    const done = until(1)
    const addedAt = performance.now()
    await Promise.all([queue.add(payload), done])
    latencies.push(startedAt - addedAt)
  }
  await queue.close()
  return { throughput, latencies }
}

async function openAnew () {
  const directory = await mkdtemp(join(folder, 'use-'))
  return await open({ name: `bench_${process.pid}_${Date.now()}`, directory, port, build }, handler)
}

function until (count) {
  handled = 0
  goal = count
  return new Promise(resolve => { reached = resolve })
}

async function inFlight (count, width, work) {
  let next = 0
  const worker = async () => {
    while (next++ < count) await work()
  }
  await Promise.all(Array.from({ length: width }, worker))
}

async function perSecond (count, work) {
  const before = performance.now()
  await work()
  return count / (performance.now() - before) * 1000
}

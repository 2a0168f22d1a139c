/**
 * What a test pays for its tasks: 1,000 are enqueued and drained by the test kit, beside the same on a queue that dispatches by itself
 * and is waited for in real time, rounds alternating; and a retry after its backoff, by the kit's clock and by waiting.
 */
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { median } from './measure.js'

const COUNT = Number(process.argv[3] ?? 1000)
const ROUNDS = Number(process.argv[4] ?? 15)
const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) }, flaky: { payload: Type.Object({}) } })

let handled = 0
let expected = 0
let reached = (): void => {}

async function build (): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { default: { retryConfig: { minBackoffSeconds: 1 } } },
    handlers: {
      work () { if (++handled === expected) reached() },
      flaky (_, { attempt }) {
        if (attempt === 1) throw new Error('not yet')
        reached()
      }
    }
  })
  await app.ready()
  return app
}

/** Resolves once a handler says so. */
function whenReached (count: number): Promise<void> {
  handled = 0
  expected = count
  return new Promise(resolve => { reached = resolve })
}

/** Milliseconds that `test` takes with an app of its own, whose making does not count. */
async function timed (test: (app: FastifyInstance) => Promise<void>): Promise<number> {
  const app = await build()
  const startedAt = performance.now()
  await test(app)
  const ms = performance.now() - startedAt
  await app.close()
  return ms
}

async function enqueueAll (app: FastifyInstance): Promise<void> {
  const { enqueue } = tasksOf(app, tasks)
  for (let n = 0; n < COUNT; n++) await enqueue('work', { n })
}

const tests = {
  'drained by the kit': async (app: FastifyInstance) => {
    const kit = testTasks(app, tasks)
    await enqueueAll(app)
    const attempts = await kit.drain()
    if (attempts.length !== COUNT) throw new Error(`${attempts.length} attempts`)
  },
  'waited for': async (app: FastifyInstance) => {
    const done = whenReached(COUNT)
    await enqueueAll(app)
    await done
  },
  'a retry after 1 s by the kit': async (app: FastifyInstance) => {
    const kit = testTasks(app, tasks)
    await tasksOf(app, tasks).enqueue('flaky', {})
    await kit.drain({ scheduled: true })
  },
  'a retry after 1 s waited for': async (app: FastifyInstance) => {
    const done = whenReached(Infinity)
    await tasksOf(app, tasks).enqueue('flaky', {})
    await done
  }
}

const times = new Map<string, number[]>(Object.keys(tests).map(name => [name, []]))
for (let round = -1; round < ROUNDS; round++) { // The first warms up.
  for (const [name, test] of Object.entries(tests)) {
    const ms = await timed(test)
    if (round >= 0) times.get(name)!.push(ms)
  }
}
for (const [name, all] of times) {
  const ms = median(all)
  console.log(name.startsWith('a retry') ? `${name}: ${ms.toFixed(1)} ms` : `${COUNT} tasks, ${name}: ${ms.toFixed(1)} ms, ${(ms * 1000 / COUNT).toFixed(0)} us a task`)
}

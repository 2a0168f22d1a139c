/**
 * How an app with many tasks starts: `npm run bench -- opening [TASKS]`, a million by default. Prints when it is `ready` and when its
 * queue is open beside two busy processes, the same for twice as many with a `pluginTimeout` of a second, what a start writes where a
 * thousand queues have not changed, and what boots leave that are broken off. Exits with 1 where one of that is not as documented.
 */
import { spawn } from 'node:child_process'
import fs, { mkdtempSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { Engine } from '../../lib/engine/engine.js'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'

const count = Number(process.argv[3] ?? 1_000_000)
const READY_SECONDS = 10
const directory = mkdtempSync(join(tmpdir(), 'opening-'))
const queue = 'projects/local/locations/us-central1/queues/default'
const tasks = defineTasks({ work: { payload: Type.Object({}) } })
const faults: string[] = []
const busy = [1, 2].map(() => spawn(process.execPath, ['-e', 'for (;;);']))

try {
  await fill(count)
  const first = await start({})
  console.log(`${count.toLocaleString('en')} tasks beside two busy processes: ready after ${first.ready} s, open after ${first.open} s`)
  console.log(`  lines of progress: ${first.lines.join('; ') || 'none'}`)
  if (Number(first.ready) > READY_SECONDS) faults.push('a million tasks were not ready in time')
  if (Number(first.open) > 3 && first.lines.length === 0) faults.push('no progress was logged')
  await brokenOff()
  await fill(count)
  const second = await start({ pluginTimeout: 1000 })
  console.log(`${(2 * count).toLocaleString('en')} tasks, pluginTimeout 1 s: ready after ${second.ready} s, open after ${second.open} s`)
} finally {
  for (const child of busy) child.kill()
}
rmSync(directory, { recursive: true })
await manyQueues()
rmSync(directory, { recursive: true })
for (const fault of faults) console.log(`not as documented: ${fault}`)
process.exitCode = faults.length === 0 ? 0 : 1

function appWith (options: { pluginTimeout?: number }, queues: Record<string, object> = {}): { app: FastifyInstance, lines: string[] } {
  const lines: string[] = []
  const stream = { write: (line: string) => { if (line.includes('opening the embedded queue')) lines.push(describe(line)) } }
  const app = Fastify({ ...options, logger: { level: 'info', stream } })
  app.register(cloudTasks, { tasks, handlers: { work: async () => {} }, transport: 'local', local: { directory }, queues })
  return { app, lines }
}

function describe (line: string): string {
  const { step, done, total } = JSON.parse(line) as { step: string, done: number, total?: number }
  return `${step} ${done}${total === undefined ? '' : ` of ${total}`}`
}

async function start (options: { pluginTimeout?: number }): Promise<{ ready: string, open: string, lines: string[] }> {
  const { app, lines } = appWith(options)
  const startedAt = performance.now()
  const since = (): string => ((performance.now() - startedAt) / 1000).toFixed(2)
  await app.ready()
  const ready = since()
  // Waits until the queue is open.
  await app.tasks.pauseQueue('default')
  const open = since()
  await app.close()
  return { ready, open, lines }
}

/** Adds tasks to a paused queue. */
async function fill (tasks: number): Promise<void> {
  const engine = new Engine({ store: new LmdbStore({ directory }), dispatch: async () => ({ status: 204 }) })
  await engine.open()
  await engine.updateQueues(new Map([[queue, {}]]))
  await engine.pauseQueue(queue)
  const httpRequest = { url: 'http://embedded/tasks/work', headers: { 'content-type': 'application/json' }, body: Buffer.alloc(250, 'x') }
  for (let i = 0; i < tasks; i += 1000) {
    await Promise.all(Array.from({ length: 1000 }, () => engine.createTask(queue, { httpRequest, scheduleAt: Date.now() + 86_400_000 })))
  }
  await engine.close()
}

/** Closed while it opens, ten times at another moment; the next start has the directory at once. */
async function brokenOff (): Promise<void> {
  for (let i = 0; i < 10; i++) {
    const { app } = appWith({ pluginTimeout: 500 })
    const ready = Promise.resolve(app.ready()).then(() => {}, () => {})
    await new Promise(resolve => setTimeout(resolve, i * 150))
    await app.close()
    await ready
    const names = fs.readdirSync(directory)
    if (names.includes('owner.json')) faults.push(`a boot that was closed after ${i * 150} ms left the directory locked`)
  }
  const store = new LmdbStore({ directory })
  let found = 0
  const { queues, tasks, tombstones } = await store.load()
  for (const all of [queues, tombstones]) for (const one of all) if (one.name === '') faults.push('something without a name')
  for (const task of tasks) if (task.name !== '') found++
  await store.close()
  if (found !== count) faults.push(`after boots that were broken off ${found} of ${count} tasks are there`)
  console.log(`ten boots closed while they open: ${found.toLocaleString('en')} tasks there, nothing locked`)
}

async function manyQueues (): Promise<void> {
  const queues = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`q${i}`, { rateLimits: { maxConcurrentDispatches: 1 + i % 9 } }]))
  const first = appWith({}, queues).app
  await first.ready()
  await first.close()
  const { write } = fs
  let bytes = 0
  const counting = (...args: Parameters<typeof write>): void => {
    bytes += (args as unknown as [number, Buffer, number, number])[3]
    write(...args)
  }
  Object.assign(fs, { write: counting })
  syncBuiltinESMExports()
  const startedAt = performance.now()
  const { app } = appWith({}, queues)
  await app.ready()
  console.log(`1,000 queues that have not changed: ready after ${((performance.now() - startedAt) / 1000).toFixed(2)} s, ${bytes} bytes to the journal`)
  // The heads of the journal's two files.
  if (bytes > 2 * 4096) faults.push('queues that have not changed were written')
  Object.assign(fs, { write })
  syncBuiltinESMExports()
  await app.close()
}

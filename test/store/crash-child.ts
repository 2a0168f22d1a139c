/**
 * What the crash tests kill: an engine on a directory that takes tasks and runs them as fast as it can, and writes down
 * what it was promised. `node crash-child.js DIRECTORY LOG ROUND MODE`; MODE is
 * `load`, `hasty` (as `load`, on a store that acknowledges too early) or `drain` (runs what is there, then ends).
 *
 * Each line of the log is written before anything else happens:
 *   open SETTING         opened; what the queue's setting was
 *   setting N            a setting was acknowledged
 *   ack ID               a task was acknowledged; named tasks have ids with 0 as their last digit
 *   run ID N DUE ok|no   attempt N began, DUE is when it was due, and how it will end
 *   retry ID N DUE       what attempt N came to is durable; the next one is due at DUE
 *   end ID               the end of a task is durable
 *   twice ID, error TEXT what must not be
 */
import { readFileSync } from 'node:fs'
import { Engine, type Attempt } from '../../lib/engine/engine.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import type { NewTask, Task } from '../../lib/cloud-tasks/task.js'
import type { Tombstone } from '../../lib/store/store.js'
import { openLog, wholeLines } from '../support/kill-log.js'

const [directory, logFile, round, mode] = process.argv.slice(2) as [string, string, string, 'load' | 'hasty' | 'drain']
const parent = 'projects/crash/locations/here'
const queues = ['a', 'b', 'c'].map(id => `${parent}/queues/${id}`)
const before = wholeLines(readFileSync(logFile, 'latin1'))
const say = openLog(logFile)
const queueOf = (id: number): string => queues[id % queues.length]!
const nameOf = (id: number): string => `${queueOf(id)}/tasks/named-${id}`

class WatchedStore extends LmdbStore {
  override async putTask (task: Task): Promise<void> {
    const { dispatchCount, scheduleAt } = task
    const stored = super.putTask(task)
    if (mode === 'hasty') {
      stored.catch(() => {})
      return
    }
    await stored
    if (dispatchCount > 0) say(`retry ${bodyOf(task)} ${dispatchCount} ${scheduleAt}`)
  }

  override async putTasks (tasks: readonly Task[]): Promise<void> {
    const stored = super.putTasks(tasks)
    if (mode !== 'hasty') await stored
    else stored.catch(() => {})
  }

  override async removeTask (name: string, tombstone?: Tombstone): Promise<void> {
    const id = this.#ids.get(name)
    this.#ids.delete(name)
    await super.removeTask(name, tombstone)
    if (id !== undefined) say(`end ${id}`)
  }

  readonly #ids = new Map<string, string>()
  running (task: Task): void {
    this.#ids.set(task.name, bodyOf(task))
  }
}

// Every other one writes its journal to the databases all the time, so that some are killed at it.
const store = new WatchedStore({ directory, ...(Number(round) % 2 === 0 ? {} : { journalBytes: 50_000 }) })
const engine = new Engine({
  store,
  dispatch,
  maxDispatchesPerSecond: 1_000_000,
  onError: error => { say(`error ${error instanceof Error ? error.message : String(error)}`) }
})

await engine.open()
const settingOf = (): number => {
  try {
    return engine.getQueue(queues[0]!).settings.retryConfig.maxDoublings
  } catch {
    return 0
  }
}
let setting = settingOf()
let next = Number(round) * 1_000_000
say(`open ${setting}`)
for (const queue of queues) await configure(queue, setting)
process.stdout.write('open\n')
engine.start()
if (mode === 'drain') await drain()
else await Promise.all([addTwice(), changeSettings(), ...Array.from({ length: 64 }, (_, worker) => worker < 8 ? addMany() : add(worker))])

function bodyOf (task: Task): string {
  const body = Buffer.from(task.httpRequest!.body!).toString('latin1')
  return body.slice(0, body.indexOf(' '))
}

async function dispatch ({ task }: Attempt): Promise<{ status: number }> {
  store.running(task)
  const id = Number(bodyOf(task))
  // A sixth of the tasks fail twice before they succeed; a fifth take a while.
  const ok = id % 6 !== 0 || task.dispatchCount > 2
  say(`run ${id} ${task.dispatchCount} ${task.lastAttempt!.scheduleAt} ${ok ? 'ok' : 'no'}`)
  if (id % 5 === 0) await new Promise(resolve => setTimeout(resolve, id % 20))
  return { status: ok ? 200 : 500 }
}

function configure (queue: string, maxDoublings: number) {
  return engine.updateQueue(queue, {
    rateLimits: { maxDispatchesPerSecond: 1_000_000, maxConcurrentDispatches: 1000 },
    retryConfig: { minBackoffSeconds: 0.02, maxBackoffSeconds: 0.05, maxDoublings }
  })
}

async function changeSettings (): Promise<never> {
  for (;;) {
    await configure(queues[0]!, ++setting)
    say(`setting ${setting}`)
  }
}

function newTask (id: number): NewTask {
  return {
    ...(id % 10 === 0 ? { name: nameOf(id) } : {}),
    httpRequest: { url: 'http://localhost/', body: Buffer.from(`${id} ${'x'.repeat(id % 500)}`) },
    // Some are due a little later.
    ...(id % 7 === 0 ? { scheduleAt: Date.now() + id % 300 } : {})
  }
}

/** Thirty at a time, in one write. */
async function addMany (): Promise<never> {
  for (;;) {
    const ids = Array.from({ length: 30 }, (_, index) => next + 1 + index * queues.length)
    next += ids.length * queues.length
    for (const { status } of await engine.createTasks(queueOf(ids[0]!), ids.map(newTask))) if (status === 'rejected') say('error of many')
    for (const id of ids) say(`ack ${id}`)
    while (engine.counts(queueOf(ids[0]!)).waiting > 1000) await new Promise(resolve => setImmediate(resolve))
  }
}

async function add (worker: number): Promise<never> {
  for (;;) {
    const id = ++next
    await engine.createTask(queueOf(id), newTask(id))
    say(`ack ${id}`)
    // Leaves the kill a backlog, and the last process one that it can run.
    if (worker === 0 || engine.counts(queueOf(id)).waiting > 1000) await new Promise(resolve => setImmediate(resolve))
  }
}

/** Names that were acknowledged before are refused, whether their tasks are still there or have ended. */
async function addTwice (): Promise<void> {
  const names = before.filter(line => /^ack \d+0$/.test(line))
  for (const line of names.slice(-300)) {
    const id = Number(line.slice(4))
    await engine
      .createTask(queueOf(id), { name: nameOf(id), httpRequest: { url: 'http://localhost/', body: Buffer.from(`${id} again`) } })
      .then(
        () => {
          say(`twice ${id}`)
        },
        (error: { code?: string }) => {
          if (error.code !== 'ALREADY_EXISTS') say(`error ${String(error)}`)
        }
      )
  }
}

async function drain (): Promise<void> {
  for (;;) {
    const counts = queues.map(queue => engine.counts(queue))
    if (counts.every(({ waiting, running }) => waiting + running === 0)) break
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  await engine.close()
  say(`open ${setting}`)
}

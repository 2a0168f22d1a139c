/**
 * What the kill tests kill: an app whose tasks fail, are postponed, and whose dead letters are replayed and discarded, on a directory of
 * its own or as a worker of an emulator. `node kill-child.js LOG ROUND MODE STEP PLACE...`.
 * MODE is `load`, `hasty` (as `load`, and letters are stored later than they are acknowledged) or `drain` (runs what is there, lists all
 * letters, then ends). STEP is where it kills itself: `after:letter:2` is after the second time, `any:40:1.5` is 1.5 ms after the fortieth
 * step of any kind, `-` nowhere. PLACE is a directory, or the address of an emulator and the port to listen on.
 *
 * Each line of the log is written before anything else happens:
 *   run N TASK ID ORIGINAL POSTPONEMENTS   an attempt began
 *   done N ID                              its handler is about to return
 *   replaying LETTER N, discarding LETTER N, discarded LETTER
 *   letter LETTER N TASK, waiting ID       what a draining process has in the end
 */
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { openLog, wholeLines } from '../support/kill-log.js'

const [logFile, round, mode, step, place, port] = process.argv.slice(2) as [string, string, 'load' | 'hasty' | 'drain', string, string, string | undefined]
const before = wholeLines(readFileSync(logFile, 'latin1'))
const write = openLog(logFile)
const say = (...words: Array<string | number>): void => { write(words.join(' ')) }
const [when, what, count] = step.split(':') as [string, string, string]
let left = Number(when === 'any' ? what : count)

/** Ends this process at the chosen step. */
function pass (time: 'before' | 'after', name: string): void {
  if (when === 'any' ? time === 'before' && --left === 0 : time === when && name === what && --left === 0) {
    if (when === 'any') setTimeout(end, Number(count))
    else end()
  }
}

function end (): void {
  process.kill(process.pid, 'SIGKILL')
}

async function passed<T> (name: string | undefined, work: () => Promise<T>): Promise<T> {
  if (name === undefined) return await work()
  pass('before', name)
  const result = await work()
  pass('after', name)
  return result
}

/** `kept` and `again` fail for ever; `replayed` does until it is replayed; the others postpone themselves first. */
const NAMES = ['kept', 'discarded', 'replayed', 'again', 'postponed', 'postponedThenKept'] as const
const payload = { type: 'object', properties: { n: { type: 'string' } }, required: ['n'] } as const
const tasks = defineTasks(Object.fromEntries(NAMES.map(name => [name, { payload, queue: name === 'postponed' ? 'patient' : 'default' }])))

/** Which n a task has, by the id that was enqueued. */
const numbers = new Map<string, string>()
for (const line of before) {
  const [kind, n, , , original] = line.split(' ')
  if (kind === 'run') numbers.set(original!, n!)
}

function handler (name: typeof NAMES[number]) {
  return async ({ n }: { n: string }, task: TaskContext) => {
    const { id, originalId, postponements } = task
    numbers.set(originalId, n)
    say('run', n, name, id, originalId, postponements)
    pass('before', 'handler')
    await new Promise(resolve => setTimeout(resolve, 2))
    if (postponements < ({ postponed: 2, postponedThenKept: 1 } as Record<string, number>)[name]!) task.retryAfter(0.005)
    if (name !== 'postponed' && (name !== 'replayed' || id === originalId)) throw new Error(`no, not ${n}`)
    say('done', n, id)
    pass('after', 'handler')
  }
}

const retry = { minBackoffSeconds: 0.001, maxBackoffSeconds: 0.002 }
const shared: Partial<CloudTasksOptions> = {
  tasks,
  deadLetterQueue: 'dead',
  queues: { default: { retryConfig: { maxAttempts: 2, ...retry } }, patient: { retryConfig: { maxAttempts: -1, ...retry } } },
  handlers: Object.fromEntries(NAMES.map(name => [name, handler(name)])) as never
}

const app = Fastify({ forceCloseConnections: true })
app.addHook('onSend', async () => { pass('before', 'answer') })
if (port === undefined) {
  const { LmdbStore } = await import('../../lib/store/lmdb/lmdb-store.js')
  const { putTask, removeTask } = LmdbStore.prototype
  LmdbStore.prototype.putTask = function (task: Task) {
    const put = (): Promise<void> => putTask.call(this, task)
    const later = async (): Promise<void> => { setTimeout(() => { put().catch(() => {}) }, 20) }
    return passed(stepOf(task.name, task), mode === 'hasty' && isLetter(task.name) ? later : put)
  }
  LmdbStore.prototype.removeTask = function (name, tombstone) {
    return passed(isLetter(name) ? 'letter removed' : 'task ended', () => removeTask.call(this, name, tombstone))
  }
  await app.register(cloudTasks, { ...shared, transport: 'local', local: { directory: place } } as CloudTasksOptions)
  await app.ready()
} else {
  const { CloudTransport } = await import('../../lib/transport/cloud/cloud.js')
  const { createTask, deleteTask, putTask, readTask } = CloudTransport.prototype
  Object.assign(CloudTransport.prototype, {
    createTask (...args: Parameters<typeof createTask>) { return passed('enqueue', () => createTask.apply(this as never, args)) },
    readTask (...args: Parameters<typeof readTask>) { return passed('read', () => readTask.apply(this as never, args)) },
    putTask (...args: Parameters<typeof putTask>) {
      const [queue, id, task] = args
      return passed(stepOf(`/queues/${queue}/tasks/${id}`, task), () => putTask.apply(this as never, args))
    },
    deleteTask (...args: Parameters<typeof deleteTask>) { return passed('letter removed', () => deleteTask.apply(this as never, args)) }
  })
  process.env.CLOUD_TASKS_EMULATOR_HOST = place
  await app.register(cloudTasks, {
    ...shared, transport: 'cloud', project: 'demo', location: 'us-central1', auth: 'emulator', target: { type: 'http', url: `http://127.0.0.1:${port}` }
  } as CloudTasksOptions)
  await app.listen({ host: '127.0.0.1', port: Number(port) })
}
const letters = app.tasks.deadLetters
const enqueue = app.enqueue as unknown as (name: string, payload: object, options?: object) => Promise<unknown>
process.stdout.write('open\n')

if (mode === 'drain') await drain()
else await Promise.all([add(), sweepForever()])

function isLetter (name: string): boolean {
  return name.includes('/queues/dead/')
}

function stepOf (name: string, task: Partial<Pick<Task, 'httpRequest' | 'dispatchCount'>>): string {
  if (isLetter(name)) return 'letter'
  if ((task.dispatchCount ?? 0) > 0) return 'retry'
  if (!name.includes('-copy-')) return 'enqueue'
  return /postponed/.test(task.httpRequest!.url) ? 'successor' : 'replay'
}

async function add (): Promise<never> {
  for (let next = 0; ; next++) {
    const n = `${round}.${next}`
    // A third are named, and enqueued twice.
    const options = next % 3 === 0 ? { id: n } : {}
    for (const one of next % 3 === 0 ? [options, options] : [options]) await enqueue(NAMES[next % NAMES.length]!, { n }, one)
    await new Promise(resolve => setTimeout(resolve, next < 60 ? 1 : 50))
  }
}

async function sweepForever (): Promise<never> {
  for (;;) {
    await sweep()
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** Replays and discards the letters of the tasks that are for it. */
async function sweep (): Promise<void> {
  for (const [name, act] of [['replayed', 'replay'], ['again', 'replay'], ['discarded', 'discard']] as const) {
    const { letters: found } = await letters.list({ task: name, pageSize: 1000 })
    for (const { id, originalId } of found) say(act === 'replay' ? 'replaying' : 'discarding', id, numbers.get(originalId!)!)
    for (const { id, outcome } of await letters[act](found.map(({ id }) => id))) if (outcome === 'discarded') say(outcome, id)
  }
}

async function drain (): Promise<void> {
  const idle = async (): Promise<void> => { while (await waiting() > 0) await new Promise(resolve => setTimeout(resolve, 10)) }
  await idle()
  await sweep()
  await idle()
  await sweep()
  await idle()
  for (let pageToken: string | undefined; ;) {
    const page = await letters.list({ pageSize: 1000, ...(pageToken === undefined ? {} : { pageToken }) })
    for (const { id, originalId, task } of page.letters) say('letter', id, numbers.get(originalId!)!, task!)
    if ((pageToken = page.nextPageToken) === undefined) break
  }
  await app.close()
}

async function waiting (): Promise<number> {
  if (port === undefined) {
    const { default: main, patient } = app.tasks.counts()
    return main!.waiting + main!.running + patient!.waiting + patient!.running
  }
  const { transport } = handleOf(app)!
  const listed = await Promise.all(['default', 'patient'].map(async queue => await transport.listTasks(queue, 1000)))
  return listed.reduce((sum, one) => sum + (one.outcome === 'listed' ? one.tasks.length : 1), 0)
}

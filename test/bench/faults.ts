/**
 * What the store does when something fails under load: `npm run bench -- faults [ROUNDS]`, by default 20 of each. Writes that fail or are
 * short, processes that are stopped and taken over, six starts at once, a batch of more than 2 GiB, worker threads that are terminated.
 * Exits with 1 if anything that was acknowledged is lost, or a sound store is called damaged.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import fs, { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import type { StoreError } from '../../lib/store/store-error.js'
import { transpile } from '../support/transpile.js'

const rounds = Number(process.argv[3] ?? 20)
const queue = 'projects/p/locations/l/queues/q'
const root = mkdtempSync(join(tmpdir(), 'faults-'))
const program = join(root, 'program')
const child = join(program, 'test/store/fault-child.js')
const [write, open] = [fs.write, fs.open]
let failures = 0

try {
  await transpile(program, 'test/store/fault-child.ts')
  for (const kind of ['ENOSPC', 'EIO', 'EMFILE', 'short'] as const) await inRounds(kind, directory => failing(kind, directory))
  await inRounds('stopped and taken over', takenOver)
  await inRounds('six starts at once', sixStarts)
  await inRounds('a batch of more than 2 GiB', largeBatch, 1)
  await inRounds('a worker thread terminated', terminated)
} finally {
  rmSync(root, { recursive: true, force: true })
}
process.exitCode = failures === 0 ? 0 : 1

/** @param round resolves with what went wrong, and with what is worth a number */
async function inRounds (what: string, round: (directory: string, n: number) => Promise<Outcome>, times = rounds): Promise<void> {
  const startedAt = performance.now()
  let [acknowledged, refused] = [0, 0]
  const faults: string[] = []
  for (let n = 0; n < times; n++) {
    const directory = join(root, 'store')
    const outcome = await round(directory, n)
    acknowledged += outcome.acknowledged
    refused += outcome.refused
    faults.push(...outcome.faults)
    rmSync(directory, { recursive: true, force: true })
  }
  failures += faults.length
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  console.log(`${what}: ${times} rounds, ${acknowledged} acknowledged, ${refused} refused, ${faults.length} faults, ${seconds} s`)
  for (const fault of faults.slice(0, 5)) console.log(`  ${fault}`)
}

interface Outcome {
  readonly acknowledged: number
  readonly refused: number
  readonly faults: string[]
}

/** A write, or an open, of this process fails now and then; the store is left as a crash leaves it every other time. */
async function failing (kind: 'ENOSPC' | 'EIO' | 'EMFILE' | 'short', directory: string): Promise<Outcome> {
  const store = await opened(directory)
  const acknowledged: string[] = []
  const problems: string[] = []
  let until = 20 + Math.floor(Math.random() * 60)
  fault(kind, () => --until < 0 && until > -5)
  try {
    await Promise.all(Array.from({ length: 8 }, async (_, i) => {
      for (let n = 0; n < 40; n++) {
        const id = `${i}-${n}`
        await store.putTask(task(id, 2000)).then(() => { acknowledged.push(id) }, (error: StoreError) => { problems.push(error.problem) })
      }
    }))
  } finally {
    Object.assign(fs, { write, open })
    syncBuiltinESMExports()
  }
  const faults: string[] = []
  if (kind === 'short' || kind === 'EMFILE') faults.push(...problems.map(problem => `${kind}: a task was refused, ${problem}`))
  const copy = `${directory}-crashed`
  cpSync(directory, copy, { recursive: true })
  rmSync(join(copy, 'owner.json'), { force: true })
  await store.close()
  for (const left of [directory, copy]) faults.push(...await missing(left, acknowledged))
  rmSync(copy, { recursive: true })
  return { acknowledged: acknowledged.length, refused: problems.length, faults }
}

function fault (kind: string, isDue: () => boolean): void {
  type Write = (fd: number, bytes: Buffer, from: number, length: number, at: number, done: (error: Error | null) => void) => void
  const error = Object.assign(new Error(kind), { code: kind })
  const failingWrite: Write = (fd, bytes, from, length, at, done) => {
    if (!isDue()) write(fd, bytes, from, length, at, done)
    else if (kind === 'short') write(fd, bytes, from, Math.ceil(length / 3), at, done)
    else write(fd, bytes, from, length >> 1, at, () => { done(error) })
  }
  const failingOpen = (...args: unknown[]): void => { (args.at(-1) as (error: Error) => void)(error) }
  Object.assign(fs, kind === 'EMFILE' ? { open: failingOpen } : { write: failingWrite })
  syncBuiltinESMExports()
}

/** As between containers that do not see each other's processes: the former holder is stopped in the midst of it, and goes on later. */
async function takenOver (directory: string, n: number): Promise<Outcome> {
  const log = join(root, 'log')
  rmSync(log, { force: true })
  const holder = start(directory, log, `a${n}`)
  const ended = once(holder, 'exit')
  await until(() => lines(log).length > 200)
  await sleep(Math.random() * 50)
  holder.kill('SIGSTOP')
  rmSync(join(directory, 'owner.json'), { force: true })
  const faults: string[] = []
  try {
    const store = new LmdbStore({ directory })
    // Where it was stopped while it writes to tasks.mdb, who takes over waits for it.
    const timer = setTimeout(() => { holder.kill('SIGCONT') }, 3000)
    const found = await idsIn(store)
    clearTimeout(timer)
    holder.kill('SIGCONT')
    await ended
    await store.close()
    const acknowledged = acks(log)
    faults.push(...acknowledged.filter(id => !found.has(id)).map(id => `taken over: ${id} is lost`))
    if (lines(log).at(-1) !== 'inUse') faults.push(`taken over: the former holder ended with ${lines(log).at(-1)}`)
    faults.push(...await missing(directory, acknowledged))
    return { acknowledged: acknowledged.length, refused: 1, faults }
  } catch (error) {
    holder.kill('SIGKILL')
    return { acknowledged: 0, refused: 0, faults: [`taken over: ${(error as Error).message}`] }
  }
}

async function sixStarts (directory: string, n: number): Promise<Outcome> {
  const logs = Array.from({ length: 6 }, (_, i) => join(root, `log-${n}-${i}`))
  const children = logs.map(log => start(directory, log, 'x', 'once'))
  const ended = Promise.all(children.map(child => once(child, 'exit')))
  await until(() => logs.every(log => lines(log).length > 0) || children.every(child => child.exitCode !== null))
  for (const { stdin } of children) stdin!.end()
  await ended
  const ends = logs.map(log => lines(log)[0] ?? 'nothing')
  const faults = ends.filter(end => end !== 'open' && end !== 'inUse').map(end => `six starts: ${end}`)
  const open = ends.filter(end => end === 'open').length
  if (open !== 1) faults.push(`six starts: ${open} have it`)
  return { acknowledged: open, refused: ends.filter(end => end === 'inUse').length, faults }
}

async function largeBatch (directory: string): Promise<Outcome> {
  const store = await opened(directory)
  const ids = Array.from({ length: 2100 }, (_, i) => String(i))
  const ends = await Promise.allSettled(ids.map(id => store.putTask(task(id, 1_000_000))))
  await store.close()
  const acknowledged = ids.filter((_, i) => ends[i]!.status === 'fulfilled')
  const faults = ends.filter(end => end.status === 'rejected').map(({ reason }) => `large batch: ${(reason as Error).message}`)
  return { acknowledged: acknowledged.length, refused: faults.length, faults: [...faults, ...await missing(directory, acknowledged)] }
}

async function terminated (directory: string, n: number): Promise<Outcome> {
  const log = join(root, 'log')
  rmSync(log, { force: true })
  const worker = new Worker(child, { workerData: [directory, log, `w${n}`] })
  await until(() => lines(log).length > 200)
  await worker.terminate()
  const acknowledged = acks(log)
  return { acknowledged: acknowledged.length, refused: 0, faults: await missing(directory, acknowledged) }
}

async function opened (directory: string): Promise<LmdbStore> {
  const store = new LmdbStore({ directory, journalBytes: 100_000 })
  await idsIn(store)
  await store.putQueue({ name: queue, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' })
  return store
}

async function idsIn (store: LmdbStore): Promise<Set<string>> {
  const { queues, tasks, tombstones } = await store.load()
  const [found] = [[...tasks], [...queues], [...tombstones]]
  return new Set(found.map(({ name }) => name.slice(name.lastIndexOf('/') + 1)))
}

/** Opens the store once more, and says which of those tasks are lost. */
async function missing (directory: string, acknowledged: readonly string[]): Promise<string[]> {
  const store = new LmdbStore({ directory })
  try {
    const found = await idsIn(store)
    return acknowledged.filter(id => !found.has(id) || store.getTask(`${queue}/tasks/${id}`) === undefined).map(id => `${id} is lost`)
  } catch (error) {
    return [(error as Error).message]
  } finally {
    await store.close()
  }
}

function task (id: string, bytes: number) {
  const httpRequest = { url: 'http://localhost/', body: Buffer.alloc(bytes, id) }
  return { name: `${queue}/tasks/${id}`, scheduleAt: 1, createdAt: 1000, dispatchCount: 0, responseCount: 0, executionCount: 0, httpRequest }
}

function start (...args: string[]): ChildProcess {
  return spawn(process.execPath, [child, ...args], { stdio: ['pipe', 'ignore', 'inherit'], env: { PATH: process.env['PATH'] } })
}

function lines (log: string): string[] {
  return existsSync(log) ? readFileSync(log, 'latin1').split('\n').slice(0, -1) : []
}

function acks (log: string): string[] {
  return lines(log).filter(line => line.startsWith('ack ')).map(line => line.slice(4))
}

async function until (isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(5)
}

import { cpSync, existsSync, openSync, closeSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'

// Damages copies of a store, opens each, and prints a line of JSON with the verdict. Arguments: a folder of its own, the first trial, the
// one after the last, a seed. A trial is the same whenever its number and the seed are.

const [folder = '', first = '0', end = '0', seed = '0'] = process.argv.slice(2)
const queue = 'projects/p/locations/l/queues/q'
const idOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1)
const source = join(folder, 'source')
const older = join(folder, 'older')
const oldest = join(folder, 'oldest')

const body = (id: string): Buffer => Buffer.alloc(Number(id) % 50 === 0 ? 9000 : 200, id)

/** A store as a crash leaves it: most in tasks.mdb, the latest in the journal; and an older state of it. */
async function make (): Promise<void> {
  let store = new LmdbStore({ directory: source, journalBytes: 200_000 })
  const load = async (): Promise<void> => {
    const { queues, tasks, tombstones } = await store.load()
    for (const all of [queues, tasks, tombstones]) for (const one of all) if (one === undefined) return
  }
  await load()
  await store.putQueue({ name: queue, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' })
  const add = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, j) => {
        const id = String(i + j)
        const task: Task = {
          name: `${queue}/tasks/${id}`,
          scheduleAt: 1,
          createdAt: 1000,
          dispatchCount: 0,
          responseCount: 0,
          executionCount: 0,
          httpRequest: { url: 'http://localhost/', body: body(id) }
        }
        return store.putTask(task)
      }))
    }
  }
  await add(0, 1000)
  await store.close()
  cpSync(source, oldest, { recursive: true })
  store = new LmdbStore({ directory: source, journalBytes: 200_000 })
  await load()
  await add(1000, 1500)
  cpSync(source, older, { recursive: true })
  await add(1500, 2000)
  for (let i = 0; i < 10; i++) await add(2000 + 50 * i, 2050 + 50 * i)
  cpSync(source, join(folder, 'crashed'), { recursive: true })
  await store.close()
  cpSync(source, join(folder, 'closed'), { recursive: true })
  // Of a process that has ended.
  for (const directory of ['crashed', 'older']) writeFileSync(join(folder, directory, 'owner.json'), '{"pid":4194303,"startedAt":"- 1"}')
}

function random (trial: number): (below: number) => number {
  let state = (trial * 0x9e3779b9 + Number(seed)) >>> 0
  return below => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below
  }
}

function spoil (directory: string, pick: (below: number) => number): string {
  const [large, small]: [string[], string[]] = [[], []]
  for (const name of readdirSync(directory).sort()) (/\.(?:mdb|journal)$/.test(name) ? large : small).push(name)
  const files = pick(6) === 0 ? small : large
  const file = files[pick(files.length)]!
  const path = join(directory, file)
  const { size } = statSync(path)
  const kind = ['bit', 'bit', 'zero512', 'zero512', 'zero4096', 'zero4096', 'cut', 'empty', 'remove', 'older'][pick(10)]!
  const overwrite = (at: number, bytes: Buffer): void => {
    const fd = openSync(path, 'r+')
    writeSync(fd, bytes, 0, bytes.length, at)
    closeSync(fd)
  }
  if (kind === 'bit') {
    const at = pick(Math.max(1, size))
    overwrite(at, Buffer.from([readFileSync(path)[at]! ^ (1 << pick(8))]))
  } else if (kind === 'zero512' || kind === 'zero4096') {
    const sector = kind === 'zero512' ? 512 : 4096
    overwrite(pick(Math.max(1, Math.floor(size / sector))) * sector, Buffer.alloc(Math.min(sector, size)))
  } else if (kind === 'cut') truncateSync(path, pick(Math.max(1, size)))
  else if (kind === 'empty') truncateSync(path, 0)
  else if (kind === 'remove') rmSync(path)
  else {
    const from = join(pick(2) === 0 ? older : oldest, file)
    if (existsSync(from)) writeFileSync(path, readFileSync(from))
  }
  return `${kind} ${file.replace(/^\d+-/, '')}`
}

/** A store that opens may still refuse single records, with the file and the task named. */
async function look (directory: string): Promise<{ verdict: string, lost?: number, changed?: number, message?: string }> {
  const store = new LmdbStore({ directory })
  try {
    const { queues, tasks, tombstones } = await store.load()
    for (const all of [queues, tombstones]) for (const one of all) if (one === undefined) break
    const found = new Set([...tasks].map(({ name }) => idOf(name)))
    let [changed, refused] = [0, 0]
    for (const id of found) {
      const name = `${queue}/tasks/${id}`
      try {
        const task = store.getTask(name)
        if (task === undefined || !body(id).equals(Buffer.from(task.httpRequest?.body ?? []))) changed++
      } catch (error) {
        const { problem, message } = error as { problem?: string, message: string }
        if (problem !== 'damaged' || !message.includes(directory) || !message.includes(name)) throw error
        refused++
      }
    }
    const lost = 2500 - found.size
    if (lost > 0 || changed > 0) return { verdict: 'unnoticed', lost, changed }
    return { verdict: refused > 0 ? 'noticed' : 'sound' }
  } catch (error) {
    const { problem, message } = error as { problem?: string, message: string }
    return problem === undefined || !message.includes(directory) ? { verdict: 'raw', message } : { verdict: 'refused', message }
  } finally {
    await store.close()
  }
}

if (!existsSync(join(folder, 'closed'))) await make()
for (let trial = Number(first); trial < Number(end); trial++) {
  const pick = random(trial)
  const directory = join(folder, `trial-${trial}`)
  cpSync(join(folder, pick(3) === 0 ? 'closed' : 'crashed'), directory, { recursive: true })
  const what = spoil(directory, pick)
  writeSync(1, JSON.stringify({ trial, what, begun: true }) + '\n')
  writeSync(1, JSON.stringify({ trial, what, ...await look(directory) }) + '\n')
  rmSync(directory, { recursive: true, force: true })
}
process.exit(0)

import { openSync, writeSync } from 'node:fs'
import { isMainThread, workerData } from 'node:worker_threads'
import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import type { StoreError } from '../../lib/store/store-error.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'

// Opens the store in DIRECTORY and stores tasks until it is refused. Writes to LOG `open` or what kept it from that, `ack ID` for each
// task that was acknowledged, and why it ended. `fault-child.js DIRECTORY LOG PREFIX [once]`; `once` stores nothing and ends with its
// standard input. Or a worker thread with these as data.

const words = isMainThread ? process.argv.slice(2) : workerData as string[]
const [directory, logFile, prefix, once] = words as [string, string, string, string?]
const log = openSync(logFile, 'a')
const say = (line: string): void => { writeSync(log, line + '\n') }
const queue = 'projects/p/locations/l/queues/q'
const store = new LmdbStore({ directory, journalBytes: 50_000 })
try {
  const { queues, tasks, tombstones } = await store.load()
  const [known] = [[...queues], [...tasks], [...tombstones]]
  if (known.length === 0) await store.putQueue({ name: queue, settings: DEFAULT_QUEUE_SETTINGS, state: 'RUNNING' })
  say('open')
  const body = Buffer.alloc(500)
  const add = async (i: number): Promise<void> => {
    for (let n = 0; ; n++) {
      const id = `${prefix}-${i}-${n}`
      await store.putTask({
        name: `${queue}/tasks/${id}`,
        scheduleAt: 1,
        createdAt: 1000,
        dispatchCount: 0,
        responseCount: 0,
        executionCount: 0,
        httpRequest: { url: 'http://localhost/', body }
      })
      say(`ack ${id}`)
    }
  }
  if (once === undefined) await Promise.all(Array.from({ length: 16 }, (_, i) => add(i)))
  // Until its parent has seen how all others ended.
  else await new Promise(resolve => { process.stdin.once('end', resolve).resume() })
} catch (error) {
  say((error as StoreError).problem ?? String(error))
}
await store.close()

/**
 * plainjob sets `synchronous = NORMAL`, with which SQLite's write-ahead log is not synced at a commit. Adding then means less
 * than it does for the others, so it is set to FULL.
 */
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { better, defineQueue, defineWorker } from 'plainjob'

const logger = { error: console.error, warn: console.warn, info () {}, debug () {} }

/** @type {import('./contenders.js').Open} */
export async function open ({ directory }, handler) {
  const connection = better(new Database(join(directory, 'jobs.db')))
  const queue = defineQueue({ connection, logger })
  connection.pragma('synchronous = FULL')
  let worker
  let working
  return {
    add: async payload => queue.add('work', payload),
    async work () {
      worker = defineWorker('work', async () => { handler() }, { queue, logger, pollIntervall: 1 })
      working = worker.start()
    },
    async close () {
      await worker?.stop()
      await working
      queue.close()
    }
  }
}

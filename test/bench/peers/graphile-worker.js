/** With the batching that its page on performance advises: jobs are fetched by the hundred and completed together. */
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'
import { WIDTH } from './contenders.js'

const logger = new Logger(() => (level, message) => { if (level === 'error') console.error(message) })

/** @type {import('./contenders.js').Open} */
export async function open ({ name, port }, handler) {
  const pgPool = new pg.Pool({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres`, max: 20 })
  pgPool.on('error', error => { console.error(error) })
  pgPool.on('connect', client => { client.on('error', error => { console.error(error) }) })
  const schema = name
  const utils = await makeWorkerUtils({ pgPool, schema, logger })
  await utils.migrate()
  let runner
  return {
    add: payload => utils.addJob('work', payload),
    async work () {
      runner = await run({
        pgPool,
        schema,
        concurrency: WIDTH,
        noHandleSignals: true,
        logger,
        taskList: { work: async () => { handler() } },
        preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } }
      })
    },
    async close () {
      await runner?.stop()
      await utils.release()
      await pgPool.query(`DROP SCHEMA ${name} CASCADE`)
      await pgPool.end()
    }
  }
}

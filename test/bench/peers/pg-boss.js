/**
 * pg-boss asks for work at most twice a second and takes a batch each time. So that it is not held up by that, its worker is
 * made to look again at once, by `notifyWorker`, for as long as batches are full; a job on an idle queue still waits.
 */
import pg from 'pg'
import PgBoss from 'pg-boss'
import { WIDTH } from './contenders.js'

/** @type {import('./contenders.js').Open} */
export async function open ({ name, port }, handler) {
  const connectionString = `postgres://postgres@127.0.0.1:${port}/postgres`
  const boss = new PgBoss({ connectionString, schema: name, max: 20 })
  boss.on('error', error => { console.error(error) })
  await boss.start()
  await boss.createQueue('work')
  let worker
  return {
    add: payload => boss.send('work', payload),
    async work () {
      worker = await boss.work('work', { batchSize: WIDTH, pollingIntervalSeconds: 0.5 }, async jobs => {
        for (let handled = 0; handled < jobs.length; handled++) handler()
        if (jobs.length === WIDTH && worker !== undefined) boss.notifyWorker(worker)
      })
    },
    async close () {
      await boss.stop({ timeout: 5000 })
      const client = new pg.Client({ connectionString })
      await client.connect()
      await client.query(`DROP SCHEMA ${name} CASCADE`)
      await client.end()
    }
  }
}

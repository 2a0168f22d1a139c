import { Queue, Worker } from 'bullmq'
import { WIDTH } from './contenders.js'

/** @type {import('./contenders.js').Open} */
export async function open ({ name, port }, handler) {
  const connection = { host: '127.0.0.1', port }
  const queue = new Queue(name, { connection, defaultJobOptions: { removeOnComplete: true } })
  await queue.waitUntilReady()
  let worker
  return {
    add: payload => queue.add('work', payload),
    async work () {
      worker = new Worker(name, async () => { handler() }, { connection, concurrency: WIDTH })
      await worker.waitUntilReady()
    },
    async close () {
      await worker?.close()
      await queue.obliterate({ force: true })
      await queue.close()
    }
  }
}

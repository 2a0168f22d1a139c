/**
 * Each file is synced and its directory is not. Every fetch lists the whole directory, so it gets fewer jobs. Asks for Node 22.19, runs on
 * 20.
 */
import { FileStorage, Queue } from '@platformatic/job-queue'
import { WIDTH } from './contenders.js'

/** @type {import('./contenders.js').Open} */
export async function open ({ directory }, handler) {
  const queue = new Queue({ storage: new FileStorage({ basePath: directory }), concurrency: WIDTH })
  await queue.start()
  let added = 0
  return {
    add: payload => queue.enqueue(`job-${added++}`, payload),
    work: async () => { queue.execute(async () => { handler() }) },
    close: () => queue.stop()
  }
}

import { parentPort, workerData } from 'node:worker_threads'
import { Engine } from '../../lib/engine/engine.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { httpRequest, queue } from '../support/engine-harness.js'

// A worker thread that opens the store in the directory `workerData`, stores a task, and keeps it open.
const engine = new Engine({ store: new LmdbStore({ directory: workerData as string }), dispatch: async () => ({ status: 200 }) })
await engine.open()
await engine.updateQueue(queue)
await engine.createTask(queue, { httpRequest })
parentPort!.postMessage('open')
setInterval(() => {}, 60_000)

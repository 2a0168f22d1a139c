import { readdirSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { systemClock } from '../clock/clock.js'

/**
 * Waits until no other process is writing to an lmdb file, if the last run was not closed cleanly, which its journals show. `open` of lmdb
 * takes the write lock, which a former holder keeps that is stopped in the middle of a write, such as a paused container; it would block
 * the event loop for that long. So a thread opens the file first. Errors of `open` are left to the caller's own.
 * @param onWaiting called once a second; what it throws is thrown here as soon as the wait is over
 */
export async function waitForFormerWriter (directory: string, file: string, onWaiting: (seconds: number) => void): Promise<void> {
  if (!readdirSync(directory).some(name => name.endsWith('.journal'))) return
  // Not available in a bundle of CommonJS.
  const lmdb = (import.meta as Partial<ImportMeta>).resolve?.('lmdb')
  if (lmdb === undefined) return
  const worker = new Worker(OPEN_AND_CLOSE, { eval: true, execArgv: [], workerData: { lmdb, file } })
  worker.on('error', () => {})
  let [seconds, failure] = [0, undefined as { readonly error: unknown } | undefined]
  const wait = (): void => {
    try {
      onWaiting(++seconds)
    } catch (error) {
      failure ??= { error }
    }
    timer = systemClock.setTimeout(wait, 1000)
  }
  let timer = systemClock.setTimeout(wait, 1000)
  // Not `once` of node:events, which rejects with an error of the thread.
  await new Promise(resolve => { worker.once('exit', resolve) })
  systemClock.clearTimeout(timer)
  if (failure !== undefined) throw failure.error
}

const OPEN_AND_CLOSE = `
  const { lmdb, file } = require('node:worker_threads').workerData
  import(lmdb).then(({ open }) => open({ path: file, noSubdir: true, maxDbs: 5, overlappingSync: false }).close())
`

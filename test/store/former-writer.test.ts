import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { systemClock } from '../../lib/clock/clock.js'
import { waitForFormerWriter } from '../../lib/store/former-writer.js'
import { folder } from '../support/folder.js'

const HOLDER = `
  import { open } from 'lmdb'
  const root = open({ path: process.argv[1], noSubdir: true, maxDbs: 5, overlappingSync: false })
  root.transactionSync(() => {
    root.put('b', 2)
    console.log('inside')
    process.kill(process.pid, 'SIGSTOP')
  })
  await root.close()
`

/** Lets seconds pass quickly. Returns the timers that are set, and how long each was to take. */
function quickSeconds (t: Test) {
  const pending = new Set<NodeJS.Timeout>()
  const durations: number[] = []
  t.intercept(systemClock, 'setTimeout', {
    value: (callback: () => void, ms: number) => {
      durations.push(ms)
      const timer = setTimeout(() => {
        pending.delete(timer)
        callback()
      }, ms / 100)
      pending.add(timer)
      return timer
    }
  })
  t.intercept(systemClock, 'clearTimeout', {
    value: (timer: NodeJS.Timeout) => {
      clearTimeout(timer)
      pending.delete(timer)
    }
  })
  return { pending, durations }
}

/** A directory with a file that another process is writing to, and is stopped while it does. */
async function stopped (t: Test) {
  const directory = join(await folder(t), 'store')
  mkdirSync(directory)
  const file = join(directory, 'tasks.mdb')
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, file], { env: { ...process.env, NODE_OPTIONS: '' } })
  t.teardown(() => { holder.kill('SIGKILL') })
  const ended = once(holder, 'exit')
  await once(holder.stdout, 'data')
  return { directory, file, holder, ended }
}

t.test('a former process that is stopped in the middle of a write is waited for, with the event loop free', async t => {
  const { pending, durations } = quickSeconds(t)
  const { directory, file, holder, ended } = await stopped(t)
  await waitForFormerWriter(directory, file, () => { t.fail('without a journal there is no former process') })
  t.strictSame(durations, [])
  writeFileSync(join(directory, '1-a.journal'), '')
  // A thread that waits for nothing has ended by then.
  let hasEnded = false
  const lmdb = JSON.stringify(import.meta.resolve('lmdb'))
  new Worker(`import(${lmdb})`, { eval: true, execArgv: [] }).once('exit', () => { hasEnded = true })
  const waited: number[] = []
  await waitForFormerWriter(directory, file, seconds => {
    waited.push(seconds)
    if (hasEnded && seconds >= 3) holder.kill('SIGCONT')
  })
  t.equal(hasEnded, true)
  t.strictSame(waited.slice(0, 3), [1, 2, 3])
  t.equal(durations.length, waited.length + 1)
  t.strictSame([new Set(durations), pending.size], [new Set([1000]), 0], 'each second, and no timer stays')
  const root = open<number, string>({ path: file, noSubdir: true, maxDbs: 5, overlappingSync: false })
  t.equal(root.get('b'), 2, 'what it was writing is whole')
  await root.close()
  await ended
})

t.test('what ends the wait is thrown once it is over, the first of it', async t => {
  quickSeconds(t)
  const { directory, file, holder } = await stopped(t)
  writeFileSync(join(directory, '1-a.journal'), '')
  await t.rejects(waitForFormerWriter(directory, file, seconds => {
    if (seconds === 2) holder.kill('SIGKILL')
    throw new Error(`closed ${seconds}`)
  }), { message: /^closed 1$/ })
})

t.test('a file that no process writes to, or that cannot be opened, is not waited for', async t => {
  const directory = await folder(t)
  writeFileSync(join(directory, '1-a.journal'), '')
  mkdirSync(join(directory, 'folder'))
  const { pending } = quickSeconds(t)
  for (const name of ['new', 'folder']) await waitForFormerWriter(directory, join(directory, name), () => {})
  t.equal(pending.size, 0)
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { open } from 'lmdb'
import t from 'tap'
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

t.test('a former process that is stopped in the middle of a write is waited for, with the event loop free', async t => {
  const directory = join(await folder(t), 'store')
  mkdirSync(directory)
  const file = join(directory, 'tasks.mdb')
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, file], { env: { ...process.env, NODE_OPTIONS: '' } })
  t.teardown(() => { holder.kill('SIGKILL') })
  const ended = once(holder, 'exit')
  await once(holder.stdout, 'data')
  await waitForFormerWriter(directory, file, () => { t.fail('without a journal there is no former process') })
  writeFileSync(join(directory, '1-a.journal'), '')
  const waited: number[] = []
  await waitForFormerWriter(directory, file, seconds => {
    waited.push(seconds)
    holder.kill('SIGCONT')
  })
  t.equal(waited[0], 1)
  const root = open<number, string>({ path: file, noSubdir: true, maxDbs: 5, overlappingSync: false })
  t.equal(root.get('b'), 2, 'what it was writing is whole')
  await root.close()
  await ended
  await waitForFormerWriter(directory, file, () => { t.fail('no process writes now') })
})

t.test('what ends the wait is thrown once it is over', async t => {
  const directory = join(await folder(t), 'store')
  mkdirSync(directory)
  const file = join(directory, 'tasks.mdb')
  writeFileSync(join(directory, '1-a.journal'), '')
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, file], { env: { ...process.env, NODE_OPTIONS: '' } })
  t.teardown(() => { holder.kill('SIGKILL') })
  await once(holder.stdout, 'data')
  await t.rejects(waitForFormerWriter(directory, file, () => {
    holder.kill('SIGKILL')
    throw new Error('closed')
  }), { message: 'closed' })
})

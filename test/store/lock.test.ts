import { once } from 'node:events'
import fs, { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { FORMAT_VERSION, prepareDirectory } from '../../lib/store/lmdb/directory.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { folder } from '../support/folder.js'
import { transpile } from '../support/transpile.js'

async function opened (t: Test, directory: string): Promise<LmdbStore> {
  const store = new LmdbStore({ directory })
  t.teardown(() => store.close())
  await store.load()
  return store
}

/** Has `readFileSync` fail for files of that name. */
function hide (t: Test, name: string): void {
  const read = fs.readFileSync as (...args: unknown[]) => unknown
  t.intercept(fs, 'readFileSync', {
    value: (...args: unknown[]) => {
      if (String(args[0]).endsWith(name)) throw Object.assign(new Error('hidden'), { code: 'ENOENT' })
      return read(...args)
    }
  })
  syncBuiltinESMExports()
  t.teardown(syncBuiltinESMExports)
}

t.test('a number that no process has is no holder', async t => {
  const directory = await folder(t)
  for (const pid of [0, -1, 1.5, 2 ** 40]) {
    await (await opened(t, directory)).close()
    await writeFile(join(directory, 'owner.json'), JSON.stringify({ pid, startedAt: '' }))
    await (await opened(t, directory)).close()
  }
})

t.test('the number of this very process, which it did not register, is that of a former one', async t => {
  const directory = await folder(t)
  const store = await opened(t, directory)
  const owner = JSON.parse(await readFile(join(directory, 'owner.json'), 'utf8')) as object
  await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'inUse' })
  await store.close()
  // As the first process of a container finds it after a crash.
  await writeFile(join(directory, 'owner.json'), JSON.stringify({ ...owner, nonce: 'of another life' }))
  await opened(t, directory)
})

t.test('without the boot id in /proc, the start ticks decide', { skip: !existsSync('/proc/self/stat') }, async t => {
  hide(t, 'boot_id')
  const directory = await folder(t)
  await (await opened(t, directory)).close()
  const [ticks] = (await readFile('/proc/1/stat', 'latin1')).split(') ')[1]!.split(' ').slice(19)
  await writeFile(join(directory, 'owner.json'), JSON.stringify({ pid: 1, startedAt: `- ${ticks}` }))
  if (process.pid !== 1) await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'inUse' })
  await writeFile(join(directory, 'owner.json'), JSON.stringify({ pid: 1, startedAt: `- ${Number(ticks) + 5}` }))
  await opened(t, directory)
})

t.test('a directory with that name is reported', async t => {
  const directory = await folder(t)
  await (await opened(t, directory)).close()
  await mkdir(join(directory, 'owner.json'))
  await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'foreign', message: /owner\.json is a directory/ })
  t.strictSame((await readdir(directory)).filter(name => name.startsWith('.owner')), [], 'nothing is left')
})

t.test('a worker thread that was terminated has let go of it', { skip: !existsSync('/proc/thread-self') }, async t => {
  const directory = join(await folder(t), 'store')
  const program = await folder(t)
  await rm(program, { recursive: true })
  await transpile(program, 'test/store/holding-thread.ts', 'test/support/engine-harness.ts')
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(join(program, 'test/store/holding-thread.js'), { workerData: directory })
    await once(worker, 'message')
    await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'inUse' })
    await worker.terminate()
  }
  const store = new LmdbStore({ directory })
  t.teardown(() => store.close())
  t.equal([...(await store.load()).tasks].length, 3)
})

t.test('a store that another process has completed in the meantime is not marked as new again', async t => {
  const directory = await folder(t)
  const write = fs.writeFileSync as (...args: unknown[]) => void
  const complete = `{"format":"fastify-cloud-tasks","version":${FORMAT_VERSION}}\n`
  t.intercept(fs, 'writeFileSync', {
    value: (...args: unknown[]) => {
      write(...args)
      if (basename(String(args[0])).startsWith('.format')) write(join(directory, 'format.json'), complete)
    }
  })
  syncBuiltinESMExports()
  t.teardown(syncBuiltinESMExports)
  prepareDirectory(directory)
  t.equal(await readFile(join(directory, 'format.json'), 'utf8'), complete)
  t.strictSame((await readdir(directory)).sort(), ['.gitignore', 'format.json'], 'no draft is left')
})

t.test('a start on a full disk leaves nothing behind', async t => {
  const directory = join(await folder(t), 'store')
  const write = fs.writeFileSync as (...args: unknown[]) => void
  let isFull = true
  t.intercept(fs, 'writeFileSync', {
    value: (...args: unknown[]) => {
      write(args[0], isFull ? '' : args[1], args[2])
      if (isFull && String(args[0]).includes('format')) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
    }
  })
  syncBuiltinESMExports()
  t.teardown(syncBuiltinESMExports)
  await t.rejects(new LmdbStore({ directory }).load(), { name: 'StoreError', problem: 'full' })
  t.strictSame(await readdir(directory), [])
  isFull = false
  await writeFile(join(directory, '.gitignore'), '')
  await opened(t, directory)
  t.equal(await readFile(join(directory, '.gitignore'), 'utf8'), '*\n', 'one that a former release left without content gets it')
})

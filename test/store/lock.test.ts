import child, { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs, { existsSync, mkdirSync, readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import { StoreLock } from '../../lib/store/lock.js'
import { folder } from '../support/folder.js'
import { transpile } from '../support/transpile.js'

const isLinux = existsSync('/proc/self/stat')

async function fileIn (t: Test): Promise<string> {
  return join(await folder(t), 'owner.json')
}

/** Whether a lock can be taken of that holder, by file content. */
function canTake (file: string, holder: unknown): boolean {
  writeFileSync(file, typeof holder === 'string' ? holder : JSON.stringify(holder))
  const lock = new StoreLock(file)
  try {
    lock.take()
    return true
  } catch (error) {
    const { problem } = error as { problem?: string }
    if (problem !== 'inUse') throw error
    return false
  } finally {
    lock.release()
  }
}

/** Replaces functions of a built-in module, for the code that imports it. */
function replace<T extends object> (t: Test, module: T, replaced: Partial<T>): void {
  // After `intercept` has put the former functions back: what is torn down last was registered first.
  t.teardown(syncBuiltinESMExports)
  for (const [name, value] of Object.entries(replaced)) t.intercept(module, name as keyof T, { value: value as T[keyof T] })
  syncBuiltinESMExports()
}

/** Has `readFileSync` fail for files of that name. */
function hide (t: Test, name: string): void {
  const { readFileSync } = fs
  replace(t, fs, {
    readFileSync: ((...args: Parameters<typeof readFileSync>) => {
      if (String(args[0]).endsWith(name)) throw Object.assign(new Error('hidden'), { code: 'ENOENT' })
      return readFileSync(...args)
    }) as typeof readFileSync
  })
}

/** The start of a process in the system's format: boot id and ticks. */
function startOf (pid: number): [boot: string, ticks: number] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return [readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])]
}

t.test('a lock is held by the one that took it, until it is released', async t => {
  const file = await fileIn(t)
  const [lock, other] = [new StoreLock(file), new StoreLock(file)]
  t.equal(lock.isHeld(), false)
  lock.release()
  lock.take()
  t.equal(lock.isHeld(), true)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const { pid, startedAt } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number, startedAt: string }
  t.equal(pid, process.pid)
  if (isLinux) t.match(startedAt, /^[-0-9a-f]+ \d+$/)
  t.throws(() => { other.take() }, { name: 'StoreError', problem: 'inUse', message: `${file}: this process (pid ${process.pid}) already` })
  t.strictSame(readdirSync(join(file, '..')), ['owner.json'], 'a refused one leaves nothing')
  other.release()
  t.equal(other.isHeld(), false)
  t.equal(lock.isHeld(), true, 'the release of one that is not held changes nothing')
  lock.release()
  t.strictSame([lock.isHeld(), existsSync(file)], [false, false])
  other.take()
  lock.release()
  t.equal(other.isHeld(), true)
  other.release()
})

t.test('a lock is lost when its file is replaced or removed, and the other one stays', async t => {
  const file = await fileIn(t)
  const lock = new StoreLock(file)
  lock.take()
  utimesSync(file, 1, 1)
  t.equal(lock.isHeld(), false, 'written by another process')
  lock.release()
  t.equal(existsSync(file), true)
  t.equal(canTake(file, readFileSync(file, 'utf8')), true, 'its release ends it nevertheless')
  const [first, second] = [new StoreLock(file), new StoreLock(file)]
  first.take()
  fs.rmSync(file)
  t.equal(first.isHeld(), false, 'removed')
  second.take()
  t.strictSame([first.isHeld(), second.isHeld()], [false, true])
  second.release()
  first.release()
})

t.test('a file that names no process is no lock', async t => {
  const file = await fileIn(t)
  for (const holder of ['', '{"pid":', 'null', '[]', '{}', ...[0, -1, 1.5, 2 ** 31, 2 ** 31 - 1, '1', null].map(pid => ({ pid, startedAt: '' }))]) {
    t.equal(canTake(file, holder), true, JSON.stringify(holder))
  }
})

t.test('a process is alive unless the system says that there is none', async t => {
  const file = await fileIn(t)
  const holder = { pid: process.ppid, startedAt: '' }
  let code: string | undefined
  t.intercept(process, 'kill', {
    value: (pid: number, signal: unknown) => {
      t.strictSame([pid, signal], [process.ppid, 0])
      if (code !== undefined) throw Object.assign(new Error('no'), { code })
      return true
    }
  })
  t.equal(canTake(file, holder), false)
  code = 'EPERM'
  t.equal(canTake(file, holder), false, 'of another user')
  code = 'ESRCH'
  t.equal(canTake(file, holder), true)
})

t.test('a number that another process has since is recognized by its start', { skip: !isLinux }, async t => {
  const file = await fileIn(t)
  const pid = process.ppid
  const [boot, ticks] = startOf(pid)
  for (const [startedAt, isFree] of [
    [`${boot} ${ticks}`, false], [`${boot} ${ticks + 5}`, true], [`another ${ticks}`, true], [`- ${ticks}`, false], [`- ${ticks + 5}`, true],
    ['', false]
  ] as const) t.equal(canTake(file, { pid, startedAt }), isFree, startedAt)
  t.throws(() => { canTake(file, { pid, startedAt: '' }) || new StoreLock(file).take() },
    { message: `${file}: the process with pid ${pid} has` })

  hide(t, 'boot_id')
  for (const [startedAt, isFree] of [
    [`${boot} ${ticks}`, false], [`${boot} ${ticks + 5}`, true], [`- ${ticks}`, false], [`- ${ticks + 5}`, true]
  ] as const) t.equal(canTake(file, { pid, startedAt }), isFree, `${startedAt}, without a boot id`)
  t.test('and where /proc is hidden by its number alone', async t => {
    hide(t, 'stat')
    for (const startedAt of ['- 1', '']) t.equal(canTake(file, { pid, startedAt }), false)
  })
})

t.test('a process that has ended has no lock before its parent has waited for it', { skip: !isLinux }, async t => {
  const file = await fileIn(t)
  const process = spawn(globalThis.process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] })
  const exited = once(process, 'exit')
  const holder = { pid: process.pid, startedAt: '' }
  t.equal(canTake(file, holder), false)
  process.kill('SIGKILL')
  // Within one turn of the event loop, so that Node does not wait for it yet.
  while (readFileSync(`/proc/${holder.pid}/stat`, 'latin1').split(') ')[1]![0] !== 'Z');
  t.equal(canTake(file, holder), true)
  await exited
})

t.test('this thread has the locks that it has not released', async t => {
  const file = await fileIn(t)
  const lock = new StoreLock(file)
  lock.take()
  const own = JSON.parse(readFileSync(file, 'utf8')) as { pid: number, thread?: number, startedAt: string, nonce: string }
  t.equal(canTake(file, own), false)
  const held = (globalThis as Record<symbol, unknown>)[Symbol.for('fastify-cloud-tasks.held')] as Set<string>
  t.equal(held.has(own.nonce), true, 'where another copy of this package looks for it')
  // As the first process of a container finds it after a crash.
  t.equal(canTake(file, { ...own, nonce: 'of another life' }), true)
  const { nonce, ...former } = own
  t.type(nonce, 'string')
  t.equal(canTake(file, { ...former, startedAt: 'another start' }), true)
  t.equal(canTake(file, { ...former, startedAt: '' }), true)
  if (isLinux) {
    t.equal(own.thread, process.pid)
    t.equal(canTake(file, former), false, 'a former release wrote no nonce')
    t.equal(canTake(file, { ...own, thread: 2 ** 30 }), true, 'a thread that has ended')
    t.equal(canTake(file, { ...own, thread: undefined }), false, 'a process whose thread is unknown')
    t.test('where no thread is known the process has them', async t => {
      replace(t, fs, { readlinkSync: (() => { throw new Error('hidden') }) as never })
      const other = new StoreLock(join(file, '../other.json'))
      other.take()
      const { thread, ...rest } = JSON.parse(readFileSync(join(file, '../other.json'), 'utf8')) as typeof own
      t.equal(thread, undefined)
      t.match(rest, { pid: process.pid, startedAt: startOf(process.pid).join(' ') })
      t.equal(canTake(file, rest), false)
      other.release()
      t.equal(canTake(file, rest), true)
    })
  }
  lock.release()
})

t.test('on macOS ps knows the start of a process, on other systems its number decides', async t => {
  const file = await fileIn(t)
  const pid = process.ppid
  const calls: unknown[][] = []
  let start: string | undefined = ' Thu Nov 26 10:00:00 2026\n'
  replace(t, child, {
    execFileSync: ((...args: unknown[]) => {
      calls.push(args)
      if (start === undefined) throw new Error('no ps')
      return start
    }) as never
  })
  t.intercept(process, 'platform', { value: 'darwin' })
  t.equal(canTake(file, { pid, startedAt: 'Thu Nov 26 10:00:00 2026' }), false)
  t.strictSame(calls.at(-1)!.slice(0, 2), ['/bin/ps', ['-o', 'lstart=', '-p', String(pid)]])
  t.equal(canTake(file, { pid, startedAt: 'Thu Nov 26 10:00:01 2026' }), true)
  start = '\n'
  t.equal(canTake(file, { pid, startedAt: '' }), true, 'ps knows no such process')
  start = undefined
  t.equal(canTake(file, { pid, startedAt: 'Thu Nov 26 10:00:01 2026' }), false, 'there is no ps')
  calls.length = 0
  t.intercept(process, 'platform', { value: 'win32' })
  t.equal(canTake(file, { pid, startedAt: 'Thu Nov 26 10:00:01 2026' }), false)
  t.strictSame(calls, [])
  fs.rmSync(file)
  const lock = new StoreLock(file)
  lock.take()
  const { nonce, ...former } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  t.strictSame([typeof nonce, former['startedAt']], ['string', ''])
  t.equal(canTake(file, former), true, 'a former release in a container, whose process has this number again')
  lock.release()
})

t.test('a directory with that name is reported, and other errors are those of the system', async t => {
  const file = await fileIn(t)
  mkdirSync(file)
  t.throws(() => { new StoreLock(file).take() }, { name: 'StoreError', problem: 'foreign', message: `${file} is a directory` })
  t.strictSame(readdirSync(join(file, '..')), ['owner.json'], 'nothing is left')
  t.throws(() => { new StoreLock(join(file, 'none', 'owner.json')).take() }, { code: 'ENOENT' })
  const other = join(file, '../other.json')
  writeFileSync(other, '{}')
  const { readFileSync } = fs
  replace(t, fs, {
    readFileSync: ((...args: Parameters<typeof readFileSync>) => {
      if (args[0] === other) throw Object.assign(new Error('no'), { code: 'EACCES' })
      return readFileSync(...args)
    }) as never
  })
  t.throws(() => { new StoreLock(other).take() }, { code: 'EACCES' })
})

t.test('a worker thread that was terminated has let go of its store', { skip: !existsSync('/proc/thread-self') }, async t => {
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

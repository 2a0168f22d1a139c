import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { cp, mkdtemp, open, readFile, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { Engine } from '../../lib/engine/engine.js'
import { resolveConfig } from '../../lib/options/config.js'
import { LmdbStore, type LmdbStoreOptions } from '../../lib/store/lmdb/lmdb-store.js'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { httpRequest, queue } from '../support/engine-harness.js'

const enough = 2 ** 40

/** A directory for one test, removed after it. */
async function folder (t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'faults-'))
  t.teardown(async () => { await rm(path, { recursive: true }) })
  return path
}

/** An engine on a directory, open, with a queue that is dispatched to `statuses`, one after the other, then 200. */
async function engineOn (t: Test, options: LmdbStoreOptions, { clock, statuses = [] }: { clock?: ManualClock, statuses?: number[] } = {}) {
  const errors: unknown[] = []
  const attempts: string[] = []
  const engine = new Engine({
    store: new LmdbStore(options),
    dispatch: async ({ task }) => {
      attempts.push(task.name)
      return { status: statuses.shift() ?? 200 }
    },
    onError: error => { errors.push(error) },
    ...(clock === undefined ? {} : { clock })
  })
  t.teardown(() => engine.close())
  await engine.open()
  await engine.updateQueue(queue)
  return { engine, errors, attempts, add: (name: string) => engine.createTask(queue, { name: `${queue}/tasks/${name}`, httpRequest }) }
}

t.test('one engine has a directory', async t => {
  t.test('a second in this process is rejected, and the first goes on', async t => {
    const directory = await folder(t)
    const first = await engineOn(t, { directory })
    const second = new LmdbStore({ directory })
    await t.rejects(second.load(), { name: 'StoreError', problem: 'inUse', message: new RegExp(`this process \\(pid ${process.pid}\\)`) })
    await second.close()
    await first.add('still')
    await first.engine.close()
    await engineOn(t, { directory })
  })

  t.test('a second process is rejected with the pid of the holder; after kill -9 the next one can open it at once', async t => {
    const directory = await folder(t)
    const log = join(await folder(t), 'log')
    await writeFile(log, '')
    const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'crash-child.ts'), directory, log, '0', 'load'],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH } })
    t.teardown(() => { child.kill('SIGKILL') })
    await once(child.stdout, 'data')
    await t.rejects(new LmdbStore({ directory }).load(), { problem: 'inUse', message: new RegExp(`process with pid ${child.pid} `) })
    // Not waited for before the next look: a zombie has no claim either.
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    const store = new LmdbStore({ directory })
    for (;;) {
      const opened = await store.load().then(() => true, (error: { problem: string }) => error.problem !== 'inUse')
      if (opened) break
    }
    await store.close()
    await exited
    t.same((await readdir(directory)).sort(), ['.gitignore', 'format.json', 'tasks.mdb', 'tasks.mdb-lock'])
  })

  t.test('who has lost it stores nothing more', async t => {
    const directory = await folder(t)
    const { add } = await engineOn(t, { directory })
    await add('before')
    await writeFile(join(directory, 'owner.json'), '{"pid":1,"startedAt":"another container"}')
    await utimes(join(directory, 'owner.json'), 1, 1)
    await t.rejects(add('after'), { code: 'UNAVAILABLE', cause: { problem: 'inUse' } })
  })
})

t.test('a directory that is no store, or not of this version, or damaged, is rejected and left as it was', async t => {
  const sound = await folder(t)
  const { engine, add } = await engineOn(t, { directory: sound })
  for (let i = 0; i < 3000; i += 100) await Promise.all(Array.from({ length: 100 }, (_, j) => add(`t${i + j}`)))
  await engine.close()
  t.equal(await readFile(join(sound, '.gitignore'), 'utf8'), '*\n', 'a store keeps itself out of git')
  const size = (await stat(join(sound, 'tasks.mdb'))).size

  const overwrite = async (file: string, at: number, bytes: Buffer): Promise<void> => {
    const handle = await open(file, 'r+')
    await handle.write(bytes, 0, bytes.length, at)
    await handle.close()
  }
  const faults: Array<[title: string, problem: string, spoil: (directory: string, data: string) => Promise<unknown>]> = [
    ['its format.json is gone', 'foreign', directory => rm(join(directory, 'format.json'))],
    ['the data are something else', 'damaged', (_, data) => writeFile(data, 'id;name\n'.repeat(3000))],
    ['the second half of the data is gone', 'damaged', (_, data) => truncate(data, size / 2)],
    ['the data are missing', 'damaged', (_, data) => rm(data)],
    [
      'a piece in its middle is something else',
      'damaged',
      (_, data) => overwrite(data, Math.floor(size / 8192) * 4096, Buffer.alloc(10 * 4096, 'x'))
    ],
    ['all but the beginning of the data is zeros', 'damaged', (_, data) => overwrite(data, 8192, Buffer.alloc(size - 8192))]
  ]
  for (const [title, problem, spoil] of faults) {
    t.test(title, async t => {
      const directory = join(await folder(t), 'store')
      await cp(sound, directory, { recursive: true })
      await spoil(directory, join(directory, 'tasks.mdb'))
      const contents = async () => {
        const names = (await readdir(directory)).filter(name => name !== 'tasks.mdb-lock').sort()
        return await Promise.all(names.map(async name => [name, (await readFile(join(directory, name))).toString('base64')]))
      }
      const before = await contents()
      const store = new LmdbStore({ directory })
      await t.rejects(store.load(), { name: 'StoreError', problem, message: new RegExp(directory) })
      await store.close()
      t.ok(JSON.stringify(await contents()) === JSON.stringify(before), 'nothing was changed')
    })
  }
})

t.test('when the disk is full', async t => {
  t.test('new tasks are rejected, running ones continue, and it recovers when there is space', async t => {
    const directory = await folder(t)
    let free = enough
    const clock = new ManualClock()
    const { engine, errors, attempts, add } = await engineOn(t, { directory, freeBytes: () => free }, { clock, statuses: [500] })
    await add('fails-once')
    await add('succeeds')
    free = 5 * 2 ** 20
    await t.rejects(add('refused'), { code: 'UNAVAILABLE', cause: { problem: 'full' } })
    await t.rejects(engine.pauseQueue(queue), { code: 'UNAVAILABLE', cause: { problem: 'full' } })
    engine.start()
    await engine.stop()
    t.same(attempts, ['fails-once', 'succeeds'].map(name => `${queue}/tasks/${name}`))
    t.same(errors, [], 'there is space left for what attempts come to')

    free = 2 ** 20
    clock.set(clock.now() + 1000)
    await t.rejects(engine.deleteTask(`${queue}/tasks/fails-once`), { code: 'UNAVAILABLE' }, 'less than that')
    t.match(engine.getTask(`${queue}/tasks/fails-once`), { dispatchCount: 1 })
    free = enough
    await add('refused')
    await engine.close()
    const next = await engineOn(t, { directory })
    t.match(next.engine.listTasks(queue).tasks.map(task => task.name.slice(-5)).sort(), ['-once', 'fused'])
  })

  t.test('an empty queue accepts tasks as soon as some space is free', async t => {
    const directory = await folder(t)
    let free = enough
    const { engine, attempts, errors, add } = await engineOn(t, { directory, freeBytes: () => free })
    const body = Buffer.alloc(100_000)
    for (let i = 0; i < 90; i++) await engine.createTask(queue, { httpRequest: { url: 'http://localhost/', body } })
    free = 2 ** 20
    engine.start()
    while (attempts.length < 90) await new Promise(resolve => setImmediate(resolve))
    await t.rejects(add('refused'), { code: 'UNAVAILABLE', cause: { problem: 'full' } })
    free = 22 * 2 ** 20
    await add('a')
    await engine.stop()
    t.ok(errors.length <= 1, `${errors.length} errors were reported`)
  })

  t.test('a real one', { skip: !(await canMount()) && 'needs root' }, async t => {
    const path = await folder(t)
    await run('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', path])
    t.teardown(() => run('umount', [path]))
    const { engine, errors, attempts, add } = await engineOn(t, { directory: join(path, 'store') })
    let added = 0
    const body = Buffer.alloc(100_000)
    const big = () => engine.createTask(queue, { httpRequest: { url: 'http://localhost/', body } })
    await t.rejects(async () => { for (; added < 1000; added++) await big() }, { cause: { problem: 'full' } })
    t.ok(added > 20, `${added} tasks fitted`)
    let small = 0
    const less = { httpRequest: { url: 'http://localhost/', body: Buffer.alloc(20_000) } }
    await t.rejects(async () => { for (; small < 1000; small++) await engine.createTask(queue, less) }, { cause: { problem: 'full' } })
    engine.start()
    while (attempts.length < added + small) await new Promise(resolve => setImmediate(resolve))
    await engine.stop()
    t.same(errors, [])
    await add('recovered')
    await engine.close()
  })
})

t.test('a clock that jumps loses and repeats nothing', async t => {
  const directory = await folder(t)
  const clock = new ManualClock()
  const { engine, attempts, add } = await engineOn(t, { directory }, { clock, statuses: [500, 500] })
  engine.start()
  const names = () => attempts.map(name => name.slice(-1)).join('')
  const settle = async () => {
    await engine.stop()
    engine.start()
  }
  await add('a')
  await settle()
  clock.set(clock.now() - 86_400_000)
  await add('b')
  await settle()
  t.equal(names(), 'ab', 'after a day back, what comes in is dispatched at once')
  await engine.close()

  clock.set(clock.now() + 2 * 86_400_000)
  const next = await engineOn(t, { directory }, { clock })
  await t.rejects(next.add('a'), { code: 'ALREADY_EXISTS' })
  next.engine.start()
  await next.engine.stop()
  t.same(next.attempts.map(name => name.slice(-1)), ['b', 'a'], 'after two days forth, both are due again')
  await t.rejects(next.add('a'), { code: 'ALREADY_EXISTS' })
  clock.set(clock.now() + 2 * 3_600_000)
  await t.rejects(next.add('a'), { code: 'ALREADY_EXISTS' }, 'a jump does not free a name')
  await clock.advance(3_600_000)
  await next.add('a')
})

t.test('the plugin', async t => {
  const tasks = defineTasks({ work: { payload: Type.Object({}) } })
  const app = (directory: string, handlers = {}) =>
    Fastify().register(cloudTasks, { tasks, transport: 'local', local: { directory }, handlers })

  t.test('takes the directory from its options, else from the environment, and then runs in production', async t => {
    const config = (options: object, environment: NodeJS.ProcessEnv = {}) => resolveConfig({ tasks, ...options }, environment, false)
    t.equal(config({}).directory, undefined)
    t.equal(config({ local: { directory: '/a' } }, { CLOUD_TASKS_DIRECTORY: '/b' }).directory, '/a')
    t.equal(config({}, { CLOUD_TASKS_DIRECTORY: '/b' }).directory, '/b')
    t.equal(config({}, { CLOUD_TASKS_DIRECTORY: '' }).directory, undefined)
    t.throws(() => config({ local: { directory: '' } }), { code: 'FST_TASKS_INVALID_OPTION' })
    const production = { NODE_ENV: 'production' }
    t.equal(config({ transport: 'local', local: { directory: '/a' } }, production).transport, 'local')
    t.throws(() => config({ transport: 'local' }, production), { code: 'FST_TASKS_NOT_FOR_PRODUCTION' })
  })

  t.test('says in its own terms why a store cannot be opened, and leaves it to others', async t => {
    const directory = await folder(t)
    const first = app(directory)
    await first.ready()
    await t.rejects(
      async () => {
        await app(directory).ready()
      },
      { code: 'FST_TASKS_STORE_UNAVAILABLE', explanation: new RegExp(`pid ${process.pid}`), cause: { problem: 'inUse' } }
    )
    await first.close()
    const second = app(directory)
    await second.ready()
    await second.close()
    await writeFile(join(directory, 'format.json'), '{}')
    await t.rejects(async () => { await app(directory).ready() }, { code: 'FST_TASKS_STORE_UNAVAILABLE', cause: { problem: 'foreign' } })
  })

  t.test('with a directory accepts tasks until it has closed, and the next process runs them', async t => {
    const directory = await folder(t)
    const first = Fastify()
    await first.register(cloudTasks, { tasks, transport: 'local', local: { directory } })
    let late: unknown
    first.addHook('onClose', async () => { late = await first.enqueue('work', {}, { id: 'late' }) })
    await first.ready()
    await first.enqueue('work', {}, { id: 'early', scheduleDelaySeconds: 0.05 })
    await first.close()
    t.match(late, { duplicate: false })
    await t.rejects(first.enqueue('work', {}), { code: 'FST_TASKS_CLOSING' })

    const ran: string[] = []
    let finish = (): void => {}
    const both = new Promise<void>(resolve => { finish = resolve })
    const second = Fastify()
    await second.register(cloudTasks, {
      tasks,
      transport: 'local',
      local: { directory },
      handlers: {
        work: (_, task) => {
          ran.push(task.id.replace(/^[^-]+-/, ''))
          if (ran.length === 2) finish()
        }
      }
    })
    t.teardown(() => second.close())
    await second.ready()
    await both
    t.same(ran.sort(), ['early', 'late'])
    t.match(await second.enqueue('work', {}, { id: 'late' }), { duplicate: true })
  })
})

async function run (command: string, args: string[]): Promise<void> {
  const [code] = await once(spawn(command, args, { stdio: 'ignore' }), 'exit') as [number]
  if (code !== 0) throw new Error(`${command} ended with ${code}`)
}

async function canMount (): Promise<boolean> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  const path = await mkdtemp(join(tmpdir(), 'mount-'))
  try {
    await run('mount', ['-t', 'tmpfs', 'tmpfs', path])
    await run('umount', [path])
    return true
  } catch {
    return false
  } finally {
    await rm(path, { recursive: true })
  }
}

t.test('the directory and its files are for their owner alone, and what lies there already is left as it is', async t => {
  const parent = t.testdir({ repository: { '.gitignore': 'node_modules\n' } })
  const old = process.umask(0o022)
  t.teardown(() => { process.umask(old) })
  for (const directory of [join(parent, 'fresh'), join(parent, 'repository')]) {
    const store = new LmdbStore({ directory })
    await store.load()
    const modes = Object.fromEntries(
      readdirSync(directory)
        .filter(file => file !== '.gitignore')
        .map(file => [file, statSync(join(directory, file)).mode & 0o777])
    )
    t.ok(Object.keys(modes).length >= 3)
    for (const [file, mode] of Object.entries(modes)) t.equal(mode, 0o600, file)
    await store.close()
  }
  t.equal(statSync(join(parent, 'fresh')).mode & 0o777, 0o700)
  t.equal(readFileSync(join(parent, 'repository', '.gitignore'), 'utf8'), 'node_modules\n')
})

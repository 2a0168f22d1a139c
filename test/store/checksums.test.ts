import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Engine } from '../../lib/engine/engine.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { createJournalFile, type JournalFile } from '../../lib/store/journal-file.js'
import { LmdbStore, type LmdbStoreOptions } from '../../lib/store/lmdb/lmdb-store.js'
import { folder } from '../support/folder.js'
import { queue } from '../support/engine-harness.js'

const nameOf = (id: string): string => `${queue}/tasks/${id}`
const large = Buffer.alloc(10_000, 'payload of large ')

/** An engine on a directory, whose attempts get the answers of `statuses`, then 200. */
async function engineOn (t: Test, options: LmdbStoreOptions, statuses: number[] = [], taskTombstoneMs = 3_600_000) {
  const errors: Array<{ problem?: string, message: string }> = []
  const attempts: string[] = []
  const clock = new ManualClock()
  const engine = new Engine({
    store: new LmdbStore(options),
    clock,
    taskTombstoneMs,
    dispatch: async ({ task }) => {
      attempts.push(task.name)
      return { status: statuses.shift() ?? 200 }
    },
    onError: error => { errors.push(error as Error) }
  })
  t.teardown(() => engine.close())
  await engine.open()
  await engine.updateQueue(queue)
  const add = (id: string, body = Buffer.from(`payload of ${id}`)) =>
    engine.createTask(queue, { name: nameOf(id), httpRequest: { url: 'http://localhost/', body } })
  return { engine, clock, errors, attempts, add }
}

/** A store that was closed, with tasks 'small', 'large' and 'tried', and the name 'ended'. */
async function filled (t: Test): Promise<{ directory: string, file: string }> {
  const directory = join(await folder(t), 'store')
  const { engine, add, errors } = await engineOn(t, { directory }, [200, 500])
  await add('ended')
  engine.start()
  await engine.stop()
  await add('tried')
  engine.start()
  await engine.stop()
  await add('small')
  await add('large', large)
  await engine.close()
  t.same(errors, [])
  return { directory, file: join(directory, 'tasks.mdb') }
}

/** Flips a bit at each place where `text` stands: LMDB leaves former pages in the file. */
async function flip (file: string, text: string, offset: number): Promise<void> {
  const bytes = await readFile(file)
  let found = 0
  for (let at = bytes.indexOf(text, 0, 'latin1'); at !== -1; at = bytes.indexOf(text, at + text.length, 'latin1')) {
    bytes[at + offset]! ^= 1
    found++
  }
  if (found === 0) throw new Error(`${text} is not in the file`)
  await writeFile(file, bytes)
}

t.test('a bit that is flipped in a payload is noticed when its task is due, and the others run', async t => {
  for (const id of ['small', 'large']) {
    const { directory, file } = await filled(t)
    await flip(file, id === 'small' ? 'payload of small' : large.toString('latin1', 0, 5000), 3)
    const { engine, clock, errors, attempts } = await engineOn(t, { directory })
    t.equal(engine.counts(queue).waiting, 3)
    engine.start()
    await clock.advance(30_000)
    await engine.stop()
    t.same(attempts.map(name => name.slice(name.lastIndexOf('/') + 1)).sort(), ['large', 'small', 'tried'].filter(one => one !== id))
    t.match(errors, [{ name: 'StoreError', problem: 'damaged', message: new RegExp(`^${file}: the record of task ${nameOf(id)} is damaged`) }])
    t.equal(errors.length, 1)
    t.throws(() => engine.getTask(nameOf(id)), { message: /is damaged/ })
    t.same(engine.listTasks(queue).tasks, [], 'the others can be listed')
    t.equal(engine.counts(queue).waiting, 1, 'it is kept')
    await engine.deleteTask(nameOf(id))
    await engine.close()
    const next = await engineOn(t, { directory })
    t.equal(next.engine.counts(queue).waiting, 0)
  }
})

t.test('a bit that is flipped in what a failed attempt has left is noticed', async t => {
  const { directory, file } = await filled(t)
  await flip(file, '"dispatchCount":1', 16)
  const { engine } = await engineOn(t, { directory })
  t.throws(() => engine.getTask(nameOf('tried')), { message: /tried is damaged/ })
})

t.test('a bit that is flipped in anything that opening needs is refused, and the file is named', async t => {
  for (const [what, text, offset] of [
    ['the id of a task', '\0small[{', 2],
    ['a name that is remembered', 'queues/q/tasks/ended', 17],
    ['the settings of a queue', '"maxAttempts":100', 14],
    ['when a task is due again', '{"dispatchCount":1', -3],
    ['the name of a database', 'tasks\0', 1]
  ] as const) {
    const { directory, file } = await filled(t)
    await flip(file, text, offset)
    const store = new LmdbStore({ directory })
    const loading = store.load().then(({ queues, tasks, tombstones }) => [...queues, ...tasks, ...tombstones])
    await t.rejects(loading, { name: 'StoreError', problem: 'damaged', message: new RegExp(file) }, what)
    await store.close()
  }
})

t.test('a task whose end the disk refused does not come back when its name is used again', async t => {
  const directory = join(await folder(t), 'store')
  let refuse = 0
  const gates: Array<Promise<void>> = []
  const createFile = async (path: string): Promise<JournalFile> => {
    const file = await createJournalFile(path)
    return {
      write: async (bytes, position) => {
        await gates[0]
        if (refuse > 0 && refuse-- > 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
        await file.write(bytes, position)
      },
      truncate: size => file.truncate(size),
      close: () => file.close()
    }
  }
  const { engine, errors, add } = await engineOn(t, { directory, createJournalFile: createFile }, [], 0)
  await add('again', Buffer.from('former'))
  let open = (): void => {}
  gates.push(new Promise(resolve => { open = resolve }))
  refuse = 1
  const ended = new Promise<void>(resolve => { engine.observe({ ended: () => { resolve() } }) })
  engine.start()
  await ended
  const stopped = engine.stop()
  // Its end is being written, and nothing keeps its name.
  await new Promise(resolve => { setImmediate(resolve) })
  const added = add('again', Buffer.from('newer'))
  open()
  await added
  await stopped
  t.match(errors, [{ problem: 'full' }], 'the end was refused')
  await engine.close()
  const next = await engineOn(t, { directory }, [], 0)
  t.equal(next.engine.counts(queue).waiting, 1)
  t.same(next.engine.listTasks(queue).tasks.map(({ httpRequest }) => String(httpRequest?.body)), ['newer'])
})

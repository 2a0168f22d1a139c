import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { ManualClock } from '../lib/clock/manual-clock.js'
import { defineTasks, tasksOf, type CloudTasksOptions, type ExpiredEvent, type TaskContext } from '../lib/index.js'
import { createEmulator } from '../lib/emulator/index.js'
import { handleOf } from '../lib/plugin-handle.js'
import { folder } from './support/folder.js'
import { create as createApp } from './support/app.js'

const tasks = defineTasks({
  work: { payload: Type.Object({ n: Type.Integer(), note: Type.String({ default: 'none' }) }) },
  other: { payload: Type.Object({}) }
})
const DAY = 86_400_000

/** An app that is not ready yet, on a clock that stands at `now`, with what its `onExhausted` was called with. */
async function create (t: Test, now: number, options: Partial<CloudTasksOptions> = {}) {
  const exhausted: Array<{ payload: unknown, code: unknown, task: TaskContext }> = []
  const ran: unknown[] = []
  const { app, log } = await createApp(t, {
    tasks,
    handlers: {
      work (payload: unknown) {
        ran.push(payload)
      },
      other () {}
    },
    onExhausted (payload: unknown, error: unknown, task: TaskContext) {
      exhausted.push({ payload, code: (error as { code?: unknown }).code, task })
    },
    ...options
  } as CloudTasksOptions)
  const clock = new ManualClock(now)
  handleOf(app)!.clock.switchTo(clock)
  const local = handleOf(app)!.local!
  return { app, log, clock, exhausted, ran, engine: local.engine, queue: local.queueName('default'), enqueue: tasksOf(app, tasks).enqueue }
}

function listen (t: Test): ExpiredEvent[] {
  const events: ExpiredEvent[] = []
  const listener = (event: unknown): void => { events.push(event as ExpiredEvent) }
  subscribe('fastify-cloud-tasks:expired', listener)
  t.teardown(() => { unsubscribe('fastify-cloud-tasks:expired', listener) })
  return events
}

for (const kind of ['in memory', 'on disk'] as const) {
  t.test(`tasks older than 31 days, ${kind}, are logged, published, counted and passed to onExhausted, each once`, async t => {
    const events = listen(t)
    const { app, log, clock, exhausted, ran, engine, queue, enqueue } = await create(
      t,
      Date.now(),
      kind === 'on disk' ? { local: { directory: await folder(t) } } : {}
    )
    await app.ready()
    await engine.pauseQueue(queue)
    const ids: string[] = []
    for (let n = 0; n < 30; n++) ids.push((await enqueue('work', { n } as never)).id)
    clock.pass(31 * DAY)
    await engine.resumeQueue(queue)
    for (let round = 0; round < 1000 && exhausted.length < 30; round++) await clock.advance(0)
    await clock.advance(1000)
    t.strictSame(exhausted.map(({ payload }) => payload), Array.from({ length: 30 }, (_, n) => ({ n, note: 'none' })))
    t.match(exhausted[0], { code: 'FST_TASKS_EXPIRED', task: { name: 'work', id: ids[0], queue: 'default', attempt: 0, retryCount: 0 } })
    const lines = log.filter(line => line.level >= 50)
    t.match(lines, [{ level: 50, count: 30, ids: ids.slice(0, 10), msg: 'tasks were dropped because they were older than 31 days' }])
    t.equal(lines.length, 1)
    t.strictSame(events, [{ count: 30, ids: ids.slice(0, 10) }])
    t.strictSame(app.tasks.list().map(({ counts }) => counts.expired), [30, 0])
    t.strictSame(ran, [])
    await app.close()
    t.equal(exhausted.length, 30)
  })
}

t.test('an onExhausted that fails for an expired task is logged, and does not hold up the close', async t => {
  const { app, log, clock, engine, queue, enqueue } = await create(t, Date.now(), {
    closeGraceSeconds: 0,
    onExhausted: async () => {
      throw new Error('no mail')
    }
  })
  await app.ready()
  await engine.pauseQueue(queue)
  await enqueue('work', { n: 1 } as never)
  clock.pass(31 * DAY)
  t.strictSame(app.tasks.pending().tasks, [])
  const closed = app.close()
  await clock.advance(0)
  await closed
  t.match(log.filter(line => line.level >= 50), [{ err: { message: 'no mail' }, msg: 'onExhausted failed' }, { count: 1 }])
})

t.test('at a start with a directory', async t => {
  /** Leaves a task of 40 days ago in a directory that was written to last so many days ago. */
  const leave = async (t: Test, daysAgo: number): Promise<{ directory: string, id: string }> => {
    const directory = await folder(t)
    const { app, clock, enqueue } = await create(t, Date.now() - 40 * DAY, { local: { directory } })
    const { id } = await enqueue('work', { n: 1 } as never)
    clock.set(Date.now() - daysAgo * DAY)
    await enqueue('other', {} as never)
    await app.close()
    // The store goes by the times of its files, which the system's clock has set.
    const at = new Date(Date.now() - daysAgo * DAY)
    for (const file of await readdir(directory)) await utimes(join(directory, file), at, at)
    return { directory, id }
  }
  const ended = async (done: () => boolean): Promise<void> => {
    for (let round = 0; round < 100 && !done(); round++) {
      await new Promise(resolve => {
        setTimeout(resolve, 20)
      })
    }
  }

  t.test('that was in use until yesterday, tasks that are too old are dropped', async t => {
    const { directory, id } = await leave(t, 1)
    const exhausted: string[] = []
    const { app, log } = await createApp(t, {
      tasks,
      local: { directory },
      handlers: {
        work () {
          t.fail('must not run')
        },
        other () {}
      },
      onExhausted: (_, __, task) => {
        exhausted.push(task.id)
      }
    })
    await app.ready()
    await ended(() => exhausted.length > 0)
    await app.close()
    t.strictSame(exhausted, [id])
    t.match(log.filter(line => line.level >= 50), [{ count: 1, ids: [id] }])
  })

  t.test('whose files are older than the task may become, the clock is not believed: they are run', async t => {
    const { directory } = await leave(t, 40)
    const ran: unknown[] = []
    const { app, log } = await createApp(t, {
      tasks,
      local: { directory },
      handlers: {
        work (payload) {
          ran.push(payload)
        },
        other () {}
      },
      onExhausted () {
        t.fail('must not expire')
      }
    })
    await app.ready()
    await ended(() => ran.length > 0)
    await app.close()
    t.strictSame(ran, [{ n: 1, note: 'none' }])
    t.match(log.filter(line => line.level >= 50), [{ err: { message: /^The clock says .* 40 days after the last time that is known/ } }])
  })
})

t.test('the emulator logs tasks that are older than 31 days', async t => {
  const queue = 'projects/p/locations/l/queues/q'
  const clock = new ManualClock()
  const lines: object[] = []
  const emulator = createEmulator({
    port: 0,
    queues: [queue],
    clock,
    logger: {
      info () {},
      warn () {},
      error (fields, message) {
        lines.push({ ...fields, message })
      }
    }
  })
  await emulator.listen()
  await emulator.engine.pauseQueue(queue)
  await emulator.engine.createTask(queue, { name: `${queue}/tasks/a`, httpRequest: { url: 'http://127.0.0.1:1/' } })
  clock.pass(31 * DAY)
  t.strictSame(emulator.engine.listTasks(queue).tasks, [])
  await emulator.close()
  t.strictSame(lines, [{ count: 1, tasks: [`${queue}/tasks/a`], message: 'tasks were dropped because they were older than 31 days' }])
})

import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { nextTurn } from '../../lib/clock/clock.js'
import { defineTasks, tasksOf, type CloudTasksOptions, type HandlerFunction } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import type { KitClock } from '../../lib/testing/kit-clock.js'
import { create, gate } from '../support/app.js'

const tasks = defineTasks({ job: { payload: Type.Object({}) } })

async function tested (t: Test, job: HandlerFunction<object>, options: Partial<CloudTasksOptions<typeof tasks>> = {}) {
  const { app } = await create(t, { tasks, handlers: { job }, closeGraceSeconds: 0.01, ...options } as CloudTasksOptions<typeof tasks>)
  return { app, kit: testTasks(app, tasks), ...tasksOf(app, tasks) }
}

/** Waits until the wall clock has gone on by `ms`. */
async function pass (ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end;) await new Promise(resolve => { setTimeout(resolve, 1) })
}

t.test('a retry that becomes due in real time waits for the next call', async t => {
  const soon = { retryConfig: { minBackoffSeconds: 0.001, maxBackoffSeconds: 0.001 } }
  const { kit, enqueue } = await tested(t, async () => {
    await pass(3)
    throw new Error('no')
  }, { queues: { default: soon } })
  for (let n = 0; n < 3; n++) await enqueue('job', {})
  t.strictSame((await kit.drain()).map(({ attempt }) => attempt), [1, 1, 1])
  await pass(3)
  t.strictSame((await kit.drain()).map(({ attempt }) => attempt), [2, 2, 2])
  const [first] = kit.enqueued()
  await pass(3)
  t.strictSame((await kit.advance(first!.scheduleTime)).map(({ attempt }) => attempt), [3, 3, 3], 'to a time that has passed since')
})

t.test('advance and a drain of what is scheduled end an attempt that hangs at its deadline', async t => {
  const hangs = () => new Promise<void>(() => {})
  const ways = {
    advance: async (kit: ReturnType<typeof testTasks>) => await kit.advance('20s', { maxAttempts: 1 }),
    drain: async (kit: ReturnType<typeof testTasks>) => await kit.drain({ scheduled: true })
  }
  await Promise.all(Object.entries(ways).map(async ([way, end]) => {
    const { kit, enqueue } = await tested(t, hangs, { queues: { default: { retryConfig: { maxAttempts: 1 } } } })
    await enqueue('job', {}, { dispatchDeadlineSeconds: 15 })
    const [attempt] = await end(kit as never)
    t.strictSame([attempt!.status, attempt!.result], [504, 'retry'], way)
    t.equal(Math.round((kit.clock as KitClock).monotonic()), way === 'advance' ? 20_000 : 15_000, way)
  }))
})

t.test('a kit that is disposed of while it runs an attempt says so to who waits', async t => {
  const started = gate()
  const { kit, enqueue } = await tested(t, () => {
    started.open()
    return new Promise<void>(() => {})
  })
  await enqueue('job', {})
  const drained = kit.drain()
  await started.opened
  await kit.dispose()
  await t.rejects(drained, { code: 'FST_TASKS_CLOSING' })
})

t.test('a drain that waits for an attempt from before the kit ends with the kit', async t => {
  const started = gate()
  const { app } = await create(t, {
    tasks,
    closeGraceSeconds: 0.01,
    handlers: {
      job: () => {
        started.open()
        return new Promise<void>(() => {})
      }
    }
  } as CloudTasksOptions<typeof tasks>)
  await app.ready()
  await tasksOf(app, tasks).enqueue('job', {})
  await started.opened
  const kit = testTasks(app, tasks)
  const drained = kit.drain()
  await nextTurn()
  await kit.dispose()
  t.strictSame(await drained, [])
})

t.test('what a handler enqueues for the time that it reads is due', async t => {
  let left = 2
  const { app, kit, enqueue } = await tested(t, async (): Promise<void> => {
    await pass(3)
    if (--left > 0) await tasksOf(app, tasks).enqueue('job', {}, { scheduleTime: new Date() })
  })
  await enqueue('job', {})
  t.strictSame((await kit.drain()).map(({ result }) => result), ['done', 'done'])
})

t.test('an app whose attempt hangs closes although a runner fakes timers', async t => {
  mock.timers.enable({ apis: ['Date', 'setTimeout', 'setInterval'], now: Date.now() })
  t.teardown(() => { mock.timers.reset() })
  const started = gate()
  const { app, kit } = await tested(t, () => {
    started.open()
    return new Promise<void>(() => {})
  })
  const delivered = kit.deliver('job', {})
  await started.opened
  await app.close()
  t.equal((await delivered).status, 503)
})

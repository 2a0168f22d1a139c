import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create } from '../support/app.js'
import { environment } from '../support/environment.js'

const tasks = defineTasks({ charge: { payload: Type.Object({ order: Type.Integer() }) } })

async function tested (t: Test, options: { deadLetterQueue?: string } = {}) {
  const { app } = await create(t, { tasks, handlers: { charge: () => {} }, ...options })
  return { app, kit: testTasks(app, tasks), enqueue: tasksOf(app, tasks).enqueue }
}

t.test('an app without the plugin, no app, a closed app, and production are rejected', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const kit = testTasks(app)
  await t.rejects(kit.drain(), { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /not registered on this app/ })
  await kit.dispose()
  t.throws(() => testTasks(app), { code: 'FST_TASKS_KIT_UNAVAILABLE' })
  t.throws(() => testTasks({} as never), { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /requires a Fastify instance; await/ })
  for (const options of [{}, { local: { directory: t.testdir() } }]) {
    const { app: closed } = await create(t, { tasks, ...options })
    await closed.close()
    for (const call of ['first', 'second']) t.throws(() => testTasks(closed), { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /the app was closed/ }, call)
  }
  environment(t, { NODE_ENV: 'production' })
  t.throws(() => testTasks(app), { code: 'FST_TASKS_NOT_FOR_PRODUCTION' })
})

t.test('an app without the registry of a kit that came first does not start', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const kit = testTasks(app, defineTasks({ other: { payload: Type.Object({}) } }))
  app.register(cloudTasks, { tasks, transport: 'local' } as CloudTasksOptions<typeof tasks>)
  const refused = { code: 'FST_TASKS_KIT_UNAVAILABLE', message: /not registered on this app with these tasks$/ }
  await t.rejects(async () => { await app.ready() }, refused)
  await kit.dispose()
  const free = Fastify()
  t.teardown(() => free.close())
  await testTasks(free).dispose()
  await free.ready()
})

t.test('times that cannot be advanced by are rejected', async t => {
  const { kit } = await tested(t)
  const durations = ['1 hour', '', NaN, Infinity, undefined, new Date(NaN)].map(bad => [bad, /a duration such as '30s'/] as const)
  for (const [bad, problem] of [...durations, [-1, /cannot be set back/], [new Date(0), /cannot be set back/], [9e15, /year 9999/]] as const) {
    await t.rejects(kit.advance(bad as unknown as number), { code: 'FST_TASKS_INVALID_KIT_CALL', message: problem })
  }
})

t.test('invalid and misspelt options of each call are rejected', async t => {
  const { kit } = await tested(t, { deadLetterQueue: 'dead' })
  const calls: Record<string, Array<[call: () => Promise<unknown>, problem: RegExp]>> = {
    drain: [
      [() => kit.drain({ maxAttempts: 0 }), /'maxAttempts' must be a whole number/],
      [() => kit.drain({ schedule: true } as never), /did you mean 'scheduled'/],
      [() => kit.drain({ scheduled: 'yes' } as never), /'scheduled' must be/]
    ],
    advance: [[() => kit.advance('1s', { maxAttempts: 1.5 }), /'maxAttempts' must be a whole number/]],
    deliver: [
      [() => kit.deliver('charge', { order: 1 }, { attempt: 0 }), /'attempt' must be a whole number from 1/],
      [() => kit.deliver('charge', { order: 1 }, { id: '' }), /'id' must be a string of 1 to 500 characters/],
      [() => kit.deliver('charge', { order: 1 }, { id: 'x'.repeat(501) }), /'id' must be a string of 1 to 500 characters/],
      [() => kit.deliver('charge', { order: 1 }, { headers: [] as never }), /'headers' must be an object of strings/],
      [() => kit.deliver('charge', { order: 1 }, { headers: { 'X-CloudTasks-TaskRetryCount': '3' } }), /is set by Cloud Tasks/],
      [() => kit.deliver('charge', { order: 1 }, { queue: 'a b' }), /'queue' must be a queue id/],
      [() => kit.deliver('charge', { order: 1 }, { queue: 'dead' }), /'queue' is the dead-letter queue/],
      [() => kit.deliver('charge', { order: 1 }, { attemps: 2 } as never), /did you mean 'attempt'/]
    ]
  }
  for (const [name, cases] of Object.entries(calls)) {
    for (const [call, problem] of cases) {
      const error = await call().then(() => undefined, (error: Error & { code: string }) => error)
      t.equal(error?.code, 'FST_TASKS_INVALID_KIT_CALL', String(problem))
      t.ok(error!.message.startsWith(`Invalid call of ${name}()`), error!.message)
      t.match(error!.message, problem)
    }
  }
})

t.test('fake timers that set the clock back are reported, and the kit works again once they do not', async t => {
  const { kit, enqueue } = await tested(t)
  await enqueue('charge', { order: 1 })
  mock.timers.enable({ apis: ['Date'] })
  t.teardown(() => { mock.timers.reset() })
  const refused = { code: 'FST_TASKS_INVALID_KIT_CALL', message: /the clock of this process was set back by \d+ s; enable fake timers before testTasks/ }
  await t.rejects(kit.drain(), refused)
  await t.rejects(kit.advance('1s'), refused)
  await t.rejects(kit.deliver('charge', { order: 1 }), refused)
  mock.timers.reset()
  t.hasStrict(await kit.drain(), [{ result: 'done' }])
})

t.test('what no payload can equal is refused, and so is a function that returns a promise', async t => {
  const { kit, enqueue } = await tested(t)
  await enqueue('charge', { order: 1 })
  const values: Array<[value: unknown, path: string]> = [
    [{ order: /1/ }, 'the payload.order is a RegExp'], [{ order: () => true }, 'the payload.order is a function'],
    [[new Map()], 'the payload[0] is a Map'], [{ order: 1n }, 'the payload.order is a bigint'], [new Set(), 'the payload is a Set'],
    [async () => true, 'not a promise']
  ]
  for (const [value, problem] of values) {
    for (const call of ['assertEnqueued', 'refuteEnqueued'] as const) {
      try {
        kit[call]('charge', value as never)
        t.fail(problem)
      } catch (error) {
        t.equal((error as { code: string }).code, 'FST_TASKS_INVALID_KIT_CALL', problem)
        t.match((error as Error).message, problem)
      }
    }
  }
})

t.test('every call of a kit that was disposed of is rejected', async t => {
  const { kit } = await tested(t)
  await kit.dispose()
  const disposed = { code: 'FST_TASKS_KIT_DISPOSED' }
  t.throws(() => kit.enqueued(), disposed)
  t.throws(() => kit.assertEnqueued('charge'), disposed)
  t.throws(() => { kit.refuteEnqueued('charge') }, disposed)
  await t.rejects(kit.drain(), disposed)
  await t.rejects(kit.advance('1s'), disposed)
  await t.rejects(kit.deliver('charge', { order: 1 }), disposed)
  await t.rejects(kit.clear(), disposed)
})

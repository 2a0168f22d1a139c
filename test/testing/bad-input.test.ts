import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { defineTasks, tasksOf } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create } from '../support/app.js'
import { environment } from '../support/environment.js'

const tasks = defineTasks({ charge: { payload: Type.Object({ order: Type.Integer() }) } })

async function tested (t: Test) {
  const { app } = await create(t, { tasks, handlers: { charge: () => {} } })
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

t.test('times that cannot be advanced by are rejected', async t => {
  const { kit } = await tested(t)
  const durations = ['1 hour', '', NaN, Infinity, undefined, new Date(NaN)].map(bad => [bad, /a duration such as '30s'/] as const)
  for (const [bad, problem] of [...durations, [-1, /cannot be set back/], [new Date(0), /cannot be set back/]] as const) {
    await t.rejects(kit.advance(bad as string), { code: 'FST_TASKS_INVALID_KIT_CALL', message: problem })
  }
})

t.test('invalid and misspelt options of each call are rejected', async t => {
  const { kit } = await tested(t)
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

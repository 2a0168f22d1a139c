import { createServer } from 'node:net'
import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import Fastify from 'fastify'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { environment } from '../support/environment.js'

const tasks = defineTasks({
  charge: { payload: Type.Object({ order: Type.Integer() }), queue: 'payments' }
})

/** What production sets, with an address for Cloud Tasks and for Google's keys that records calls. */
async function production (t: Test, more: Record<string, string> = {}) {
  let calls = 0
  const server = createServer(socket => { calls++; socket.destroy() })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => new Promise(resolve => { server.close(resolve) }))
  const { port } = server.address() as { port: number }
  environment(t, {
    CLOUD_TASKS_TRANSPORT: 'cloud',
    CLOUD_TASKS_LOCATION: 'us-central1',
    GOOGLE_CLOUD_PROJECT: 'demo',
    CLOUD_TASKS_TARGET_URL: 'https://worker.example/base',
    CLOUD_TASKS_SERVICE_ACCOUNT: 'tasks@demo.iam.gserviceaccount.com',
    CLOUD_TASKS_EMULATOR_HOST: `127.0.0.1:${port}`,
    ...more
  })
  return { calls: () => calls, auth: { jwksUri: `http://127.0.0.1:${port}/jwks` } }
}

for (const when of ['before', 'after'] as const) {
  t.test(`with production's configuration no call leaves the process, with a kit from ${when} the app is ready`, async t => {
    const { calls, auth } = await production(t)
    // A retry is due 100 ms after its attempt, and a slow machine must not take as long for what is enqueued next.
    mock.timers.enable({ apis: ['Date'], now: Date.now() })
    t.teardown(() => { mock.timers.reset() })
    const app = Fastify()
    t.teardown(() => app.close())
    const attempts: unknown[] = []
    const ended: unknown[] = []
    const early = when === 'before' ? testTasks(app, tasks) : undefined
    await app.register(cloudTasks, {
      tasks,
      auth,
      queues: { payments: { retryConfig: { maxAttempts: 2 } } },
      handlers: {
        charge: ({ order }, { attempt, maxAttempts, isLastAttempt }) => {
          attempts.push([order, attempt, maxAttempts, isLastAttempt])
          throw new Error('no')
        }
      },
      onExhausted: (payload, error, { attempt }) => { ended.push([payload, attempt]) }
    } satisfies CloudTasksOptions<typeof tasks>)
    if (when === 'after') await app.ready()
    const kit = early ?? testTasks(app, tasks)
    const base = await app.listen({ host: '127.0.0.1', port: 0 })
    const client = tasksOf(app, tasks)
    await client.enqueue('charge', { order: 1 }, { id: 'one' })
    t.equal((await client.enqueue('charge', { order: 1 }, { id: 'one' })).duplicate, true)
    await client.enqueue('charge', { order: 2 }, { queue: 'made-by-hand' })
    t.equal(await client.delete('charge', 'one'), true)
    await client.enqueue('charge', { order: 3 })
    t.strictSame(kit.enqueued().map(({ queue }) => queue), ['made-by-hand', 'payments'])
    t.match(await kit.drain(), [{ task: 'charge', result: 'retry', status: 500 }, { result: 'retry', status: 500 }])
    await client.enqueue('charge', { order: 4 })
    await kit.advance('1s')
    t.strictSame(attempts.filter(([order]: any) => order > 2), [[3, 1, 2, false], [4, 1, 2, false], [3, 2, 2, true], [4, 2, 2, true]])
    t.strictSame(ended, [[{ order: 3 }, 2], [{ order: 4 }, 2]])
    const forged = await fetch(`${base}/tasks/charge`, { method: 'POST', headers: { 'fastify-cloud-tasks-secret': 'guess' }, body: '{"order":5}' })
    t.equal(forged.status, 401)
    t.equal((await fetch(`${base}/tasks/charge`, { method: 'POST', body: '{"order":5}' })).status, 401)
    await app.close()
    t.equal(calls(), 0)
  })
}

t.test('after a kit was disposed of, tasks are sent again, and those that it had are gone', async t => {
  const { calls, auth } = await production(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cloudTasks, { tasks, auth, sendTimeoutSeconds: 1, handlers: { charge: () => {} } })
  const kit = testTasks(app, tasks)
  const { enqueue } = tasksOf(app, tasks)
  await enqueue('charge', { order: 1 })
  t.equal(kit.enqueued().length, 1)
  await kit.dispose()
  t.equal(calls(), 0)
  await t.rejects(enqueue('charge', { order: 2 }), { code: 'FST_TASKS_SEND_FAILED' })
  t.ok(calls() > 0)
  t.strictSame(testTasks(app, tasks).enqueued(), [])
})

t.test('an App Engine target is tested as well', async t => {
  const { calls } = await production(t, { GAE_SERVICE: 'default', CLOUD_TASKS_TARGET_URL: '', CLOUD_TASKS_SERVICE_ACCOUNT: '' })
  const app = Fastify()
  t.teardown(() => app.close())
  let seen: unknown
  await app.register(cloudTasks, { tasks, handlers: { charge: (payload, { attempt, queue }) => { seen = { attempt, queue } } } })
  const kit = testTasks(app, tasks)
  await tasksOf(app, tasks).enqueue('charge', { order: 1 })
  t.match(await kit.drain(), [{ result: 'done', status: 204 }])
  t.strictSame(seen, { attempt: 1, queue: 'payments' })
  t.match(await kit.deliver('charge', { order: 1 }, { attempt: 4 }), { result: 'done' })
  t.strictSame(seen, { attempt: 4, queue: 'payments' })
  await app.close()
  t.equal(calls(), 0)
})

import { mock } from 'node:test'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { MAX_TASK_BYTES } from '../../lib/cloud-tasks/size.js'
import { LIFE_HEADER, ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import { defineTasks, type TaskContext } from '../../lib/index.js'
import type { Config } from '../../lib/options/config.js'
import { testTasks } from '../../lib/testing/index.js'
import { ClientSource } from '../../lib/transport/cloud/client.js'
import { create, start, watchAttempts } from '../support/app.js'
import { PARENT, startCloudWorker } from '../support/cloud-worker.js'

const tasks = defineTasks({ work: { payload: Type.Any() } })
const once = { default: { retryConfig: { maxAttempts: 2, minBackoffSeconds: 0.001, maxBackoffSeconds: 0.001 } } }
const seen = ({ id, originalId, queue, attempt, postponements }: TaskContext) => ({ id, originalId, queue, attempt, postponements })

t.test('a postponed task runs again, with new attempts, in the embedded queue', async t => {
  for (const target of [{ type: 'http' }, { type: 'appEngine' }] as const) {
    const attempts = watchAttempts(t)
    const runs: Array<ReturnType<typeof seen> & { payload: unknown }> = []
    const { app, log } = await create(t, {
      tasks,
      target,
      queues: once,
      onExhausted: () => { t.fail('must not run') },
      onDropped: () => { t.fail('must not run') },
      handlers: {
        work (payload, task) {
          runs.push({ payload, ...seen(task) })
          if (task.postponements === 0 && task.attempt === 1) throw new Error('first')
          if (task.postponements < 2) task.retryAfter(3600, 'the third party says 429')
        }
      }
    })
    const kit = testTasks(app)
    const before = kit.clock.now()
    const { id } = await app.enqueue('work', { n: 1, text: 'ü\n' }, { id: 'a', headers: { 'x-own': 'kept' } })
    await kit.drain({ scheduled: true })
    const ends = attempts.ends.splice(0)
    t.ok(kit.clock.now() - before >= 7_200_000, 'it waited twice')
    t.strictSame(ends.map(end => [end.result, end.status, end.exhausted]), [['retry', 500, false], ['postponed', 200, false], ['postponed', 200, false], ['done', 204, false]])
    t.strictSame(runs.map(run => [run.originalId, run.queue, run.attempt, run.postponements]), [[id, 'default', 1, 0], [id, 'default', 2, 0], [id, 'default', 1, 1], [id, 'default', 1, 2]])
    t.equal(new Set(runs.map(run => run.id)).size, 3)
    for (const run of runs) t.strictSame(run.payload, { n: 1, text: 'ü\n' })
    t.strictSame(app.tasks.list()[0]?.counts, { done: 1, retry: 1, dropped: 0, postponed: 2, exhausted: 0, expired: 0 })
    const lines = log.filter(line => line.msg === 'task postponed')
    t.hasStrict(lines, [{ level: 30, reason: 'the third party says 429', id, postponements: 1 }, { postponements: 2 }])
  }
})

t.test('bad times fail the attempt and say why', async t => {
  const now = Date.now()
  mock.timers.enable({ apis: ['Date'], now })
  t.teardown(() => { mock.timers.reset() })
  const cases: Array<[delay: unknown, message: RegExp]> = [
    [-1, /was given -1 seconds; 0 is now/], [NaN, /not NaN/], [Infinity, /was given Infinity seconds; a task can wait for 2592000/], [2_592_001, /2592001 seconds/],
    [new Date(now - 1), /in the past/], [new Date(NaN), /invalid Date/], [new Date(now + 2_592_000_001), /30 days at most/], ['5', /not string/], [undefined, /not undefined/]
  ]
  const { app } = await create(t, { tasks, handlers: { work: (n, task) => task.retryAfter(cases[n]![0] as number) } })
  const kit = testTasks(app)
  for (const [n, [, message]] of cases.entries()) {
    const { error, ...attempt } = await kit.deliver('work', n)
    t.hasStrict({ ...attempt, error }, { result: 'retry', status: 500, error: { code: 'FST_TASKS_INVALID_DELAY' } })
    t.match((error as { explanation: string }).explanation, message)
  }
})

t.test('app.tasks.run rejects with a code of its own', async t => {
  const { app } = await start(t, { tasks, handlers: { work: (_, task) => { t.throws(() => task.retryAfter(60, 'busy')) } } })
  await t.rejects(app.tasks.run('work', {}), { code: 'FST_TASKS_POSTPONED', explanation: /^Task 'work' was postponed until \d{4}-.*Z: busy$/ })
  t.strictSame(app.tasks.counts().default, { ...app.tasks.counts().default, waiting: 0, running: 0 }, 'nothing is enqueued')
})

t.test('the first of drop and retryAfter counts', async t => {
  const { app } = await create(t, {
    tasks,
    handlers: {
      work (first, task) {
        const both = [() => task.drop('no'), () => task.retryAfter(3600)]
        for (const call of first === 'drop' ? both : both.reverse()) {
          try {
            call()
          } catch (error) {
            t.type(error, Error)
          }
        }
      }
    }
  })
  const kit = testTasks(app)
  t.equal((await kit.deliver('work', 'drop')).result, 'dropped')
  t.equal((await kit.deliver('work', 'postpone')).result, 'postponed')
})

t.test('delete finds a postponed task by the id that was enqueued', async t => {
  const options = { tasks, handlers: { work: (_: unknown, task: TaskContext) => task.retryAfter(3600) } }
  const embedded = async () => (await start(t, options)).app
  const cloud = async () => (await startCloudWorker(t, options, { default: {} })).app
  for (const [name, make] of [['embedded', embedded], ['cloud', cloud]] as const) {
    await t.test(name, async t => {
      const app = await make()
      const attempts = watchAttempts(t)
      const { id } = await app.enqueue('work', {}, { id: 'a' })
      await app.enqueue('work', {}, { id: 'b' })
      const { id: unnamed } = await app.enqueue('work', {})
      await attempts.ended(3)
      // Settled or not, the attempts have left their successors.
      await app.tasks.delete('work', id, { copies: false })
      t.equal(await app.tasks.delete('work', 'a', { copies: false }), false)
      t.equal(await app.tasks.delete('work', 'a'), true)
      t.equal(await app.tasks.delete('work', 'a'), false)
      t.equal(await app.tasks.delete('work', unnamed), true)
      t.equal(await app.tasks.delete('work', 'unknown'), false)
      t.equal(await app.tasks.delete('work', 'b'), true)
    })
  }
})

t.test('a task that was deleted while it ran does not run later', async t => {
  const { app, log } = await create(t, {
    tasks,
    handlers: {
      async work (_, task) {
        await app.tasks.delete('work', task.id)
        task.retryAfter(0)
      }
    }
  })
  const kit = testTasks(app)
  await app.enqueue('work', {})
  t.hasStrict(await kit.drain(), [{ result: 'postponed' }])
  t.equal(app.tasks.pending().tasks.length, 0)
  t.equal(log.filter(line => line.msg === 'task was deleted while it ran, so it is not postponed').length, 1)
})

t.test('an id that is used again is postponed again', async t => {
  const bodies: unknown[] = []
  const { app } = await create(t, {
    tasks,
    local: { taskTombstoneSeconds: 0 },
    handlers: {
      work (payload, task) {
        if (task.postponements === 0) task.retryAfter(60)
        bodies.push(payload)
      }
    }
  })
  const kit = testTasks(app)
  for (const n of [1, 2]) {
    t.equal((await app.enqueue('work', n, { id: 'same' })).duplicate, false)
    t.strictSame((await kit.drain({ scheduled: true })).map(({ result }) => result), ['postponed', 'done'])
  }
  t.strictSame(bodies, [1, 2])
})

t.test('an attempt whose answer was lost is repeated, and does not postpone its task twice', async t => {
  const attempts = watchAttempts(t)
  const bodies: unknown[] = []
  const { app } = await create(t, {
    tasks,
    handlers: {
      work (payload, task) {
        if (task.postponements === 0) task.retryAfter(60)
        bodies.push(payload)
      }
    }
  }, app => {
    app.addHook('onSend', async (request, reply) => {
      if (reply.getHeader('fastify-cloud-tasks-result') === 'postponed' && request.headers['x-cloudtasks-taskretrycount'] === '0') reply.code(500)
    })
  })
  const kit = testTasks(app)
  await app.enqueue('work', 1, { id: 'named' })
  await app.enqueue('work', 2)
  t.equal((await kit.drain({ scheduled: true })).length, 6)
  t.strictSame(attempts.ends.map(end => end.result).sort(), ['done', 'done', 'postponed', 'postponed', 'postponed', 'postponed'])
  t.strictSame(bodies.sort(), [1, 2])
  t.strictSame(app.tasks.pending().tasks, [])
})

t.test('in Cloud Tasks', async t => {
  const headersOf = (task: TaskContext) => Object.fromEntries(Object.entries(task.request!.headers).filter(([key]) => !/^x-cloudtasks|^authorization$|^host$/.test(key)))

  t.test('the copy is exact, also of a task that another client has created', async t => {
    const attempts = watchAttempts(t)
    const runs: Array<{ url: string, headers: object, payload: unknown }> = []
    const { app, emulator, url } = await startCloudWorker(t, {
      tasks,
      handlers: {
        work (payload, task) {
          runs.push({ url: task.request!.url, headers: headersOf(task), payload })
          if (task.postponements === 0) task.retryAfter(0)
        }
      }
    }, { default: { maxAttempts: 3 } })
    await emulator.engine.createTask(`${PARENT}/queues/default`, {
      name: `${PARENT}/queues/default/tasks/foreign`,
      httpRequest: {
        url: `${url}/tasks/work?source=django`,
        httpMethod: 'POST',
        headers: { 'content-type': 'application/json', 'x-tenant': 'one' },
        body: Buffer.from('{"n":1}'),
        oidcToken: { serviceAccountEmail: 'tasks@emulator.iam.gserviceaccount.com', audience: url }
      },
      dispatchDeadlineMs: 20_000
    })
    await attempts.ended(2)
    t.equal(runs[1]!.url, '/tasks/work?source=django')
    t.strictSame(runs[1]!.payload, { n: 1 })
    const { [ORIGIN_HEADER]: origin, ...rest } = runs[1]!.headers as Record<string, unknown>
    t.type(origin, 'string')
    t.strictSame(rest, runs[0]!.headers)
    attempts.ends.splice(0)
    runs.splice(0)
    await app.enqueue('work', { n: 2 }, { id: 'own', dispatchDeadlineSeconds: 60 })
    await attempts.ended(2)
    t.strictSame(runs.map(run => run.payload), [{ n: 2 }, { n: 2 }])
  })

  t.test('the copy is made of the request where the task may not be read', async t => {
    const attempts = watchAttempts(t)
    const runs: Array<{ headers: Record<string, unknown>, payload: unknown, deadline: number }> = []
    let calls = 0
    const { app, emulator, log } = await startCloudWorker(t, {
      tasks,
      client: {
        getTask: async () => { calls++; throw Object.assign(new Error('7 PERMISSION_DENIED'), { code: 7, details: 'lacks IAM permission "cloudtasks.tasks.get"' }) },
        createTask: async (...args) => await (await client()).createTask(...args),
        deleteTask: async (...args) => await (await client()).deleteTask(...args as [{ name: string }]),
        getQueue: async (...args) => await (await client()).getQueue(...args as [{ name: string }]),
        getProjectId: async () => 'demo'
      },
      handlers: {
        work (payload, task) {
          runs.push({ headers: headersOf(task), payload, deadline: Math.round((task.deadline.getTime() - Date.now()) / 1000) })
          if (task.postponements === 0) task.retryAfter(0)
        }
      }
    }, { default: {} })
    let made: ClientSource | undefined
    async function client () {
      made ??= new ClientSource({ emulatorHost: emulator.address, project: 'demo', client: undefined } as unknown as Config)
      return (await made.open()).client
    }
    await app.enqueue('work', { text: 'ü' }, { id: 'own', dispatchDeadlineSeconds: 60, headers: { 'x-own': 'kept', cookie: 'secret=1', forwarded: 'for=1', traceparent: '00-1' } })
    await attempts.ended(2)
    t.ok(calls > 0)
    t.strictSame(runs.map(run => [run.payload, run.deadline]), [[{ text: 'ü' }, 60], [{ text: 'ü' }, 60]])
    const { [ORIGIN_HEADER]: origin, ...rest } = runs[1]!.headers
    t.type(origin, 'string')
    t.equal(rest['x-own'], 'kept')
    for (const key of ['cookie', 'forwarded', 'traceparent', LIFE_HEADER]) {
      t.equal(key in runs[0]!.headers, true, `${key} was there`)
      t.equal(key in rest, false, `${key} is not copied`)
    }
    t.strictSame(log.filter(line => line.level >= 40), [])
    await app.close()
    await made?.close()
  })

  t.test('where no copy can be created the attempt fails with a code and is retried', async t => {
    const attempts = watchAttempts(t)
    const body = JSON.stringify('x'.repeat(MAX_TASK_BYTES - 600))
    const { emulator, url } = await startCloudWorker(t, { tasks, handlers: { work: (_, task) => task.retryAfter(0, 'busy') } }, { default: { maxAttempts: 1 } })
    const base = { url: `${url}/tasks/work`, headers: { 'content-type': 'application/json' }, oidcToken: { serviceAccountEmail: 'tasks@emulator.iam.gserviceaccount.com', audience: url } }
    const parent = `${PARENT}/queues/default`
    // As large as a task can be, less what the digits of its times may take.
    let size = body.length
    for (let step = 512; step >= 1; step = Math.floor(step / 2)) {
      try {
        const { name } = await emulator.engine.createTask(parent, { scheduleAt: Date.now() + 1e6, httpRequest: { ...base, body: Buffer.from(JSON.stringify('x'.repeat(size + step))) } })
        await emulator.engine.deleteTask(name)
        size += step
      } catch {}
    }
    await emulator.engine.createTask(parent, { httpRequest: { ...base, body: Buffer.from(JSON.stringify('x'.repeat(size - 32))) } })
    const [end] = await attempts.ended(1)
    t.hasStrict(end, { result: 'retry', status: 500, exhausted: true, error: { code: 'FST_TASKS_POSTPONE_FAILED' } })
    t.match((end!.error as { explanation: string }).explanation, /the copy has \d+ bytes, more than the 1048569/)
  })
})

t.test('enqueue leaves so much free that a copy always fits', async t => {
  const { app } = await create(t, { tasks, handlers: { work (_, task) { if (task.postponements < 2) task.retryAfter(0) } } })
  const kit = testTasks(app)
  let size = 1_046_521
  const { bytes } = await app.enqueue('work', 'x'.repeat(size), { id: 'large' }).then(() => { throw new Error('too large') }, error => {
    t.hasStrict(error, { code: 'FST_TASKS_TOO_LARGE' })
    return { bytes: Number(/has (\d+) bytes, more than the maximum of 1046521/.exec(error.message)![1]) }
  })
  // The digits of its times count as well, and differ from call to call.
  size -= bytes - 1_046_521 + 16
  await t.rejects(app.enqueue('work', 'x'.repeat(size + 32), { id: 'large' }), { code: 'FST_TASKS_TOO_LARGE' })
  await app.enqueue('work', 'x'.repeat(size), { id: 'large' })
  t.strictSame((await kit.drain()).map(({ result }) => result), ['postponed', 'postponed', 'done'])
})

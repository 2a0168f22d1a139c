import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { taskId } from '../lib/enqueue.js'
import { defineTasks, tasksOf } from '../lib/index.js'
import { createRegistry } from '../lib/registry/registry.js'
import { MemoryStore } from '../lib/store/memory-store.js'
import { createTasks } from '../lib/tasks.js'
import { gate, start, watchAttempts } from './support/app.js'

const tasks = defineTasks({ count: { payload: Type.Object({ n: Type.Integer() }), queue: 'counts' } })
const COUNT = 1700

/** Sizes of the writes of tasks from now on: a number for each. */
function watchWrites (t: Test): number[] {
  const writes: number[] = []
  const { putTask, putTasks } = MemoryStore.prototype
  MemoryStore.prototype.putTask = function (task) {
    writes.push(1)
    return putTask.call(this, task)
  }
  MemoryStore.prototype.putTasks = function (tasks) {
    writes.push(tasks.length)
    return putTasks.call(this, tasks)
  }
  t.teardown(() => { Object.assign(MemoryStore.prototype, { putTask, putTasks }) })
  return writes
}

t.test('enqueueMany stores its items in a few writes, answers in their order, and all of them run', async t => {
  const attempts = watchAttempts(t)
  const writes = watchWrites(t)
  const seen = new Set<number>()
  const { app } = await start(t, { tasks, handlers: { count: ({ n }: { n: number }) => { seen.add(n) } } })
  const results = await tasksOf(app, tasks).enqueueMany('count', Array.from({ length: COUNT }, (_, n) => ({ payload: { n }, id: `${n}` })))
  t.same(results.map(result => result.status === 'fulfilled' && result.value.id), Array.from({ length: COUNT }, (_, n) => taskId('count', `${n}`)))
  t.same(writes, [500, 500, 500, 200])
  await attempts.ended(COUNT)
  t.equal(seen.size, COUNT)
})

t.test('enqueueMany reads its items no further ahead than two writes', async t => {
  const { app } = await start(t, { tasks })
  let [read, ahead] = [0, 0]
  const items = function * (): Generator<{ payload: { n: number } }> {
    for (; read < COUNT; read++) {
      ahead = Math.max(ahead, read - app.tasks.counts().counts!.waiting)
      yield { payload: { n: read } }
    }
  }
  await tasksOf(app, tasks).enqueueMany('count', items())
  t.equal(app.tasks.counts().counts!.waiting, COUNT)
  t.ok(ahead < 1000, String(ahead))
})

t.test('enqueueMany lets a duplicate, a wrong queue and a task that is too large end alone', async t => {
  const { app } = await start(t, { tasks: defineTasks({ any: { payload: Type.Unknown() } }) })
  await app.enqueue('any', 0, { id: 'there' })
  const results = await app.tasks.enqueueMany('any', [
    { payload: 1, id: 'there' },
    { payload: 2, queue: 'nowhere' },
    { payload: 'x'.repeat(1_046_600) },
    { payload: 3, id: 'twice' },
    { payload: 4, id: 'twice' },
    { payload: undefined },
    { payload: 5, scheduleDelaySeconds: 60 }
  ])
  t.match(results, [
    { value: { id: taskId('any', 'there'), duplicate: true } },
    { reason: { code: 'FST_TASKS_QUEUE_NOT_FOUND' } },
    { reason: { code: 'FST_TASKS_TOO_LARGE' } },
    { value: { id: taskId('any', 'twice'), duplicate: false } },
    { value: { id: taskId('any', 'twice'), duplicate: true } },
    { reason: { code: 'FST_TASKS_PAYLOAD_NOT_JSON' } },
    { value: { duplicate: false } }
  ])
})

t.test('enqueueMany keeps what it read before its source broke', async t => {
  const { app } = await start(t, { tasks })
  const items = function * (): Generator<{ payload: { n: number } }> {
    for (let n = 0; n < 600; n++) yield { payload: { n } }
    throw new Error('the source broke')
  }
  await t.rejects(app.tasks.enqueueMany('count', items()), { message: 'the source broke' })
  t.equal(app.tasks.counts().counts!.waiting, 600)
})

t.test('enqueueMany has a bounded number of asynchronous validations under way', async t => {
  let [open, most] = [0, 0]
  const payload = {
    '~standard': {
      version: 1,
      vendor: 'test',
      async validate (value: { n: number }) {
        most = Math.max(most, ++open)
        await new Promise(resolve => setImmediate(resolve))
        open--
        return value.n === 7 ? { issues: [{ message: 'is seven', path: ['n'] }] } : { value }
      }
    }
  }
  const { app } = await start(t, { tasks: defineTasks({ count: { payload: payload as object } }), enqueueConcurrency: 3 })
  const results = await app.tasks.enqueueMany('count', Array.from({ length: 20 }, (_, n) => ({ payload: { n } })))
  t.match(results[7], { status: 'rejected', reason: { code: 'FST_TASKS_INVALID_PAYLOAD' } })
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 19)
  t.equal(most, 3)
})

t.test('enqueueMany rejects every item once the server has closed', async t => {
  const { app } = await start(t, { tasks })
  await app.close()
  const results = await app.tasks.enqueueMany('count', [{ payload: { n: 1 } }, { payload: { n: 'one' } }])
  t.match(results, [{ reason: { code: 'FST_TASKS_CLOSING' } }, { reason: { code: 'FST_TASKS_INVALID_PAYLOAD' } }])
})

t.test('app.tasks', async t => {
  const tasks = defineTasks({
    mail: {
      payload: Type.Object({ to: Type.String({ format: 'email' }), copies: Type.Integer({ default: 1 }), note: Type.Optional(Type.Unknown()) }),
      queue: 'mail'
    },
    any: { payload: Type.Unknown() }
  })
  const mail = { to: 'ada@example.com', copies: 1 }
  const handlers = {
    mail (this: unknown, payload: unknown, task: { attempt: number, isLastAttempt: boolean, request: unknown }) {
      return { self: this, payload, attempt: task.attempt, request: task.request }
    },
    any (payload: unknown, task: { drop(reason: string): never }) {
      if (payload === 'drop') task.drop('not wanted')
      throw payload
    }
  }

  t.test('run calls the handler here, with the validated payload, and returns what it returns', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks, handlers: handlers as never })
    const result = await app.tasks.run('mail', { to: 'ada@example.com' }) as { self: unknown, payload: unknown }
    t.equal(result.self, app)
    t.match(result, { payload: { to: 'ada@example.com', copies: 1 }, attempt: 1, request: undefined })
    t.equal(attempts.ends.length, 0, 'no attempt was made')
    t.hasStrict(await app.tasks.run('mail', mail, { attempt: 7 }), { attempt: 7 })
  })

  t.test('run and the route agree on what a coercing validator makes of the whole payload', async t => {
    const attempts = watchAttempts(t)
    const seen: unknown[] = []
    const count = defineTasks({ count: { payload: Type.Integer() } })
    const { app } = await start(t, { tasks: count, handlers: { count: payload => { seen.push(payload) } } })
    await app.enqueue('count', '7')
    await attempts.ended(1)
    await app.tasks.run('count', '7')
    t.strictSame(seen, [7, 7])
  })

  t.test('run throws what the handler throws, as it is', async t => {
    const { app } = await start(t, { tasks, handlers: handlers as never })
    const thrown = await app.tasks.run('any', { mine: true }).then(() => undefined, error => error)
    t.strictSame(thrown, { mine: true })
    await t.rejects(app.tasks.run('any', 'drop'), { code: 'FST_TASKS_DROPPED' })
  })

  t.test('run rejects what enqueue rejects, and a task without a handler', async t => {
    const { app } = await start(t, { tasks, handlers: { mail: handlers.mail } as never })
    await t.rejects(app.tasks.run('mial', {}), { code: 'FST_TASKS_NOT_REGISTERED' })
    await t.rejects(app.tasks.run('mail', {}), { code: 'FST_TASKS_INVALID_PAYLOAD' })
    await t.rejects(app.tasks.run('mail', undefined), { code: 'FST_TASKS_PAYLOAD_NOT_JSON' })
    await t.rejects(app.tasks.run('any', 1), { code: 'FST_TASKS_NO_HANDLER' })
  })

  t.test('counts and pending look into the embedded queue, page by page', async t => {
    const [started, go] = [gate(), gate()]
    const { app } = await start(t, {
      tasks,
      handlers: {
        async mail () {
          started.open()
          await go.opened
        }
      }
    })
    await app.enqueue('mail', mail)
    await started.opened
    for (let n = 0; n < 25; n++) await app.enqueue('mail', mail, { id: String(n), scheduleDelaySeconds: 60 + n })
    t.strictSame(app.tasks.counts(), {
      default: { waiting: 0, running: 0, oldestDueSeconds: 0, state: 'RUNNING' },
      mail: { waiting: 25, running: 1, oldestDueSeconds: 0, state: 'RUNNING' }
    })

    const seen = new Map<string, unknown>()
    let pageToken: string | undefined
    let pages = 0
    do {
      const page = app.tasks.pending('mail', { pageSize: 10, ...(pageToken === undefined ? {} : { pageToken }) })
      for (const task of page.tasks) seen.set(task.id, task)
      pageToken = page.nextPageToken
      pages++
    } while (pageToken !== undefined)
    t.equal(seen.size, 26)
    t.equal(pages, 3)
    t.match(seen.get(taskId('mail', '7')), {
      name: 'mail',
      queue: 'mail',
      path: '/tasks/mail',
      state: 'waiting',
      attempts: 0,
      scheduleTime: Date,
      createTime: Date
    })
    t.equal([...seen.values()].filter(task => (task as { state: string }).state === 'running').length, 1)
    t.strictSame(app.tasks.pending().tasks, [])
    t.throws(() => app.tasks.pending('nowhere'), { code: 'FST_TASKS_QUEUE_NOT_FOUND' })
    t.throws(() => app.tasks.pending('mail', { pageToken: 'x' }), { code: 'FST_TASKS_INVALID_PAGE' })
    t.throws(() => app.tasks.pending('mail', { pageSize: -1 }), { code: 'FST_TASKS_INVALID_PAGE' })
    go.open()
  })

  t.test('a page of pending tasks ends early where they are large', async t => {
    const { app } = await start(t, { tasks, handlers: {} })
    for (let n = 0; n < 4; n++) await app.enqueue('mail', { ...mail, note: 'x'.repeat(1_000_000) }, { scheduleDelaySeconds: 60 })
    const { tasks: first, nextPageToken } = app.tasks.pending('mail')
    t.equal(first.length, 3)
    const last = app.tasks.pending('mail', { pageToken: nextPageToken! })
    t.equal(last.tasks.length, 1)
    t.equal(last.nextPageToken, undefined)
  })

  t.test('delete removes a queued task by either id, once', async t => {
    const { app } = await start(t, { tasks })
    const options = { scheduleDelaySeconds: 60 }
    const named = await app.enqueue('mail', mail, { ...options, id: 'mine' })
    const unnamed = await app.enqueue('mail', mail, options)
    await app.enqueue('mail', mail, { ...options, id: 'other', queue: 'default' })
    t.equal(await app.tasks.delete('mail', 'mine'), true)
    t.equal(await app.tasks.delete('mail', named.id), false)
    t.equal(await app.tasks.delete('mail', unnamed.id), true)
    t.equal(await app.tasks.delete('mail', 'never there'), false)
    t.equal(await app.tasks.delete('mail', 'other'), false)
    t.equal(await app.tasks.delete('mail', 'other', { queue: 'default' }), true)
    await t.rejects(app.tasks.delete('mial', 'x'), { code: 'FST_TASKS_NOT_REGISTERED' })
    await t.rejects(app.tasks.delete('mail', undefined as never), { code: 'FST_TASKS_INVALID_ENQUEUE_OPTION' })
    await t.rejects(app.tasks.delete('mail', ''), { code: 'FST_TASKS_INVALID_ENQUEUE_OPTION' })
    await t.rejects(app.tasks.delete('mail', 'x', { queue: 'nowhere' }), { code: 'FST_TASKS_QUEUE_NOT_FOUND' })
  })
})

/** `app.tasks` without an app. */
function tasksWithout (inspection: unknown) {
  const definitions = { mail: { payload: { type: 'object' }, method: 'PUT' as const, queue: 'post' }, any: { payload: {}, path: '/x/y' } }
  const registry = createRegistry(definitions, { any: () => {} })
  const counts = new Map([['mail', { done: 1 }], ['any', { done: 2 }]])
  const tasks = createTasks({
    app: { prefix: '/v1/' },
    config: { prefix: '/jobs', queue: 'default' },
    registry,
    producer: {},
    settlement: { countsOf: (name: string) => counts.get(name) },
    transport: { inspection }
  } as never)
  return { tasks, definitions }
}

t.test('app.tasks without an app', async t => {
  t.test('lists all tasks with their route, queue, schema, handler and counts', async t => {
    t.strictSame(tasksWithout(undefined).tasks.list() as unknown[], [
      { name: 'mail', method: 'PUT', path: '/v1/jobs/mail', queue: 'post', schema: { type: 'object' }, handler: false, counts: { done: 1 } },
      { name: 'any', method: 'POST', path: '/v1/jobs/x/y', queue: 'default', schema: {}, handler: true, counts: { done: 2 } }
    ])
  })

  t.test('inspects the embedded queue, by default that of the plugin', async t => {
    const calls: unknown[] = []
    const counts = { default: { waiting: 1 } }
    const { tasks } = tasksWithout({
      counts: () => counts,
      setState: async (...values: unknown[]) => { calls.push(values) },
      page (...values: unknown[]) {
        calls.push(values)
        return { tasks: [{ id: '1', path: '/v1/jobs/x/y' }, { id: '2', path: '/gone' }], nextPageToken: 'next' }
      }
    })
    t.equal(tasks.counts() as unknown, counts)
    await tasks.pauseQueue()
    await tasks.pauseQueue('post')
    await tasks.resumeQueue()
    await tasks.resumeQueue('post')
    t.strictSame(calls.splice(0), [['default', 'PAUSED'], ['post', 'PAUSED'], ['default', 'RUNNING'], ['post', 'RUNNING']])
    t.strictSame(tasks.pending() as unknown, {
      tasks: [{ id: '1', path: '/v1/jobs/x/y', name: 'any' }, { id: '2', path: '/gone', name: undefined }], nextPageToken: 'next'
    })
    tasks.pending('post', { pageSize: 1, pageToken: 'x' })
    tasks.pending('post', { pageSize: 1000 })
    t.strictSame(calls.splice(0), [
      ['default', { pageSize: 1000 }], ['post', { pageSize: 1, pageToken: 'x' }], ['post', { pageSize: 1000 }]
    ])
    for (const page of [{ pageSize: 0 }, { pageSize: 1001 }, { pageSize: 1.5 }, { pageToken: 5 }, { size: 5 }, null, 5]) {
      t.throws(() => tasks.pending('post', page as never), { code: 'FST_TASKS_INVALID_PAGE', statusCode: 400 })
    }
    t.strictSame(calls, [])
  })

  t.test('rejects what only an embedded queue has, by the name of the call', async t => {
    const { tasks } = tasksWithout(undefined)
    for (const [name, call] of Object.entries({
      counts: async () => tasks.counts(),
      pauseQueue: async () => { await tasks.pauseQueue() },
      resumeQueue: async () => { await tasks.resumeQueue() },
      pending: async () => tasks.pending()
    })) {
      const { code, statusCode, explanation } = await call().then(() => undefined, error => error)
      t.strictSame([code, statusCode, explanation.split(' ', 1)[0]], ['FST_TASKS_LOCAL_ONLY', 501, `app.tasks.${name}`])
    }
  })

  t.test('runs no task with an attempt number that no attempt has', async t => {
    const { tasks } = tasksWithout(undefined)
    for (const options of [{ attempt: 0 }, { attempt: 1_000_000_001 }, { attempt: 1.5 }, { attempts: 1 }, null]) {
      await t.rejects(tasks.run('any', {}, options as never), { code: 'FST_TASKS_INVALID_ENQUEUE_OPTION' })
    }
    await t.rejects(tasks.run('mail', {}, { attempt: 1_000_000_000 }), { code: 'FST_TASKS_NO_HANDLER' })
  })

  t.test('knows no other tasks', async t => {
    const { tasks } = tasksWithout(undefined)
    await t.rejects(tasks.run('mial', {}), { code: 'FST_TASKS_NOT_REGISTERED' })
    await t.rejects(tasks.enqueueMany('mial', []), { code: 'FST_TASKS_NOT_REGISTERED' })
  })

  t.test('is typed by definitions only where the app has been given these very ones', async t => {
    const { tasks, definitions } = tasksWithout(undefined)
    const enqueue = () => {}
    const app = { tasks, enqueue } as never
    t.strictSame(tasksOf(app, definitions), { ...tasks, enqueue } as never)
    const code = 'FST_TASKS_NOT_REGISTERED'
    t.throws(() => tasksOf(app, { ...definitions, more: { payload: {} } }), { code })
    t.throws(() => tasksOf(app, { mail: { payload: { type: 'object' } } }), { code }, 'an equal schema is another one')
    t.throws(() => tasksOf({ enqueue } as never, definitions), { code }, 'an instance that the plugin is not registered on')
    t.throws(() => tasksOf({ tasks: {}, enqueue } as never, definitions), { code })
  })
})

import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { resolveConfig } from '../lib/options/config.js'
import cloudTasks, { defineTasks, tasksOf } from '../lib/index.js'

const payload = Type.Object({ n: Type.Integer() })
const tasks = defineTasks({ count: { payload } })

/** Registers with options of any shape and returns the error that it met. */
async function registering (
  t: Test,
  options: object,
  app: FastifyInstance = Fastify()
): Promise<{ code: string, message: string } | undefined> {
  t.teardown(() => app.close())
  try {
    await app.register(cloudTasks, options as never)
    await app.ready()
    return undefined
  } catch (error) {
    return error as { code: string, message: string }
  }
}

function defining (definitions: unknown): string | undefined {
  try {
    defineTasks(definitions as never)
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

t.test('definitions', async t => {
  t.test('a definition without a path is mounted at its name', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, handlers: { count: () => {} } })
    t.match(tasksOf(app, tasks).list(), [{ name: 'count', method: 'POST', path: '/tasks/count', queue: 'default', handler: true }])
    t.equal(app.hasRoute({ method: 'POST', url: '/tasks/count' }), true)
  })

  const malformed: Array<[what: string, definitions: unknown]> = [
    ['no object', 'count'],
    ['a list', [{ payload }]],
    ['a __proto__ that is not a task', { __proto__: { payload } }],
    ['an empty name', { '': { payload, path: '/x' } }],
    ['a name with white space', { 'a b': { payload, path: '/x' } }],
    ['a definition that is no object', { count: payload.type }],
    ['an unknown key', { count: { payload, pth: '/x' } }],
    ['no schema', { count: {} }],
    ['a schema that is no object', { count: { payload: 'string' } }],
    ['a name that makes no path', { 'mail:send': { payload } }],
    ['a path without a slash', { count: { payload, path: 'count' } }],
    ['a path with a parameter', { count: { payload, path: '/:id' } }],
    ['a path with a wildcard', { count: { payload, path: '/a/*' } }],
    ['a path with a query', { count: { payload, path: '/a?b=c' } }],
    ['a path with a trailing slash', { count: { payload, path: '/a/' } }],
    ['a path with dot segments', { count: { payload, path: '/a/../b' } }],
    ['a path that is no string', { count: { payload, path: 7 } }],
    ['a method without a body', { count: { payload, method: 'GET' } }],
    ['a queue with a bad id', { count: { payload, queue: 'my_queue' } }],
    ['a queue that is no string', { count: { payload, queue: 5 } }],
    ['a deadline too short', { count: { payload, dispatchDeadlineSeconds: 14 } }],
    ['a deadline too long', { count: { payload, dispatchDeadlineSeconds: 86_416 } }],
    ['a deadline that is no number', { count: { payload, dispatchDeadlineSeconds: '60' } }],
    ['a deadline of NaN', { count: { payload, dispatchDeadlineSeconds: NaN } }]
  ]
  for (const [what, definitions] of malformed) {
    t.test(`${what} is rejected`, async t => { t.equal(defining(definitions), 'FST_TASKS_INVALID_DEFINITION') })
  }

  t.test('two tasks on one path are rejected', async t => {
    t.equal(defining({ a: { payload, path: '/b' }, b: { payload } }), 'FST_TASKS_DUPLICATE_PATH')
  })

  t.test('a misspelt key is reported with the correct one', async t => {
    try {
      defineTasks({ count: { payload, dispatchDeadlineSecond: 30 } } as never)
      t.fail('was accepted')
    } catch (error) {
      t.match((error as Error).message, "'dispatchDeadlineSeconds'")
    }
  })

  t.test('definitions are frozen', async t => {
    t.throws(() => { (tasks.count as { path?: string }).path = '/other' }, TypeError)
  })

  t.test('a deadline that only App Engine grants is rejected for an HTTP target', async t => {
    const slow = defineTasks({ slow: { payload, dispatchDeadlineSeconds: 3600 } })
    t.equal((await registering(t, { tasks: slow }))?.code, 'FST_TASKS_INVALID_DEFINITION')
    t.equal(await registering(t, { tasks: slow, target: { type: 'appEngine' } }), undefined)
  })

  t.test('a PATCH is rejected for an App Engine target, which gives it no body', async t => {
    const patch = defineTasks({ change: { payload, method: 'PATCH' } })
    t.equal((await registering(t, { tasks: patch, target: { type: 'appEngine' } }))?.code, 'FST_TASKS_INVALID_DEFINITION')
    t.equal(await registering(t, { tasks: patch }), undefined)
  })
})

t.test('handlers', async t => {
  for (const [what, handlers] of [
    ['a handler without a definition', { cuont: () => {} }],
    ['a handler that is no function', { count: 'later' }],
    ['handlers that are no object', () => {}],
    ['a handler named like a method of all objects', { toString: () => {} }]
  ] as const) {
    t.test(`${what} is rejected, and nothing is left half-registered`, async t => {
      const app = Fastify()
      const error = await registering(t, { tasks, handlers }, app)
      t.equal(error?.code, 'FST_TASKS_INVALID_HANDLER')
      t.equal(app.hasDecorator('enqueue'), false)
      t.equal(app.hasRoute({ method: 'POST', url: '/tasks/count' }), false)
    })
  }

  t.test('a producer without handlers mounts no route', async t => {
    const app = Fastify()
    t.equal(await registering(t, { tasks }, app), undefined)
    t.equal(app.hasRoute({ method: 'POST', url: '/tasks/count' }), false)
    t.equal((await app.inject({ method: 'POST', url: '/tasks/count', payload: { n: 1 } })).statusCode, 404)
  })
})

t.test('registering the plugin', async t => {
  t.test('twice on one instance is rejected', async t => {
    const app = Fastify()
    await app.register(cloudTasks, { tasks })
    t.equal((await registering(t, { tasks }, app))?.code, 'FST_TASKS_ALREADY_REGISTERED')
  })

  t.test('below an instance that has it is rejected', async t => {
    const app = Fastify()
    await app.register(cloudTasks, { tasks })
    app.register(async child => { await child.register(cloudTasks, { tasks }) })
    await t.rejects(async () => { await app.ready() }, { code: 'FST_TASKS_ALREADY_REGISTERED' })
    await app.close()
  })

  t.test('twice side by side mounts one definition twice, which is rejected', async t => {
    const app = Fastify()
    const handlers = { count: () => {} }
    app.register(async child => { await child.register(cloudTasks, { tasks, handlers }) })
    app.register(async child => { await child.register(cloudTasks, { tasks, handlers }) })
    await t.rejects(async () => { await app.ready() }, { code: 'FST_TASKS_ROUTE_TAKEN' })
    await app.close()
  })

  t.test('side by side with different prefixes works', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    const handlers = { count: () => {} }
    app.register(async child => { await child.register(cloudTasks, { tasks, handlers, prefix: '/a' }) })
    app.register(async child => { await child.register(cloudTasks, { tasks, handlers }) }, { prefix: '/b' })
    await app.ready()
    t.equal(app.hasRoute({ method: 'POST', url: '/a/count' }), true)
    t.equal(app.hasRoute({ method: 'POST', url: '/b/tasks/count' }), true)
  })

  t.test('side by side with different tasks under one prefix works, beside a host that has its own not-found handler there', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    const [one, two] = [defineTasks({ one: { payload } }), defineTasks({ two: { payload } })]
    app.register(async host => { host.setNotFoundHandler((_request, reply) => reply.code(404).send('host')) }, { prefix: '/tasks' })
    app.register(async child => { await child.register(cloudTasks, { tasks: one, handlers: { one: () => {} }, auth: false }) })
    app.register(async child => { await child.register(cloudTasks, { tasks: two, handlers: { two: () => {} }, auth: false }) })
    await app.ready()
    for (const [url, status] of [['/tasks/one', 204], ['/tasks/two', 204], ['/tasks/three', 404]] as const) {
      t.equal((await app.inject({ method: 'POST', url, payload: { n: 1 } })).statusCode, status)
    }
  })

  t.test('over a route of the host is rejected', async t => {
    const app = Fastify()
    app.post('/tasks/count', () => 'mine')
    t.equal((await registering(t, { tasks, handlers: { count: () => {} } }, app))?.code, 'FST_TASKS_ROUTE_TAKEN')
  })

  t.test('without tasks is rejected', async t => {
    t.equal((await registering(t, {}))?.code, 'FST_TASKS_INVALID_DEFINITION')
  })

  t.test('with a schema that does not compile is rejected at boot, also for a producer', async t => {
    const broken = { count: { payload: { type: 'no such type' } } }
    t.equal((await registering(t, { tasks: broken }))?.code, 'FST_TASKS_INVALID_SCHEMA')
    const worker = await registering(t, { tasks: broken, handlers: { count: () => {} } })
    t.equal(worker?.code, 'FST_TASKS_INVALID_SCHEMA')
    t.ok(worker?.message.startsWith("The payload schema of task 'count' does not compile: schema is invalid"))
  })

  t.test('a task handle is rejected by an app that does not have the task', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    t.throws(() => tasksOf(app, tasks), { code: 'FST_TASKS_NOT_REGISTERED' })
    await app.register(cloudTasks, { tasks })
    t.throws(() => tasksOf(app, defineTasks({ count: { payload: Type.Object({}) } })), { code: 'FST_TASKS_NOT_REGISTERED' })
    t.equal(typeof tasksOf(app, tasks).enqueue, 'function')
  })
})

t.test('options', async t => {
  const cloudOptions = {
    transport: 'cloud',
    project: 'demo',
    location: 'us-central1',
    target: { type: 'http', url: 'https://worker.example.com' }
  }
  const wrong: Array<[options: Record<string, unknown>, names: string]> = [
    [{ tranport: 'local' }, "'transport'"],
    [{ transport: 'Local' }, "'transport'"],
    [{ transport: true }, "'transport'"],
    [{ prefix: 'tasks' }, "'prefix'"],
    [{ prefix: '/tasks/' }, "'prefix'"],
    [{ prefix: '/:tenant' }, "'prefix'"],
    [{ project: 42 }, "'project'"],
    [{ project: 'a/b' }, "'project'"],
    [{ location: 'us central1' }, "'location'"],
    [{ queue: 'a_b' }, "'queue'"],
    [{ queue: '' }, "'queue'"],
    [{ queues: [] }, "'queues'"],
    [{ queues: { a_b: {} } }, "'queues.a_b'"],
    [{ queues: { a: 5 } }, "'queues.a'"],
    [{ queues: { a: { ratelimits: {} } } }, "'rateLimits'"],
    [{ queues: { a: { rateLimits: { maxDispatchesPerSecond: 1_000_001 } } } }, 'maxDispatchesPerSecond'],
    [{ ...cloudOptions, queues: { a: { rateLimits: { maxDispatchesPerSecond: 501 } } } }, 'maxDispatchesPerSecond'],
    [{ queues: { a: { rateLimits: { maxDispatchesPerSecond: 0 } } } }, 'maxDispatchesPerSecond'],
    [{ queues: { a: { rateLimits: { maxDispatchesPerSecond: '5' } } } }, 'maxDispatchesPerSecond'],
    [{ queues: { a: { rateLimits: { maxConcurrentDispatches: 5001 } } } }, 'maxConcurrentDispatches'],
    [{ queues: { a: { rateLimits: { maxConcurrentDispatches: 1.5 } } } }, 'maxConcurrentDispatches'],
    [{ queues: { a: { rateLimits: { maxBurstSize: 5 } } } }, "'maxBurstSize'"],
    [{ queues: { a: { retryConfig: { maxAttempts: 0 } } } }, 'maxAttempts'],
    [{ queues: { a: { retryConfig: { maxAttempts: -2 } } } }, 'maxAttempts'],
    [{ queues: { a: { retryConfig: { maxAttempts: Infinity } } } }, 'maxAttempts'],
    [{ queues: { a: { retryConfig: { minBackoffSeconds: NaN } } } }, 'minBackoffSeconds'],
    [{ queues: { a: { retryConfig: { minBackoffSeconds: 10, maxBackoffSeconds: 5 } } } }, 'minBackoffSeconds'],
    [{ queues: { a: { retryConfig: { maxDoublings: -1 } } } }, 'maxDoublings'],
    [{ queues: { a: { retryConfig: { maxRetry: 5 } } } }, "'maxRetrySeconds'"],
    [{ target: 'https://example.com' }, "'target'"],
    [{ target: {} }, "'target.type'"],
    [{ target: { type: 'ftp' } }, "'target.type'"],
    [{ target: { type: 'http', ulr: 'https://example.com' } }, "'url'"],
    [{ target: { type: 'appEngine', url: 'https://example.com' } }, "'url'"],
    [{ local: { dir: '/tmp' } }, "'local'"],
    [{ local: { taskTombstoneSeconds: -1 } }, "'local.taskTombstoneSeconds'"],
    [{ client: {} }, "'client'"],
    [{ auth: true }, "'auth'"],
    [{ auth: 'none' }, "'auth'"],
    [{ auth: { isuer: 'x' } }, "'issuer'"],
    [{ sendTimeoutSeconds: -1 }, "'sendTimeoutSeconds'"],
    [{ enqueueConcurrency: 0 }, "'enqueueConcurrency'"],
    [{ closeGraceSeconds: '10' }, "'closeGraceSeconds'"],
    [{ closeGraceSeconds: Infinity }, "'closeGraceSeconds'"],
    [{ invalidPayload: 'ignore' }, "'invalidPayload'"],
    [{ exposeRoutes: 1 }, "'exposeRoutes'"],
    [{ logLevel: 'loud' }, "'logLevel'"],
    [{ onExhausted: 'log' }, "'onExhausted'"],
    [{ onDropped: {} }, "'onDropped'"]
  ]
  for (const [options, names] of wrong) {
    t.test(`${JSON.stringify(options)} is rejected with a message that names ${names}`, async t => {
      const error = await registering(t, { tasks, ...options })
      t.equal(error?.code, 'FST_TASKS_INVALID_OPTION')
      t.ok(error?.message.includes(names), error?.message ?? 'no error')
    })
  }

  t.test('the configuration is frozen', async t => {
    const config = resolveConfig({ tasks }, {}, true)
    t.ok(Object.isFrozen(config) && Object.isFrozen(config.target) && Object.isFrozen(config.callers))
  })
})

t.test('the environment', async t => {
  const resolve = (environment: Record<string, string>, options: object = {}) => resolveConfig({ tasks, ...options }, environment, false)
  const code = (environment: Record<string, string>, options: object = {}) => {
    try {
      resolve(environment, options)
      return undefined
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  const cloud = { CLOUD_TASKS_LOCATION: 'europe-west1', CLOUD_TASKS_TARGET_URL: 'https://worker.example.com' }

  t.test('chooses the transport', async t => {
    t.equal(resolve({}).transport, 'local')
    t.equal(resolve({ ...cloud, K_SERVICE: 'web' }).transport, 'cloud')
    t.equal(resolve({ ...cloud, GAE_SERVICE: 'default' }).transport, 'cloud')
    t.equal(resolve({ ...cloud, CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:8123', GOOGLE_CLOUD_PROJECT: 'demo' }).transport, 'cloud')
    t.equal(resolve({ ...cloud, CLOUD_TASKS_TRANSPORT: 'cloud' }).transport, 'cloud')
    t.equal(resolve({ K_SERVICE: 'web', CLOUD_TASKS_TRANSPORT: 'local' }).transport, 'local')
    t.equal(code({ CLOUD_TASKS_TRANSPORT: 'clod' }), 'FST_TASKS_INVALID_OPTION')
  })

  t.test('is overruled by options', async t => {
    t.match(
      resolve(
        { CLOUD_TASKS_TRANSPORT: 'cloud', CLOUD_TASKS_QUEUE: 'env', GOOGLE_CLOUD_PROJECT: 'env' },
        { transport: 'local', queue: 'mine', project: 'mine' }
      ),
      { transport: 'local', queue: 'mine', project: 'mine' }
    )
  })

  t.test('gives project, location, queue and target', async t => {
    t.match(
      resolve({
        ...cloud,
        CLOUD_TASKS_TRANSPORT: 'cloud',
        CLOUD_TASKS_QUEUE: 'mail',
        GOOGLE_CLOUD_PROJECT: 'demo',
        CLOUD_TASKS_SERVICE_ACCOUNT: 'sa@demo.iam.gserviceaccount.com'
      }),
      {
        project: 'demo',
        location: 'europe-west1',
        queue: 'mail',
        target: { type: 'http', url: 'https://worker.example.com', serviceAccountEmail: 'sa@demo.iam.gserviceaccount.com' }
      }
    )
    t.match(resolve({ CLOUD_TASKS_LOCATION: 'us-central1', GAE_SERVICE: 'web' }).target, { type: 'appEngine' })
  })

  t.test('with an empty variable is as without it', async t => {
    t.match(resolve({ CLOUD_TASKS_TRANSPORT: '', CLOUD_TASKS_QUEUE: '', GOOGLE_CLOUD_PROJECT: '' }), {
      transport: 'local',
      queue: 'default'
    })
  })

  t.test('with an invalid value is rejected', async t => {
    t.equal(code({ CLOUD_TASKS_QUEUE: 'a_b' }), 'FST_TASKS_INVALID_OPTION')
    t.equal(code({ CLOUD_TASKS_EMULATOR_HOST: 'http://127.0.0.1:8123' }), 'FST_TASKS_INVALID_OPTION')
  })

  t.test('lacking several settings is reported in one message', async t => {
    try {
      resolve({ CLOUD_TASKS_EMULATOR_HOST: '127.0.0.1:8123' })
      t.fail('was accepted')
    } catch (error) {
      t.match(error, { code: 'FST_TASKS_MISSING_SETTING' })
      for (const name of ['CLOUD_TASKS_LOCATION', 'GOOGLE_CLOUD_PROJECT', 'CLOUD_TASKS_TARGET_URL']) {
        t.ok((error as Error).message.includes(name), name)
      }
    }
  })

  t.test('of production rejects a missing transport, and a queue in memory', async t => {
    t.equal(code({ NODE_ENV: 'production' }), 'FST_TASKS_NOT_FOR_PRODUCTION')
    t.equal(code({ NODE_ENV: 'production' }, { transport: 'local' }), 'FST_TASKS_NOT_FOR_PRODUCTION')
    t.equal(code({ ...cloud, NODE_ENV: 'production', K_SERVICE: 'web' }), undefined)
  })
})

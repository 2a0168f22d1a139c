import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { chainOf, fieldOf, isClosing, isStarted, jsonParser, rootOf, validatorCompilerOf } from '../lib/fastify-internals.js'
import cloudTasks, { defineTasks, tasksOf } from '../lib/index.js'
import { countsChannel } from '../lib/events.js'
import { expose, handleOf, LOADER, onRegistration, registrationsOf, type PluginHandle } from '../lib/plugin-handle.js'
import { start } from './support/app.js'

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

t.test('definitions', async t => {
  t.test('a definition without a path is mounted at its name', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, handlers: { count: () => {} } })
    t.hasStrict(tasksOf(app, tasks).list(), [{ name: 'count', method: 'POST', path: '/tasks/count', queue: 'default', handler: true }])
    t.equal(app.hasRoute({ method: 'POST', url: '/tasks/count' }), true)
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

  t.test('side by side under one prefix works, in a host with a not-found handler of its own there', async t => {
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

t.test('a start warns of tasks without a handler, which the embedded queue never runs', async t => {
  const two = { count: { payload }, other: { payload } }
  for (const [handlers, missing] of [
    [{}, [['count', 'other']]], [{ count: () => {} }, [['other']]], [{ count: () => {}, other: () => {} }, []]
  ] as const) {
    const { log } = await start(t, { tasks: two, handlers })
    t.strictSame(log.filter(line => line.tasks !== undefined).map(({ level, tasks }) => [level, tasks]), missing.map(names => [40, names]))
  }
})

t.test('an embedded queue without handlers keeps its tasks, which the host might answer with 200', async t => {
  let requests = 0
  const { app } = await start(t, { tasks }, app => { app.setNotFoundHandler(async () => { requests++; return 'found' }) })
  await app.enqueue('count', { n: 1 })
  for (let turn = 0; turn < 50; turn++) await new Promise(resolve => { setImmediate(resolve) })
  const { waiting, running } = app.tasks.counts().default!
  t.strictSame([requests, waiting, running], [0, 1, 0])
})

t.test('a host with a decorator of its own named enqueue or tasks gets the error of Fastify', async t => {
  for (const name of ['enqueue', 'tasks']) {
    const app = Fastify()
    app.decorate(name, null)
    t.equal((await registering(t, { tasks }, app))?.code, 'FST_ERR_DEC_ALREADY_PRESENT', name)
  }
})

t.test('the queues of an app are counted until it closes, and those of Cloud Tasks never', async t => {
  const counted = (): Array<[string, number]> => {
    const found: Array<[string, number]> = []
    countsChannel.publish({ add: (queue: string, { waiting }: { waiting: number }) => { found.push([queue, waiting]) } })
    return found
  }
  const { app } = await start(t, { tasks, queues: { other: {} } })
  await app.enqueue('count', { n: 1 })
  t.strictSame(counted(), [['default', 1], ['other', 0]])
  await app.close()
  await start(t, { tasks, transport: 'cloud', project: 'p', location: 'l', target: { type: 'http', url: 'https://worker.example' } })
  t.strictSame(counted(), [])
  // When an error of a subscriber would be thrown.
  await new Promise<void>(resolve => { process.nextTick(resolve) })
})

t.test('an invalid option is rejected, and nothing is left half-registered', async t => {
  const app = Fastify()
  t.equal((await registering(t, { tasks, tranport: 'local' }, app))?.code, 'FST_TASKS_INVALID_OPTION')
  t.equal(app.hasDecorator('enqueue'), false)
})

t.test("a dead-letter queue with a task's own id is rejected", async t => {
  const letters = defineTasks({ count: { payload, queue: 'letters' } })
  t.equal((await registering(t, { tasks: letters, deadLetterQueue: 'letters' }))?.code, 'FST_TASKS_INVALID_OPTION')
})

t.test('a registration is found from its instance, from those below it, and among all of its server', async t => {
  const app = {}
  const [one, two] = [Object.create(app), Object.create(app)]
  const below = Object.create(one)
  const handles = [one, two].map(app => ({ app }) as PluginHandle)
  const seen: unknown[] = []
  const stops = ['a', 'b'].map(name => onRegistration(two, handle => { seen.push([name, handle]) }))
  t.strictSame([handleOf(one), registrationsOf(app as never)], [undefined, []])
  expose(handles[0]!)
  stops[0]!()
  Object.assign(app, { [LOADER]: { registered: (handle: unknown) => { seen.push(['loader', handle]) } } })
  expose(handles[1]!)
  t.strictSame(seen, [['a', handles[0]], ['b', handles[0]], ['loader', handles[1]], ['b', handles[1]]])
  t.equal(handleOf(one), handles[0])
  t.equal(handleOf(below), handles[0])
  t.equal(handleOf(two), handles[1])
  t.equal(handleOf(app as never), undefined)
  for (const instance of [app, one, below]) t.strictSame(registrationsOf(instance), handles)
  t.strictSame(registrationsOf({} as never), [], 'another server')
  t.equal(Symbol.keyFor(LOADER), 'fastify-cloud-tasks.loader', 'which all copies of the package share')
})

t.test('the state of a server is read as Fastify has it', async t => {
  const app = Fastify()
  let child!: FastifyInstance
  app.register(async instance => { child = instance })
  let closing
  app.addHook('onClose', async () => { closing = isClosing(child) })
  t.strictSame([isStarted(app), isClosing(app)], [false, false])
  await app.ready()
  t.strictSame([isStarted(app), isStarted(child), isClosing(child)], [true, true, false])
  t.strictSame([rootOf(app), rootOf(child), [...chainOf(child)].slice(0, 2)], [app, app, [child, app]])
  await app.close()
  t.equal(closing, true)
  t.strictSame([isStarted({} as never), isClosing({} as never), fieldOf({}, 'fastify.state')], [false, false, undefined])
  const symbol = Symbol('found')
  t.strictSame(fieldOf(Object.create({ [symbol]: 5, [Symbol('other')]: 6 }), 'found'), 5)
})

t.test('JSON is parsed as by a route, at once, and with its errors', async t => {
  const parse = jsonParser(Fastify())
  t.strictSame(parse('{"a":[1]}'), { a: [1] })
  for (const text of ['{', '{"__proto__":1}', '{"constructor":{"prototype":1}}']) t.throws(() => parse(text), { statusCode: 400 } as never)
  t.equal(jsonParser({ getDefaultJsonParser: () => (_: unknown, _text: string, done: Function) => { done(null, 0) } } as never)('x'), 0)
  t.throws(() => jsonParser({ getDefaultJsonParser: () => () => {} } as never)('x'), TypeError)
})

t.test("a schema is compiled by the app's own compiler, or by that of Fastify while there is none", async t => {
  const [own, built] = [() => () => true, () => () => false]
  const seen: unknown[] = []
  const builder = () => (schemas: unknown, ajv: unknown) => { seen.push([schemas, ajv]); return built }
  const app = (compiler: unknown, controller: unknown, options: unknown = { ajv: 'ajv' }) => ({
    validatorCompiler: compiler,
    getSchemas: () => 'schemas',
    [Symbol('fastify.schemaController')]: controller,
    [Symbol('fastify.options')]: options
  }) as never
  t.equal(validatorCompilerOf(app(own, undefined)), own)
  t.equal(validatorCompilerOf(app(own, { addedSchemas: false, getValidatorBuilder: builder })), own)
  t.strictSame(seen, [])
  t.equal(validatorCompilerOf(app(own, { addedSchemas: true, getValidatorBuilder: builder })), built, 'with schemas that were added since')
  t.equal(validatorCompilerOf(app(undefined, { getValidatorBuilder: builder })), built)
  t.equal(validatorCompilerOf(app(undefined, { getValidatorBuilder: builder }, null)), built)
  t.strictSame(seen, [['schemas', 'ajv'], ['schemas', 'ajv'], ['schemas', undefined]])
  t.equal(validatorCompilerOf(app(own, { addedSchemas: true })), own)
  for (const controller of [undefined, {}]) t.throws(() => validatorCompilerOf(app(undefined, controller)), TypeError)
})

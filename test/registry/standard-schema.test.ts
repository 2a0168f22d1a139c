import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import Fastify from 'fastify'
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import swagger from '@fastify/swagger'
import t from 'tap'
import * as v from 'valibot'
import * as z from 'zod'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import cloudTasks, { defineTasks, tasksOf } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import { testTasks } from '../../lib/testing/index.js'
import { create, gate, start, watchAttempts } from '../support/app.js'

/** A Standard Schema whose `validate` is given. */
function standard<Input, Output = Input> (validate: (value: unknown) => unknown, more: object = {}) {
  return { '~standard': { version: 1, vendor: 'test', validate, ...more } } as {
    readonly '~standard': { readonly types?: { readonly input: Input, readonly output: Output } }
  }
}

t.test('an asynchronous schema', async t => {
  const known = new Set(['ada', 'grace'])
  const user = z.object({
    name: z
      .string()
      .refine(async name => {
        await new Promise(resolve => setImmediate(resolve))
        return known.has(name)
      })
      .transform(async name => name.toUpperCase())
  })
  const tasks = defineTasks({ greet: { payload: user } })

  t.test('is awaited at both ends, and the handler gets what it resolves with', async t => {
    const attempts = watchAttempts(t)
    const seen: unknown[] = []
    const { app } = await start(t, { tasks, handlers: { greet: ({ name }) => { seen.push(name) } } })
    await app.enqueue('greet', { name: 'ada' })
    await t.rejects(app.enqueue('greet', { name: 'mallory' }), {
      code: 'FST_TASKS_INVALID_PAYLOAD',
      message: "The payload of task 'greet' is invalid: payload/name does not match its schema"
    })
    t.equal((await attempts.ended(1))[0]?.result, 'done')
    await app.tasks.run('greet', { name: 'grace' })
    t.strictSame(seen, ['ADA', 'GRACE'])
  })

  t.test('has validated before preHandler hooks of the host run', async t => {
    const attempts = watchAttempts(t)
    const bodies: unknown[] = []
    const { app } = await start(t, { tasks, handlers: { greet: () => {} } }, app => {
      app.addHook('preValidation', async request => { bodies.push(request.body) })
      app.addHook('preHandler', async request => { bodies.push(request.body) })
    })
    await app.enqueue('greet', { name: 'ada' })
    await attempts.ended(1)
    t.strictSame(bodies, [{ name: 'ada' }, { name: 'ADA' }])
  })

  t.test('that becomes invalid between enqueue and attempt answers 400, and the queue tries again', async t => {
    let accepts = 0
    const late = defineTasks({
      late: { payload: standard<string>(async value => (++accepts === 2 ? { issues: [{ message: 'not yet' }] } : { value })) }
    })
    const { app } = await create(t, { tasks: late, handlers: { late: () => {} } })
    const kit = testTasks(app)
    await app.enqueue('late', 'x')
    t.strictSame((await kit.drain({ scheduled: true })).map(({ result, status }) => `${result} ${status}`), ['retry 400', 'done 204'])
  })

  let validating = (): void => {}
  const endless = defineTasks({ endless: { payload: standard<unknown>(async () => { validating(); await new Promise(() => {}) }) } })
  const call = { method: 'POST', url: '/tasks/endless', payload: {} } as const

  t.test('that never settles ends the attempt at its deadline', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks: endless, auth: false, handlers: { endless: () => { t.fail('must not run') } } })
    const kit = testTasks(app)
    const late = app.inject({ ...call, headers: { 'fastify-cloud-tasks-deadline': '20' } })
    await kit.advance(19_999)
    t.strictSame(attempts.ends, [])
    await kit.advance(1)
    const response = await late
    t.strictSame([response.statusCode, response.json().code], [504, 'FST_TASKS_DEADLINE_EXCEEDED'])
    t.match(attempts.ends, [{ result: 'retry', status: 504, error: { code: 'FST_TASKS_DEADLINE_EXCEEDED' } }])
  })

  t.test('that never settles does not keep a server from closing, and the attempt is no attempt', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks: endless, auth: false, closeGraceSeconds: 0, handlers: { endless: () => { t.fail('must not run') } } })
    const reached = gate()
    validating = reached.open
    const answer = app.inject(call)
    answer.catch(() => {})
    await reached.opened
    await app.close()
    const { statusCode, headers } = await answer
    t.strictSame([statusCode, headers['fastify-cloud-tasks-result']], [503, 'closing'])
    t.strictSame(attempts.ends, [])
  })

  t.test('has its share of the deadline', async t => {
    const clock = new ManualClock()
    const slow = defineTasks({ slow: { payload: standard<unknown>(async value => { await clock.advance(5000); return { value } }) } })
    let leftMs = 0
    const { app } = await start(t, {
      tasks: slow, auth: false, handlers: { slow: (_, task) => { leftMs = task.deadline.getTime() - clock.now() } }
    })
    handleOf(app)!.clock.switchTo(clock)
    const response = await app.inject({ ...call, url: '/tasks/slow', headers: { 'fastify-cloud-tasks-deadline': '20' } })
    t.equal(response.statusCode, 204)
    t.equal(leftMs, 15_000)
  })
})

t.test('a schema whose validate misbehaves makes an invalid payload and no crash', async t => {
  const nonsense: Array<[what: string, validate: (value: unknown) => unknown]> = [
    [
      'throws',
      () => {
        throw new Error('about secret-value')
      }
    ],
    [
      'throws no error',
      () => {
        // eslint-disable-next-line no-throw-literal
        throw 'secret-value'
      }
    ],
    [
      'rejects',
      async () => {
        throw new Error('about secret-value')
      }
    ],
    ['returns nothing', () => undefined],
    ['returns null', () => null],
    ['returns a boolean', () => true],
    ['returns a text', () => 'secret-value'],
    ['returns neither value nor issues', () => ({})],
    ['resolves with nothing', async () => undefined],
    ['returns issues that are no list', () => ({ value: 1, issues: 'secret-value' })],
    ['returns an empty list of issues', () => ({ value: 1, issues: [] })],
    [
      'returns issues that are none',
      () => ({
        issues: [
          null,
          7,
          'secret-value',
          {},
          { message: 5, path: 'secret-value' },
          { path: [Symbol('secret-value'), { key: 'secret-value' }, null] }
        ]
      })
    ],
    [
      'returns issues without an end',
      () => {
        const issue: Record<string, unknown> = {}
        issue.issues = [issue]
        return { issues: [issue] }
      }
    ],
    [
      'has a result that throws',
      () => ({
        get issues () {
          throw new Error('about secret-value')
        }
      })
    ]
  ]
  for (const [what, validate] of nonsense) {
    t.test(`as it ${what}`, async t => {
      const attempts = watchAttempts(t)
      const tasks = defineTasks({ bad: { payload: standard<unknown>(validate) } })
      const { app, log } = await start(t, { tasks, auth: false, handlers: { bad: () => { t.fail('must not run') } } })
      const error = await app.enqueue('bad', { a: 'secret-value' }).then(() => undefined, reason => reason)
      t.equal(error?.code, 'FST_TASKS_INVALID_PAYLOAD')
      t.equal((await app.inject({ method: 'POST', url: '/tasks/bad', payload: { a: 'secret-value' } })).statusCode, 400)
      t.equal(attempts.ends[0]?.status, 400)
      t.equal(JSON.stringify([log, error, error.message, String(error.cause)]).includes('secret-value'), false)
    })
  }
})

t.test('what is no Standard Schema of version 1 is rejected at registration with the name of the task', async t => {
  const bad: Array<[schema: object, words: string]> = [
    [{ '~standard': {} }, "its '~standard' has no function 'validate'"],
    [{ '~standard': null }, "its '~standard' has no function 'validate'"],
    [standard(() => ({ value: 1 }), { version: 2 }), 'it uses version 2 of Standard Schema; only version 1 is supported']
  ]
  for (const [schema, words] of bad) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks: { bad: { payload: schema as never } }, transport: 'local' })
    await t.rejects(
      async () => {
        await app.ready()
      },
      { code: 'FST_TASKS_INVALID_SCHEMA', message: `The payload schema of task 'bad' does not compile: ${words}` }
    )
  }
})

t.test('schemas of several libraries live in one registry', async t => {
  const seen: Record<string, unknown> = {}
  const tasks = defineTasks({
    typebox: { payload: Type.Object({ n: Type.Integer() }) },
    zod: { payload: z.object({ n: z.coerce.number() }) },
    valibot: { payload: v.pipe(v.string(), v.transform(Number)) },
    arktype: { payload: type('string.numeric.parse') },
    json: { payload: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] } }
  })
  const { app } = await create(t, {
    tasks,
    handlers: {
      typebox: payload => { seen.typebox = payload },
      zod: payload => { seen.zod = payload },
      valibot: payload => { seen.valibot = payload },
      arktype: payload => { seen.arktype = payload },
      json: payload => { seen.json = payload }
    }
  })
  const client = tasksOf(app, tasks)
  const kit = testTasks(app, tasks)
  await client.enqueue('typebox', { n: 1 })
  await client.enqueue('zod', { n: '2' })
  await client.enqueue('valibot', '3')
  await client.enqueue('arktype', '4')
  await client.enqueue('json', { n: 5 })
  await kit.drain()
  t.same(seen, { typebox: { n: 1 }, zod: { n: 2 }, valibot: 3, arktype: 4, json: { n: 5 } })
  for (const name of Object.keys(tasks)) {
    await t.rejects(app.enqueue(name, { n: 'no number' }), { code: 'FST_TASKS_INVALID_PAYLOAD' }, name)
  }
})

t.test('works alike where fastify-type-provider-zod is the compiler of the app', async t => {
  const attempts = watchAttempts(t)
  const seen: unknown[] = []
  const tasks = defineTasks({ send: { payload: z.object({ to: z.email(), at: z.coerce.date(), copies: z.number().default(1) }) } })
  const app = Fastify()
  t.teardown(() => app.close())
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  await app.register(swagger, { openapi: { info: { title: 'test', version: '1' } }, transform: jsonSchemaTransform })
  await app.register(cloudTasks, { tasks, transport: 'local', exposeRoutes: true, handlers: { send: payload => { seen.push(payload) } } })
  await app.ready()
  const client = tasksOf(app, tasks)
  await client.enqueue('send', { to: 'ada@example.com', at: '2030-01-01' })
  await attempts.ended(1)
  t.strictSame(seen, [{ to: 'ada@example.com', at: new Date('2030-01-01'), copies: 1 }])
  await t.rejects(client.enqueue('send', { to: 'nobody', at: 0 }), {
    code: 'FST_TASKS_INVALID_PAYLOAD',
    message: /payload\/to must match format "email"$/
  })
  t.ok(app.swagger().paths?.['/tasks/send'], "its transform documents the app's tasks")
})

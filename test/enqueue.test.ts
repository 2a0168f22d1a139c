import { Type } from '@sinclair/typebox'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import t from 'tap'
import { taskId } from '../lib/enqueue.js'
import cloudTasks, { defineTasks, tasksOf } from '../lib/index.js'
import { testTasks } from '../lib/testing/index.js'
import { start, watchAttempts } from './support/app.js'

const tasks = defineTasks({
  mail: {
    payload: Type.Object(
      { to: Type.String({ format: 'email' }), copies: Type.Integer({ default: 1 }), note: Type.Optional(Type.Unknown()) },
      { additionalProperties: false }
    ),
    queue: 'mail'
  },
  any: { payload: Type.Unknown() }
})
const mail = { to: 'ada@example.com', copies: 1 }

t.test('enqueue', async t => {
  t.test('answers with id, name, queue and time, and the handler runs with the payload', async t => {
    const seen: unknown[] = []
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks, handlers: { mail: (payload, task) => { seen.push(payload, task.id) } } })
    const result = await tasksOf(app, tasks).enqueue('mail', mail)
    t.match(result, { id: /^\d+$/, name: 'mail', queue: 'mail', scheduleTime: Date, duplicate: false })
    await attempts.ended(1)
    t.strictSame(seen, [mail, result.id])
  })

  t.test('works inside a plugin and before the server is ready, and runs once it is', async t => {
    const attempts = watchAttempts(t)
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, transport: 'local', handlers: { mail: () => {} } })
    app.register(async child => { await tasksOf(child, tasks).enqueue('mail', mail) })
    app.addHook('onReady', async () => { await tasksOf(app, tasks).enqueue('mail', mail) })
    await t.rejects(tasksOf(app, tasks).enqueue('mail', { to: 'nobody', copies: 1 }), { code: 'FST_TASKS_INVALID_PAYLOAD' })
    t.equal(attempts.ends.length, 0)
    await app.ready()
    t.match(await attempts.ended(2), [{ result: 'done' }, { result: 'done' }])
  })

  t.test('rejects an unknown name and suggests a similar one', async t => {
    const { app } = await start(t, { tasks })
    for (const name of ['mial', '__proto__', 'toString', '', undefined, 7]) {
      await t.rejects(app.enqueue(name as string, mail), { code: 'FST_TASKS_NOT_REGISTERED', statusCode: 404 })
    }
    await t.rejects(app.enqueue('mial', mail), /did you mean 'mail'/)
  })

  t.test('rejects an invalid payload with the path and never the value', async t => {
    const { app } = await start(t, { tasks })
    for (const payload of [{}, { to: 'secret-value' }, { ...mail, copies: 'many' }, { ...mail, copies: 1.5 }, [], 'text', 7, null]) {
      await t.rejects(app.enqueue('mail', payload), { code: 'FST_TASKS_INVALID_PAYLOAD', statusCode: 400 })
    }
    try {
      await app.enqueue('mail', { to: 'secret-value', copies: 1 })
    } catch (error) {
      t.match((error as Error).message, 'payload/to')
      t.notMatch(JSON.stringify(error) + (error as Error).message, 'secret-value')
      t.match(error, { validation: [{ keyword: 'format', instancePath: '/to' }] })
    }
  })

  t.test('shows no keys of a record, which are data too', async t => {
    const records = defineTasks({ record: { payload: Type.Object({ totals: Type.Record(Type.String(), Type.Number()) }) } })
    const { app } = await start(t, { tasks: records })
    const error = await app.enqueue('record', { totals: { 'ada@example.com': 'x' } }).then(() => undefined, reason => reason)
    t.match(error.message, 'payload/totals/* must be number')
    t.notMatch(JSON.stringify(error), 'ada@example.com')
  })

  t.test('rejects a payload that JSON would lose', async t => {
    const { app } = await start(t, { tasks })
    const circle: Record<string, unknown> = {}
    circle.self = circle
    const lost: Array<[what: string, payload: unknown]> = [
      ['undefined', undefined],
      ['a function', () => {}],
      ['a symbol', Symbol('s')],
      ['a circle', circle],
      ['a BigInt', 1n],
      ['a BigInt inside', { n: 1n }],
      ['undefined in a list', [undefined]],
      ['a function in a list', { list: [() => {}] }],
      ['NaN', NaN],
      ['Infinity inside', { n: [Infinity] }],
      ['an invalid date', { at: new Date('never') }],
      [
        'toJSON that throws',
        {
          toJSON () {
            throw new Error('no')
          }
        }
      ],
      ['a __proto__ key', JSON.parse('{"__proto__":{"admin":true}}')],
      ['a poisoned constructor', { constructor: { prototype: { admin: true } } }]
    ]
    for (const [what, payload] of lost) {
      await t.rejects(app.enqueue('any', payload), { code: 'FST_TASKS_PAYLOAD_NOT_JSON', statusCode: 400 }, what)
    }
    t.match(await app.enqueue('any', { nothing: null, at: new Date(0) }), { duplicate: false }, 'a null that is meant stays')
  })

  t.test('rejects what JSON would write as {} or incompletely, and says what to send instead', async t => {
    const { app } = await start(t, { tasks })
    const lost: Array<[value: unknown, problem: string]> = [
      [new Map([[1, 2]]), 'a Map would become {}; send Object.fromEntries(map)'],
      [new Set([1]), 'a Set would become {}; send [...set]'],
      [new (class extends Map {})(), 'a Map would become {}; send Object.fromEntries(map)'],
      [Object.assign(new Set([1]), { size2: 1 }), 'a Set would become {}; send [...set]'],
      [Promise.resolve(1), 'a Promise would become {}; await it first'],
      [new RangeError('lost'), 'an Error would lose its message; send the fields that are needed'],
      [Object.assign(new Error('lost'), { code: 'E' }), 'an Error would lose its message; send the fields that are needed'],
      [new Number(NaN), 'a boxed Number is not a JSON value; send what its valueOf() returns'], // eslint-disable-line no-new-wrappers
      [new Number(5), 'a boxed Number is not a JSON value; send what its valueOf() returns'], // eslint-disable-line no-new-wrappers
      [new String('x'), 'a boxed String is not a JSON value; send what its valueOf() returns'], // eslint-disable-line no-new-wrappers
      [Object(Symbol('s')), 'a boxed Symbol is not a JSON value; send what its valueOf() returns'],
      [/a/, 'an object of kind RegExp would become {}'],
      [new WeakMap(), 'an object of kind WeakMap would become {}'],
      [new URLSearchParams('a=b'), 'an object of kind URLSearchParams would become {}'],
      [[1].values(), 'an object of kind Array Iterator would become {}'],
      [new ArrayBuffer(8), 'an object of kind ArrayBuffer would become {}'],
      [new Uint8Array(2), 'a Uint8Array would become an object with a field for each byte or number; send text, such as base64'],
      [() => {}, 'a function would be lost'],
      [Symbol('s'), 'a symbol would be lost'],
      [-Infinity, '-Infinity would become null'],
      [new Date('never'), 'an invalid date would become null']
    ]
    for (const [value, problem] of lost) {
      await t.rejects(app.enqueue('any', { list: [{ value }] }), {
        code: 'FST_TASKS_PAYLOAD_NOT_JSON',
        message: `The payload of task 'any' cannot be sent as JSON: ${problem} (payload/*/0/*)`
      })
    }
    // Fields that stand in the schema are named.
    const error = await app.enqueue('mail', { ...mail, note: { 'secret key': NaN } }).then(() => undefined, reason => reason)
    t.equal(error.message, "The payload of task 'mail' cannot be sent as JSON: NaN would become null (payload/note/*)")
    await t.rejects(app.enqueue('any', new Map()), {
      message: "The payload of task 'any' cannot be sent as JSON: a Map would become {}; send Object.fromEntries(map)"
    })
  })

  t.test('sends what has a JSON form of its own, and leaves out fields that are undefined', async t => {
    const seen: unknown[] = []
    const { app } = await start(t, { tasks, handlers: { any: payload => { seen.push(payload) } } })
    const kit = testTasks(app)
    class Order { readonly id = 7; readonly at = new Date(0); get total (): number { return this.id } }
    class Money extends Map { toJSON (): string { return '5 EUR' } }
    const shared = { a: 1 }
    const deep = Array.from({ length: 300 }).reduce<object>(inner => ({ inner }), {})
    const sent = [
      new Order(),
      new Money(),
      new URL('https://example.com'),
      Buffer.from('a'),
      { gone: undefined, kept: [shared, shared] },
      Object.assign(Object.create(null), { bare: true }),
      deep
    ]
    for (const payload of sent) {
      await app.enqueue('any', payload)
      await kit.drain()
      t.strictSame(seen.at(-1), JSON.parse(JSON.stringify(payload)))
    }
  })

  t.test('never touches the object of the caller', async t => {
    const seen: unknown[] = []
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks, handlers: { mail: payload => { seen.push(payload) } } })
    const payload = Object.freeze({ to: 'ada@example.com', copies: '3', extra: 'removed by Fastify' })
    await app.enqueue('mail', payload)
    t.strictSame(payload, { to: 'ada@example.com', copies: '3', extra: 'removed by Fastify' })
    await attempts.ended(1)
    t.strictSame(seen, [{ to: 'ada@example.com', copies: 3 }], 'the handler gets it as the route validated it')
  })

  t.test('rejects a task larger than enqueue accepts, and takes one just below', async t => {
    const { app } = await start(t, { tasks })
    await t.rejects(app.enqueue('any', 'x'.repeat(1_048_569)), { code: 'FST_TASKS_TOO_LARGE', statusCode: 413 })
    t.match(await app.enqueue('any', 'x'.repeat(1_046_000)), { duplicate: false })
  })

  t.test('rejects wrong options, naming them', async t => {
    const { app } = await start(t, { tasks })
    const far = new Date(Date.now() + 31 * 86_400_000)
    const wrong: Array<[options: unknown, names: string]> = [
      [null, 'options'],
      ['id', 'options'],
      [{ ID: 'x' }, "'id'"],
      [{ id: '' }, "'id'"],
      [{ id: 'x'.repeat(501) }, "'id'"],
      [{ id: 42 }, "'id'"],
      [{ scheduleTime: '2030-01-01' }, "'scheduleTime'"],
      [{ scheduleTime: new Date('never') }, "'scheduleTime'"],
      [{ scheduleTime: far }, "'scheduleTime'"],
      [{ scheduleDelaySeconds: -1 }, "'scheduleDelaySeconds'"],
      [{ scheduleDelaySeconds: NaN }, "'scheduleDelaySeconds'"],
      [{ scheduleDelaySeconds: Infinity }, "'scheduleDelaySeconds'"],
      [{ scheduleDelaySeconds: '5' }, "'scheduleDelaySeconds'"],
      [{ scheduleDelaySeconds: 2_592_001 }, "'scheduleDelaySeconds'"],
      [{ scheduleDelaySeconds: 1, scheduleTime: new Date() }, "'scheduleTime'"],
      [{ dispatchDeadlineSeconds: 14 }, "'dispatchDeadlineSeconds'"],
      [{ dispatchDeadlineSeconds: 1801 }, "'dispatchDeadlineSeconds'"],
      [{ queue: 'a_b' }, "'queue'"],
      [{ queue: 5 }, "'queue'"],
      [{ headers: 'x' }, "'headers'"],
      [{ headers: { 'x y': 'z' } }, "'headers'"],
      [{ headers: { x: 1 } }, "'headers.x'"],
      [{ headers: { x: 'a\r\nb: c' } }, "'headers.x'"],
      [{ headers: { Host: 'x' } }, "'headers.Host'"],
      [{ headers: { 'X-CloudTasks-QueueName': 'x' } }, "'headers.X-CloudTasks-QueueName'"],
      [{ headers: { 'content-type': 'text/plain' } }, "'headers.content-type'"],
      [{ headers: { 'fastify-cloud-tasks-secret': 'x' } }, "'headers.fastify-cloud-tasks-secret'"]
    ]
    for (const [options, names] of wrong) {
      try {
        await app.enqueue('mail', mail, options as never)
        t.fail(`${JSON.stringify(options)} was accepted`)
      } catch (error) {
        t.match(error, { code: 'FST_TASKS_INVALID_ENQUEUE_OPTION', statusCode: 400 })
        t.ok((error as Error).message.includes(names), `${(error as Error).message} names ${names}`)
      }
    }
  })

  t.test('rejects a queue that does not exist, as production does', async t => {
    const { app } = await start(t, { tasks, queues: { other: {} } })
    await t.rejects(app.enqueue('mail', mail, { queue: 'nowhere' }), { code: 'FST_TASKS_QUEUE_NOT_FOUND' })
    t.match(await app.enqueue('mail', mail, { queue: 'other' }), { queue: 'other' })
  })

  t.test('sends headers with the attempt', async t => {
    const attempts = watchAttempts(t)
    let seen: unknown
    const { app } = await start(t, { tasks, handlers: { mail: (_, task) => { seen = task.request?.headers } } })
    await app.enqueue('mail', mail, { headers: { 'X-Trace': 'abc' } })
    await attempts.ended(1)
    t.match(seen, { 'x-trace': 'abc', 'content-type': 'application/json', 'user-agent': 'Google-Cloud-Tasks' })
    t.notOk(Object.keys(seen as object).includes('fastify-cloud-tasks-secret'), 'the secret is not shown to handlers')
  })

  t.test('schedules', async t => {
    const { app } = await start(t, { tasks })
    const at = new Date(Date.now() + 86_400_000)
    t.strictSame((await app.enqueue('mail', mail, { scheduleTime: at })).scheduleTime, at)
    const delayed = await app.enqueue('mail', mail, { scheduleDelaySeconds: 60 })
    t.ok(Math.abs(delayed.scheduleTime.getTime() - Date.now() - 60_000) < 5000)
    t.match(await app.enqueue('mail', mail, { scheduleTime: new Date(0) }), { duplicate: false }, 'a time in the past means now')
  })
})

t.test('the id of a task', async t => {
  t.test('is a hash, then the readable part', async t => {
    t.match(taskId('mail', 'order 42/é'), /^[0-9a-f]{32}-order-42-$/)
    t.ok(taskId('mail', 'x'.repeat(500)).length <= 500)
    t.not(taskId('mail', 'a b'), taskId('mail', 'a-b'), 'keys that read alike stay apart')
    t.not(taskId('a', 'b'), taskId('b', 'b'), 'so do tasks')
    t.match(taskId('mail', '日本'), /^[A-Za-z0-9_-]{1,500}$/)
  })

  t.test('enqueued again while queued or after it ended answers duplicate', async t => {
    const { app } = await start(t, { tasks, handlers: { mail: () => {} } })
    const kit = testTasks(app)
    const first = await app.enqueue('mail', mail, { id: 'once', scheduleDelaySeconds: 30 })
    const [queued, other, elsewhere] = [
      await app.enqueue('mail', mail, { id: 'once' }),
      await app.enqueue('mail', mail, { id: 'twice', scheduleDelaySeconds: 60 }),
      await app.enqueue('mail', mail, { id: 'once', queue: 'default', scheduleDelaySeconds: 60 })
    ]
    t.match(
      [first, queued, other, elsewhere],
      [{ duplicate: false }, { duplicate: true, id: first.id }, { duplicate: false }, { duplicate: false }]
    )
    t.equal((await kit.advance('30s')).length, 1)
    t.match(await app.enqueue('mail', mail, { id: 'once' }), { duplicate: true })
    t.strictSame(await kit.drain(), [])
  })

  t.test('may be used again at once when nothing is remembered', async t => {
    const { app } = await start(t, { tasks, handlers: { mail: () => {} }, local: { taskTombstoneSeconds: 0 } })
    const kit = testTasks(app)
    for (const call of ['first', 'second']) {
      t.match(await app.enqueue('mail', mail, { id: 'again' }), { duplicate: false }, call)
      t.equal((await kit.drain()).length, 1, call)
    }
  })
})

t.test('the validator is the server\'s own', async t => {
  t.test('custom, by setValidatorCompiler, for a producer and for a worker, set before or after', async t => {
    const attempts = watchAttempts(t)
    const compiler = () => (value: unknown) =>
      (value as { to?: string }).to === 'pass' ? { value } : { error: new Error('custom: not pass, but secret-value') }
    for (const handlers of [{}, { mail: () => {} }]) {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(cloudTasks, { tasks, transport: 'local', handlers })
      app.setValidatorCompiler(compiler as never)
      await app.ready()
      t.match(await app.enqueue('mail', { to: 'pass' }), { duplicate: false })
      await t.rejects(app.enqueue('mail', mail), { code: 'FST_TASKS_INVALID_PAYLOAD' })
      await t.rejects(app.enqueue('mail', mail), { message: /^(?!.*secret-value)/ })
    }
    t.match(await attempts.ended(1), [{ result: 'done' }], 'the route uses it too')
  })

  t.test('TypeBox\'s compiler works at both ends', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(
      t,
      { tasks: defineTasks({ n: { payload: Type.Object({ n: Type.Number() }) } }), handlers: { n: () => {} } },
      app => {
        app.setValidatorCompiler(TypeBoxValidatorCompiler)
      }
    )
    await app.enqueue('n', { n: 1 })
    await t.rejects(app.enqueue('n', { n: '1' }), { code: 'FST_TASKS_INVALID_PAYLOAD' }, 'it does not coerce')
    t.match(await attempts.ended(1), [{ result: 'done' }])
  })

  t.test('ajv with the server\'s own settings and shared schemas, for a producer and for a worker', async t => {
    for (const handlers of [{}, { shared: () => {} }]) {
      const { app } = await start(
        t,
        {
          tasks: {
            shared: {
              payload: { type: 'object', properties: { to: { $ref: 'address#' }, n: { type: 'integer' } }, required: ['to'] } as never
            }
          },
          handlers
        },
        app => {
          app.addSchema({ $id: 'address', type: 'string', pattern: '^[a-z]+$' })
        },
        { ajv: { customOptions: { coerceTypes: false } } }
      )
      t.match(await app.enqueue('shared', { to: 'abc', n: 1 }), { duplicate: false })
      await t.rejects(app.enqueue('shared', { to: 'ABC' }), { code: 'FST_TASKS_INVALID_PAYLOAD' })
      await t.rejects(
        app.enqueue('shared', { to: 'abc', n: '1' }),
        { code: 'FST_TASKS_INVALID_PAYLOAD' },
        "the server's ajv does not coerce"
      )
    }
  })

  t.test('an asynchronous validator is awaited', async t => {
    const { app } = await start(t, { tasks }, app => {
      app.setValidatorCompiler((() => async (value: unknown) => {
        if ((value as { to: string }).to !== 'pass') throw new Error('async no')
      }) as never)
    })
    t.match(await app.enqueue('mail', { to: 'pass' }), { duplicate: false })
    await t.rejects(app.enqueue('mail', mail), { code: 'FST_TASKS_INVALID_PAYLOAD' })
  })
})

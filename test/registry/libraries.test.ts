import t from 'tap'
import { tasksOf } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create, start, watchAttempts } from '../support/app.js'
import { tasks as arktype } from './definitions/arktype.js'
import { tasks as jsonSchema } from './definitions/json-schema.js'
import { tasks as typebox } from './definitions/typebox.js'
import { tasks as typebox1 } from './definitions/typebox-1.js'
import { tasks as valibot } from './definitions/valibot.js'
import { tasks as zod } from './definitions/zod.js'
import { tasks as zod3 } from './definitions/zod-3.js'

const receipt = { order: '42', email: 'ada@example.com' }
const shipment = { items: [{ sku: 'a', email: 'ada@example.com' }], speed: 'fast' } as const

// The tasks of all have the same names and payloads.
const libraries = {
  typebox,
  'typebox 1.x': typebox1 as never as typeof typebox,
  'json schema': jsonSchema as never as typeof typebox,
  zod,
  'zod 3.24': zod3,
  valibot,
  arktype
}

for (const [library, tasks] of Object.entries(libraries)) {
  t.test(`tasks with schemas of ${library}`, async t => {
    t.test('are validated at both ends and run with what was sent', async t => {
      const seen: unknown[] = []
      const { app } = await create(t, {
        tasks: tasks as typeof typebox,
        handlers: {
          'send-receipt': payload => {
            seen.push(payload)
          },
          'ship-order': payload => {
            seen.push(payload)
          },
          nightly: payload => {
            seen.push(payload)
          }
        }
      })
      const kit = testTasks(app)
      await app.enqueue('send-receipt', receipt)
      await app.enqueue('ship-order', shipment)
      await app.enqueue('nightly', null)
      t.strictSame((await kit.drain()).map(({ result }) => result), ['done', 'done', 'done'])
      t.same(seen, [receipt, shipment, null])
      await app.tasks.run('ship-order', shipment)
      t.same(seen.at(-1), shipment)
    })

    t.test('reject an invalid payload with the field and never the value', async t => {
      const { app } = await start(t, { tasks: tasks as typeof typebox })
      const refused = await app
        .enqueue('ship-order', { ...shipment, items: [shipment.items[0], { sku: 'b', email: 'secret-value' }] })
        .then(
          () => undefined,
          error => error
        )
      t.equal(refused?.code, 'FST_TASKS_INVALID_PAYLOAD')
      t.equal(refused.statusCode, 400)
      t.ok(refused.message.includes('payload/items/1/email must '), refused.message)
      t.equal(refused.validation[0].instancePath, '/items/1/email')
      t.equal(JSON.stringify([refused, refused.message, refused.stack, String(refused.cause)]).includes('secret-value'), false)

      for (const payload of [
        {},
        { ...receipt, copies: { secret: 1 } },
        { order: '42' },
        { ...receipt, order: ['secret-value'] },
        null,
        7,
        'secret-value'
      ]) {
        const error = await app.enqueue('send-receipt', payload).then(
          () => undefined,
          reason => reason
        )
        // ajv as Fastify sets it up removes what 'additionalProperties: false' forbids, and turns a list of one value into the value.
        if (error === undefined && !library.startsWith('zod') && library !== 'valibot' && library !== 'arktype') continue
        t.equal(error?.code, 'FST_TASKS_INVALID_PAYLOAD', JSON.stringify(payload))
        t.equal(/secret/.test(JSON.stringify([error, error.message])), false, error.message)
      }
    })

    t.test('reject it at the route too, where log and response do not quote it', async t => {
      const attempts = watchAttempts(t)
      const { app, log } = await start(t, {
        tasks: tasks as typeof typebox,
        auth: false,
        handlers: {
          'ship-order': () => {
            t.fail('must not run')
          }
        }
      })
      const response = await app.inject({
        method: 'POST',
        url: '/tasks/ship-order',
        payload: { items: [{ sku: 'a', email: 'secret-value' }], speed: 'fast' }
      })
      t.equal(response.statusCode, 400)
      t.strictSame(
        attempts.ends.map(({ result, status, error }) => [result, status, (error as { code: string }).code]),
        [['retry', 400, 'FST_TASKS_INVALID_PAYLOAD']]
      )
      t.equal(JSON.stringify([log, response.body]).includes('secret-value'), false)
      t.ok(log.some(line => JSON.stringify(line).includes('payload/items/0/email')))
    })

    t.test('are known by their handle', async t => {
      const { app } = await start(t, { tasks: tasks as typeof typebox })
      t.match(await tasksOf(app, tasks as typeof typebox).enqueue('nightly', null), { name: 'nightly' })
      t.throws(() => tasksOf(app, { nightly: { payload: { type: 'null' } } }), { code: 'FST_TASKS_NOT_REGISTERED' })
    })
  })
}

for (const [library, tasks] of Object.entries({ zod, 'zod 3.24': zod3, valibot, arktype })) {
  t.test(`${library} transforms once per attempt, and what is sent is what was given`, async t => {
    const seen: unknown[] = []
    const sent: unknown[] = []
    const { app } = await create(t, { tasks: tasks as typeof zod, handlers: { 'count-down': payload => { seen.push(payload) } } }, app => {
      app.addHook('preValidation', async request => { sent.push(request.body) })
    })
    const payload = Object.freeze({ from: '3' })
    const kit = testTasks(app)
    await app.enqueue('count-down', payload)
    await kit.drain()
    t.strictSame(sent, [{ from: '3' }])
    t.strictSame(seen, [{ from: 3, step: 1 }])
    await app.tasks.run('count-down', payload)
    t.strictSame(seen[1], { from: 3, step: 1 })
    t.strictSame(payload, { from: '3' })
  })
}

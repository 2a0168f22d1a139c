import { Type } from '@sinclair/typebox'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import { type } from 'arktype'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { TypeBoxValidatorCompiler as TypeBox1ValidatorCompiler } from 'type-provider-typebox-6'
import Type1 from 'typebox'
import * as v from 'valibot'
import * as z from 'zod'
import { defineTasks } from '../../lib/index.js'
import { start } from '../support/app.js'

interface InvalidPayload extends Error {
  readonly code: string
  readonly validation: ReadonlyArray<{
    readonly keyword?: string
    readonly instancePath: string
    readonly message: string
    readonly params?: object
  }>
}

/** The error of a payload that does not fit `schema`. */
async function refusal (
  t: Test,
  schema: object,
  payload: unknown,
  prepare?: (app: FastifyInstance) => unknown,
  server?: object
): Promise<InvalidPayload> {
  const { app } = await start(t, { tasks: defineTasks({ task: { payload: schema as { type: 'object' } } }) }, prepare, server)
  const error = await app.enqueue('task', payload).then(
    () => undefined,
    reason => reason
  )
  if (error?.code !== 'FST_TASKS_INVALID_PAYLOAD') throw error ?? new Error('the payload was accepted')
  t.equal(error.cause, undefined, 'loggers write the cause, too')
  return error
}

/** What the message says behind the name of the task. */
async function problem (...args: Parameters<typeof refusal>): Promise<string> {
  return (await refusal(...args)).message.replace("The payload of task 'task' is invalid: ", '')
}

t.test('an error names the field, wherever it stands in the schema', async t => {
  const address = { type: 'object', properties: { email: { type: 'string', format: 'email' } }, required: ['email'] }
  const bad = { email: 'secret' }
  const email = 'must match format "email"'
  const shared = (app: FastifyInstance): void => {
    app.addSchema({ $id: 'person', type: 'object', properties: { home: { $ref: 'address#' } } })
    app.addSchema({ $id: 'address', ...address })
  }
  const object = (properties: object): object => ({ type: 'object', properties })

  t.test('in lists', async t => {
    t.equal(
      await problem(t, object({ items: { type: 'array', items: address } }), { items: [{ email: 'ada@example.com' }, bad] }),
      `payload/items/1/email ${email}`
    )
  })
  t.test('behind a $ref in the schema', async t => {
    t.equal(
      await problem(t, { definitions: { address }, ...object({ to: { $ref: '#/definitions/address' } }) }, { to: bad }),
      `payload/to/email ${email}`
    )
  })
  t.test('behind a $ref to a schema of the server, which refers to another', async t => {
    t.equal(
      await problem(t, object({ people: { type: 'array', items: { $ref: 'person#' } } }), { people: [{ home: bad }] }, shared),
      `payload/people/0/home/email ${email}`
    )
  })
  t.test('in allOf', async t => {
    t.equal(
      await problem(t, { allOf: [object({ to: address }), object({ from: address })] }, { from: bad }),
      `payload/from/email ${email}`
    )
  })
  t.test('in anyOf', async t => {
    t.equal(
      await problem(t, object({ to: { anyOf: [address, { type: 'null' }] } }), { to: bad }),
      `payload/to/email ${email}, payload/to must be null, payload/to must match a schema in anyOf`
    )
  })
  t.test('and its name has slashes and tildes in it', async t => {
    t.equal(await problem(t, object({ 'a/b~c': address }), { 'a/b~c': bad }), `payload/a~1b~0c/email ${email}`)
  })
  t.test('in alternatives of Zod, Valibot and ArkType', async t => {
    const payload = { to: { place: { n: 'secret' } } }
    t.equal(
      await problem(
        t,
        z.object({ to: z.union([z.object({ place: z.object({ n: z.number() }) }), z.object({ place: z.object({ n: z.null() }) })]) }),
        payload
      ),
      'payload/to/place/n must be number, payload/to/place/n must be null, payload/to must match one of its alternatives'
    )
    t.equal(
      await problem(
        t,
        v.object({ to: v.union([v.object({ place: v.object({ n: v.number() }) }), v.object({ place: v.object({ n: v.null() }) })]) }),
        payload
      ),
      'payload/to/place/n must be number, payload/to/place/n must be null, payload/to must be Object'
    )
    t.ok((await problem(t, type({ to: [{ place: { n: 'number' } }, '|', { place: { n: 'null' } }] }), payload)).startsWith('payload/to'))
  })
  t.test('in a schema of Zod that has no JSON Schema', async t => {
    t.equal(
      await problem(t, z.object({ at: z.coerce.date(), items: z.array(z.object({ email: z.email() })) }), { at: 0, items: [bad] }),
      `payload/items/0/email ${email}`
    )
  })
  t.test('and it is missing', async t => {
    const payload = { items: [{}] }
    t.equal(
      await problem(t, object({ items: { type: 'array', items: address } }), payload),
      "payload/items/0 must have required property 'email'"
    )
    for (const schema of [
      z.object({ items: z.array(z.object({ email: z.string() })) }),
      v.object({ items: v.array(v.object({ email: v.string() })) }),
      type({ items: type({ email: 'string' }).array() })
    ]) {
      t.equal(await problem(t, schema, payload), 'payload/items/0/email is missing')
    }
  })
})

t.test('rules in the schema are shown', async t => {
  const cases: Array<[schema: object, payload: unknown, problem: string]> = [
    [
      z.object({ a: z.number().min(3), b: z.string().max(2), c: z.array(z.string()).min(1) }),
      { a: 1, b: 'secret', c: [] },
      'payload/a must be at least 3, payload/b must have at most 2 characters, payload/c must have at least 1 items'
    ],
    [
      z.object({ a: z.enum(['x', 'y']), b: z.literal(5), c: z.string().regex(/^a+$/), d: z.number().multipleOf(5) }),
      { a: 'secret', b: 6, c: 'secret', d: 7 },
      'payload/a must be one of "x", "y", payload/b must be one of 5, payload/c must match pattern /^a+$/, payload/d must be a multiple of 5'
    ],
    [
      v.object({ a: v.pipe(v.number(), v.minValue(3)), b: v.picklist(['x', 'y']), c: v.pipe(v.string(), v.isoDate()) }),
      { a: 1, b: 'secret', c: 'secret' },
      'payload/a must be >=3, payload/b must be ("x" | "y"), payload/c must be a valid iso date'
    ],
    [
      type({ a: 'number >= 3', b: 'string <= 2', c: 'string.uuid' }),
      { a: 1, b: 'secret', c: 'secret' },
      'payload/a must be at least 3, payload/b must be at most length 2, payload/c must be a UUID'
    ],
    [
      Type.Object({ a: Type.Union([Type.Literal('x'), Type.Literal('y')]) }),
      { a: 'secret' },
      'payload/a must be equal to constant, payload/a must be equal to constant, payload/a must match a schema in anyOf'
    ],
    [{ enum: ['x', 'y'] }, 'secret', 'payload must be equal to one of the allowed values: "x", "y"']
  ]
  for (const [schema, payload, expected] of cases) t.equal(await problem(t, schema, payload), expected)
})

t.test('keys and values of the payload are not quoted', async t => {
  const hidden = async (
    schema: object,
    payload: unknown,
    expected: string,
    prepare?: (app: FastifyInstance) => unknown,
    server?: object
  ): Promise<void> => {
    const error = await refusal(t, schema, payload, prepare, server)
    t.equal(error.message, `The payload of task 'task' is invalid: ${expected}`)
    t.equal(/secret/.test(JSON.stringify([error, error.message, error.stack])), false, expected)
  }
  // Keys of records, also those that look like indexes.
  await hidden(
    Type.Object({ totals: Type.Record(Type.String(), Type.Object({ n: Type.Number() })) }),
    { totals: { 'secret@example.com': { n: 'x' } } },
    'payload/totals/*/n must be number'
  )
  await hidden(
    Type.Object({ cards: Type.Record(Type.String(), Type.Number()) }),
    { cards: { 4111111111111111: 'x' } },
    'payload/cards/* must be number'
  )
  await hidden(z.object({ totals: z.record(z.string(), z.number()) }), { totals: { secret: 'x' } }, 'payload/totals/* must be number')
  await hidden(v.object({ totals: v.record(v.string(), v.number()) }), { totals: { secret: 'x' } }, 'payload/totals/* must be number')
  await hidden(type({ totals: 'Record<string, number>' }), { totals: { secret: 'x' } }, 'payload/totals/* must be a number')
  // Keys that are too many.
  await hidden(z.strictObject({ a: z.string() }), { a: 'x', secret: 1 }, 'payload must not have unknown keys')
  await hidden(v.strictObject({ a: v.string() }), { a: 'x', secret: 1 }, 'payload/* must be absent')
  await hidden(type({ '+': 'reject', a: 'string' }), { a: 'x', secret: 1 }, 'payload/* does not match its schema')
  await hidden(
    { type: 'object', properties: {}, additionalProperties: false },
    { secret: 1 },
    'payload must NOT have additional properties',
    undefined,
    { ajv: { customOptions: { removeAdditional: false } } }
  )
  await hidden(
    { type: 'object', propertyNames: { maxLength: 3 } },
    { secret: 1 },
    'payload must NOT have more than 3 characters, payload property name must be valid'
  )
  // What an app's own checks say may be made of the value.
  await hidden(
    z.string().refine(() => false, { error: issue => `not ${String(issue.input)}` }),
    'secret',
    'payload does not match its schema'
  )
  await hidden(v.pipe(v.string(), v.check(() => false, issue => `not ${issue.input}`)), 'secret', 'payload does not match its schema')
  await hidden(type('string').narrow((text, context) => context.mustBe(`other than ${text}`)), 'secret', 'payload does not match its schema')
  await hidden(
    {
      '~standard': {
        version: 1,
        vendor: 'other',
        validate: (value: any) => ({ issues: [{ message: `not ${value.a}`, expected: value.a, path: ['a'] }] })
      }
    },
    { a: 'secret' },
    'payload/* does not match its schema'
  )
  // A verbose ajv, and validators of other kinds.
  await hidden(Type.Object({ a: Type.Integer() }), { a: 'secret' }, 'payload/a must be integer', undefined, {
    ajv: { customOptions: { verbose: true } }
  })
  await hidden(Type.Object({ a: Type.Integer() }), { a: 'secret' }, 'payload/a Expected integer', app => {
    app.setValidatorCompiler(TypeBoxValidatorCompiler)
  })
  await hidden(Type1.Object({ a: Type1.Integer() }), { a: 'secret' }, 'payload/a must be integer', app => {
    app.setValidatorCompiler(TypeBox1ValidatorCompiler)
  })
  const custom = (error: unknown) => (app: FastifyInstance): void => { app.setValidatorCompiler((() => () => ({ error })) as never) }
  await hidden({ type: 'object' }, { a: 'secret' }, 'it does not match its schema', custom(new Error('not secret')))
  await hidden(
    { type: 'object' },
    { a: 'secret' },
    'payload/* does not match its schema',
    custom([{ instancePath: '/a', message: 'not secret' }])
  )
  await hidden(
    { type: 'object', properties: { a: {} } },
    { a: 'secret', b: 5 },
    'payload/a is wrong',
    custom([{ instancePath: '/a', message: 'is wrong', params: { data: 'secret' } }])
  )
})

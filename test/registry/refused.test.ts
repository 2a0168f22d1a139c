import { Type } from '@sinclair/typebox'
import { type } from 'arktype'
import Fastify from 'fastify'
import { validatorCompiler } from 'fastify-type-provider-zod'
import t from 'tap'
import TypeBox from 'typebox'
import * as v from 'valibot'
import * as z from 'zod'
import * as z3 from 'zod/v3'
import cloudTasks, { type TaskDefinitions } from '../../lib/index.js'

/** What a registration with that schema is refused with; undefined where it is not. */
async function refusal (payload: unknown, prepare = (_app: ReturnType<typeof Fastify>): void => {}) {
  const app = Fastify()
  try {
    prepare(app)
    await app.register(cloudTasks, { tasks: { greet: { payload } } as TaskDefinitions, transport: 'local' })
    await app.ready()
    return undefined
  } catch (error) {
    return error as Error & { readonly code: string }
  } finally {
    await app.close().catch(() => {})
  }
}

const ALLOWED = 'schema is invalid: data/type must be equal to one of the allowed values'

/** Schemas that ajv refuses, and its own words, by what is wrong. */
const refusedByAjv: Readonly<Record<string, readonly [schema: unknown, words: string]>> = {
  'JSON Schema, an unknown type': [{ type: 'strnig' }, ALLOWED],
  'JSON Schema, an unknown format': [{ type: 'string', format: 'emial' }, 'unknown format "emial"'],
  'JSON Schema, an unknown keyword': [{ type: 'object', propreties: {} }, 'strict mode: unknown keyword: "propreties"'],
  'JSON Schema, a reference to nothing': [{ $ref: 'address#' }, "can't resolve reference address#"],
  'JSON Schema, a pattern that is none': [{ type: 'string', pattern: '(' }, 'Invalid regular expression: /(/u'],
  'TypeBox, an unknown format': [Type.String({ format: 'emial' }), 'unknown format "emial"'],
  'TypeBox, a type that JSON lacks': [Type.Date(), ALLOWED],
  'TypeBox, a reference to nothing': [Type.Ref('address'), "can't resolve reference address"],
  'TypeBox 1.x, an unsafe type': [TypeBox.Unsafe({ type: 'strnig' }), ALLOWED],
  'TypeBox 1.x, a type that JSON lacks': [TypeBox.BigInt(), ALLOWED],
  'TypeBox 1.x, a reference to nothing': [TypeBox.Ref('address'), "can't resolve reference address"],
  'Zod, fields without a schema around them': [{ order: z.string() }, 'strict mode: unknown keyword: "order"'],
  'Valibot, fields without a schema around them': [{ order: v.string() }, 'strict mode: unknown keyword: "order"'],
  'ArkType, fields without a schema around them': [{ order: type('string') }, 'strict mode: unknown keyword: "order"']
}

t.test("a schema that the server's ajv refuses is refused at the start, with the task's name and ajv's words", async t => {
  for (const [what, [schema, words]] of Object.entries(refusedByAjv)) {
    const error = await refusal(schema)
    t.equal(error?.code, 'FST_TASKS_INVALID_SCHEMA', what)
    t.ok(error?.message.startsWith(`The payload schema of task 'greet' does not compile: ${words}`), `${what}: ${error?.message}`)
    t.ok(error?.cause instanceof Error, `${what} has the error of the library`)
  }
})

t.test('what is no schema at all is refused at the start, with the name of the task', async t => {
  for (const schema of [z.string, z3.string, v.string, type, () => true, class {}, [Type.String()], 'string', 5, null, undefined, true]) {
    const error = await refusal(schema)
    t.equal(error?.code, 'FST_TASKS_INVALID_DEFINITION', String(schema))
    t.ok(error?.message.startsWith("Task 'greet': "), String(error))
  }
})

t.test("a schema that the app's own compiler refuses is refused with that compiler's words", async t => {
  const thrown = await refusal({ type: 'string' }, app => {
    app.setValidatorCompiler(() => { throw new Error('only schemas of another library') })
  })
  t.equal(thrown?.code, 'FST_TASKS_INVALID_SCHEMA')
  t.equal(thrown?.message, "The payload schema of task 'greet' does not compile: only schemas of another library")
  const none = await refusal({ type: 'string' }, app => { app.setValidatorCompiler((() => 'no function') as never) })
  t.equal(none?.code, 'FST_TASKS_INVALID_SCHEMA')
})

t.test('a schema that is no schema of Zod makes invalid payloads where the compiler of the app is that of Zod', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setValidatorCompiler(validatorCompiler)
  await app.register(cloudTasks, { tasks: { greet: { payload: { type: 'string' } } }, transport: 'local' })
  await app.ready()
  await t.rejects(app.enqueue('greet', 'Ada'), { code: 'FST_TASKS_INVALID_PAYLOAD' })
})

t.test('a library whose schema breaks while it validates makes an invalid payload and no crash', async t => {
  const broken = { zod: z.object({ a: undefined as never }), 'zod 3.24': z3.object({ a: undefined as never }), valibot: v.object({ a: undefined as never }) }
  const app = Fastify()
  t.teardown(() => app.close())
  const tasks = Object.fromEntries(Object.entries(broken).map(([name, payload]) => [name.replace(' ', '-'), { payload }]))
  await app.register(cloudTasks, { tasks, transport: 'local' })
  await app.ready()
  for (const name of Object.keys(tasks)) {
    await t.rejects(app.enqueue(name, { a: 'secret-value' }), {
      code: 'FST_TASKS_INVALID_PAYLOAD', message: /^(?!.*secret)/
    }, name)
  }
})

import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { jsonSchemaOf } from '../../lib/registry/json-schema.js'
import { PayloadCodec } from '../../lib/registry/payload.js'
import { PendingValidations } from '../../lib/registry/pending-validations.js'
import { createRegistry, type RegisteredTask } from '../../lib/registry/registry.js'

type Compile = (route: { schema: any, method: string, url: string, httpPart: string }) => unknown

interface Host {
  /** The compiler of the server. */
  compile: Compile
  schemas: Record<string, unknown>
}

/** A codec in a server with this compiler. */
function codec (host: Partial<Host> = {}) {
  const given: Host = { compile: () => () => true, schemas: {}, ...host }
  const app = {
    prefix: '/v1',
    get validatorCompiler () { return given.compile },
    getSchemas: () => given.schemas,
    getDefaultJsonParser: () => (_request: unknown, text: string, done: (error: Error | null, value?: unknown) => void) => {
      if (text.includes('__proto__')) done(new SyntaxError('Object contains forbidden prototype property'))
      else done(null, JSON.parse(text))
    }
  }
  const clock = new ManualClock()
  return { payloads: new PayloadCodec(app as unknown as FastifyInstance, clock), clock, host: given }
}

function taskOf (payload: object, more: object = {}): RegisteredTask {
  return createRegistry({ work: { payload, ...more } }).get('work')!
}

function standard (validate: (value: unknown) => unknown, more: object = {}): object {
  return { '~standard': { version: 1, vendor: 'test', validate, ...more } }
}

/** The code, the message and the cause of an error. */
function failure (work: () => unknown): readonly [string, string, unknown] {
  try {
    work()
  } catch (error) {
    const { code, message, cause } = error as Error & { code: string }
    return [code, message, cause]
  }
  return ['did not fail', '', undefined]
}

t.test('a payload is printed as it is sent', async t => {
  const { payloads } = codec()
  t.equal(payloads.print(taskOf({}), { a: [1, null], b: undefined }), '{"a":[1,null]}')
})

t.test('a payload that JSON would lose is rejected with its place, in which keys that are data are masked', async t => {
  const { payloads } = codec()
  const task = taskOf({ properties: { a: {} } })
  const cannot = "The payload of task 'work' cannot be sent as JSON: "
  for (const [payload, problem] of [
    [NaN, 'NaN would become null'],
    [{ a: new Map() }, 'a Map would become {}; send Object.fromEntries(map) (payload/a)'],
    [{ secret: { a: [Infinity] } }, 'Infinity would become null (payload/*/a/0)'],
    [undefined, 'undefined has no JSON representation; for a task without data send {} or null, according to its schema'],
    [{ toJSON: () => undefined }, 'object has no JSON representation; for a task without data send {} or null, according to its schema'],
    [{ a: 1n }, 'Do not know how to serialize a BigInt'],
    [{ toJSON: () => { throw 'text' } }, 'text'], // eslint-disable-line no-throw-literal
    [{ toJSON: () => { throw new Error('first\nsecond') } }, 'first']
  ] as const) {
    const [code, message, cause] = failure(() => payloads.print(task, payload))
    t.strictSame([code, message], ['FST_TASKS_PAYLOAD_NOT_JSON', cannot + problem])
    t.equal(cause === undefined, problem.includes('no JSON representation'))
  }
})

t.test('a text is parsed and validated, and text with a dangerous key is rejected', async t => {
  const { payloads } = codec({ compile: () => (value: number) => ({ value: value + 1 }) })
  t.equal(payloads.read(taskOf({}), '5'), 6)
  const [code, message, cause] = failure(() => payloads.read(taskOf({}), '{"__proto__":{}}'))
  t.equal(code, 'FST_TASKS_PAYLOAD_NOT_JSON')
  t.equal(message, "The payload of task 'work' cannot be sent as JSON: it has a forbidden key such as '__proto__'")
  t.ok(cause instanceof SyntaxError)
})

t.test('a payload is rejected with the faults of its validator, at once or later', async t => {
  const faults = [{ instancePath: '/secret', message: 'is wrong' }]
  const expected = ['FST_TASKS_INVALID_PAYLOAD', "The payload of task 'work' is invalid: payload/* is wrong", undefined]
  const sync = codec({ compile: () => () => ({ error: faults }) }).payloads
  t.strictSame(failure(() => sync.validate(taskOf({}), { secret: 1 })), expected)
  t.strictSame(failure(() => sync.read(taskOf({}), '{"secret":1}')), expected)
  t.strictSame(await sync.examine(taskOf({}), '{"secret":1}'), { faults, cause: faults }, 'whose author sees them all')
  const later = codec({ compile: () => async () => { throw faults } }).payloads
  for (const rejected of [later.validate(taskOf({}), { secret: 1 }), later.read(taskOf({}), '{"secret":1}')]) {
    const error = await (rejected as Promise<never>).catch((error: unknown) => error)
    t.strictSame(failure(() => { throw error }), expected)
  }
})

t.test('a Standard Schema validates itself, regardless of the compiler of the server', async t => {
  const compile = () => { throw new Error('must not be called') }
  t.equal(codec({ compile }).payloads.validate(taskOf(standard(value => ({ value: `${value}!` }))), 'x'), 'x!')
  t.equal(await codec({ compile }).payloads.validate(taskOf(standard(async value => ({ value: `${value}!` }))), 'x'), 'x!')
})

t.test('the compiler gets the schema as that of the body of the route', async t => {
  const routes: unknown[] = []
  const { payloads } = codec({ compile: route => { routes.push(route); return () => true } })
  const task = taskOf({ type: 'object' }, { method: 'PUT', path: '/a' })
  payloads.compile(task)
  t.strictSame(routes, [{ schema: task.payload, method: 'PUT', url: '/v1/a', httpPart: 'body' }])
})

t.test('a schema is compiled once while the server starts, and again when it is ready', async t => {
  let compiled = 0
  const { payloads, host } = codec({ compile: () => { compiled++; return () => ({ value: 'early' }) } })
  const task = taskOf({})
  t.strictSame([payloads.validate(task, 1), payloads.validate(task, 1), compiled], ['early', 'early', 1])
  host.compile = () => () => ({ value: 'final' })
  payloads.compile(task)
  t.equal(payloads.validate(task, 1), 'final')
})

t.test('names of fields are those of the shared schemas when the server is ready', async t => {
  const { payloads, host } = codec({ compile: () => () => ({ error: [{ instancePath: '/city', message: 'is wrong' }] }) })
  const task = taskOf({ $ref: 'address#' })
  const message = () => failure(() => payloads.validate(task, { city: 1 }))[1].split(': ')[1]
  t.equal(message(), 'payload/* is wrong')
  host.schemas = { address: { properties: { city: {} } } }
  t.equal(message(), 'payload/city is wrong')
  payloads.compile(task)
  t.equal(message(), 'payload/city is wrong')
  host.schemas = {}
  t.equal(message(), 'payload/city is wrong', 'and are not searched again')
})

t.test('a schema that does not compile is rejected with the first line of the words of its library', async t => {
  const rejection = (compile: Compile, payload: object = {}) => failure(() => { codec({ compile }).payloads.compile(taskOf(payload)) })
  const words = "The payload schema of task 'work' does not compile: "
  const error = new Error('first\nsecond')
  t.strictSame(rejection(() => { throw error }), ['FST_TASKS_INVALID_SCHEMA', `${words}first`, error])
  for (const [compile, payload, problem] of [
    [() => { throw 'text' }, {}, 'text'], // eslint-disable-line no-throw-literal
    [() => 5, {}, 'the validator compiler of the server returned no validator'],
    [() => 5, { '~standard': {} }, "its '~standard' has no function 'validate'"]
  ] as const) t.strictSame(rejection(compile, payload).slice(0, 2), ['FST_TASKS_INVALID_SCHEMA', words + problem])
})

t.test('a document shows JSON Schema, where there is one that stands on its own', async t => {
  const input = (schema: unknown) => standard(() => ({}), { jsonSchema: { input: () => schema } })
  const { payloads } = codec()
  const shown = (payload: object) => payloads.documented(taskOf(payload))
  const plain = { type: 'string' }
  t.equal(shown(plain), plain)
  t.equal(shown(input(plain)), plain)
  t.strictSame(shown(input({ items: { $ref: '#' } })), {})
  t.strictSame(shown(standard(() => ({}))), {})
})

t.test('a document shows the schema itself where the compiler of the server takes no JSON Schema', async t => {
  const asked: unknown[] = []
  const zod = codec({
    compile: route => {
      asked.push(route)
      return () => { throw new TypeError('schema.safeParse is not a function') }
    }
  })
  const schema = standard(() => ({}), { jsonSchema: { input: () => ({ type: 'string' }) } })
  t.equal(zod.payloads.documented(taskOf(schema)), schema)
  t.strictSame(asked, [{ schema: { type: 'null' }, method: 'POST', url: '/', httpPart: 'body' }])
})

t.test('the JSON Schema of a Standard Schema is that of its input, in draft 7', async t => {
  const options: unknown[] = []
  const of = (jsonSchema: unknown) => jsonSchemaOf(standard(() => ({}), { jsonSchema }) as never)
  t.strictSame(of({ input: (given: unknown) => { options.push(given); return { type: 'string' } } }), { type: 'string' })
  t.strictSame(options, [{ target: 'draft-07' }])
  for (const jsonSchema of [undefined, {}, { input: () => null }, { input: () => 'text' }, { input: () => { throw new Error('no') } }]) {
    t.equal(of(jsonSchema), undefined)
  }
  const plain = { type: 'string' }
  t.equal(jsonSchemaOf(plain), plain)
  let described = 0
  const schema = standard(() => ({}), { jsonSchema: { input: () => { described++ } } })
  t.strictSame([jsonSchemaOf(schema as never), jsonSchemaOf(schema as never)], [undefined, undefined])
  t.equal(described, 1, 'which is asked for once')
})

t.test('a validation outside of an attempt', async t => {
  t.test('settles as the validator does, and leaves no timer', async t => {
    const clock = new ManualClock()
    const pending = new PendingValidations(clock)
    t.equal(await pending.settled('work', Promise.resolve(5)), 5)
    await t.rejects(pending.settled('work', Promise.reject(new Error('boom'))), { message: 'boom' })
    t.equal(clock.pending, 0)
  })

  t.test('has 30 seconds', async t => {
    const clock = new ManualClock()
    let error: unknown
    new PendingValidations(clock).settled('work', new Promise(() => {})).catch((reason: unknown) => { error = reason })
    await clock.advance(29_999)
    t.equal(error, undefined)
    await clock.advance(1)
    const { code, explanation } = error as { code: string, explanation: string }
    t.equal(code, 'FST_TASKS_VALIDATION_TIMEOUT')
    t.ok(explanation.startsWith("The validator of task 'work' did not settle within 30 s"), explanation)
  })

  t.test('ends when the server closes, and none begins afterwards', async t => {
    const { payloads, clock } = codec({ compile: () => async () => await new Promise(() => {}) })
    const ends = [payloads.read(taskOf({}), '1') as Promise<unknown>, payloads.examine(taskOf({}), '1')]
    await clock.settle()
    t.equal(clock.pending, 2)
    payloads.close()
    for (const end of ends) await t.rejects(end, { code: 'FST_TASKS_CLOSING' })
    t.equal(clock.pending, 0)
    await t.rejects(payloads.read(taskOf({}), '1') as Promise<unknown>, { code: 'FST_TASKS_CLOSING' })
    t.equal(clock.pending, 0)
    const late = new PendingValidations(clock)
    late.close()
    await t.rejects(late.settled('work', Promise.reject(new Error('is handled, too'))), { code: 'FST_TASKS_CLOSING' })
  })
})

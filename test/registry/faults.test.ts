import t from 'tap'
import { invalidPayload, maskedPointer } from '../../lib/registry/faults.js'
import { fieldNames } from '../../lib/registry/field-names.js'
import type { ValidationFault } from '../../lib/registry/validation.js'

const names = new Set(['mail', 'list', 'a/b', '~c'])
const value = { mail: 'ada@example.com', list: [{ mail: 5 }, 'x1', ''], secret: { mail: 'x', 7: 'y' }, 'a/b': { '~c': true }, 7: 'z' }

/** What the error says about the payload. */
function problem (...faults: ValidationFault[]): string {
  const error = invalidPayload('work', faults, { value, names })
  const start = "The payload of task 'work' is invalid: "
  return error.message.startsWith(start) ? error.message.slice(start.length) : error.message
}

t.test('the error of an invalid payload has the code, the status and the faults, without what quotes the payload', async t => {
  const faults = [
    { keyword: 'type', instancePath: '/mail', schemaPath: '#', message: 'must be null', params: { type: 'null', data: 'secret' } },
    { instancePath: '/secret/mail' },
    { message: 'is odd' }
  ]
  const error = invalidPayload('work', faults, { value, names }) as Error & { code: string, statusCode: number, validation: unknown }
  t.strictSame([error.code, error.statusCode, error.cause], ['FST_TASKS_INVALID_PAYLOAD', 400, undefined])
  t.strictSame(error.validation, [
    { keyword: 'type', instancePath: '/mail', message: 'must be null', params: { type: 'null' } },
    { keyword: undefined, instancePath: '/*/mail', message: 'does not match its schema', params: undefined },
    { keyword: undefined, instancePath: '', message: 'is odd', params: undefined }
  ])
})

t.test('five faults are shown, and the number of the others', async t => {
  const fault = { keyword: 'type', instancePath: '/mail', message: 'must be null' }
  const shown = (count: number) => problem(...Array.from({ length: count }, () => fault))
  const five = Array.from({ length: 5 }, () => 'payload/mail must be null').join(', ')
  t.equal(shown(0), 'it does not match its schema')
  t.equal(shown(5), five)
  t.equal(shown(7), `${five}, and 2 more`)
})

t.test('parameters that come from the schema are kept, and no others', async t => {
  const rules = {
    type: 'x',
    limit: 1,
    comparison: '<=',
    missingProperty: 'x',
    allowedValue: 1,
    allowedValues: [1, 'x'],
    format: 'x',
    pattern: 'x',
    multipleOf: 2
  }
  const params = { ...rules, additionalProperty: 'x', propertyName: 'x', i: 1, data: 1 }
  const error = invalidPayload('work', [{ params }], { value, names }) as unknown as { validation: Array<{ params: unknown }> }
  t.strictSame(error.validation[0]?.params, rules)
  const oneOf = { keyword: 'enum', message: 'must be one of', params: { allowedValues: [1, 'x', null] } }
  t.equal(problem(oneOf), 'payload must be one of: 1, "x", null')
  t.equal(problem({ keyword: 'enum', message: 'must be it', params: { allowedValues: 'x' } }), 'payload must be it')
})

t.test('a pointer keeps field names and indexes of lists, and masks all other keys', async t => {
  for (const [pointer, expected] of [
    ['', ''],
    ['/mail', '/mail'],
    ['/list/0/mail', '/list/0/mail'],
    ['/list/99', '/list/99'],
    ['/list/first', '/list/*'],
    ['/list/0x', '/list/*'],
    ['/list/x0', '/list/*'],
    ['/secret/mail', '/*/mail'],
    ['/secret/7', '/*/*'],
    ['/7', '/*'],
    ['/a~1b/~0c', '/a~1b/~0c'],
    ['/absent/list/0', '/*/list/*'],
    ['/mail/0', '/mail/*']
  ] as const) t.equal(maskedPointer(pointer, { value, names }), expected)
  t.equal(maskedPointer('/mail', { value: null, names }), '/mail')
  t.equal(maskedPointer('/0', { value: undefined, names }), '/*')
})

t.test("a message of ajv's own keywords is shown, and another one only where it does not quote the payload", async t => {
  const message = (text: string, keyword?: string) =>
    problem({ message: text, ...(keyword === undefined ? {} : { keyword }) }).replace('payload ', '')
  const hidden = 'does not match its schema'
  for (const keyword of ['type', 'pattern', 'required', 'additionalProperties', 'false schema', 'discriminator']) {
    t.equal(message('not ada@example.com', keyword), 'not ada@example.com')
  }
  for (const text of [
    'not ada@example.com', 'ada@example.com', '(ada@example.com)', 'xada@example.com or ada@example.com', 'is 5', '5 is', 'x1',
    'has secret', 'secret', 'has 7 keys'
  ]) {
    t.equal(message(text), hidden, text)
    t.equal(message(text, 'custom'), hidden, text)
  }
  for (const text of [
    'is wrong', 'mail is wrong', 'the list', 'has 55', 'has 5a', 'a5', '_5', 'is x12', 'secrets', 'true', 'ada@example.comx', 'is 0'
  ]) {
    t.equal(message(text), text, text)
  }
  t.equal(problem({ rule: 'must be short', message: 'not ada@example.com', instancePath: '/mail' }), 'payload/mail must be short')
})

t.test('a rule says that a field is missing where it has no value', async t => {
  for (const [instancePath, expected] of [
    ['', 'payload must be'],
    ['/mail', 'payload/mail must be'],
    ['/list/0/mail', 'payload/list/0/mail must be'],
    ['/list/3', 'payload/list/3 is missing'],
    ['/a~1b/~0c', 'payload/a~1b/~0c must be'],
    ['/absent', 'payload/* is missing'],
    ['/absent/mail', 'payload/*/mail is missing'],
    ['/mail/length', 'payload/mail/* is missing'],
    ['/a~1b/~0c/mail', 'payload/a~1b/~0c/mail is missing'],
    ['/constructor', 'payload/* is missing']
  ] as const) t.equal(problem({ rule: 'must be', instancePath }), expected)
  const missing = (value: unknown) => invalidPayload('work', [{ rule: 'must be', instancePath: '/mail' }], { value, names }).message
  for (const value of [null, undefined, 'mail']) t.ok(missing(value).endsWith(': payload/mail is missing'))
  t.ok(invalidPayload('work', [{ rule: 'must be' }], { value: null, names }).message.endsWith(': payload must be'))
})

t.test('names of fields are found wherever they stand in a schema', async t => {
  const shared = {
    address: { $id: 'address', properties: { city: { $ref: 'country#/definitions/x' } } },
    country: { properties: { code: {} } }
  }
  for (const [schema, expected] of [
    [{ type: 'string' }, []],
    [{ properties: { a: { properties: { b: {} } }, c: { items: [{ properties: { d: {} } }] } } }, ['a', 'b', 'c', 'd']],
    [{ anyOf: [{ properties: { a: {} } }], $defs: { x: { properties: { b: {} } } } }, ['a', 'b']],
    [{ properties: ['a'], required: ['b'] }, []],
    [{ properties: null, $ref: 5 }, []],
    [{ key: 'a' }, []],
    [{ $ref: 'address#' }, ['city', 'code']],
    [{ $ref: '#/definitions/x' }, []],
    [{ shape: { a: {} }, entries: { b: {} }, fields: { c: {} } }, ['a', 'b', 'c']]
  ] as Array<[object, string[]]>) t.strictSame([...fieldNames(schema, shared)].sort(), expected)
})

t.test('names of fields are found in the objects of schema libraries, which have getters and cycles', async t => {
  const standard = (more: object, jsonSchema?: object) =>
    Object.assign(more, { '~standard': { version: 1, vendor: 'test', validate: () => ({}), ...jsonSchema } }) as never
  const namesOf = (schema: never) => [...fieldNames(schema, {})]
  const described = { jsonSchema: { input: () => ({ properties: { a: {} } }) } }
  t.strictSame(namesOf(standard({ shape: { b: {} }, key: 'c' }, described)), ['a'], 'from JSON Schema alone, where there is one')
  t.strictSame(namesOf(standard({ shape: { b: {} }, more: { key: 'c' }, other: { key: 5 } })), ['b', 'c'])
  t.strictSame(namesOf(standard({ shape: { b: {} }, json: { required: [{ key: 'd' }] } })), ['d'], 'from the description of ArkType')
  class Getter { get shape () { return { e: {} } } }
  t.strictSame(namesOf(standard({ inner: new Getter() })), ['e'])
  const cycle: Record<string, unknown> = { properties: { f: {} } }
  cycle.items = cycle
  t.strictSame(namesOf(cycle as never), ['f'])
  class Endless { get shape () { return { g: new Endless() } } }
  t.strictSame(namesOf(standard({ inner: new Endless() })), ['g'], 'and a schema without an end ends')
})

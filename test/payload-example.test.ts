import AjvCompiler from '@fastify/ajv-compiler'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import t from 'tap'
import { exampleOf } from '../lib/payload-example.js'

/** Fastify's own ajv, which here may neither coerce nor fill in nor take away. */
const compile = AjvCompiler()({}, { customOptions: { addUsedSchema: true, coerceTypes: false, useDefaults: false, removeAdditional: false, strict: false } } as never)

/** What ajv has against the example; undefined when it fits. */
function complaint (schema: unknown): string | undefined {
  const example = exampleOf(schema)
  if (example === undefined) return `no example for ${JSON.stringify(schema)}`
  const validate = compile({ schema: structuredClone(schema), method: 'POST', url: '/', httpPart: 'body' } as never) as ((value: unknown) => boolean) & { errors?: unknown }
  return validate(structuredClone(example)) ? undefined : `${JSON.stringify(example)} for ${JSON.stringify(schema)}: ${JSON.stringify(validate.errors)}`
}

const formats = ['email', 'uri', 'uri-reference', 'uri-template', 'url', 'date-time', 'iso-date-time', 'date', 'time', 'iso-time', 'duration', 'hostname', 'ipv4',
  'ipv6', 'uuid', 'json-pointer', 'json-pointer-uri-fragment', 'relative-json-pointer', 'regex', 'byte']

const range = (max: number) => fc.tuple(fc.nat(max), fc.nat(max)).map(([low, more]) => [low, low + more] as const)
const scalar = fc.oneof(
  range(40).map(([minLength, maxLength]) => ({ type: 'string', minLength, maxLength })),
  fc.constantFrom(...formats).map(format => ({ type: 'string', format })),
  fc.constantFrom('^[A-Z]{3}-\\d{4}$', '^(?:red|green)$', '^\\+?[0-9 ]{7,15}$', '^[a-z][a-z0-9_]*$', '^.{5,}$', '\\.pdf$').map(pattern => ({ type: 'string', pattern })),
  fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.nat(1000)).map(([minimum, more]) => ({ type: 'integer', minimum, maximum: minimum + more })),
  fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.integer({ min: 1, max: 9 })).map(([exclusiveMinimum, more]) => ({ type: 'number', exclusiveMinimum, exclusiveMaximum: exclusiveMinimum + more / 10 })),
  fc.tuple(fc.constantFrom('number', 'integer'), fc.integer({ min: -1000, max: 1000 }), fc.constantFrom(0.25, 0.5, 3, 7, 10)).map(([type, minimum, multipleOf]) => ({ type, minimum, multipleOf })),
  fc.constantFrom({ type: 'boolean' }, { type: 'null' }, {}, { type: ['null', 'string'], minLength: 2 }, { type: 'string', nullable: true }),
  fc.jsonValue({ maxDepth: 2 }).filter(value => value !== undefined).map(value => ({ const: value })),
  fc.uniqueArray(fc.oneof(fc.integer(), fc.string(), fc.boolean()), { minLength: 1, maxLength: 4 }).map(values => ({ enum: values }))
)
const name = fc.stringMatching(/^[a-z]{1,3}$/)

/** Schemas that something fits, by how they are made. */
const { schema } = fc.letrec<{ schema: object, object: object }>(tie => ({
  schema: fc.oneof({ maxDepth: 3, withCrossShrink: true },
    scalar,
    tie('object'),
    fc.tuple(tie('schema'), range(3)).map(([items, [minItems, maxItems]]) => ({ type: 'array', items, minItems, maxItems })),
    fc.tuple(fc.constantFrom({ type: 'string' }, { type: 'integer' }, { type: 'string', format: 'email' }), fc.nat(5)).map(([items, minItems]) => ({ type: 'array', items, minItems, uniqueItems: true })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map(items => ({ type: 'array', items, minItems: items.length, additionalItems: false })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map(anyOf => ({ anyOf })),
    fc.array(tie('object'), { minLength: 1, maxLength: 3 }).map(branches => ({
      oneOf: branches.map((branch, kind) => ({ ...branch, properties: { ...(branch as any).properties, kind: { const: kind } }, required: [...(branch as any).required, 'kind'] }))
    })),
    fc.tuple(tie('object'), tie('object')).map(([one, other]) => ({ allOf: [rename(one, 'a_'), rename(other, 'b_')] })),
    fc.tuple(tie('schema'), range(3)).map(([value, [minProperties]]) => ({ type: 'object', patternProperties: { '^.*$': value }, minProperties }))
  ),
  object: fc.dictionary(name, fc.tuple(tie('schema'), fc.boolean()), { maxKeys: 4, noNullPrototype: true }).map(fields => ({
    type: 'object',
    properties: Object.fromEntries(Object.entries(fields).map(([key, [one]]) => [key, one])),
    required: Object.entries(fields).filter(([, [, required]]) => required).map(([key]) => key),
    additionalProperties: false
  }))
}))

function rename (object: any, prefix: string): object {
  const { additionalProperties, ...open } = object
  return {
    ...open,
    properties: Object.fromEntries(Object.entries(object.properties).map(([key, value]) => [prefix + key, value])),
    required: object.required.map((key: string) => prefix + key)
  }
}

t.test('an example fits its schema, says ajv', async t => {
  fc.assert(fc.property(schema, schema => {
    const found = complaint(schema)
    if (found !== undefined) throw new Error(found)
  }), { numRuns: 200 })
  t.pass()
})

t.test('whatever is given as a schema, there is an answer', async t => {
  const keywords = ['type', 'properties', 'items', 'enum', 'anyOf', 'oneOf', 'allOf', '$ref', 'required', 'minLength', 'minItems', 'minProperties', 'pattern', 'format', 'default', 'examples', 'if', 'not', 'multipleOf']
  const junk = fc.dictionary(fc.constantFrom(...keywords), fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom<any>('string', 'object', 'array', '#', '#/%', 1e9, [{}], [{ type: 'string' }])), { maxKeys: 5 })
  fc.assert(fc.property(fc.oneof(junk, fc.jsonValue()), schema => { exampleOf(schema) }), { numRuns: 300 })
  t.equal(exampleOf(false), undefined)
  t.equal(exampleOf({ type: 'string', enum: [1] }), undefined)
  t.equal(exampleOf({ $ref: 'https://example.com/other.json' }), undefined)
  t.equal(exampleOf({ type: 'array', items: { type: 'integer' }, minItems: 1e9 }), undefined)
})

t.test('it shows what people recognise', async t => {
  t.strictSame(exampleOf(Type.Object({
    order: Type.String({ minLength: 1 }),
    email: Type.String({ format: 'email' }),
    lines: Type.Array(Type.Object({ sku: Type.String({ examples: ['A-1'] }), count: Type.Integer({ minimum: 1 }) }), { minItems: 2 }),
    currency: Type.Union([Type.Literal('EUR'), Type.Literal('USD')]),
    express: Type.Optional(Type.Boolean({ default: false }))
  })), {
    order: 'text',
    email: 'ada@example.com',
    lines: [{ sku: 'A-1', count: 1 }, { sku: 'A-1', count: 1 }],
    currency: 'EUR',
    express: false
  })
  t.strictSame(exampleOf(Type.Record(Type.String(), Type.Integer())), { key: 1 })
})

t.test('recursion ends, by itself and where it is asked for', async t => {
  for (const schema of [
    Type.Recursive(This => Type.Object({ value: Type.Integer(), next: Type.Union([This, Type.Null()]), more: Type.Optional(Type.Array(This)) })),
    { type: 'object', properties: { self: { $ref: '#' }, children: { type: 'array', items: { $ref: '#' } } }, required: ['children'] },
    { $ref: '#/$defs/list', $defs: { list: { anyOf: [{ type: 'object', properties: { tail: { $ref: '#/$defs/list' } }, required: ['tail'], additionalProperties: false }, { const: 'end' }] } } }
  ]) t.equal(complaint(schema), undefined)
  t.equal(exampleOf({ type: 'object', properties: { self: { $ref: '#' } }, required: ['self'] }), undefined, 'nothing finite fits')
})

t.test('what is harder is found as well', async t => {
  for (const schema of [
    { type: 'string', pattern: '^[\\w.-]+@[a-z]+\\.(com|org)$', maxLength: 20 },
    { type: 'string', pattern: '^(?<year>20\\d{2})-(0[1-9]|1[0-2])$' },
    { type: 'string', pattern: '^[^a-z]+$', minLength: 12 },
    { type: 'string', format: 'email', minLength: 100 },
    { type: 'string', format: 'uri', pattern: '^https://' },
    { type: 'integer', multipleOf: 1.5, minimum: 1 },
    { type: 'integer', exclusiveMaximum: -3 },
    { oneOf: [{ type: 'number' }, { type: 'integer' }] },
    { type: 'string', not: { const: 'text' } },
    { allOf: [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, { anyOf: [{ type: 'boolean' }, { type: 'integer' }] }] },
    { allOf: [{ minimum: 3 }, { maximum: 9, type: 'integer' }, { minimum: 5 }] },
    { type: 'object', properties: { kind: { enum: ['a', 'b'] } }, required: ['kind'], if: { properties: { kind: { const: 'a' } } }, then: { required: ['size'], properties: { size: { type: 'integer' } } } },
    { type: 'array', contains: { const: 'x' }, items: { type: 'string' } },
    { type: 'object', required: ['__proto__', 'toString'], additionalProperties: { type: 'integer' } },
    Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Integer() })], { unevaluatedProperties: false }),
    Type.Tuple([Type.String(), Type.Integer()])
  ]) t.equal(complaint(schema), undefined)
})

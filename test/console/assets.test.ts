import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Type } from '@sinclair/typebox'
import t from 'tap'

const assets = resolve(import.meta.dirname, '../../lib/console/assets')
const load = async (file: string): Promise<any> => await import(join(assets, file))

const { describe, rulesOf, variantName } = await load('form/schema.js')
const { fieldPointers, initialValue, resembles, variantOf } = await load('form/schema-value.js')
const { layout } = await load('parts/json-layout.js')
const { fill, gather, nice } = await load('tasks/timeline-columns.js')
const { distance, duration, bytes } = await load('tasks/quantity.js')
const { visible } = await load('parts/visible-text.js')
const { readable, under } = await load('form/pointer.js')

t.test('the kind of a schema determines its form field', async t => {
  const kind = (schema: unknown): string => describe(schema, schema).kind
  t.equal(kind(Type.Object({ a: Type.String() })), 'object')
  t.equal(kind(Type.Object({})), 'record')
  t.equal(kind(Type.Object({}, { additionalProperties: false })), 'object')
  t.equal(kind(Type.Record(Type.String(), Type.Number())), 'record')
  t.equal(kind(Type.Array(Type.String())), 'array')
  t.equal(kind(Type.Tuple([Type.String()])), 'tuple')
  t.equal(kind(Type.Enum({ A: 'a', B: 1 })), 'choice')
  t.equal(kind({ enum: ['a', null] }), 'choice')
  t.equal(kind(Type.Literal(2)), 'choice')
  t.equal(kind(Type.Union([Type.Literal('a'), Type.Null()])), 'choice')
  t.equal(kind(Type.Union([Type.String(), Type.Null()])), 'union')
  t.equal(kind({ type: ['string', 'null'] }), 'union')
  t.equal(kind({ type: 'string', nullable: true }), 'union')
  t.equal(kind({ properties: { a: {} } }), 'object')
  t.equal(kind(Type.Unknown()), 'any')
  t.equal(kind(true), 'any')
  t.equal(kind(undefined), 'any')
  for (const type of ['string', 'number', 'integer', 'boolean', 'null']) t.equal(kind({ type }), type)
})

t.test('references and allOf are followed, into themselves too', async t => {
  const tree = Type.Recursive(This => Type.Object({ name: Type.String(), children: Type.Array(This) }))
  const { properties } = describe(tree, tree)
  const children = describe(properties[1].schema, tree)
  t.equal(describe(children.items, tree).kind, 'object')
  t.same(initialValue(tree, tree), { name: '', children: [] })

  const endless = {
    $ref: '#/$defs/a',
    $defs: { a: { type: 'object', required: ['a'], properties: { a: { $ref: '#/$defs/a' } } }, b: { $ref: '#/$defs/b' } }
  }
  t.equal(describe(endless, endless).kind, 'object')
  t.ok(JSON.stringify(initialValue(endless, endless)).length < 200)
  t.equal(describe({ $ref: '#/$defs/b' }, endless).kind, 'any')
  t.equal(describe({ $ref: '#/nowhere' }, endless).kind, 'any')

  const both = Type.Intersect([Type.Object({ a: Type.String() }), Type.Object({ b: Type.Optional(Type.Integer()) })])
  t.same(
    describe(both, both).properties.map(({ key, required }: { key: string, required: boolean }) => [key, required]),
    [
      ['a', true],
      ['b', false]
    ]
  )
})

t.test('a value to begin with has what must be there, defaults, and nothing else', async t => {
  const schema = Type.Object({
    text: Type.String(),
    count: Type.Integer({ minimum: 3 }),
    more: Type.Number({ exclusiveMinimum: 0 }),
    kind: Type.Literal('a'),
    pick: Type.Union([Type.Literal('x'), Type.Literal('y')], { default: 'y' }),
    list: Type.Array(Type.Boolean(), { minItems: 2 }),
    either: Type.Union([Type.Object({ a: Type.Null() }), Type.String()]),
    left: Type.Optional(Type.String()),
    preset: Type.Optional(Type.String({ default: 'p' }))
  })
  t.same(initialValue(schema, schema), {
    text: '',
    count: 3,
    more: 1,
    kind: 'a',
    pick: 'y',
    list: [false, false],
    either: { a: null },
    preset: 'p'
  })
})

t.test('the variant of a union is found by its value', async t => {
  const mail = Type.Object({ kind: Type.Literal('mail'), to: Type.String() })
  const sms = Type.Object({ kind: Type.Literal('sms'), to: Type.String() })
  const variants = [Type.String(), mail, sms, Type.Array(Type.Integer()), Type.Null()]
  const of = (value: unknown): number => variantOf(value, variants, {})
  t.equal(of('text'), 0)
  t.equal(of({ kind: 'mail', to: 'a' }), 1)
  t.equal(of({ kind: 'sms', to: 'a' }), 2)
  t.equal(of([1]), 3)
  t.equal(of(null), 4)
  t.notOk(resembles(1, Type.String(), {}))
  t.same(variants.map(variant => variantName(variant, {})), ['text', 'kind: "mail"', 'kind: "sms"', 'list of integer', 'null'])
})

t.test('every pointer that has a field is known, so that other faults can be shown separately', async t => {
  const schema = Type.Object({
    'a/b': Type.Array(Type.Object({ c: Type.Optional(Type.String()) })),
    d: Type.Optional(Type.Object({ e: Type.String() }))
  })
  t.same([...fieldPointers(schema, { 'a/b': [{}], strange: 1 }, schema)].sort(), ['', '/a~1b', '/a~1b/0', '/a~1b/0/c', '/d', '/strange'])
  t.equal(under('/x', 'a/~b'), '/x/a~1~0b')
  t.equal(readable('/items/2/a~1b/name'), 'items[2]["a/b"].name')
})

t.test('the rules of a value are shown in short', async t => {
  t.equal(rulesOf(describe(Type.Integer({ minimum: 1, maximum: 10 }), {})), 'whole number, 1 to 10')
  t.equal(rulesOf(describe(Type.String({ format: 'email', minLength: 2 }), {})), 'email, at least 2 characters')
  t.equal(rulesOf(describe(Type.String({ format: 'email' }), {}), 'email'), '')
})

t.test('JSON text is formatted without changing its numbers and keys', async t => {
  const print = (text: string): string => layout(text).map((piece: { text: string }) => piece.text).join('')
  const value = { a: [], b: {}, c: [1, { d: null, e: 'x "y" \\ {' }], f: true }
  t.equal(print(JSON.stringify(value)), JSON.stringify(value, null, 2))
  t.equal(print('{"n":12345678901234567890,"n":1e400}'), '{\n  "n": 12345678901234567890,\n  "n": 1e400\n}')
  t.equal(print('"alone"'), '"alone"')
  for (const broken of ['{"a":', ']]]{', '"open', 'a{b', '']) t.equal(print(broken).replace(/\s/g, ''), broken)
})

t.test('missing seconds are filled: without events, and with the same number of waiting tasks', async t => {
  const second = 1_800_000_000_000
  const seconds = fill([{ at: second - 5000, arrived: 4, succeeded: 1, failed: 1, waiting: 2 }], second)
  t.equal(seconds.length, 300)
  t.same(seconds.slice(-6).map(({ waiting }: { waiting: number }) => waiting), [2, 2, 2, 2, 2, 2])
  t.equal(seconds.at(-7).waiting, 0)
  const columns = gather(seconds, 60)
  t.same(columns.reduce((sum: number, { arrived }: { arrived: number }) => sum + arrived, 0), 4)
  t.ok(columns.length <= 61)
  t.same(new Set(columns.map(({ at }: { at: number }) => at % 5000)), new Set([0]))
  t.same([0, 1, 3, 7, 41, 99, 100].map(nice), [1, 1, 4, 10, 50, 100, 100])
})

t.test('times and sizes are human-readable', async t => {
  t.same([0.2, 12.4, 1200, 2000, 12_000, 125_000, 3_780_000, 187_200_000].map(duration), [
    '<1 ms',
    '12 ms',
    '1.2 s',
    '2 s',
    '12 s',
    '2 min 5 s',
    '1 h 3 min',
    '2 d 4 h'
  ])
  t.same([999.7, 59_700, 3_599_700].map(duration), ['1 s', '1 min', '1 h'])
  t.same([0, -12_000, 180_000, -7_300_000].map(ms => distance(ms, 0)), ['now', '12 s ago', 'in 3 min', '2 h ago'])
  t.same([1, 1023, 2048, 3_145_728].map(bytes), ['1 byte', '1,023 bytes', '2.0 KiB', '3.0 MiB'])
})

t.test('nothing in a text passes unseen', async t => {
  t.equal(visible('a\u202eb\u0000c\u200bd\u001b[31mred\u001b[0m\r\n\ttab'), 'a\\u202eb\\u0000c\\u200bdred\n\ttab')
  t.equal(visible('Grüße, 日本, שלום'), 'Grüße, 日本, שלום')
})

t.test('no file of the page inserts HTML, runs text or asks for anything elsewhere', async t => {
  const files = readdirSync(assets, { recursive: true, encoding: 'utf8' }).filter(file => /\.\w+$/.test(file))
  t.ok(files.includes('index.html'))
  const complaints = files.flatMap(file => {
    const text = readFileSync(join(assets, file), 'utf8')
    const elsewhere = text.replaceAll('http://www.w3.org/2000/svg', '').replaceAll('https://example.com', '')
    return [
      ...(text.match(
        /innerHTML|outerHTML|insertAdjacent|document\.write|dangerously|\beval\b|new Function|srcdoc|setInterval\([^)]*(?:get|post|fetch)/
      ) ?? []),
      ...(elsewhere.match(/https?:\/\//) ?? []),
      ...(file.endsWith('.html') ? (text.match(/<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=/) ?? []) : []),
      ...[...text.matchAll(/from '(\.[^']+)'/g)]
        .map(([, to]) => join(dirname(file), to!))
        .filter(to => to !== 'htm-preact.js' && !files.includes(to))
    ].map(found => `${file}: ${found}`)
  })
  t.same(complaints, [])
})

import fc from 'fast-check'
import t from 'tap'
import { parseJson, parseText, printJson } from '../../../lib/emulator/proto/json.js'
import { loadProtos, messageType } from '../../../lib/emulator/proto/protos.js'
import { isDuration, isTimestamp, parseDuration, parseTimestamp, printDuration, printTimestamp } from '../../../lib/emulator/proto/time.js'
import { unknownFields } from '../../../lib/emulator/proto/unknown-fields.js'
import { arbitraryMessage } from '../../support/arbitrary-message.js'
import { schemas } from '../../support/proto-schema.js'

const order = schemas.message('shop.v1.Order')
const bytes = (...codes: number[]): Buffer => Buffer.from(codes)

t.test('JSON and the wire say the same of every message', async t => {
  const { definitions, schemas } = await loadProtos()
  for (const name of ['v2.Queue', 'v2.Task', 'v2.CmekConfig', 'v2beta3.Queue', 'v2beta3.Task', 'v2beta3.BatchCreateTasksRequest']) {
    const schema = schemas.message(`google.cloud.tasks.${name}`)
    const wire = messageType(definitions, schema.fullName)
    fc.assert(fc.property(arbitraryMessage(schema), fc.boolean(), (message, enumsAsNumbers) => {
      const bytes = wire.serialize(message)
      const sent = wire.deserialize(bytes)
      if (unknownFields(schema, bytes).length > 0) return false
      const json = JSON.parse(JSON.stringify(printJson(schema, sent, { enumsAsNumbers })))
      const parsed = parseJson(schema, snakeCased(json))
      return JSON.stringify(printJson(schema, wire.deserialize(wire.serialize(parsed)))) === JSON.stringify(printJson(schema, sent))
    }), { numRuns: 20 })
  }
})

t.test('each kind of field is read from each of its JSON forms, and a default is the same as absent', async t => {
  for (const [json, message] of [
    [{}, {}],
    [{ orderId: 'a' }, { orderId: 'a' }],
    [{ order_id: 'a' }, { orderId: 'a' }],
    [{ orderId: '', count: 0, total: '0', price: -0, paid: false, photo: '', size: 'SIZE_UNSPECIFIED' }, {}],
    [{ size: 0, orderId: null, lines: null, labels: undefined }, {}],
    [{ note: '' }, { note: '' }],
    [{ paid: true }, { paid: true }],
    [{ count: 7 }, { count: 7 }],
    [{ count: '7' }, { count: 7 }],
    [{ count: '-7' }, { count: -7 }],
    [{ count: '70e-1' }, { count: 7 }],
    [{ count: '7E+1' }, { count: 70 }],
    [{ count: '7.0' }, { count: 7 }],
    [{ count: 2 ** 31 - 1 }, { count: 2 ** 31 - 1 }],
    [{ count: -(2 ** 31) }, { count: -(2 ** 31) }],
    [{ total: '-9223372036854775808' }, { total: -(2 ** 63) }],
    [{ total: 2 ** 53 }, { total: 2 ** 53 }],
    [{ price: '0.5' }, { price: 0.5 }],
    [{ price: '10.25' }, { price: 10.25 }],
    [{ price: '5e10' }, { price: 5e10 }],
    [{ price: 'NaN' }, { price: NaN }],
    [{ price: 'Infinity' }, { price: Infinity }],
    [{ price: '-Infinity' }, { price: -Infinity }],
    [{ size: 'SMALL' }, { size: 'SMALL' }],
    [{ size: 1 }, { size: 'SMALL' }],
    [{ size: '2' }, { size: 'LARGE' }],
    [{ size: 77 }, { size: 77 }],
    [{ size: -(2 ** 31) }, { size: -(2 ** 31) }],
    [{ size: 2 ** 31 - 1 }, { size: 2 ** 31 - 1 }],
    [{ photo: '-_8=' }, { photo: bytes(251, 255) }],
    [{ photo: '+/8' }, { photo: bytes(251, 255) }],
    [{ photo: 'YQ==' }, { photo: bytes(97) }],
    [{ photo: 'YWJj' }, { photo: bytes(97, 98, 99) }],
    [{ counts: [0, '1', -0] }, { counts: [0, 1, 0] }],
    [{ counts: [] }, { counts: [] }],
    [{ lines: [{ item: 'a' }, {}] }, { lines: [{ item: 'a' }, {}] }],
    [{ first: {} }, { first: {} }],
    [{ labels: { a: '', b: 'x' } }, { labels: { a: '', b: 'x' } }],
    [{ labels: {} }, { labels: {} }],
    [{ card: 'c' }, { card: 'c' }],
    [{ card: null, invoice: 'i' }, { invoice: 'i' }],
    [{ placedAt: '1970-01-01T00:00:01.5Z' }, { placedAt: { seconds: 1, nanos: 500_000_000 } }],
    [{ wait: '-1.5s' }, { wait: { seconds: -1, nanos: -500_000_000 } }],
    [{ mask: 'a, b,,c.d' }, { mask: { paths: ['a', 'b', 'c.d'] } }]
  ] as const) t.strictSame(parseJson(order, json), message, JSON.stringify(json))
  t.strictSame((parseJson(order, { counts: [-0] }) as { counts: number[] }).counts.map(count => Object.is(count, 0)), [true])
})

t.test('any other JSON is rejected with the path and the type of the field', async t => {
  const type = (name: string): string => `type.googleapis.com/${name}`
  for (const [json, field, message] of [
    ...[[], 'x', 1, true].map(json => [json, undefined, `Invalid value at '' (${type('shop.v1.Order')}), `] as const),
    [null, undefined, `Invalid value at '' (${type('shop.v1.Order')}), null`],
    [{ nothing: 1 }, undefined, 'Invalid JSON payload received. Unknown name "nothing": Cannot find field.'],
    [{ first: { x: 1 } }, 'first', 'Invalid JSON payload received. Unknown name "x" at \'first\': Cannot find field.'],
    [{ orderId: 1 }, 'order_id', "Invalid value at 'order_id' (TYPE_STRING), 1"],
    [{ paid: 'true' }, 'paid', "Invalid value at 'paid' (TYPE_BOOL), \"true\""],
    ...[1.5, '1.5', 2 ** 31, -(2 ** 31) - 1, '', ' 1', '1 ', '01', '+1', '1.', '.5', '0x1', '1e', 'NaN', true, {}, []].map(
      json => [{ count: json }, 'count', "Invalid value at 'count' (TYPE_INT32), "] as const
    ),
    ...[2 ** 64, -(2 ** 64), 0.5].map(json => [{ total: json }, 'total', "Invalid value at 'total' (TYPE_INT64), "] as const),
    ...['1e400', 'nan', 'xNaN', 'NaNx', '+Infinity', ''].map(
      json => [{ price: json }, 'price', "Invalid value at 'price' (TYPE_DOUBLE), "] as const
    ),
    ...['small', 1.5, '1.5', 2 ** 31, -(2 ** 31) - 1, true].map(
      json => [{ size: json }, 'size', `Invalid value at 'size' (${type('shop.v1.Size')}), `] as const
    ),
    ...['a', 'abcde', 'ab=', 'abc==', 'YWJj=', 'a b=', '=', 1].map(
      json => [{ photo: json }, 'photo', "Invalid value at 'photo' (TYPE_BYTES), "] as const
    ),
    [{ counts: 1 }, 'counts', "Invalid value at 'counts' (TYPE_INT32), 1"],
    [{ counts: [1, 'x'] }, 'counts[1]', "Invalid value at 'counts[1]' (TYPE_INT32), \"x\""],
    [{ counts: [null] }, 'counts[0]', "Invalid value at 'counts[0]' (TYPE_INT32), null"],
    [{ lines: {} }, 'lines', `Invalid value at 'lines' (${type('shop.v1.Order.Line')}), an object`],
    [{ lines: [{}, { item: 5 }] }, 'lines[1].item', "Invalid value at 'lines[1].item' (TYPE_STRING), 5"],
    [{ first: { item: false } }, 'first.item', "Invalid value at 'first.item' (TYPE_STRING), false"],
    ...[[], 'x', 1].map(json => [{ labels: json }, 'labels', `Invalid value at 'labels' (${type('shop.v1.Order.LabelsEntry')}), `] as const),
    [{ labels: { a: 1 } }, 'labels["a"]', "Invalid value at 'labels[\"a\"]' (TYPE_STRING), 1"],
    [
      { card: 'c', invoice: 'i' },
      undefined,
      "Invalid value at '' (oneof), oneof field 'payment' is already set. Cannot set 'invoice'"
    ],
    [{ placedAt: 5 }, 'placed_at', `Invalid value at 'placed_at' (${type('google.protobuf.Timestamp')}), 5`],
    [{ placedAt: 'today' }, 'placed_at', `Invalid value at 'placed_at' (${type('google.protobuf.Timestamp')}), "today"`],
    [{ wait: {} }, 'wait', `Invalid value at 'wait' (${type('google.protobuf.Duration')}), an object`],
    [{ extra: { '@type': 'x' } }, 'extra', `Invalid value at 'extra' (${type('google.protobuf.Any')}), an object`],
    [{ orderId: ['x'] }, 'order_id', "Invalid value at 'order_id' (TYPE_STRING), a list"],
    [{ paid: 'x'.repeat(79) }, 'paid', `Invalid value at 'paid' (TYPE_BOOL), "${'x'.repeat(79)}..."`],
    [{ paid: 'x'.repeat(78) }, 'paid', `Invalid value at 'paid' (TYPE_BOOL), "${'x'.repeat(78)}"`]
  ] as const) {
    const { code, message: said, details } = rejection(() => parseJson(order, json))
    t.equal(code, 'INVALID_ARGUMENT')
    t.ok(message.endsWith(' ') ? said.startsWith(message) : said === message, `${JSON.stringify(json)}: ${said}`)
    t.strictSame(details, [
      {
        '@type': 'type.googleapis.com/google.rpc.BadRequest',
        fieldViolations: [field === undefined ? { description: said } : { field, description: said }]
      }
    ])
  }
})

t.test('a message is printed without defaults, and with what was set although it is the default', async t => {
  for (const [message, json] of [
    [{ unknown: 1, orderId: 'a' }, { orderId: 'a' }],
    [{ orderId: '', count: 0, total: 0, price: 0, paid: false, photo: bytes(), size: 'SIZE_UNSPECIFIED', lines: [], labels: {} }, {}],
    [{ size: 0, orderId: undefined, first: null, lines: undefined }, {}],
    [{ note: '', first: {}, paid: true }, { paid: true, note: '', first: {} }],
    [{ total: 5, price: 0.5, count: -1 }, { count: -1, total: '5', price: 0.5 }],
    [{ price: NaN }, { price: 'NaN' }],
    [{ price: -Infinity }, { price: '-Infinity' }],
    [{ photo: bytes(251, 255) }, { photo: '+/8=' }],
    [{ size: 'LARGE' }, { size: 'LARGE' }],
    [{ size: 77 }, { size: 77 }],
    [{ counts: [0, 1], lines: [{ item: 'a', unknown: 1 }, {}] }, { counts: [0, 1], lines: [{ item: 'a' }, {}] }],
    [{ labels: { a: '', b: 'x' } }, { labels: { a: '', b: 'x' } }],
    [{ placedAt: { seconds: 1 }, wait: { nanos: 1000 }, mask: { paths: ['a', 'b'] } }, {
      placedAt: '1970-01-01T00:00:01Z',
      wait: '0.000001s',
      mask: 'a,b'
    }]
  ] as const) t.strictSame(printJson(order, message), json, JSON.stringify(message))
  t.strictSame(printJson(schemas.message('google.protobuf.FieldMask'), {}), '')

  const asNumbers = (size: unknown) => printJson(order, { size }, { enumsAsNumbers: true })
  t.strictSame(asNumbers('LARGE'), { size: 2 })
  t.strictSame(asNumbers('FUTURE'), { size: 'FUTURE' })
  t.strictSame(asNumbers(77), { size: 77 })
})

t.test('a message in an Any is printed by its own schema where that is known, and its type comes first', async t => {
  const extra = { '@type': 'type.googleapis.com/shop.v1.Order', total: 5, unknown: 1 }
  const print = (find?: (name: string) => typeof order | undefined) => JSON.stringify(printJson(order, { extra }, find && { find }))
  t.equal(print(name => schemas.find(name)), '{"extra":{"@type":"type.googleapis.com/shop.v1.Order","total":"5"}}')
  t.equal(print(() => undefined), '{"extra":{"@type":"type.googleapis.com/shop.v1.Order","total":5,"unknown":1}}')
  t.equal(print(), '{"extra":{"@type":"type.googleapis.com/shop.v1.Order","total":5,"unknown":1}}')
})

t.test('the text of a query parameter is read as its field says', async t => {
  const parse = (name: string, text: string) => parseText(order.field.get(name)!, text)
  t.equal(parse('paid', 'true'), true)
  t.equal(parse('paid', 'false'), undefined)
  t.equal(parse('count', '5'), 5)
  t.equal(parse('order_id', 'true'), 'true')
  t.strictSame(parse('mask', 'a,b'), { paths: ['a', 'b'] })
  for (const [name, text, message] of [
    ['paid', 'yes', "Invalid value at 'paid' (TYPE_BOOL), \"yes\""],
    ['count', '', "Invalid value at 'count' (TYPE_INT32), \"\""],
    ['counts', '1', "Invalid value at 'counts' (TYPE_INT32), \"1\""],
    ['placedAt', 'x', "Invalid value at 'placed_at' (type.googleapis.com/google.protobuf.Timestamp), \"x\""]
  ] as const) t.equal(rejection(() => parse(name, text)).message, message)
})

t.test('timestamps are RFC 3339 in the years 1 to 9999', async t => {
  for (const [text, seconds, nanos, printed = text] of [
    ['1970-01-01T00:00:00Z', 0, 0],
    ['0001-01-01T00:00:00Z', -62_135_596_800, 0],
    ['9999-12-31T23:59:59.999999999Z', 253_402_300_799, 999_999_999],
    ['2024-02-29T12:00:00.120Z', 1_709_208_000, 120_000_000],
    ['2024-02-29T12:00:00.000120Z', 1_709_208_000, 120_000],
    ['2024-02-29T12:00:00.000000120Z', 1_709_208_000, 120],
    ['2024-02-29t12:00:00.5z', 1_709_208_000, 500_000_000, '2024-02-29T12:00:00.500Z'],
    ['2024-02-29T12:00:00+05:30', 1_709_188_200, 0, '2024-02-29T06:30:00Z'],
    ['2024-02-29T12:00:00-08:01', 1_709_236_860, 0, '2024-02-29T20:01:00Z'],
    ['2024-02-29T12:00:00+23:59', 1_709_121_660, 0, '2024-02-28T12:01:00Z']
  ] as const) {
    t.strictSame(parseTimestamp(text), { seconds, nanos }, text)
    t.equal(printTimestamp({ seconds, nanos }), printed)
  }
  t.equal(printTimestamp({}), '1970-01-01T00:00:00Z')
  for (const text of [
    '0001-01-01T00:00:00+00:01', '9999-12-31T23:59:59-00:01', '2023-02-29T00:00:00Z', '2024-13-01T00:00:00Z', '2024-01-01T24:00:00Z',
    '2024-01-01T00:00:60Z', '2024-01-01T00:00:00.1234567890Z', '2024-01-01T00:00:00.Z', '2024-01-01T00:00:00', '2024-01-01T00:00:00+24:00',
    '2024-01-01T00:00:00+0100', '2024-01-01T00:00:00+00:60', '2024-01-01 00:00:00Z', 'x2024-01-01T00:00:00Z', '2024-01-01T00:00:00Zx', ''
  ]) t.equal(parseTimestamp(text), undefined, text)
  for (const [message, valid] of [
    [{}, true],
    [{ seconds: -62_135_596_800, nanos: 0 }, true],
    [{ seconds: -62_135_596_801 }, false],
    [{ seconds: 253_402_300_799, nanos: 999_999_999 }, true],
    [{ seconds: 253_402_300_800 }, false],
    [{ nanos: -1 }, false],
    [{ nanos: 1_000_000_000 }, false]
  ] as const) t.equal(isTimestamp(message), valid, JSON.stringify(message))
})

t.test('durations are seconds with up to nine digits and one sign', async t => {
  for (const [text, seconds, nanos, printed = text] of [
    ['0s', 0, 0],
    ['-0s', 0, 0, '0s'],
    ['1.500s', 1, 500_000_000],
    ['-1.500s', -1, -500_000_000],
    ['-0.000001s', 0, -1000],
    ['0.000000001s', 0, 1],
    ['3.5s', 3, 500_000_000, '3.500s'],
    ['315576000000s', 315_576_000_000, 0],
    ['-315576000000s', -315_576_000_000, 0]
  ] as const) {
    t.strictSame(parseDuration(text), { seconds, nanos }, text)
    t.equal(printDuration({ seconds, nanos }), printed)
  }
  t.strictSame(Object.values(parseDuration('-0s')!).map(part => Object.is(part, 0)), [true, true])
  t.equal(printDuration({}), '0s')
  for (const text of ['', 's', '1', '1m', '+1s', '1.s', '.5s', '1.0000000001s', '315576000001s', '1000000000000s', 'x1s', '1sx', '--1s']) {
    t.equal(parseDuration(text), undefined, text)
  }
  for (const [message, valid] of [
    [{}, true],
    [{ seconds: 1, nanos: 999_999_999 }, true],
    [{ seconds: -1, nanos: -999_999_999 }, true],
    [{ nanos: 1_000_000_000 }, false],
    [{ nanos: -1_000_000_000 }, false],
    [{ seconds: 315_576_000_001 }, false],
    [{ seconds: -315_576_000_001 }, false],
    [{ seconds: 1, nanos: -1 }, false],
    [{ seconds: -1, nanos: 1 }, false]
  ] as const) t.equal(isDuration(message), valid, JSON.stringify(message))
})

function rejection (call: () => unknown): { code?: string, message: string, details?: unknown } {
  try {
    call()
  } catch (error) {
    return error as Error
  }
  throw new Error('it was accepted')
}

/** The other way to write keys. Keys of maps stay as they are. */
function snakeCased (json: any): any {
  if (Array.isArray(json)) return json.map(snakeCased)
  if (typeof json !== 'object' || json === null) return json
  return Object.fromEntries(Object.entries(json).map(([key, value]) => key === 'headers' || key === 'labels'
    ? [key, value]
    : [key.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`), snakeCased(value)]))
}

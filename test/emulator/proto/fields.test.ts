import fc from 'fast-check'
import t from 'tap'
import { addCurrentV2, namespaceOf, type ProtoNamespace } from '../../../lib/emulator/proto/current-v2.js'
import { masked, parseMask, picked, printMask, resolveMask } from '../../../lib/emulator/proto/field-mask.js'
import { parseFilter } from '../../../lib/emulator/proto/filter.js'
import { loadProtos, messageType } from '../../../lib/emulator/proto/protos.js'
import { Schemas } from '../../../lib/emulator/proto/schema.js'
import { unknownFields } from '../../../lib/emulator/proto/unknown-fields.js'
import { arbitraryMessage } from '../../support/arbitrary-message.js'
import { field, files, schemas } from '../../support/proto-schema.js'

const order = schemas.message('shop.v1.Order')
const message = {
  orderId: 'Mail-1',
  count: 5,
  price: 0.5,
  paid: true,
  size: 'LARGE',
  note: '*',
  lines: [{ item: 'a' }],
  first: { item: 'say "hi"', at: { seconds: 1, nanos: 5 } },
  placedAt: { seconds: 946_684_800 },
  wait: { seconds: 1, nanos: 500_000_000 }
}

t.test('a filter compares fields with its values, in the ways that their kinds have', async t => {
  for (const [filter, expected, expectedOfEmpty] of [
    ['count < 5', false, true],
    ['count < 6', true, true],
    ['count <= 5', true, true],
    ['count <= 4', false, true],
    ['count > 5', false, false],
    ['count > 4', true, false],
    ['count >= 5', true, false],
    ['count >= 6', false, false],
    ['count = 5', true, false],
    ['count = 6', false, false],
    ['count: 5', true, false],
    ['count: 50', false, false],
    ['count != 5', false, true],
    ['count > -1', true, true],
    ['count = 0', false, true],
    ['price = "0.5"', true, false],
    ['order_id = Mail-1', true, false],
    ['orderId = mail-1', false, false],
    ['orderId: mAIL', true, false],
    ['orderId: mails', false, false],
    ['orderId = ""', false, true],
    ['orderId < N', true, true],
    ['size: large', true, false],
    ['size = large', false, false],
    ['size != SMALL', true, true],
    ['size = ""', false, true],
    ['paid = true', true, false],
    ['paid = false', false, true],
    ['paid: true', true, false],
    ['note:*', true, false],
    ['note: "*"', true, false],
    ['orderId: "*"', false, false],
    ['note = *', true, false],
    ['orderId = *', false, false],
    ['lines:*', true, false],
    ['labels:*', false, false],
    ['first:*', true, false],
    ['first.at:*', true, false],
    ['first.item = "say \\"hi\\""', true, false],
    ['first.parent.order_id: x', false, false],
    ['first.at > "1970-01-01T00:00:01.000000004Z"', true, false],
    ['first.at > "1970-01-01T00:00:01.000000005Z"', false, false],
    ['placed_at = "2000-01-01T00:00:00Z"', true, false],
    ['placed_at >= "2000-01-01T00:00:01Z"', false, false],
    ['placed_at < "1970-01-01T00:00:00Z"', false, true],
    ['placed_at != "2000-01-01T00:00:00Z"', false, true],
    ['placed_at > "1999-12-31T23:59:59Z"', true, false],
    ['wait > 0.6s', true, false],
    ['wait >= 1.5s', true, false],
    ['wait > 1.5s', false, false],
    ['wait <= "1.499999999s"', false, true]
  ] as const) {
    const matches = parseFilter(order, filter)
    t.strictSame([matches(message), matches({})], [expected, expectedOfEmpty], filter)
  }
})

t.test('comparisons are joined as their words and parentheses say', async t => {
  const [yes, no] = ['count=5', 'count=6']
  for (const [filter, expected] of [
    [`${yes} AND ${no}`, false],
    [`${yes} ${yes}`, true],
    [`${yes} ${no}`, false],
    [`${no} OR ${yes}`, true],
    [`${no} OR ${no}`, false],
    [`${no} OR ${no} OR ${yes}`, true],
    [`${yes} OR ${yes} AND ${no}`, true],
    [`(${yes} OR ${yes}) AND ${no}`, false],
    [`${no} AND ${no} OR ${yes}`, true],
    [`NOT ${yes}`, false],
    [`-${no}`, true],
    [`-(${yes})`, false],
    [`NOT NOT ${yes}`, true],
    [`NOT ${no} ${yes}`, true],
    [`NOT ${yes} OR ${yes}`, true],
    [`NOT (${yes} OR ${yes})`, false],
    [`${Array(60).fill(`(${yes})`).join(' ')}`, true],
    [`${'('.repeat(49)}${yes}${')'.repeat(49)}`, true],
    [`${yes}${' '.repeat(10_000 - yes.length)}`, true]
  ] as const) t.equal(parseFilter(order, filter)(message), expected, filter.slice(0, 60))
})

t.test('an invalid filter is rejected as such', async t => {
  for (const [filter, problem] of [
    ['x', 'unexpected end'],
    ['count', 'unexpected end'],
    ['count =', 'unexpected end'],
    ['', 'unexpected end'],
    ['AND count=5', "'count' is not an operator"],
    ['count=5 AND', 'unexpected end'],
    ['count=5 OR', 'unexpected end'],
    ['count 5', "'5' is not an operator"],
    ['count 5 6', "'5' is not an operator"],
    [`count ${'5'.repeat(101)} 6`, `'${'5'.repeat(100)}' is not an operator`],
    ['count=5)', "unexpected ')'"],
    ['(count=5', 'a parenthesis is not closed'],
    ['order_id="a', 'unterminated string or unexpected character'],
    ['order_id="a\\"', 'unterminated string or unexpected character'],
    ['count ! 5', 'unterminated string or unexpected character'],
    ['nothing=5', "'nothing' is not a field of shop.v1.Order"],
    ['count.x=5', "'count.x' is not a field of shop.v1.Order"],
    ['lines.item=a', "'lines.item' is not a field of shop.v1.Order"],
    [`${'x'.repeat(101)}=5`, `'${'x'.repeat(100)}' is not a field of shop.v1.Order`],
    ['count=x', "'count' cannot be compared with 'x'"],
    ['count=""', "'count' cannot be compared with ''"],
    ['counts=1', "'counts' cannot be compared with '1'"],
    ['lines=1', "'lines' cannot be compared with '1'"],
    ['paid=yes', "'paid' cannot be compared with 'yes'"],
    ['first="2000-01-01T00:00:00Z"', "'first' cannot be compared with '2000-01-01T00:00:00Z'"],
    ['first=a', "'first' cannot be compared with 'a'"],
    ['first.at=today', "'first.at' cannot be compared with 'today'"],
    ['wait=1', "'wait' cannot be compared with '1'"],
    [`count=${'x'.repeat(101)}`, `'count' cannot be compared with '${'x'.repeat(100)}'`],
    [`${'('.repeat(50)}count=5${')'.repeat(50)}`, 'it is nested too deeply'],
    [`${'NOT '.repeat(50)}count=5`, 'it is nested too deeply'],
    [' '.repeat(10_001), 'it is too long']
  ] as const) {
    const { code, message, details } = rejection(() => parseFilter(order, filter))
    t.equal(code, 'INVALID_ARGUMENT')
    t.equal(message, `Invalid filter: ${problem}.`)
    t.strictSame(fieldsOf(details), ['filter'])
  }
})

t.test('a mask names fields of a message in either case, and nothing below lists and times', async t => {
  t.strictSame(parseMask(' a ,b.c,, '), { paths: ['a', 'b.c'] })
  t.equal(printMask({ paths: ['a', 'b.c'] }), 'a,b.c')
  t.equal(printMask({}), '')
  for (const [paths, keys] of [
    [undefined, []],
    [[], []],
    [['*'], []],
    [['count'], [['count']]],
    [['order_id', 'orderId'], [['orderId'], ['orderId']]],
    [['first.parent.placed_at', 'lines', 'labels'], [['first', 'parent', 'placedAt'], ['lines'], ['labels']]]
  ] as const) t.strictSame(resolveMask(order, paths === undefined ? {} : { paths }, 'update_mask'), keys)
  const long = 'x'.repeat(201)
  for (const path of ['', '.', 'nothing', 'count.x', 'lines.item', 'labels.a', 'placed_at.seconds', 'first.', 'toString', long]) {
    const { code, message, details } = rejection(() => resolveMask(order, { paths: ['count', path] }, 'update_mask'))
    t.equal(code, 'INVALID_ARGUMENT')
    t.equal(message, `Invalid field mask: '${path.slice(0, 200)}' is not a path of shop.v1.Order.`)
    t.strictSame(fieldsOf(details), ['update_mask'])
  }
  t.equal(rejection(() => resolveMask(order, { paths: ['count', '*'] }, 'read_mask')).code, 'INVALID_ARGUMENT')
})

t.test('what a mask names is replaced or removed, and the rest stays', async t => {
  const base = { a: 1, b: { c: 2, d: 3 } }
  for (const [given, paths, result] of [
    [{ x: 1 }, [], { x: 1 }],
    [{ a: 5, b: { c: 6 } }, [['a']], { a: 5, b: { c: 2, d: 3 } }],
    [{ a: 5, b: { c: 6 } }, [['b']], { a: 1, b: { c: 6 } }],
    [{ a: 5, b: { c: 6 } }, [['b', 'c']], { a: 1, b: { c: 6, d: 3 } }],
    [{}, [['a'], ['b', 'd']], { b: { c: 2 } }],
    [{}, [['e', 'f'], ['g']], { a: 1, b: { c: 2, d: 3 } }],
    [{ e: { f: 7 } }, [['e', 'f']], { a: 1, b: { c: 2, d: 3 }, e: { f: 7 } }],
    [{ a: undefined }, [['a']], { b: { c: 2, d: 3 } }]
  ] as const) {
    t.strictSame(masked(base, given, paths as never), result, JSON.stringify([given, paths]))
  }
  t.strictSame(base, { a: 1, b: { c: 2, d: 3 } }, 'the message itself is not changed')
  t.strictSame(picked(base, [['b', 'd'], ['x']]), { b: { d: 3 } })
  t.strictSame(picked(base, []), base)
})

t.test('fields that a schema lacks are found at any depth, with their numbers', async t => {
  const key = (number: number, type: number): number[] => {
    const value = number * 8 + type
    return value < 128 ? [value] : [value % 128 + 128, value >> 7]
  }
  for (const [bytes, found] of [
    [[], []],
    [[...key(1, 2), 1, 97], []],
    [[...key(99, 0), 5], ['99']],
    [[...key(99, 0), 0x80, 0x80, 1, ...key(98, 0), 5], ['99', '98']],
    [[...key(97, 1), ...Array<number>(8).fill(255), ...key(98, 0), 5], ['97', '98']],
    [[...key(97, 5), ...Array<number>(4).fill(255), ...key(98, 0), 5], ['97', '98']],
    [[...key(97, 2), 2, 255, 255, ...key(98, 0), 5], ['97', '98']],
    [[...key(97, 0), 1, ...key(97, 0), 2], ['97']],
    [[...key(11, 2), 4, ...key(1, 2), 0, ...key(9, 0), 7], ['first.9']],
    [[...key(11, 2), 2, ...key(9, 0), 7, ...key(97, 0), 1], ['first.9', '97']],
    [[...key(11, 2), 6, ...key(2, 2), 4, ...key(11, 2), 2, ...key(9, 0), 7], ['first.parent.first.9']],
    [[...key(15, 2), 2, ...key(3, 0), 7], ['placed_at.3']],
    [[...key(11, 0), 9], []],
    // Malformed: a group, a length beyond the end, and keys and numbers that break off.
    [[...key(97, 3), ...key(98, 0), 5], ['97']],
    [[...key(11, 2), 100, ...key(9, 0), 7], ['first.9']],
    [[...key(97, 2), 100, ...key(98, 0), 7], ['97']],
    [[0x80], []],
    [[...key(97, 0), 0x80], ['97']]
  ] as const) t.strictSame(unknownFields(order, new Uint8Array(bytes)), found, JSON.stringify(bytes))
})

t.test("unknown fields of Google's messages are found anywhere, and any bytes are read to their end", async t => {
  const { definitions, schemas } = await loadProtos()
  const schema = schemas.message('google.cloud.tasks.v2.CreateTaskRequest')
  const wire = messageType(definitions, schema.fullName)
  const taskWire = messageType(definitions, 'google.cloud.tasks.v2.Task')
  const delimited = (bytes: Uint8Array) => [...new Uint8Array([bytes.length % 128 + 128, bytes.length >> 7]), ...bytes]
  const unknown = fc
    .constantFrom([5, 1, 2, 3, 4], [1, ...Array<number>(8).fill(9)], [0, 200, 1], [2, 2, 0x80, 0x80])
    .map(([type, ...bytes]) => [(15 << 3) | type!, ...bytes])
  fc.assert(
    fc.property(
      arbitraryMessage(schemas.message('google.cloud.tasks.v2.Task')),
      fc.option(unknown),
      fc.option(unknown),
      (task, inTask, outside) => {
        const inner = new Uint8Array([...taskWire.serialize(task), ...(inTask ?? [])])
        const bytes = new Uint8Array([...wire.serialize({ parent: 'p' }), (2 << 3) | 2, ...delimited(inner), ...(outside ?? [])])
        const expected = [...(inTask === null ? [] : ['task.15']), ...(outside === null ? [] : ['15'])]
        return JSON.stringify(unknownFields(schema, bytes)) === JSON.stringify(expected)
      }
    )
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), bytes => Array.isArray(unknownFields(schema, bytes))))
  t.pass()
})

t.test('schemas have what the descriptors say, with both names of a field', async t => {
  t.strictSame(order.fields.map(({ name, protoName, number, kind, repeated, optional, oneof = '' }) =>
    [name, protoName, number, kind, repeated, optional, oneof].join(' ')), [
    'orderId order_id 1 string false false ',
    'count count 2 int32 false false ',
    'total total 3 int64 false false ',
    'price price 4 double false false ',
    'paid paid 5 bool false false ',
    'photo photo 6 bytes false false ',
    'size size 7 enum false false ',
    'note note 8 string false true ',
    'counts counts 9 int32 true false ',
    'lines lines 10 message true false ',
    'first first 11 message false false ',
    'labels labels 12 message true false ',
    'card card 13 string false false payment',
    'invoice invoice 14 string false false payment',
    'placedAt placed_at 15 message false false ',
    'wait wait 16 message false false ',
    'mask mask 17 message false false ',
    'extra extra 18 message false false '
  ])
  t.equal(order.field.get('placed_at'), order.field.get('placedAt'))
  t.equal(order.byNumber.get(15), order.field.get('placedAt'))
  t.equal(order.field.get('first')!.message!.fullName, 'shop.v1.Order.Line')
  t.equal(order.field.get('first')!.message!.field.get('parent')!.message, order, 'messages can contain themselves')
  t.strictSame([order, order.field.get('labels')!.message!].map(({ isMapEntry }) => isMapEntry), [false, true])
  t.strictSame([...order.field.get('size')!.enum!.names], [[0, 'SIZE_UNSPECIFIED'], [1, 'SMALL'], [2, 'LARGE']])
  t.strictSame([...order.field.get('size')!.enum!.numbers], [['SIZE_UNSPECIFIED', 0], ['SMALL', 1], ['LARGE', 2]])
  t.equal(order.field.get('size')!.enum!.fullName, 'shop.v1.Size')
  t.equal(schemas.find('shop.v1.Order'), order)
  t.equal(schemas.find('shop.v1.Nothing'), undefined)
  t.strictSame(schemas.method('shop.v1.Shop.GetOrder'), { request: schemas.message('shop.v1.GetOrderRequest'), response: order })
  t.throws(() => schemas.message('shop.v1.Nothing'), { message: /lack the message shop\.v1\.Nothing$/ })
  t.throws(() => schemas.method('shop.v1.Shop.Nothing'), { message: /lack the method shop\.v1\.Shop\.Nothing$/ })
})

t.test('a type is looked up from the innermost scope outwards, and must be of a known kind', async t => {
  const line = { name: 'Line', field: [field('outer', 1, 'STRING')] }
  const box = {
    name: 'Box',
    field: [
      field('inner', 1, 'MESSAGE', { typeName: 'Line' }),
      field('outer', 2, 'MESSAGE', { typeName: '.shop.v1.Line' }),
      field('bySuffix', 3, 'MESSAGE', { typeName: 'v1.Line' }),
      field('size', 4, 'ENUM', { typeName: 'Size' }),
      field('weight', 5, 'FLOAT'),
      field('id', 6, 'UINT64')
    ],
    nestedType: [{ name: 'Line' }],
    enumType: [{ name: 'Size', value: [{ name: 'OWN', number: 3 }] }]
  }
  const boxes = new Schemas([{ package: 'shop.v1', messageType: [line, box], enumType: files[1]!.enumType! }]).message('shop.v1.Box')
  t.strictSame(boxes.fields.slice(0, 3).map(one => one.message!.fullName), ['shop.v1.Box.Line', 'shop.v1.Line', 'shop.v1.Line'])
  t.equal(boxes.field.get('size')!.enum!.fullName, 'shop.v1.Box.Size')
  t.strictSame(boxes.fields.slice(4).map(one => one.kind), ['double', 'int64'])
  for (const [bad, message] of [
    [field('x', 1, 'GROUP'), /unexpected type: shop\.v1\.Box\.x, TYPE_GROUP$/],
    [field('x', 1, 'MESSAGE', { typeName: 'Nothing' }), /lack the type Nothing, used in shop\.v1\.Box$/]
  ] as const) {
    const broken = new Schemas([{ package: 'shop.v1', messageType: [{ name: 'Box', field: [bad] }] }])
    t.throws(() => broken.message('shop.v1.Box'), { message })
  }
})

t.test('what v2 lacks is taken from v2beta3, and what later protos of v2 have is not replaced', async t => {
  const names = [
    'PathOverride', 'QueryOverride', 'UriOverride', 'HttpTarget', 'BatchCreateTasksRequest', 'BatchCreateTasksResponse',
    'BatchCreateTasksMetadata', 'BatchDeleteTasksRequest', 'BatchDeleteTasksMetadata', 'CmekConfig', 'GetCmekConfigRequest',
    'UpdateCmekConfigRequest'
  ]
  const protos = (v2: Record<string, ProtoNamespace>): ProtoNamespace => {
    const v2beta3: Record<string, ProtoNamespace> = Object.fromEntries(names.map(name => [name, { fields: {} }]))
    const path = { options: { get: '/v2beta3/{name}', additional: '/v2beta3/x' } }
    v2beta3.CloudTasks = { methods: { BatchCreateTasks: path, BatchDeleteTasks: path, GetCmekConfig: path, UpdateCmekConfig: path } }
    const tasks = { nested: { v2: { nested: v2 }, v2beta3: { nested: v2beta3 } } }
    return { nested: { google: { nested: { cloud: { nested: { tasks } } } } } }
  }
  const old = protos({ Queue: { fields: {} }, Task: { fields: {} }, CloudTasks: { methods: {} } })
  addCurrentV2(old)
  const { BufferTaskResponse, Queue, Task, CloudTasks, ...added } = namespaceOf(old, 'google.cloud.tasks.v2').nested!
  t.strictSame(Object.keys(added), names)
  const bufferTaskResponse = { fields: { task: { type: 'Task', id: 1 } } }
  t.strictSame(BufferTaskResponse, bufferTaskResponse)
  t.strictSame(namespaceOf(old, 'google.cloud.tasks.v2beta3.BufferTaskResponse'), bufferTaskResponse)
  t.strictSame(Queue, { fields: { httpTarget: { type: 'HttpTarget', id: 10 } } })
  t.strictSame(Task, { fields: { retryConfig: { type: 'RetryConfig', id: 12 } } })
  const path = { options: { get: '/v2/{name}', additional: '/v2/x' } }
  t.strictSame(CloudTasks, { methods: { BatchCreateTasks: path, BatchDeleteTasks: path, GetCmekConfig: path, UpdateCmekConfig: path } })

  const method = { own: true }
  const own = Object.fromEntries([...names, 'BufferTaskResponse'].map(name => [name, { fields: { own: { type: 'string', id: 1 } } }]))
  const complete = {
    ...own,
    Queue: { fields: { httpTarget: { type: 'HttpTarget', id: 77 } } },
    Task: { fields: { retryConfig: { type: 'RetryConfig', id: 78 } } },
    CloudTasks: { methods: { BatchCreateTasks: method, BatchDeleteTasks: method, GetCmekConfig: method, UpdateCmekConfig: method } }
  }
  const later = protos(structuredClone(complete))
  addCurrentV2(later)
  t.strictSame(namespaceOf(later, 'google.cloud.tasks.v2').nested, complete)
  for (const path of ['google.cloud.nothing.v2', 'google.cloud.tasks.v2.Queue.deep']) {
    t.throws(() => namespaceOf(later, path), { message: `The protos of @google-cloud/tasks lack ${path}` })
  }
})

function rejection (call: () => unknown): { code?: string, message: string, details?: unknown } {
  try {
    call()
  } catch (error) {
    return error as Error
  }
  throw new Error('it was accepted')
}

function fieldsOf (details: unknown): unknown[] {
  return (details as Array<{ fieldViolations: Array<{ field?: string }> }>).flatMap(one => one.fieldViolations.map(({ field }) => field))
}

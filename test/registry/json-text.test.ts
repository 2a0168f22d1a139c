import t from 'tap'
import { LossError, escapePointer, jsonText } from '../../lib/registry/json-text.js'

/** The message and the place with which a value is rejected; undefined where it has a text. */
function loss (value: unknown): readonly [string, string] | undefined {
  try {
    jsonText(value)
    return undefined
  } catch (error) {
    if (error instanceof LossError) return [error.message, error.pointer]
    throw error
  }
}

/** `value` in `depth` lists. */
function nested (value: unknown, depth: number): unknown {
  let list = value
  for (let i = 0; i < depth; i++) list = [list]
  return list
}

t.test('what JSON can represent is printed as JSON.stringify does', async t => {
  const bare = Object.assign(Object.create(null), { a: 1 })
  class Order { id = 1 }
  for (const value of [
    null, true, false, 0, -1.5, '', 'text', [], {}, [1, [2]], { a: { b: [null] } }, bare, { a: undefined, b: 1 }, new Date(0), new Order(),
    { toJSON: () => 'own' }, [{ toJSON: () => ({ n: 1 }) }], nested('deep', 99), nested('deep', 150), nested({ a: 1 }, 101),
    new URL('https://a.example'),
    Object.assign(new Map(), { toJSON: () => 'map' }), Object.assign([1], { extra: 2 }), { ['__proto__']: 1 }, Buffer.from('x'),
    { [Symbol('hidden')]: 1 }, [new Order(), { a: undefined }]
  ]) t.equal(jsonText(value), JSON.stringify(value))
})

t.test('plain values are printed without a replacer, which would cost ten times as much', async t => {
  const { stringify } = JSON
  t.teardown(() => { JSON.stringify = stringify })
  const slow = (value: unknown): boolean => {
    let replacer: unknown
    JSON.stringify = ((given: unknown, ...rest: unknown[]) => {
      replacer = rest[0]
      return stringify(given)
    }) as typeof stringify
    jsonText(value)
    JSON.stringify = stringify
    return replacer !== undefined
  }
  const bare = Object.assign(Object.create(null), { a: 1 })
  for (const value of [null, true, 0, '', [], {}, [1, ['x']], { a: { b: [null] } }, bare, { a: undefined }, nested('deep', 101)]) {
    t.equal(slow(value), false)
  }
  for (const value of [new Date(0), { a: new URL('https://a.example') }, { toJSON: () => 1 }, [{ a: new Date(0) }], nested({ a: 1 }, 101)]) {
    t.equal(slow(value), true)
  }
})

t.test('what has no text is undefined', async t => {
  t.equal(jsonText(undefined), undefined)
  t.equal(jsonText({ toJSON: () => undefined }), undefined)
})

t.test('a value that JSON would lose is rejected, with its place', async t => {
  class Empty { #hidden = 1; get hidden () { return this.#hidden } }
  const BYTES = 'would become an object with a field for each byte or number; send text, such as base64'
  const sparse = [1]
  sparse[2] = 3
  for (const [value, message, pointer] of [
    [NaN, 'NaN would become null', ''],
    [{ a: [1, Infinity] }, 'Infinity would become null', '/a/1'],
    [{ a: -Infinity }, '-Infinity would become null', '/a'],
    [[1, undefined], 'undefined in a list would become null', '/1'],
    [sparse, 'undefined in a list would become null', '/1'],
    [() => {}, 'a function would be lost', ''],
    [{ a: Symbol('x') }, 'a symbol would be lost', '/a'],
    [{ a: { b: new Date(NaN) } }, 'an invalid date would become null', '/a/b'],
    [new Map([[1, 2]]), 'a Map would become {}; send Object.fromEntries(map)', ''],
    [{ a: new Set([1]) }, 'a Set would become {}; send [...set]', '/a'],
    [{ a: Promise.resolve() }, 'a Promise would become {}; await it first', '/a'],
    [{ a: new TypeError('x') }, 'an Error would lose its message; send the fields that are needed', '/a'],
    [[Object(1)], 'a boxed Number is not a JSON value; send what its valueOf() returns', '/0'],
    [[Object('x')], 'a boxed String is not a JSON value; send what its valueOf() returns', '/0'],
    [{ a: new Uint8Array(2) }, `a Uint8Array ${BYTES}`, '/a'],
    [{ a: new DataView(new ArrayBuffer(1)) }, `a DataView ${BYTES}`, '/a'],
    [{ a: /x/ }, 'an object of kind RegExp would become {}', '/a'],
    [{ a: new ArrayBuffer(1) }, 'an object of kind ArrayBuffer would become {}', '/a'],
    [{ a: new WeakMap() }, 'an object of kind WeakMap would become {}', '/a'],
    [{ toJSON: () => NaN }, 'NaN would become null', ''],
    [{ a: [{ toJSON: () => ({ b: new Map() }) }] }, 'a Map would become {}; send Object.fromEntries(map)', '/a/0/b'],
    [{ 'a/b': { '~c': NaN } }, 'NaN would become null', '/a~1b/~0c'],
    [nested(NaN, 101), 'NaN would become null', '/0'.repeat(101)]
  ] as const) t.strictSame(loss(value), [message, pointer])
  t.equal(loss(new Empty()), undefined, 'an object of a class without fields may be meant as one')
})

t.test('circular values and big integers are rejected as by JSON.stringify', async t => {
  const circle: Record<string, unknown> = {}
  circle.self = [circle]
  t.throws(() => jsonText(circle), TypeError)
  t.throws(() => jsonText({ a: 1n }), TypeError)
})

t.test('a key in a pointer is escaped', async t => {
  t.equal(escapePointer('a~/b~1'), 'a~0~1b~01')
})

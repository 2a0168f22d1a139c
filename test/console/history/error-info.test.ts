import t from 'tap'
import { errorInfo, sizeOf } from '../../../lib/console/history/error-info.js'

t.test('the description of an error', async t => {
  t.test('has its explanation, its number as code, and its causes, the first error of several included', async t => {
    const { stack, ...info } = errorInfo(Object.assign(new RangeError('short'), { explanation: 'long', code: 7 }))
    t.strictSame(info, { name: 'RangeError', message: 'long', code: '7' })
    t.match(stack, /^RangeError: short\n/)
    const cause = Object.assign(new Error('several'), { errors: [new TypeError('one')], cause: undefined })
    const { causes } = errorInfo(new Error('outer', { cause }))
    t.strictSame(causes!.map(({ name, message }) => [name, message]), [['Error', 'several'], ['TypeError', 'one']])
    t.notOk('causes' in errorInfo(Object.assign(new Error('x'), { cause: null, errors: 'none' })))
    t.strictSame(errorInfo(new Error('x', { cause: 'text' })).causes, [{ name: 'thrown', message: 'text' }])
    t.notOk('code' in errorInfo(Object.assign(new Error('x'), { code: {} })))
    t.equal(errorInfo(Object.assign(new Error('x'), { name: undefined })).name, 'Error')
  })

  t.test('accepts an error of another realm, and prints what is none', async t => {
    t.strictSame(errorInfo({ name: 'Foreign', message: 'm', stack: 's' }), { name: 'Foreign', message: 'm', stack: 's' })
    t.strictSame(errorInfo({ message: 'm' }), { name: 'thrown', message: "{ message: 'm' }" })
    t.strictSame(errorInfo({ stack: 's' }), { name: 'thrown', message: "{ stack: 's' }" })
    t.strictSame(errorInfo(null), { name: 'thrown', message: 'null' })
    t.equal(errorInfo({ get secret () { throw new Error('called') } }).message, '{ secret: [Getter] }')
    t.equal(errorInfo({ a: { b: { c: { d: 1 } } } }).message, '{ a: { b: { c: [Object] } } }')
    t.match(errorInfo({ [Symbol.for('nodejs.util.inspect.custom')] () { throw new Error('no') } }).message, 'a object that cannot')
  })

  t.test('is bounded, and knows its size', async t => {
    const long = 'x'.repeat(10_000)
    const cause = Object.assign(new Error(long), { name: long, code: long, stack: long })
    const info = errorInfo(Object.assign(new Error('m', { cause }), { name: 'n', code: 'c', stack: 's' }))
    const { name, message, code, stack } = info.causes![0]!
    t.strictSame([name, message, code!, stack!].map(text => text.length), [201, 4097, 201, 8193])
    t.equal(errorInfo(long).message, `${'x'.repeat(4096)}…`)
    t.equal(sizeOf(info), 4 + 201 + 4097 + 201 + 8193)
    t.equal(sizeOf({ name: 'ab', message: 'c' }), 3)
  })

  t.test('has up to eight causes, each once', async t => {
    const [one, two] = [new Error('one'), new Error('two')]
    one.cause = one
    t.notOk('causes' in errorInfo(one))
    one.cause = two
    two.cause = one
    t.strictSame(errorInfo(one).causes!.map(({ message }) => message), ['two'])
    let deep = new Error('0')
    for (let level = 1; level < 10; level++) deep = new Error(String(level), { cause: deep })
    t.strictSame(errorInfo(deep).causes!.map(({ message }) => message), ['8', '7', '6', '5', '4', '3', '2', '1'])
  })

  t.test('of what throws when it is read is what remains', async t => {
    const hostile = new Error('x')
    for (const key of ['stack', 'message', 'name', 'code', 'cause']) {
      Object.defineProperty(hostile, key, { get () { throw new Error('gotcha') } })
    }
    t.strictSame(errorInfo(hostile), { name: 'Error', message: '' })
    const { proxy, revoke } = Proxy.revocable(new Error('x'), {})
    revoke()
    t.strictSame(errorInfo(proxy), { name: 'thrown', message: '<Revoked Proxy>' })
    const masked = new Proxy(new Error('masked'), { getPrototypeOf () { throw new Error('gotcha') } })
    t.strictSame([errorInfo(masked).message, errorInfo(new Error('outer', { cause: masked })).causes![0]!.message], ['masked', 'masked'])
  })

  t.test('of what is no error is its beginning', async t => {
    t.strictSame([undefined, 7n, 'text', { code: 1 }].map(thrown => errorInfo(thrown)), ['undefined', '7n', 'text', '{ code: 1 }'].map(message => {
      return { name: 'thrown', message }
    }))
    t.equal(errorInfo(Array(21).fill(1)).message.replaceAll(/\s+/g, ' '), `[ ${'1, '.repeat(20)}... 1 more item ]`)
    t.equal(errorInfo({ a: 'x'.repeat(1001) }).message.replaceAll(/\s+/g, ' '), `{ a: '${'x'.repeat(1000)}'... 1 more character }`)
  })
})

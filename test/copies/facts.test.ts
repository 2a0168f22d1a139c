import t from 'tap'
import { MAX_ORIGIN_BYTES, printOrigin, readOrigin, type Origin } from '../../lib/copies/facts.js'
import { parseRetryAfter } from '../../lib/copies/retry-after.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'

const read = (value: unknown) => readOrigin({ [ORIGIN_HEADER]: value as string })
const letter = { queue: 'mail', attempts: 3, at: 1_700_000_000_000, error: { name: 'Error', message: 'line\none \u{1F600}' } }

t.test('what is printed is read', async t => {
  const origins: Origin[] = [{ id: 'a', postponements: 0 }, { id: 'a', postponements: 7, letter: { ...letter, id: 'b', task: 'send-receipt', error: { ...letter.error, code: 'E' } } }, { id: 'a', postponements: 0, letter }]
  for (const origin of origins) t.strictSame(read(printOrigin(origin)), origin)
})

t.test('the header never exceeds 1 KiB, and never loses an id', async t => {
  for (const message of ['x'.repeat(5000), '\u{1F600}'.repeat(3000), '\n"'.repeat(2000)]) {
    for (const [id, task] of [['a', 'work'], ['r'.repeat(500), '\u{1F600}'.repeat(100)]] as const) {
      const full: Origin = { id, postponements: 1_000_000, letter: { ...letter, queue: 'q'.repeat(100), id: 'c'.repeat(61), task, error: { name: message, code: message, message } } }
      const text = printOrigin(full)
      t.ok(text.length <= MAX_ORIGIN_BYTES, `${text.length} bytes`)
      const { letter: cut, ...rest } = read(text)!
      t.strictSame(rest, { id, postponements: 1_000_000 })
      t.strictSame([cut?.queue, cut?.id, cut?.attempts], ['q'.repeat(100), 'c'.repeat(61), 3])
    }
  }
})

t.test('texts are truncated to what fits, names and codes to 60 characters, and never within a character', async t => {
  const cut = (error: object, id = 'a') => {
    const full = { ...letter, task: 'work', error: { ...letter.error, ...error } }
    return read(printOrigin({ id, postponements: 0, letter: full as typeof letter }))!.letter!.error
  }
  t.strictSame(cut({ name: 'n'.repeat(61), code: 'c'.repeat(61), message: 'short' }), {
    name: 'n'.repeat(60), code: 'c'.repeat(60), message: 'short'
  })
  t.strictSame(cut({ name: 'n'.repeat(60), message: 'm'.repeat(401) }), { name: 'n'.repeat(60), message: 'm'.repeat(401) })
  t.strictSame(['m', 'ü', '\u{1F600}'].map(text => cut({ message: text.repeat(5000) }).message.length), [600, 200, 200])
  t.equal(cut({ name: `${'n'.repeat(59)}\u{1F600}` }).name, 'n'.repeat(59))
  t.strictSame(cut({ name: 'n'.repeat(60), message: 'm'.repeat(600) }, 'r'.repeat(500)), { name: 'n'.repeat(40), message: 'm'.repeat(40) })
})

t.test('a header of 1 KiB is read, and a letter without an error is one that had no space for it', async t => {
  const print = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const padded = (length: number): string => print({ id: 'a', postponements: 0, pad: 'x'.repeat(length) })
  const length = 768 - '{"id":"a","postponements":0,"pad":""}'.length
  t.equal(padded(length).length, MAX_ORIGIN_BYTES)
  t.strictSame([read(padded(length)), read(padded(length + 1))], [{ id: 'a', postponements: 0 }, undefined])
  const { error, ...bare } = letter
  t.strictSame(read(print({ id: 'a', postponements: 0, letter: bare }))!.letter, { ...bare, error: { name: '', message: '' } })
  t.equal(readOrigin(undefined), undefined)
  t.equal(readOrigin({}), undefined)
})

t.test('a header that another writer has set is not read', async t => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const good = { id: 'a', postponements: 0, letter }
  t.not(read(encode(good)), undefined)
  const bad = [
    null, [], {}, 'x', { id: 'a' }, { ...good, id: 'a/b' }, { ...good, id: 4 }, { ...good, pad: 'x'.repeat(2000) },
    ...[-1, 1.5, '0', 1e300].map(postponements => ({ ...good, postponements })),
    ...['x', null, []].map(letter => ({ ...good, letter })),
    ...[
      { queue: '../x' }, { queue: 4 }, { id: 'a/b' }, { id: 4 }, { at: 1e300 }, { at: '5' }, { attempts: 'x' }, { attempts: -1 }, { task: 4 },
      { error: 'x' }, { error: null }, ...[{ name: 4 }, { code: 4 }, { message: 4 }].map(rest => ({ error: { ...letter.error, ...rest } }))
    ].map(rest => ({ ...good, letter: { ...letter, ...rest } }))
  ]
  for (const value of bad) t.equal(read(encode(value)), undefined, JSON.stringify(value).slice(0, 80))
  for (const value of [undefined, '', '%%%', ['x']]) t.equal(read(value), undefined)
})

t.test('Retry-After is read in all its forms', async t => {
  const now = Date.UTC(2026, 10, 26, 12, 0, 0)
  const cases: Array<[value: string | string[] | null | undefined, seconds: number | undefined]> = [
    ['0', 0], ['120', 120], [' 7 ', 7], ['99999999999', 2_592_000],
    ['Thu, 26 Nov 2026 12:01:00 GMT', 60], ['Thursday, 26-Nov-26 12:01:00 GMT', 60], ['Thu Nov 26 12:01:00 2026', 60], ['Thu, 26 Nov 2026 11:00:00 GMT', 0],
    ['Thu, 26 Nov 2099 12:00:00 GMT', 2_592_000], [['30', '60'], 30],
    [null, undefined], [undefined, undefined], ['', undefined], ['-1', undefined], ['1.5', undefined], ['soon', undefined], ['2026', 2026], ['2026-11-26', undefined], [[], undefined],
    ['Thu, 99 Nov 2026 12:00:00 GMT', undefined], ['7s', undefined], ['x7', undefined], ['Thu, 26 Nov 2026 12:01:00', undefined], ['Thu, 26 Nov 2026 12:01:00 GMT+1', undefined],
    [' Thu Nov  5 12:00:00 2026 ', 0], ['2592000', 2_592_000], ['2592001', 2_592_000]
  ]
  for (const [value, seconds] of cases) t.equal(parseRetryAfter(value, now), seconds, String(value))
})

t.test("a date of Retry-After is rounded up to seconds, by the system's clock by default", async t => {
  t.equal(parseRetryAfter('Thu, 26 Nov 2026 12:01:00 GMT', Date.UTC(2026, 10, 26, 12, 0, 59, 999)), 1)
  t.strictSame(['Thu, 01 Jan 1970 00:00:00 GMT', 'Fri, 31 Dec 9999 23:59:59 GMT'].map(date => parseRetryAfter(date)), [0, 2_592_000])
})

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

t.test('what is not ours is not read', async t => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const good = { id: 'a', postponements: 0, letter }
  t.not(read(encode(good)), undefined)
  for (const bad of [undefined, '', '%%%', ['x'], encode(null), encode([]), encode({}), encode({ id: 'a' }), encode({ id: 'a/b', postponements: 0 }),
    encode({ id: 'a', postponements: -1 }), encode({ id: 'a', postponements: 1.5 }), encode({ ...good, letter: { ...letter, queue: '../x' } }),
    encode({ ...good, letter: { ...letter, at: 1e300 } }), encode({ ...good, letter: { ...letter, error: 'x' } }), encode({ ...good, letter: { ...letter, attempts: 'x' } }),
    encode({ ...good, letter: { ...letter, task: 4 } }), encode({ ...good, pad: 'x'.repeat(2000) })]) {
    t.equal(read(bad), undefined, String(bad).slice(0, 80))
  }
})

t.test('Retry-After is read in all its forms', async t => {
  const now = Date.UTC(2026, 10, 26, 12, 0, 0)
  const cases: Array<[value: string | string[] | null | undefined, seconds: number | undefined]> = [
    ['0', 0], ['120', 120], [' 7 ', 7], ['99999999999', 2_592_000],
    ['Thu, 26 Nov 2026 12:01:00 GMT', 60], ['Thursday, 26-Nov-26 12:01:00 GMT', 60], ['Thu Nov 26 12:01:00 2026', 60], ['Thu, 26 Nov 2026 11:00:00 GMT', 0],
    ['Thu, 26 Nov 2099 12:00:00 GMT', 2_592_000], [['30', '60'], 30],
    [null, undefined], [undefined, undefined], ['', undefined], ['-1', undefined], ['1.5', undefined], ['soon', undefined], ['2026', 2026], ['2026-11-26', undefined], [[], undefined],
    ['Thu, 99 Nov 2026 12:00:00 GMT', undefined]
  ]
  for (const [value, seconds] of cases) t.equal(parseRetryAfter(value, now), seconds, String(value))
})

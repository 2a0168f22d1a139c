import t from 'tap'
import {
  attemptHeaders, bodyOf, headersOf, isTraceId, lastResultOf, methodOf, payloadOf, shownHeaders, traceOf, urlOf, type SeenTask
} from '../../../lib/console/api/task-view.js'

const task: SeenTask = { name: 'projects/p/locations/l/queues/q/tasks/a', scheduleAt: 5000, dispatchCount: 1, responseCount: 0, executionCount: 0 }

t.test('a task is shown by its request, for an HTTP target or for App Engine', async t => {
  const request = { headers: { 'x-own': '1' }, body: Buffer.from('x') }
  for (const [given, url, method] of [
    [{ httpRequest: { ...request, url: 'http://x.example/a', httpMethod: 'PUT' } }, 'http://x.example/a', 'PUT'],
    [{ appEngineHttpRequest: { ...request, relativeUri: '/a', httpMethod: 'GET' } }, '/a', 'GET']
  ] as const) {
    const seen = { ...task, ...given }
    t.strictSame([urlOf(seen), methodOf(seen), bodyOf(seen), headersOf(seen)], [url, method, request.body, request.headers])
    t.equal(attemptHeaders(seen)['x-own'], '1')
  }
  t.strictSame([urlOf(task), methodOf(task), bodyOf(task), headersOf(task)], ['/', 'POST', undefined, {}])
})

t.test('the last result of a task is that of its last response, or why there was none', async t => {
  const unanswered = (code: number) => ({ previousResponse: 0, lastAttempt: { responseStatus: { code } } })
  t.strictSame(
    [{}, { previousResponse: 503 }, { previousResponse: 0 }, unanswered(4), unanswered(14)]
      .map(given => lastResultOf({ ...task, ...given } as SeenTask)),
    [undefined, 503, 'unreachable', 'deadline', 'unreachable']
  )
})

t.test('a trace is what a traceparent header names', async t => {
  const id = '0123456789abcdef'.repeat(2)
  const of = (value: string) => traceOf({ 'fastify-cloud-tasks-traceparent': value })
  t.strictSame([of(`00-${id}-${'c'.repeat(16)}-01`), of(`00-${id}-${'c'.repeat(16)}-00`)], [{ id }, { id }])
  for (const bad of [
    '', id, `00-${id}-${'c'.repeat(16)}-02`, `01-${id}-${'c'.repeat(16)}-01`, `00-${'0'.repeat(32)}-${'c'.repeat(16)}-01`,
    `00-${id}-${'c'.repeat(15)}-01`, `00-${id}0-${'c'.repeat(16)}-01`, `x00-${id}-${'c'.repeat(16)}-01`, `00-${id}-${'c'.repeat(16)}-01x`
  ]) t.equal(of(bad), undefined, bad)
  t.equal(traceOf({}), undefined)
  t.strictSame(
    [id, `${id}0`, id.slice(1), id.toUpperCase(), '0'.repeat(32), `${'0'.repeat(31)}1`, `-${id.slice(1)}`].map(isTraceId),
    [true, false, false, false, false, true, false]
  )
})

t.test('the values of headers that can contain credentials are hidden', async t => {
  const secret = [
    'Authorization', 'proxy-authorization', 'Cookie', 'set-cookie', 'x-secret', 'csrf-token', 'db-password', 'x-api-key', 'apikey',
    'aws-credential', 'x-hub-signature', 'session-id'
  ]
  for (const key of secret) t.strictSame(shownHeaders({ [key]: 'x' }), { [key]: '[hidden]' })
  t.strictSame(shownHeaders({ 'x-own': 'x', 'content-type': 'text/plain' }), { 'x-own': 'x', 'content-type': 'text/plain' })
})

t.test('the kind of a payload is detected', async t => {
  t.same(payloadOf(undefined), { text: '', kind: 'none', bytes: 0, cut: false })
  t.same(payloadOf(Buffer.from('{}'), { 'Content-Type': 'application/json; charset=utf-8' }), {
    text: '{}',
    kind: 'json',
    bytes: 2,
    cut: false
  })
  t.same(payloadOf(Buffer.from('hé')), { text: 'hé', kind: 'text', bytes: 3, cut: false })
  t.same(payloadOf(Buffer.from([0xff, 0xfe])), { text: '//4=', kind: 'binary', bytes: 2, cut: false })
  for (const character of ['a', 'é', '€', '😀']) {
    for (let shift = 0; shift < 4; shift++) {
      const { text, kind, cut, bytes } = payloadOf(Buffer.from(' '.repeat(shift) + character.repeat(10_000)))
      t.match(
        { kind, cut, broken: text.includes('\ufffd') },
        { kind: 'text', cut: bytes > 16_384, broken: false },
        `${character} ${shift}`
      )
    }
  }
})

t.test('a payload that is shown in part ends with a whole character, and says its whole length', async t => {
  const show = (text: string | Buffer, whole?: number) => payloadOf(Buffer.from(text as string), { 'X-Content-Type': 'application/json' }, whole)
  t.strictSame(show('€'.repeat(5462)), { text: '€'.repeat(5461), kind: 'text', bytes: 16_386, cut: true })
  t.strictSame(show('x'.repeat(16_384)), { text: 'x'.repeat(16_384), kind: 'text', bytes: 16_384, cut: false })
  t.strictSame(show('x'.repeat(16_385)), { text: 'x'.repeat(16_384), kind: 'text', bytes: 16_385, cut: true })
  t.strictSame(show('xyz', 1000), { text: 'xyz', kind: 'text', bytes: 1000, cut: true })
  t.strictSame(show('', 1000), { text: '', kind: 'text', bytes: 1000, cut: true })
  t.strictSame(show(''), { text: '', kind: 'none', bytes: 0, cut: false })
  for (const [character, length] of [['é', 2], ['€', 3], ['😀', 4]] as const) {
    const bytes = Buffer.from(`ab${character}`)
    for (let kept = 2; kept <= 2 + length; kept++) {
      const text = kept === 2 + length ? `ab${character}` : 'ab'
      t.strictSame(show(bytes.subarray(0, kept), 1000), { text, kind: 'text', bytes: 1000, cut: true }, `${kept} bytes of ab${character}`)
    }
  }
  t.equal(show(Buffer.from([0x80, 0x80, 0x80, 0x80]), 1000).kind, 'binary')
  t.equal(show(Buffer.from([0xe2, 0x82]), 2).kind, 'binary', 'it is broken where it is whole')
  const jsonl = payloadOf(Buffer.from('1'), { 'content-type': 'application/jsonl' })
  t.strictSame([jsonl.kind, payloadOf(Buffer.from('1'), { 'CONTENT-TYPE': 'application/problem+JSON' }).kind], ['text', 'json'])
})

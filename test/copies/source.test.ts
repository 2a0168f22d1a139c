import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { problemOf } from '../../lib/copies/copies.js'
import { contentOf, headersOf, ownHeaders, withHeaders } from '../../lib/copies/source.js'
import { LIFE_HEADER, ORIGIN_HEADER, SECRET_HEADER } from '../../lib/delivery/headers.js'

const url = 'http://x.example/work'
const added = { 'Content-Length': '1', [LIFE_HEADER]: 'l', [ORIGIN_HEADER.toUpperCase()]: 'o' }

t.test('the content of a stored task lacks only what the service has added', async t => {
  const httpRequest = { url, httpMethod: 'PUT' as const, body: Buffer.from('x'), oidcToken: { serviceAccountEmail: 'a@b.c' } }
  const retryConfig = { maxAttempts: 3 } as never
  const stored = { httpRequest: { ...httpRequest, headers: { 'X-Own': '1', ...added } }, dispatchDeadlineMs: 20_000, retryConfig }
  t.strictSame(contentOf(stored), { httpRequest: { ...httpRequest, headers: { 'X-Own': '1' } }, dispatchDeadlineMs: 20_000, retryConfig })
  t.strictSame(contentOf({ httpRequest: { url } }), { httpRequest: { url, headers: {} } })
  t.strictSame(contentOf({}), {})

  const appEngineHttpRequest = { relativeUri: '/a', headers: { 'x-own': '1', ...added } }
  const sent = { relativeUri: '/a', headers: { 'x-own': '1' } }
  const routed = (appEngineRouting: object | undefined) =>
    contentOf({ appEngineHttpRequest: { ...appEngineHttpRequest, ...(appEngineRouting && { appEngineRouting }) } }).appEngineHttpRequest
  t.strictSame(routed(undefined), sent)
  t.strictSame(routed({ host: 'x.appspot.com' }), sent, 'the service fills in the host')
  t.strictSame(routed({ host: 'x.appspot.com', service: '', version: undefined }), sent)
  t.strictSame(routed({ host: 'x.appspot.com', service: 's' }), { ...sent, appEngineRouting: { service: 's' } })
})

t.test("a task's own user agent is kept, without the service's", async t => {
  const appEngine = 'AppEngine-Google; (+http://code.google.com/appengine)'
  for (const [value, kept] of [
    ['mine', 'mine'], [`mine ${appEngine}`, 'mine'], [appEngine, undefined], ['Google-Cloud-Tasks', undefined], ['mine Google-Cloud-Tasks', 'mine'],
    ['Google-Cloud-Tasks mine', 'Google-Cloud-Tasks mine'], ['', undefined]
  ]) {
    const { headers } = contentOf({ httpRequest: { url, headers: { 'User-Agent': value!, 'x-empty': '' } } }).httpRequest!
    t.strictSame(headers, { ...(kept === undefined ? undefined : { 'User-Agent': kept }), 'x-empty': '' }, value!)
  }
})

t.test('headers are added to the request of a task, and read by lower-case names', async t => {
  const own = { 'X-Own': '1', 'X-Replaced': '1' }
  const more = { 'X-Replaced': '2' }
  const both = { 'X-Own': '1', 'X-Replaced': '2' }
  t.strictSame(withHeaders({ httpRequest: { url, headers: own }, dispatchDeadlineMs: 1 }, more), {
    httpRequest: { url, headers: both }, dispatchDeadlineMs: 1
  })
  t.strictSame(withHeaders({ appEngineHttpRequest: { relativeUri: '/a', headers: own } }, more), {
    appEngineHttpRequest: { relativeUri: '/a', headers: both }
  })
  t.strictSame(withHeaders({}, more), { appEngineHttpRequest: { headers: more } }, 'a task without a target is one of App Engine')
  t.strictSame([{ httpRequest: { url, headers: own } }, { appEngineHttpRequest: { headers: own } }].map(headersOf), [
    { 'x-own': '1', 'x-replaced': '1' }, { 'x-own': '1', 'x-replaced': '1' }
  ])
  t.strictSame([{}, { httpRequest: { url } }].map(headersOf), [{}, {}])
})

t.test('the headers of an attempt lack credentials, and what the service and proxies add', async t => {
  const others = [
    'authorization', 'proxy-authorization', 'cookie', 'x-serverless-authorization', 'x-goog-iap-jwt-assertion', 'forwarded', 'via',
    'x-forwarded-for', 'x-real-ip', 'x-envoy-attempt-count', 'x-request-id', 'traceparent', 'tracestate', 'baggage',
    'x-cloud-trace-context', 'grpc-trace-bin', 'b3', 'x-b3-traceid', 'function-execution-id', 'x-cloudtasks-queuename',
    'x-appengine-queuename', 'x-google-apps-metadata', 'user-agent', 'host', 'content-length', 'transfer-encoding', 'connection',
    'keep-alive', 'upgrade', 'te', 'trailer', 'expect', 'accept-encoding', SECRET_HEADER, LIFE_HEADER, ORIGIN_HEADER
  ]
  const own = {
    'content-type': 'application/json',
    accept: '*/*',
    'x-own': 'a\tb ~',
    'x-empty': '',
    'x-authorization': '1',
    'x-host': '1',
    'te-x': '1',
    'xx-goog': '1',
    'cookie-policy': '1',
    viaduct: '1',
    'fastify-cloud-tasks-traceparent': '1'
  }
  const headers = { ...Object.fromEntries(others.map(key => [key, '1'])), ...own, 'x-list': ['a', 'b'], 'x-latin': 'é', 'x-break': 'a\nb', 'x-del': '\x7f' }
  t.strictSame(ownHeaders({ headers } as unknown as FastifyRequest), own)
})

t.test('the problem of a copy that fails says what the service or the caller must know', async t => {
  t.match(problemOf({ outcome: 'queueNotFound', hint: 'create it' } as never), 'create it')
  t.match(problemOf({ outcome: 'tooLarge', bytes: 12, limit: 10 } as never), /\b12\b.*\b10\b/)
  t.equal(problemOf({ outcome: 'closing' } as never), 'the server is closing')
  t.equal(problemOf({ outcome: 'failed', problem: 'no connection', cause: undefined } as never), 'no connection')
})

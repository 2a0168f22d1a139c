import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import t, { type Test } from 'tap'
import type { AppEngineHttpRequest, HttpRequest } from '../../../lib/cloud-tasks/task.js'
import { Engine, type Attempt, type AttemptReport } from '../../../lib/engine/engine.js'
import { MemoryStore } from '../../../lib/store/memory-store.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import {
  refuses,
  createDispatcher,
  httpAttempt,
  attempt,
  QUEUE,
  rawTarget,
  urlOf,
  parsed,
  listen,
  OK
} from '../../support/raw-target.js'

t.test('a request carries the headers of the task and of Cloud Tasks, and what the wire needs', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t)
  const answer = await dispatcher.dispatch(
    httpAttempt({
      url: `${url}/a%2Fb/ü?x=1&y=%20#part`,
      body: Buffer.from('hello'),
      headers: { 'User-Agent': 'Google-Cloud-Tasks', 'X-Mine': 'yes', host: 'evil', 'X-CloudTasks-QueueName': 'evil' }
    })
  )
  t.equal(answer.status, 200)
  const { line, headers, body } = parsed(requests[0]!)
  t.equal(line, 'POST /a%2Fb/%C3%BC?x=1&y=%20 HTTP/1.1')
  t.equal(body, 'hello')
  t.match(headers, {
    host: new URL(url).host,
    'content-length': '5',
    'accept-encoding': 'gzip',
    'user-agent': 'Google-Cloud-Tasks',
    'x-mine': 'yes',
    'x-cloudtasks-queuename': 'q',
    'x-cloudtasks-taskname': 't',
    'x-cloudtasks-taskretrycount': '0',
    'x-cloudtasks-taskexecutioncount': '0',
    'x-cloudtasks-tasketa': '1721236265.266817'
  })
  t.notOk('content-type' in headers, 'only the task can say what it is')
  t.notOk('authorization' in headers)
})

t.test('a method without a body has no length, and one with has, be it zero', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t)
  for (const httpMethod of ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'POST', 'PUT', 'PATCH'] as const) {
    t.equal((await dispatcher.dispatch(httpAttempt({ url, httpMethod }))).status, 200, httpMethod)
    const { line, headers } = parsed(requests.at(-1)!)
    t.equal(line, `${httpMethod} / HTTP/1.1`)
    t.equal(headers['content-length'], /^P/.test(httpMethod) ? '0' : undefined)
  }
})

t.test('a header that would break the request fails the attempt, and nothing is sent', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t)
  const bad: Array<Record<string, string>> = [
    { 'X-A': 'a\r\nX-B: c' }, { 'X-A': 'a\nb' }, { 'X-A': 'a\rb' }, { 'X-A': '\0' }, { 'X-A': 'a\x7f' },
    { 'X-A\r\nX-B': 'a' }, { 'X A': 'a' }, { 'X-A:': 'a' }, { '': 'a' }, { 'X-Ä': 'a' }
  ]
  for (const headers of bad) await refuses(t, dispatcher.dispatch(httpAttempt({ url, headers })), 'header', JSON.stringify(headers))
  await refuses(
    t,
    dispatcher.dispatch(httpAttempt({ url, headers: { '\u009b2J\u202e': 'x' } })),
    'header',
    'controls that JSON leaves as they are'
  )
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: 'http://\u009b2J\u202e/' })), 'url')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: 'http://' })), 'url')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: url.replace('http:', 'ftp:') })), 'url')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: 'http://[x]/' })), 'url')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: 'http://h:99999/' })), 'url')
  t.equal(requests.length, 0)
  t.equal((await dispatcher.dispatch(httpAttempt({ url }))).status, 200, 'and the next one is sent')
})

t.test('headers of the connection are left out, and what is beyond ASCII is sent as UTF-8', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t)
  const headers = {
    Connection: 'close',
    'Transfer-Encoding': 'chunked',
    Expect: '100-continue',
    Upgrade: 'h2c',
    TE: 'trailers',
    Trailer: 'X-Sum',
    'Keep-Alive': 'timeout=5',
    'Proxy-Connection': 'close',
    'Content-Length': '99',
    'X-Name': 'Zoë 😀',
    'Accept-Encoding': 'br'
  }
  t.equal((await dispatcher.dispatch(httpAttempt({ url, headers, body: Buffer.from('x') }))).status, 200)
  const sent = parsed(requests[0]!).headers
  t.equal(Buffer.from(sent['x-name']!, 'latin1').toString(), 'Zoë 😀')
  t.match(sent, { connection: 'keep-alive', 'content-length': '1', 'accept-encoding': 'br' })
  for (const name of ['transfer-encoding', 'expect', 'upgrade', 'te', 'trailer', 'keep-alive', 'proxy-connection']) t.notOk(name in sent, name)
})

t.test('an App Engine task goes to the configured URL with the host of its service; without one it fails', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t, { appEngine: { url: `${url}/base/`, host: 'service' } })
  const request = {
    relativeUri: '//elsewhere/x?y=1',
    appEngineRouting: { service: 'worker', version: 'v2' },
    headers: { 'User-Agent': 'AppEngine-Google' }
  }
  t.equal((await dispatcher.dispatch(appEngineAttempt(request))).status, 200)
  const { line, headers } = parsed(requests[0]!)
  t.equal(line, 'POST /base//elsewhere/x?y=1 HTTP/1.1')
  t.match(headers, { host: /^v2\.worker\.p\.\w+\.r\.appspot\.com$/, 'x-appengine-queuename': 'q', 'x-appengine-taskname': 't' })
  await refuses(t, dispatcher.dispatch(appEngineAttempt({ appEngineRouting: { service: 'a\r\nX-B: c' } })), 'header')
  await refuses(t, createDispatcher(t).dispatch(appEngineAttempt(request)), 'appEngineUrl')
})

t.test('an App Engine task carries the host of the configured URL where that is asked for', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t, { appEngine: { url, host: 'url' } })
  t.equal((await dispatcher.dispatch(appEngineAttempt({ appEngineRouting: { service: 'worker' } }))).status, 200)
  t.equal(parsed(requests[0]!).headers.host, new URL(url).host)
})

t.test('with a token the task cannot send an Authorization of its own', async t => {
  const { url, requests } = await rawTarget(t, () => OK)
  const dispatcher = createDispatcher(t)
  const sent = async (request: Omit<HttpRequest, 'url'>): Promise<string> => {
    await dispatcher.dispatch(httpAttempt({ url: `${url}/x?y=1`, headers: { authorization: 'mine' }, ...request }))
    return parsed(requests.at(-1)!).headers.authorization!
  }
  const claims = (header: string) => JSON.parse(Buffer.from(header.split('.')[1]!, 'base64url').toString()) as { aud: string }
  t.equal(await sent({}), 'mine')
  t.equal(
    claims(await sent({ oidcToken: { serviceAccountEmail: 'a@p' } })).aud,
    `${url}/x?y=1`,
    'the audience is the whole URL unless it is given'
  )
  const first = await sent({ oidcToken: { serviceAccountEmail: 'a@p', audience: 'me' } })
  t.equal(claims(first).aud, 'me')
  t.equal(await sent({ oidcToken: { serviceAccountEmail: 'a@p', audience: 'me' } }), first, 'a token serves for a while')
  const opaque = await sent({ oauthToken: { serviceAccountEmail: 'a@p' } })
  t.match(opaque, /^Bearer ya29\.[\w-]{43}$/)
  t.not(await sent({ oauthToken: { serviceAccountEmail: 'a@p', scope: 'other' } }), opaque)
})

// What production sends in this very sequence of answers was recorded.
t.test('the headers of retries are as recorded, for both targets', async t => {
  const answers = [503, 404, 429, 500, 302, 200]
  const http = await retries(t, 'http', answers)
  t.same(
    http.map(({ retryCount, executionCount }) => [retryCount, executionCount]),
    [
      ['0', '0'],
      ['1', '0'],
      ['2', '1'],
      ['3', '2'],
      ['4', '2'],
      ['5', '3']
    ]
  )
  t.same(http.map(({ previousResponse, retryReason }) => [previousResponse, retryReason]),
    [[undefined, undefined], ['503', ''], ['404', ''], ['429', ''], ['500', ''], ['302', '']])

  const appEngine = await retries(t, 'appEngine', answers)
  t.same(
    appEngine.map(({ retryCount, executionCount }) => [retryCount, executionCount]),
    [
      ['0', '0'],
      ['1', '1'],
      ['2', '2'],
      ['3', '3'],
      ['4', '4'],
      ['5', '5']
    ]
  )
  t.same(appEngine.map(({ previousResponse, retryReason }) => [previousResponse, retryReason]),
    [[undefined, undefined], ['503', 'App Error'], ['404', 'App Error'], ['429', 'App Error'], ['500', 'App Error'], ['302', 'App Error']])
})

t.test('after a timeout they are as recorded, too', async t => {
  t.same(await retries(t, 'http', ['timeout', 200]), [
    { retryCount: '0', executionCount: '0', previousResponse: undefined, retryReason: undefined, userAgent: 'Google-Cloud-Tasks' },
    { retryCount: '1', executionCount: '0', previousResponse: '504', retryReason: '', userAgent: 'Google-Cloud-Tasks' }
  ])
  const userAgent = 'AppEngine-Google; (+http://code.google.com/appengine)'
  t.same(await retries(t, 'appEngine', ['timeout', 200]), [
    { retryCount: '0', executionCount: '0', previousResponse: undefined, retryReason: undefined, userAgent },
    { retryCount: '1', executionCount: '0', previousResponse: '0', retryReason: 'Instance Unavailable', userAgent }
  ])
})

interface SeenHeaders {
  readonly retryCount: string | undefined
  readonly executionCount: string | undefined
  readonly previousResponse: string | undefined
  readonly retryReason: string | undefined
  readonly userAgent: string | undefined
}

/** Has a task tried until all of `answers` were given, and returns what each attempt said of itself. */
async function retries (t: Test, kind: 'http' | 'appEngine', answers: ReadonlyArray<number | 'timeout'>): Promise<SeenHeaders[]> {
  const clock = new ManualClock()
  const seen: SeenHeaders[] = []
  let arrived = (): void => {}
  const server = await listen(createHttpServer((request, response) => {
    seen.push(seenHeaders(request, kind))
    const answer = answers[seen.length - 1]!
    if (answer === 'timeout') arrived()
    else response.writeHead(answer).end()
  }))
  t.teardown(() => { server.close() })
  const dispatcher = createDispatcher(t, { clock, appEngine: { url: urlOf(server), host: 'service' } })
  const engine = new Engine({
    store: new MemoryStore(),
    clock,
    dispatch: dispatcher.dispatch,
    onError: error => {
      t.fail(String(error))
    }
  })
  await engine.open()
  t.teardown(async () => { await engine.close() })
  await engine.createQueue(QUEUE)
  engine.start()
  let ended: (attempt: AttemptReport) => void = () => {}
  engine.observe({ attempted: attempt => { ended(attempt) } })

  let next = new Promise<AttemptReport>(resolve => { ended = resolve })
  const hanging = new Promise<void>(resolve => { arrived = resolve })
  await engine.createTask(QUEUE, {
    ...(kind === 'http' ? { httpRequest: { url: urlOf(server) } } : { appEngineHttpRequest: {} }), dispatchDeadlineMs: 15_000
  })
  for (const answer of answers) {
    await clock.settle()
    if (answer === 'timeout') {
      await hanging
      await clock.advance(15_000)
    }
    const { retryAt } = await next
    next = new Promise<AttemptReport>(resolve => { ended = resolve })
    if (retryAt !== undefined) await clock.advance(retryAt - clock.now())
  }
  await clock.advance(60_000)
  return seen
}

function seenHeaders ({ headers }: IncomingMessage, kind: 'http' | 'appEngine'): SeenHeaders {
  const header = (name: string) => headers[`${kind === 'http' ? 'x-cloudtasks' : 'x-appengine'}-${name}`] as string | undefined
  return {
    retryCount: header('taskretrycount'),
    executionCount: header('taskexecutioncount'),
    previousResponse: header('taskpreviousresponse'),
    retryReason: header('taskretryreason'),
    userAgent: headers['user-agent']
  }
}

function appEngineAttempt (appEngineHttpRequest: AppEngineHttpRequest): Attempt {
  return attempt({ appEngineHttpRequest }, 600_000)
}

import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { dispatchHeaders } from '../../lib/cloud-tasks/headers.js'
import type { AppEngineHttpRequest, HttpRequest } from '../../lib/cloud-tasks/task.js'
import { ContinueFilter } from '../../lib/emulator/dispatch/connector.js'
import { HttpDispatcher, type HttpDispatcherOptions } from '../../lib/emulator/dispatch/dispatcher.js'
import { TokenIssuer } from '../../lib/emulator/tokens/token-issuer.js'
import { SigningKey } from '../../lib/emulator/tokens/signing-key.js'
import { Unreachable } from '../../lib/emulator/dispatch/unreachable.js'
import { Engine, type Attempt, type AttemptReport } from '../../lib/engine/engine.js'
import { systemClock } from '../../lib/clock/clock.js'
import { MemoryStore } from '../../lib/store/memory-store.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'

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
    'Content-Length': '99',
    'X-Name': 'Zoë 😀',
    'Accept-Encoding': 'br'
  }
  t.equal((await dispatcher.dispatch(httpAttempt({ url, headers, body: Buffer.from('x') }))).status, 200)
  const sent = parsed(requests[0]!).headers
  t.equal(Buffer.from(sent['x-name']!, 'latin1').toString(), 'Zoë 😀')
  t.match(sent, { connection: 'keep-alive', 'content-length': '1', 'accept-encoding': 'br' })
  for (const name of ['transfer-encoding', 'expect', 'upgrade', 'te']) t.notOk(name in sent, name)
})

t.test('an App Engine task goes to the configured URL with the host of its service, and without one it says so', async t => {
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

t.test('a target may send 100 Continue before its answer, however the bytes arrive, and its connection is reused', async t => {
  const text = 'HTTP/1.1 100 Continue'
  const answer = `${text}\r\n\r\n${text}\r\nX-A: b\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: ${2 * text.length}\r\n\r\n`
  let arrival = async (socket: Socket): Promise<void> => { socket.write(answer + text + text) }
  const { url, connections } = await rawTarget(t, (request, socket) => { arrival(socket).catch(() => {}) })
  const dispatcher = createDispatcher(t)
  const dispatched = async (): Promise<unknown> => {
    const { status, text: body } = (await dispatcher.dispatch(httpAttempt({ url, body: Buffer.from('x') }))) as {
      status: number
      text: string
    }
    return { status, body }
  }
  for (let i = 0; i < 10; i++) t.strictSame(await dispatched(), { status: 200, body: text + text }, 'at once')
  t.ok(connections.size <= 2)
  arrival = async socket => {
    socket.setNoDelay()
    for (const byte of answer) {
      socket.write(byte)
      await new Promise(resolve => { setImmediate(resolve) })
    }
    socket.write(text)
    await new Promise(resolve => { setImmediate(resolve) })
    socket.write(text)
  }
  t.strictSame(await dispatched(), { status: 200, body: text + text }, 'byte by byte, with a body that looks like an interim answer')
})

t.test('only the status of interim answers is rewritten, for any answer in chunks of any size', async t => {
  const line = fc.constantFrom('HTTP/1.1 100 Continue', 'HTTP/1.1 103 Early Hints', 'HTTP/1.0 100 Continue')
  const interim = fc.tuple(line, fc.constantFrom('', 'X-A: HTTP/1.1 100\r\n')).map(([status, headers]) => `${status}\r\n${headers}\r\n`)
  const final = fc
    .tuple(fc.constantFrom('HTTP/1.1 200 OK', 'HTTP/1.1 500 x'), fc.constantFrom('', 'HTTP/1.1 100 Continue\r\n\r\n', 'x'.repeat(50)))
    .map(([status, body]) => `${status}\r\n\r\n${body}`)
  fc.assert(
    fc.property(
      fc.array(interim, { maxLength: 3 }),
      final,
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
      (interims, final, sizes) => {
        const filter = new ContinueFilter()
        filter.begin()
        let rest = Buffer.from(interims.join('') + final)
        let passed = ''
        for (let index = 0; rest.length > 0; index++) {
          const size = sizes[index % sizes.length]!
          passed += (filter.filter(Buffer.from(rest.subarray(0, size))) ?? '').toString()
          rest = rest.subarray(size)
        }
        return passed === interims.map(one => one.replace(/^(HTTP\/1\.\d) 100/, '$1 102')).join('') + final
      }
    )
  )
  t.pass()
})

t.test('an answer may have headers of 60 KiB', async t => {
  const { url } = await rawTarget(t, () => `HTTP/1.1 204 No Content\r\nX: ${'x'.repeat(60 * 1024)}\r\n\r\n`)
  t.equal((await createDispatcher(t).dispatch(httpAttempt({ url }))).status, 204)
})

t.test('a redirect is an answer, and is not followed', async t => {
  const { url, requests } = await rawTarget(t, () => 'HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n')
  t.equal((await createDispatcher(t).dispatch(httpAttempt({ url }))).status, 302)
  t.equal(requests.length, 1)
})

t.test('the beginning of an answer is kept for display', async t => {
  const body = 'why '.repeat(5000)
  const zipped = gzipSync(body)
  const answers: Record<string, Buffer | string> = {
    '/plain': `HTTP/1.1 500 Oops\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    '/zipped': Buffer.concat([
      Buffer.from(`HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\n\r\n`),
      zipped
    ]),
    '/mislabelled': 'HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nwhy',
    '/hinted': 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
    '/empty': 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'
  }
  const { url } = await rawTarget(t, ({ line }) => answers[line.split(' ')[1]!]!)
  const dispatcher = createDispatcher(t)
  const ask = async (path: string) => {
    const { status, text } = await dispatcher.dispatch(httpAttempt({ url: url + path }))
    return { status, text }
  }
  t.same(await ask('/plain'), { status: 500, text: body.slice(0, 4096) })
  t.same(await ask('/zipped'), { status: 500, text: body.slice(0, 4096) })
  t.same(await ask('/mislabelled'), { status: 500, text: 'why' })
  t.same(await ask('/hinted'), { status: 204, text: '' })
  t.same(await ask('/empty'), { status: 404, text: '' })
})

t.test('an answer without end counts once there is a megabyte of it, and its connection is closed', async t => {
  const chunk = Buffer.alloc(65_536, 'x')
  const target = await rawTarget(t, (request, socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    const more = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    }
    socket.on('drain', more)
    more()
  })
  t.equal((await createDispatcher(t).dispatch(httpAttempt({ url: target.url }))).status, 200)
  await target.idle()
})

t.test('a target that refuses, resets, hangs up or talks nonsense is unreachable, and each says how', async t => {
  const target = await rawTarget(t, ({ line }, socket) => {
    const path = line.split(' ')[1]
    if (path === '/resets') socket.resetAndDestroy()
    if (path === '/hangs-up') socket.end()
    if (path === '/garbage') return '\x16\x03\x01 garbage \xff\r\n\r\n'
    if (path === '/half') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
    if (path === '/head') socket.end('HTTP/1.1 200 O')
    if (path === '/switches') return 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'
    if (path === '/headers') return `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`
    return undefined
  })
  const dispatcher = createDispatcher(t)
  const { url } = target
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/resets` })), 'ECONNRESET')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/hangs-up` })), 'UND_ERR_SOCKET')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/garbage` })), /^HPE_|HTTPParserError/)
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/half` })), 'UND_ERR_SOCKET')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/head` })), /^HPE_|HTTPParserError|UND_ERR_SOCKET/)
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/switches` })), 'UND_ERR_SOCKET')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: `${url}/headers` })), 'UND_ERR_HEADERS_OVERFLOW')
  await refuses(t, dispatcher.dispatch(httpAttempt({ url: url.replace('http:', 'https:') })), 'ERR_SSL_WRONG_VERSION_NUMBER')
  await target.idle()
  await target.close()
  await refuses(t, dispatcher.dispatch(httpAttempt({ url })), 'ECONNREFUSED')
})

t.test('after the deadline the connection is closed, whatever the target was about to do', async t => {
  const clock = new ManualClock()
  const seen: Array<() => void> = []
  const target = await rawTarget(t, ({ line }, socket) => {
    const path = line.split(' ')[1]
    if (path === '/drips') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx')
    if (path === '/head') socket.write('HTTP/1.1 200 OK\r\nX-')
    if (path === '/endless') socket.write('HTTP/1.1 200 OK\r\n\r\nx')
    if (path === '/chunked') socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n')
    seen.shift()?.()
  })
  const dispatcher = createDispatcher(t, { clock })
  for (const path of ['/hangs', '/drips', '/head', '/endless', '/chunked']) {
    const arrived = new Promise<void>(resolve => { seen.push(resolve) })
    let ended = false
    const answer = dispatcher.dispatch(httpAttempt({ url: target.url + path }, { deadlineMs: 15_000 })).finally(() => { ended = true })
    await arrived
    await clock.advance(15_000)
    t.notOk(ended, `${path}: the engine is first to end it`)
    await clock.advance(1000)
    t.equal((await answer).status, 0, path)
    await target.idle()
  }
  t.equal(clock.pending, 0)
})

t.test('closing cuts off what is under way', async t => {
  const arrivals: Array<() => void> = []
  const target = await rawTarget(t, () => { arrivals.shift()?.() })
  const dispatcher = createDispatcher(t)
  const arrived = new Promise<void>(resolve => { arrivals.push(resolve) })
  const answer = dispatcher.dispatch(httpAttempt({ url: target.url }))
  answer.catch(() => {})
  await arrived
  await dispatcher.close()
  await refuses(t, answer, 'closing')
  await target.idle()
  await t.rejects(dispatcher.dispatch(httpAttempt({ url: target.url })), Unreachable)
})

t.test('a connection is kept for the next attempt, and there are as many as there are attempts at once', async t => {
  const held: Socket[] = []
  const target = await rawTarget(t, ({ line }, socket) => {
    if (!line.includes('/hold')) return OK
    held.push(socket)
    if (held.length === 100) for (const socket of held) socket.write(OK)
    return undefined
  })
  const dispatcher = createDispatcher(t)
  for (let i = 0; i < 20; i++) await dispatcher.dispatch(httpAttempt({ url: target.url }))
  t.ok(target.connections.size <= 2)
  const answers = await Promise.all(
    Array.from({ length: 100 }, async () => await dispatcher.dispatch(httpAttempt({ url: `${target.url}/hold` })))
  )
  t.ok(answers.every(({ status }) => status === 200))
  t.ok(target.connections.size <= 102)
})

t.test('hundreds of targets are served at once, and nothing is kept of those that are gone', async t => {
  const dispatcher = createDispatcher(t)
  const servers = await Promise.all(
    Array.from(
      { length: 200 },
      async () =>
        await listen(
          createHttpServer((request, response) => {
            response.end()
          })
        )
    )
  )
  t.teardown(() => { for (const server of servers) server.close() })
  const answers = await Promise.all(servers.map(async server => await dispatcher.dispatch(httpAttempt({ url: urlOf(server) }))))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(dispatcher.targets, 200)
  for (const server of servers) (server as HttpServer).closeAllConnections()
  while (dispatcher.targets > 0) await new Promise(resolve => { setTimeout(resolve, 5) })
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

async function refuses (t: Test, answer: Promise<unknown>, kind: string | RegExp, what = String(kind)): Promise<void> {
  const error = await answer.then(() => undefined, (error: unknown) => error)
  t.ok(error instanceof Unreachable, what)
  t.match((error as Unreachable).kind, kind)
  t.notMatch((error as Unreachable).message, /[\p{Cc}\p{Cf}]/u, 'a terminal only shows it')
}

function createDispatcher (t: Test, options: Partial<HttpDispatcherOptions> = {}): HttpDispatcher {
  const { clock = systemClock } = options
  const tokens = new TokenIssuer({ clock, key: new SigningKey(), issuer: () => 'http://127.0.0.1:8123' })
  const dispatcher = new HttpDispatcher({ clock, tokens, appEngine: { url: undefined, host: 'service' }, ...options })
  t.teardown(async () => { await dispatcher.close() })
  return dispatcher
}

function httpAttempt (httpRequest: HttpRequest, { deadlineMs = 600_000 } = {}): Attempt {
  return attempt({ httpRequest }, deadlineMs)
}

function appEngineAttempt (appEngineHttpRequest: AppEngineHttpRequest): Attempt {
  return attempt({ appEngineHttpRequest }, 600_000)
}

function attempt (request: { httpRequest: HttpRequest } | { appEngineHttpRequest: AppEngineHttpRequest }, deadlineMs: number): Attempt {
  const task = {
    name: `${QUEUE}/tasks/t`,
    ...request,
    scheduleAt: 1721236265266.817,
    createdAt: 0,
    dispatchCount: 1,
    responseCount: 0,
    executionCount: 0
  }
  return { task, queue: 'q', headers: dispatchHeaders(task), deadlineMs, deadlineAt: deadlineMs }
}

interface RawRequest {
  readonly line: string
  readonly headers: Record<string, string>
  readonly body: string
}

interface RawTarget {
  readonly url: string
  /** What came, as it came. */
  readonly requests: string[]
  readonly connections: ReadonlySet<Socket>
  /** Resolves when no connection is left. */
  idle (): Promise<void>
  close (): Promise<void>
}

/** A target below HTTP. `answer` returns what to send, or does something to the socket. */
async function rawTarget (
  t: Test,
  answer: (request: RawRequest, socket: Socket) => string | Buffer | undefined | void
): Promise<RawTarget> {
  const requests: string[] = []
  const connections = new Set<Socket>()
  const server = await listen(
    createServer(socket => {
      connections.add(socket)
      socket
        .on('close', () => {
          connections.delete(socket)
        })
        .on('error', () => {})
      let received = ''
      socket.on('data', chunk => {
        if (chunk[0] === TLS_HANDSHAKE) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
        received += chunk.toString('latin1')
        if (!isWhole(received)) return
        requests.push(received)
        received = ''
        const text = answer(parsed(requests.at(-1)!), socket)
        if (text !== undefined) socket.write(text)
      })
    })
  )
  const close = async (): Promise<void> => {
    for (const socket of connections) socket.destroy()
    await new Promise(resolve => {
      server.close(resolve)
    })
  }
  t.teardown(close)
  return {
    url: urlOf(server),
    requests,
    connections,
    close,
    idle: async () => {
      while (connections.size > 0) {
        await new Promise(resolve => {
          setImmediate(resolve)
        })
      }
    }
  }
}

function isWhole (request: string): boolean {
  if (!request.includes('\r\n\r\n')) return false
  const { headers, body } = parsed(request)
  return body.length >= Number(headers['content-length'] ?? 0)
}

function parsed (request: string): RawRequest {
  const end = request.indexOf('\r\n\r\n')
  const [line = '', ...fields] = request.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(
    fields.map(field => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 2)])
  )
  return { line, headers, body: request.slice(end + 4) }
}

async function listen<S extends Server> (server: S): Promise<S> {
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return server
}

function urlOf (server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const QUEUE = 'projects/p/locations/l/queues/q'
const TLS_HANDSHAKE = 0x16
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

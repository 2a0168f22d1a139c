import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import type { Dispatcher } from 'undici'
import { AttemptLog } from '../../../lib/emulator/dispatch/attempt-log.js'
import { ContinueFilter } from '../../../lib/emulator/dispatch/connector.js'
import { Exchange } from '../../../lib/emulator/dispatch/exchange.js'
import type { AppEngineHost } from '../../../lib/emulator/dispatch/outgoing-request.js'
import { connectionProblem, Unreachable } from '../../../lib/emulator/dispatch/unreachable.js'
import type { Answer } from '../../../lib/engine/engine.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { refuses, attempt, createDispatcher, httpAttempt, rawTarget, urlOf, listen, OK, QUEUE } from '../../support/raw-target.js'

t.test('a target may send 100 Continue before its answer, in any pieces, and its connection is reused', async t => {
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

t.test('what is no response of HTTP/1, or has too many headers, is passed on as it is', async t => {
  const passed = (begun: boolean, ...chunks: string[]): Array<string | undefined> => {
    const filter = new ContinueFilter()
    if (begun) filter.begin()
    return chunks.map(chunk => filter.filter(Buffer.from(chunk))?.toString())
  }
  const interim = 'HTTP/1.1 100 Continue\r\n'
  t.strictSame(passed(false, interim, interim), [interim, interim], 'no request was written')
  for (const text of ['garbage', 'HTTP/2.0 100 x', 'HTTP/1.x 100 x', 'HTTP/1.1 1x0']) t.strictSame(passed(true, text, interim), [text, interim])
  t.strictSame(passed(true, 'HTTP/1', '.1 100 Continue\r\n', '\r\n', interim), [undefined, undefined, `${interim.replace('100', '102')}\r\n`, undefined])
  const held = interim + 'x'.repeat(64 * 1024 - interim.length)
  const [early, late] = passed(true, held, 'x')
  t.equal(early, undefined)
  t.equal(late!.replace(/x+$/, ''), interim.replace('100', '102'))
  t.equal(late!.length, 64 * 1024 + 1)
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

t.test('a target that rejects, resets, hangs up or talks nonsense is unreachable, and each says how', async t => {
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

t.test('after the deadline the connection is always closed', async t => {
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
    await clock.advance(15_099)
    t.notOk(ended, `${path}: the engine is first to end it`)
    await clock.advance(1)
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

t.test('a response counts once, whatever follows it, and interim responses do not', async t => {
  const { exchange, controller, ended } = exchanging()
  exchange.onRequestStart(controller)
  exchange.onResponseStart(controller, 103, { 'content-encoding': 'gzip' })
  exchange.onResponseStart(controller, 199, {})
  exchange.onResponseStart(controller, 200, {})
  exchange.onResponseData(controller, Buffer.from('a'))
  t.strictSame(ended(), [])
  exchange.onResponseEnd()
  exchange.onResponseEnd()
  exchange.onResponseError(null, new Error('later'))
  exchange.abort(new Error('later'))
  t.strictSame(ended(), [{ status: 200, text: 'a' }])
})

t.test('an attempt that is aborted ends at once, and its request is never sent or is cut off', async t => {
  const reason = new Error('enough')
  const early = exchanging()
  early.exchange.abort(reason)
  t.strictSame(early.ended(), [reason])
  t.strictSame(early.aborts, [])
  early.exchange.onRequestStart(early.controller)
  t.strictSame(early.aborts, [reason])

  const late = exchanging()
  late.exchange.onRequestStart(late.controller)
  t.strictSame(late.aborts, [])
  late.exchange.abort(reason)
  late.exchange.onResponseError(late.controller, reason)
  t.strictSame(late.aborts, [reason])
  t.strictSame(late.ended(), [reason])

  const failed = exchanging()
  failed.exchange.onResponseError(failed.controller, reason)
  t.strictSame(failed.ended(), [reason])
})

t.test('the first 4096 bytes of a response are kept, and a megabyte is awaited', async t => {
  const { exchange, controller, ended, aborts } = exchanging()
  exchange.onResponseStart(controller, 500, {})
  const chunk = Buffer.alloc(4000, 'a')
  exchange.onResponseData(controller, chunk)
  chunk.fill('x')
  exchange.onResponseData(controller, Buffer.alloc(96, 'b'))
  exchange.onResponseData(controller, Buffer.alloc(1024 * 1024 - 4096, 'c'))
  t.strictSame([ended(), aborts.length], [[], 0])
  exchange.onResponseData(controller, Buffer.from('d'))
  t.strictSame(ended(), [{ status: 500, text: 'a'.repeat(4000) + 'b'.repeat(96) }])
  t.equal(aborts.length, 1)
})

t.test('failed attempts are logged once for each task and kind of failure', async t => {
  const { log, lines } = logging('service')
  const task = { ...attempt({ httpRequest: { url: 'http://w.example/' } }, 0).task, name: `${QUEUE}/tasks/a` }
  for (let i = 0; i < 2; i++) {
    log.unreachable(task.name, new Unreachable('ECONNREFUSED', 'w.example refused'))
    log.unreachable(task.name, new Unreachable('EPIPE', 'w.example closed'))
    log.late(task.name, 1500)
    log.refused(task, 404)
    log.refused(task, 500)
  }
  t.strictSame(lines, [
    [{ task: task.name, kind: 'ECONNREFUSED' }, 'attempt failed: w.example refused'],
    [{ task: task.name, kind: 'EPIPE' }, 'attempt failed: w.example closed'],
    [{ task: task.name, kind: 'deadline' }, 'attempt failed: no response within 1.5 s'],
    [{ task: task.name, status: 404 }, 'attempt failed: the target answered 404'],
    [{ task: task.name, status: 500 }, 'attempt failed: the target answered 500']
  ])
  for (let i = 0; i < 9995; i++) log.late(`${i}`, 0)
  log.unreachable(task.name, new Unreachable('ECONNREFUSED', 'w.example refused'))
  t.equal(lines.length, 10_000, 'ten thousand are remembered')
  log.late('one more', 0)
  log.unreachable(task.name, new Unreachable('ECONNREFUSED', 'w.example refused'))
  t.equal(lines.length, 10_002, 'then the oldest is forgotten')
  log.late('one more', 0)
  t.equal(lines.length, 10_002)
})

t.test('an App Engine target that rejects its production host gets a hint', async t => {
  const appEngineHttpRequest = { appEngineRouting: { service: 'worker' } }
  const hint = (mode: 'service' | 'url', status: number, request: Parameters<typeof attempt>[0]): string => {
    const { log, lines } = logging(mode)
    log.refused(attempt(request, 0).task, status)
    return lines[0]![1].replace(`attempt failed: the target answered ${status}`, '')
  }
  for (const status of [400, 403]) {
    t.match(hint('service', status, { appEngineHttpRequest }), /^\. The Host header was worker\.p\.xx\.r\.appspot\.com, .*--app-engine-host url/)
    t.equal(hint('url', status, { appEngineHttpRequest }), '')
    t.equal(hint('service', status, { httpRequest: { url: 'http://w.example/' } }), '')
  }
  for (const status of [401, 404, 500]) t.equal(hint('service', status, { appEngineHttpRequest }), '')
})

t.test('an error of a connection is described in one line; of several addresses, that of the first', async t => {
  const coded = (code: string, message = 'x'): Error => Object.assign(new Error(message), { code })
  const parserError = Object.assign(new Error('Expected HTTP/'), { code: 'HPE_INVALID_CONSTANT', name: 'HTTPParserError' })
  for (const [error, kind, message] of [
    [coded('ECONNREFUSED'), 'ECONNREFUSED', 'h:1 refused the connection: no server is listening there'],
    [coded('EWHAT', ' first line\nsecond '), 'EWHAT', 'h:1 could not be reached: first line'],
    [parserError, 'HPE_INVALID_CONSTANT', 'h:1 did not respond with valid HTTP/1.1'],
    [new TypeError('odd'), 'TypeError', 'h:1 could not be reached: odd'],
    ['text', 'Error', 'h:1 could not be reached: text'],
    [
      new AggregateError([new AggregateError([coded('EPIPE'), coded('ECONNRESET')])]),
      'EPIPE',
      'h:1 closed the connection before it responded'
    ],
    [new AggregateError([], 'none'), 'AggregateError', 'h:1 could not be reached: none']
  ] as const) {
    const problem = connectionProblem('h:1', error)
    t.strictSame([problem.kind, problem.message, problem.cause], [kind, message, error])
  }
  t.notOk('cause' in new Unreachable('url', 'invalid'))
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

/** An exchange without a connection, with what its callback and its controller received. */
function exchanging () {
  const results: Array<{ answer: Answer | undefined, error: unknown }> = []
  const aborts: Error[] = []
  return {
    exchange: new Exchange((answer, error) => { results.push({ answer, error }) }),
    controller: { abort: (error: Error) => { aborts.push(error) } } as Dispatcher.DispatchController,
    aborts,
    ended: () => results.map(({ answer, error }) => answer === undefined ? error : { status: answer.status, text: answer.text })
  }
}

function logging (appEngineHost: AppEngineHost): { log: AttemptLog, lines: Array<[fields: object, message: string]> } {
  const lines: Array<[fields: object, message: string]> = []
  const warn = (fields: object, message: string): void => { lines.push([fields, message]) }
  return { log: new AttemptLog({ info: warn, warn, error: warn }, appEngineHost), lines }
}

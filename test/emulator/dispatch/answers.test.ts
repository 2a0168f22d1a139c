import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { ContinueFilter } from '../../../lib/emulator/dispatch/connector.js'
import { Unreachable } from '../../../lib/emulator/dispatch/unreachable.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { refuses, createDispatcher, httpAttempt, rawTarget, urlOf, listen, OK } from '../../support/raw-target.js'

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

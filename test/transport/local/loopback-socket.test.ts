import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { SECRET_HEADER, RESULT_HEADER } from '../../../lib/delivery/headers.js'
import { inject } from '../../../lib/transport/local/inject.js'
import { LoopbackSocket } from '../../../lib/transport/local/loopback-socket.js'

function create ({ complete = true } = {}) {
  const clock = new ManualClock()
  const server = new EventEmitter()
  const request = Object.assign(new EventEmitter(), { complete })
  const response = new EventEmitter()
  const socket = new LoopbackSocket(server as Server, clock, 'x-result')
  socket.begin(request as IncomingMessage, response as ServerResponse)
  return { clock, server, request, response, socket }
}

t.test('the status and the result are those of the first head that is not interim', async t => {
  const heads = [
    'HTTP/1.1 103 Early Hints\r\nx-result: no\r\n\r\n',
    'HTTP/1.1 204 No Content\r\nother: 1\r\nx-result: done\r\nanother: 2\r\n\r\nx-result: body\r\n\r\n',
    'HTTP/1.1 500 Internal Server Error\r\nx-result: late\r\n\r\n'
  ]
  for (const chunks of [heads, heads.map(head => Buffer.from(head))]) {
    const { socket } = create()
    const seen = []
    for (const chunk of chunks) {
      await new Promise<void>(resolve => { socket.write(chunk, () => { resolve() }) })
      seen.push([socket.status, socket.result])
    }
    t.strictSame(seen, [[0, undefined], [204, 'done'], [204, 'done']])
    t.equal(socket.bytesWritten, heads.join('').length)
  }
  for (const [head, result] of [
    ['HTTP/1.1 404 Not Found\r\nx-result: last\r\n\r\n', 'last'],
    ['HTTP/1.1 404 Not Found\r\nnot-x-result: no\r\n\r\n', undefined],
    ['HTTP/1.1 404 Not Found\r\na: b\r\n\r\n\r\nx-result: no\r\n\r\n', undefined]
  ] as const) {
    const { socket } = create()
    socket.write(head)
    t.strictSame([socket.status, socket.result], [404, result])
  }
})

t.test('a socket without traffic times out, and is closed unless somebody handles that', async t => {
  for (const [handler, complete, handled] of [
    [undefined, false, false], ['server', true, true], ['response', true, true], ['request', false, true], ['request', true, false]
  ] as const) {
    const set = create({ complete })
    const { clock, socket } = set
    const events: string[] = []
    if (handler !== undefined) set[handler].on('timeout', () => { events.push(handler) })
    socket.setTimeout(1000, () => { events.push('socket') })
    clock.pass(999)
    socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    clock.pass(999)
    t.strictSame(events, [])
    clock.pass(1)
    t.strictSame(events, handler === undefined || (handler === 'request' && complete) ? ['socket'] : [handler, 'socket'])
    t.equal(socket.destroyed, !handled)
    t.equal(clock.pending, handled ? 0 : 1, 'the close')
    await clock.settle()
  }
})

t.test('a timeout ends when it is disabled, and when the request is answered or closed', async t => {
  for (const end of ['disabled', 'answered', 'destroyed'] as const) {
    const { clock, socket } = create()
    let timeouts = 0
    const count = (): void => { timeouts++ }
    socket.setTimeout(1000, count)
    t.strictSame([socket.timeout, clock.pending, socket.listenerCount('timeout')], [1000, 1, 1])
    if (end === 'disabled') socket.setTimeout(0, count)
    else if (end === 'answered') socket.answered()
    else socket.destroy()
    if (end === 'disabled') t.equal(socket.listenerCount('timeout'), 0)
    else socket.setTimeout(500)
    socket.write('x')
    await clock.settle()
    t.equal(clock.pending, 0, end)
    clock.pass(2000)
    t.equal(timeouts, 0)
  }
  const { clock, socket } = create()
  socket.setTimeout(0)
  socket.write('HTTP/1.1 200 OK\r\n\r\n')
  t.equal(clock.pending, 0)
})

t.test('an answered socket is closed if an app listens for that, on another turn', async t => {
  for (const listeners of [1, 2]) {
    const { clock, socket } = create()
    let closes = 0
    for (let listener = 0; listener < listeners; listener++) socket.on('close', () => { closes++ })
    t.equal(socket.isAnswered, false)
    socket.answered()
    t.strictSame([socket.isAnswered, socket.destroyed, closes], [true, listeners === 2, 0])
    await clock.settle()
    t.equal(closes, listeners === 2 ? 2 : 0)
  }
})

t.test('a socket is destroyed with an error without crashing the process, and has the methods of a real one', async t => {
  const { clock, socket } = create()
  for (const method of ['setNoDelay', 'setKeepAlive', 'ref', 'unref', 'resume', 'pause'] as const) t.equal(socket[method](), socket, method)
  t.strictSame(socket.address(), { address: '127.0.0.1', family: 'IPv4', port: 0 })
  t.strictSame(
    [socket.remoteAddress, socket.remoteFamily, socket.remotePort, socket.localAddress, socket.localPort],
    ['127.0.0.1', 'IPv4', 0, '127.0.0.1', 0]
  )
  let error: unknown
  socket.once('error', (reason: Error) => { error = reason })
  const failure = new Error('no')
  socket.destroy(failure)
  t.equal(socket.destroyed, true)
  await clock.settle()
  t.equal(error, failure)
  const second = create().socket
  second.destroySoon()
  t.equal(second.destroyed, true)
  second.emit('error', failure)
})

t.test('a request by inject has its secret beside its headers, and ends with the response or the error', async t => {
  const headers = { a: '1' }
  const body = Buffer.from('{}')
  for (const [secret, sent] of [[undefined, headers], ['s', { ...headers, [SECRET_HEADER]: 's' }]] as const) {
    const seen: unknown[] = []
    const app = {
      inject (options: unknown, done: (...args: unknown[]) => void) {
        seen.push(options)
        done(null, { statusCode: 204, headers: { [RESULT_HEADER]: 'done' } })
      }
    }
    const request = { method: 'PUT', url: '/work', headers, body, ...(secret === undefined ? {} : { secret }) }
    const { response, abort } = inject(app as never, request)
    abort()
    t.strictSame(await response, { status: 204, result: 'done' })
    t.strictSame(seen, [{ method: 'PUT', url: '/work', headers: sent, payload: body, validate: false }])
  }
  for (const error of [new Error('broken'), null]) {
    const app = { inject: (_: unknown, done: (error: Error | null) => void) => { done(error) } }
    const { response } = inject(app as never, { method: 'GET', url: '/', headers, body: undefined })
    const reason: unknown = await response.catch((reason: unknown) => reason)
    t.equal(reason instanceof Error, true)
    if (error !== null) t.equal(reason, error)
  }
})

import { connect, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { Port } from '../../lib/emulator/port.js'

const REQUEST = 'PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n'
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

t.test('a connection may begin with any pieces of a request, or end before it has begun', async t => {
  const { port } = opened(t)
  await once(port.server.listen(0, '127.0.0.1'), 'listening')
  const { port: number } = port.server.address() as AddressInfo
  const slow = await connected(number)
  slow.setNoDelay()
  for (const piece of ['P', 'R', 'OPFIND / HT', 'TP/1.1\r\nHost: h\r\n\r\n']) {
    slow.write(piece)
    await new Promise(resolve => { setImmediate(resolve) })
  }
  let answer = ''
  while (!answer.endsWith('PROPFIND')) answer += String((await once(slow, 'data'))[0])
  t.ok(answer.startsWith('HTTP/1.1 200 OK\r\n'))
  slow.destroy()
  for (const start of ['', 'P', 'PR']) {
    const leaving = await connected(number)
    leaving.end(start)
    await once(leaving.resume(), 'close')
  }
})

t.test('a connection that is silent for a minute is closed, one that has said what it speaks is not', async t => {
  const { port, http2 } = opened(t)
  const silent = accepted(port, '')
  const hesitant = accepted(port, 'PR')
  const http1 = accepted(port, REQUEST)
  const grpc = accepted(port, PREFACE)
  t.strictSame([silent.timeouts, hesitant.timeouts], [[60_000], [60_000]])
  await until(() => http1.written.endsWith('PROPFIND') && http2.length === 1)
  t.equal(http2[0], grpc)
  t.equal(String(grpc.read()), PREFACE, 'with all that it has sent')
  t.equal(grpc.timeouts[1], 0)
  t.equal(http1.timeouts[1], 0)
  for (const socket of [silent, hesitant, grpc]) socket.emit('timeout')
  t.strictSame([silent.destroyed, hesitant.destroyed, grpc.destroyed], [true, true, false])
  t.equal(port.server.keepAliveTimeout, 72_000)
})

t.test('the bytes that decide may come one by one', async t => {
  const { port, http2 } = opened(t)
  const socket = accepted(port, '')
  for (const byte of PREFACE) {
    t.equal(http2.length, 0)
    socket.push(byte)
    await new Promise(resolve => { setImmediate(resolve) })
    if (http2.length > 0) break
  }
  t.equal(String(socket.read()), 'PRI')
  socket.push(' *')
  t.equal(String(socket.read()), ' *', 'later bytes are left to the server that has it')
})

t.test('all connections can be closed, and one that is gone or fails is no error', async t => {
  const { port } = opened(t)
  const gone = accepted(port, '')
  gone.emit('error', new Error('ECONNRESET'))
  gone.destroy()
  await once(gone, 'close')
  const [silent, served, grpc] = [accepted(port, ''), accepted(port, REQUEST), accepted(port, PREFACE)]
  let destroyed = 0
  gone.destroy = () => {
    destroyed++
    return gone
  }
  await until(() => served.written !== '')
  port.destroyConnections()
  t.strictSame([silent.destroyed, served.destroyed, grpc.destroyed, destroyed], [true, true, true, 0])
})

/** A connection without a network, on which a test sends bytes by `push`. */
class FakeSocket extends Duplex {
  /** What `setTimeout` was called with. */
  readonly timeouts: number[] = []
  written = ''

  override _read (): void {}

  override _write (chunk: Buffer, encoding: BufferEncoding, done: () => void): void {
    this.written += String(chunk)
    done()
  }

  setTimeout (ms: number, listener?: () => void): this {
    this.timeouts.push(ms)
    return listener === undefined ? this : this.once('timeout', listener)
  }
}

/** Answers an HTTP/1.1 request with its method. */
function opened (t: Test): { port: Port, http2: unknown[] } {
  const http2: unknown[] = []
  const port = new Port((request, response) => { response.end(request.method) }, { onHttp2: socket => { http2.push(socket) } })
  t.teardown(() => {
    port.server.close()
    port.destroyConnections()
  })
  return { port, http2 }
}

function accepted (port: Port, bytes: string): FakeSocket {
  const socket = new FakeSocket()
  port.server.emit('connection', socket)
  if (bytes !== '') socket.push(bytes)
  return socket
}

async function connected (port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

async function until (done: () => boolean): Promise<void> {
  while (!done()) await new Promise(resolve => { setImmediate(resolve) })
}

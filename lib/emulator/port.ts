import { createServer, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'

export interface PortOptions {
  /** Receives connections that use HTTP/2 with prior knowledge, which is gRPC. */
  readonly onHttp2: (socket: Socket) => void
}

/**
 * One TCP port for HTTP/1.1 and HTTP/2, distinguished by the first three bytes of a connection: no HTTP/1.1 method begins like
 * the HTTP/2 preface. `server` listens, and serves HTTP/1.1.
 */
export class Port {
  readonly server: Server
  readonly #options: PortOptions
  readonly #serveHttp1: (socket: Socket) => void
  /** All open connections. */
  readonly #sockets = new Set<Socket>()

  constructor (handler: RequestListener, options: PortOptions) {
    const server = this.server = createServer({ keepAliveTimeout: 72_000 }, handler)
    this.#options = options
    const [listener] = server.listeners('connection') as Array<(socket: Socket) => void>
    this.#serveHttp1 = socket => { listener!.call(server, socket) }
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => { this.#accept(socket) })
  }

  /** Closes all remaining connections. */
  destroyConnections (): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept (socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => { this.#sockets.delete(socket) })
    // A reset before a server has taken the socket over can be ignored; both servers have their own error listeners.
    socket.on('error', () => {})
    socket.setTimeout(SILENCE_MS, () => { socket.destroy() })

    let received: Buffer = Buffer.alloc(0)
    const detect = (chunk: Buffer): void => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      const isHttp2 = startsWith(received, PREFACE)
      if (isHttp2 === undefined) return
      socket.off('data', detect)
      socket.off('end', onEnd)
      socket.pause()
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.unshift(received)
      if (isHttp2) {
        this.#options.onHttp2(socket) // Reads the buffered bytes itself.
        return
      }
      this.#serveHttp1(socket)
      socket.resume()
    }
    const onEnd = (): void => { socket.destroy() }
    socket.on('data', detect)
    socket.on('end', onEnd)
  }
}

/** Undefined while there are too few bytes to decide. */
function startsWith (bytes: Buffer, prefix: Buffer): boolean | undefined {
  const length = Math.min(bytes.length, prefix.length)
  if (!bytes.subarray(0, length).equals(prefix.subarray(0, length))) return false
  return length === prefix.length ? true : undefined
}

/** A connection that has sent nothing for this long is closed. */
const SILENCE_MS = 60_000

const PREFACE = Buffer.from('PRI')

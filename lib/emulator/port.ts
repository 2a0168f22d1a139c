import { createServer, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'

export interface PortOptions {
  /** Receives connections that use HTTP/2 with prior knowledge, as gRPC does. */
  readonly onHttp2: (socket: Socket) => void
  /** A connection that sends nothing for this long is closed. @default 60 s */
  readonly silenceMs?: number
}

/**
 * One TCP port for HTTP/1.1 and HTTP/2, distinguished by the first three bytes of a connection: no HTTP/1.1 method begins like
 * HTTP/2's preface. `server` listens, and serves HTTP/1.1.
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
    // The servers have error listeners of their own; a reset before one of them serves the socket means nothing.
    socket.on('error', () => {})
    socket.setTimeout(this.#options.silenceMs ?? 60_000, () => { socket.destroy() })

    let begun: Buffer = Buffer.alloc(0)
    const look = (chunk: Buffer): void => {
      begun = begun.length === 0 ? chunk : Buffer.concat([begun, chunk])
      const isHttp2 = startsAs(begun, PREFACE)
      if (isHttp2 === undefined) return
      socket.off('data', look)
      socket.off('end', leave)
      socket.pause()
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.unshift(begun)
      if (isHttp2) {
        this.#options.onHttp2(socket) // Reads what is buffered itself.
        return
      }
      this.#serveHttp1(socket)
      socket.resume()
    }
    const leave = (): void => { socket.destroy() }
    socket.on('data', look)
    socket.on('end', leave)
  }
}

/** Undefined while there are too few bytes to decide. */
function startsAs (bytes: Buffer, start: Buffer): boolean | undefined {
  const length = Math.min(bytes.length, start.length)
  if (!bytes.subarray(0, length).equals(start.subarray(0, length))) return false
  return length === start.length ? true : undefined
}

const PREFACE = Buffer.from('PRI')

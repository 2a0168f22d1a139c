import { createServer, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'

export interface PortOptions {
  /** Takes connections that speak HTTP/2 with prior knowledge, as gRPC does. */
  readonly onHttp2: (socket: Socket) => void
  /** Connections that say nothing for this long are closed. @default 60 s */
  readonly silenceMs?: number
}

/**
 * One TCP port for HTTP/1.1 and HTTP/2: the first three bytes of a connection tell them apart, as no HTTP/1.1 method begins
 * with those of HTTP/2's preface. HTTP/1.1 is served by `server`, which listens.
 */
export class Port {
  readonly server: Server
  readonly #options: PortOptions
  readonly #serveHttp1: (socket: Socket) => void
  /** All connections there are. */
  readonly #sockets = new Set<Socket>()

  constructor (handler: RequestListener, options: PortOptions) {
    const server = this.server = createServer({ keepAliveTimeout: 72_000 }, handler)
    this.#options = options
    const [listener] = server.listeners('connection') as Array<(socket: Socket) => void>
    this.#serveHttp1 = socket => { listener!.call(server, socket) }
    server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => { this.#accept(socket) })
  }

  /** Cuts off whoever is still there. */
  destroyConnections (): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #accept (socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => { this.#sockets.delete(socket) })
    // Whoever serves it hears of errors too; a reset before that is nobody's.
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
        this.#options.onHttp2(socket) // It takes what there is to read itself.
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

/** Undefined while there is too little to say. */
function startsAs (bytes: Buffer, start: Buffer): boolean | undefined {
  const length = Math.min(bytes.length, start.length)
  if (!bytes.subarray(0, length).equals(start.subarray(0, length))) return false
  return length === start.length ? true : undefined
}

const PREFACE = Buffer.from('PRI')

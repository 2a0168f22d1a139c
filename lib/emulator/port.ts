import type { Server as HttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export interface Faces {
  readonly http: HttpServer
  /** Takes connections that speak HTTP/2 from their first byte. */
  readonly http2: (socket: Socket) => void
}

/** One TCP port for both: the first bytes tell HTTP/2 with prior knowledge from HTTP/1.1. */
export class Port {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor (faces: Faces) {
    this.#server = createServer({ noDelay: true }, socket => {
      this.#sockets.add(socket)
      socket.once('close', () => { this.#sockets.delete(socket) })
      // A connection that breaks is the other side's affair.
      socket.on('error', () => { socket.destroy() })
      sniff(socket, faces)
    })
  }

  /** Rejects with the system's error, as when the port is in use. */
  async listen (port: number, host: string): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    return this.#server.address() as AddressInfo
  }

  /** Ends every connection. */
  async close (): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>(resolve => { this.#server.close(() => { resolve() }) })
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

function sniff (socket: Socket, { http, http2 }: Faces): void {
  const silent = (): void => { socket.destroy() }
  socket.setTimeout(FIRST_BYTES_MS, silent)
  let seen = Buffer.alloc(0)
  const onData = (piece: Buffer): void => {
    seen = Buffer.concat([seen, piece])
    if (seen.length < PREFACE.length && PREFACE.subarray(0, seen.length).equals(seen)) return
    socket.off('data', onData)
    socket.pause()
    socket.setTimeout(0)
    socket.off('timeout', silent)
    socket.unshift(seen)
    if (seen.subarray(0, PREFACE.length).equals(PREFACE)) http2(socket)
    else http.emit('connection', socket)
    process.nextTick(() => { socket.resume() })
  }
  socket.on('data', onData)
}

const PREFACE = Buffer.from('PRI')
const FIRST_BYTES_MS = 10_000

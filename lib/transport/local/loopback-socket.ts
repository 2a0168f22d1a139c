import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import type { Clock } from '../../clock/clock.js'

/**
 * The server's end of a connection from this process. Written data is discarded, except for the status and the value of the header
 * `resultHeader`. It implements the parts of a `net.Socket` that apps use.
 */
export class LoopbackSocket extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  readonly remoteFamily = 'IPv4'
  readonly remotePort = 0
  readonly localAddress = '127.0.0.1'
  readonly localPort = 0
  readonly server: Server
  timeout = 0
  bytesWritten = 0
  /** Status in the written headers, because `statusCode` of the response can change later. 0 before. */
  status = 0
  result: string | undefined
  isAnswered = false
  readonly #clock: Clock
  readonly #resultHeader: string
  #request: IncomingMessage | undefined
  #response: ServerResponse | undefined
  #idleTimer: unknown

  constructor (server: Server, clock: Clock, resultHeader: string) {
    super(OPTIONS)
    this.server = server
    this.#clock = clock
    this.#resultHeader = resultHeader
    // Without a listener, a response that is destroyed with an error would crash the process.
    this.on('error', ignore)
  }

  begin (request: IncomingMessage, response: ServerResponse): void {
    this.#request = request
    this.#response = response
  }

  answered (): void {
    this.isAnswered = true
    this.#clearIdleTimer()
    // Every attempt has its own socket, and apps that clean up when a connection closes rely on this event.
    if (this.listenerCount('close') > 1) this.destroy()
  }

  address (): object {
    return { address: '127.0.0.1', family: 'IPv4', port: 0 }
  }

  /** Like a socket's: emits `timeout` after `ms` without traffic; 0 disables it. */
  setTimeout (ms: number, callback?: () => void): this {
    this.timeout = ms
    if (callback !== undefined && ms === 0) this.off('timeout', callback)
    else if (callback !== undefined) this.once('timeout', callback)
    this.#watchIdle()
    return this
  }

  setNoDelay (): this { return this }
  setKeepAlive (): this { return this }
  ref (): this { return this }
  unref (): this { return this }
  destroySoon (): void { this.destroy() }
  override resume (): this { return this }
  override pause (): this { return this }

  override _read (): void {}

  override _write (chunk: Buffer | string, encoding: BufferEncoding, done: () => void): void {
    if (this.#idleTimer !== undefined) this.#watchIdle()
    this.bytesWritten += chunk.length
    if (this.status === 0) this.#readHead(typeof chunk === 'string' ? chunk : chunk.toString('latin1'))
    done()
  }

  /** Closes like a real handle: on another turn of the event loop. */
  override _destroy (error: Error | null, done: (error: Error | null) => void): void {
    this.#clearIdleTimer()
    this.#clock.setImmediate(() => { done(error) })
  }

  #readHead (text: string): void {
    // Interim responses, such as early hints, come before the headers.
    if (text.startsWith('HTTP/1.1 1')) return
    this.status = Number(text.slice(9, 12))
    // The same chunk can contain the start of the body, which must not be parsed as a header.
    const head = text.slice(0, text.indexOf('\r\n\r\n') + 2)
    const at = head.indexOf(`\r\n${this.#resultHeader}: `)
    if (at !== -1) this.result = head.slice(at + this.#resultHeader.length + 4, head.indexOf('\r\n', at + 2))
  }

  #watchIdle (): void {
    this.#clearIdleTimer()
    if (this.timeout === 0 || this.isAnswered || this.destroyed) return
    this.#idleTimer = this.#clock.setTimeout(() => { this.#timedOut() }, this.timeout)
  }

  #clearIdleTimer (): void {
    if (this.#idleTimer === undefined) return
    this.#clock.clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
  }

  /** Like Node's HTTP server: an unhandled timeout closes the connection. */
  #timedOut (): void {
    this.#idleTimer = undefined
    const handled = [
      this.#request?.complete === false && this.#request.emit('timeout', this),
      this.#response?.emit('timeout', this),
      this.server.emit('timeout', this)
    ]
    if (!handled.includes(true)) this.destroy()
    this.emit('timeout')
  }
}

// A high-water mark that is never reached, because there is no reader to wait for.
const OPTIONS = { decodeStrings: false, writableHighWaterMark: Number.MAX_SAFE_INTEGER, autoDestroy: false }

function ignore (): void {}

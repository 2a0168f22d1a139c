import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'

/**
 * The connection that brought an attempt and waits for its answer. Nothing is sent on it while the handler runs, so the host's limit
 * for idle connections (`connectionTimeout`, `server.setTimeout`, `http2SessionTimeout`) would close it, and the work would be done
 * without ever being acknowledged. Limits for a request that is still being received, such as `requestTimeout`, stay as they are.
 */
export class AttemptConnection {
  readonly #idle: IdleLimited | undefined
  readonly #response: ServerResponse
  readonly #onClose = (): void => { this.#closed() }
  #hungUp = false
  #onHangUp = (): void => {}

  /** @param idleMs how long nothing may be sent from now on; the host's own limit counts where it is longer */
  constructor (request: IncomingMessage, response: ServerResponse, idleMs: number) {
    this.#idle = idleLimited(request)
    this.#response = response
    if (this.#idle !== undefined) extendLimit(this.#idle, idleMs)
    response.on('close', this.#onClose)
    if (isDestroyed(request, response)) this.#closed()
  }

  /** Calls `listener` once when the caller closes the connection before an answer has begun; at once if it has done so already. */
  onHangUp (listener: () => void): void {
    if (this.#hungUp) listener()
    else this.#onHangUp = listener
  }

  /**
   * Ends the watch and restores the limit that was there before. To be called before the answer is sent: after it, Node sets
   * `keepAliveTimeout` on the socket.
   */
  release (): void {
    this.#response.off('close', this.#onClose)
    if (this.#idle !== undefined) restoreLimit(this.#idle)
  }

  #closed (): void {
    // Where the host has answered in the handler's place, the caller did not hang up.
    if (this.#hungUp || this.#response.headersSent) return
    this.#hungUp = true
    this.#onHangUp()
  }
}

/** A socket of HTTP/1.1, or a session of HTTP/2. */
interface IdleLimited {
  /** Milliseconds without traffic after which it is closed. */
  readonly timeout: number
  setTimeout (ms: number): unknown
}

interface Extension {
  readonly before: number
  readonly limit: number
  readonly attempts: number
}

/** Several attempts may share a connection: streams of HTTP/2, pipelined requests. The last one restores the limit. */
const extensions = new WeakMap<IdleLimited, Extension>()

function extendLimit (connection: IdleLimited, ms: number): void {
  const { before, limit, attempts } = extensions.get(connection) ?? { before: connection.timeout, limit: 0, attempts: 0 }
  const extended = { before, limit: Math.max(before, limit, ms), attempts: attempts + 1 }
  extensions.set(connection, extended)
  connection.setTimeout(extended.limit)
}

function restoreLimit (connection: IdleLimited): void {
  const extension = extensions.get(connection)
  if (extension === undefined) return
  if (extension.attempts > 1) {
    extensions.set(connection, { ...extension, attempts: extension.attempts - 1 })
    return
  }
  extensions.delete(connection)
  // A limit that the host has set meanwhile is the host's.
  if (connection.timeout === extension.limit) connection.setTimeout(extension.before)
}

/** Undefined without a limit, as on the connections of `app.inject`. */
function idleLimited (request: IncomingMessage | Http2ServerRequest): IdleLimited | undefined {
  const connection = ('stream' in request ? request.stream.session : request.socket) as Partial<IdleLimited> | undefined
  return connection?.timeout !== undefined && connection.timeout > 0 ? connection as IdleLimited : undefined
}

function isDestroyed (request: IncomingMessage | Http2ServerRequest, response: ServerResponse): boolean {
  return 'stream' in request ? request.stream.destroyed : response.destroyed
}

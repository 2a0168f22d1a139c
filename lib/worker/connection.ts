import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'

/**
 * The connection of an attempt. It is idle while the handler runs, so the server's idle timeout (`connectionTimeout`,
 * `server.setTimeout`, `http2SessionTimeout`) would close it, and the result could not be acknowledged. Timeouts for receiving a
 * request, such as `requestTimeout`, are not changed.
 */
export class AttemptConnection {
  readonly #idle: IdleLimited | undefined
  readonly #response: ServerResponse
  readonly #onClose = (): void => { this.#closed() }
  #hungUp = false
  #onHangUp = (): void => {}

  /** @param idleMs the minimum idle timeout; the server's own applies where it is longer */
  constructor (request: IncomingMessage, response: ServerResponse, idleMs: number) {
    this.#idle = idleLimited(request)
    this.#response = response
    if (this.#idle !== undefined) extendLimit(this.#idle, idleMs)
    response.on('close', this.#onClose)
    if (isDestroyed(request, response)) this.#closed()
  }

  /** Calls `listener` once when the client closes the connection before the response; at once if it already has. */
  onHangUp (listener: () => void): void {
    if (this.#hungUp) listener()
    else this.#onHangUp = listener
  }

  /**
   * Stops watching and restores the previous timeout. Call it before the response is sent: afterwards Node sets `keepAliveTimeout` on the
   * socket.
   */
  release (): void {
    this.#response.off('close', this.#onClose)
    if (this.#idle !== undefined) restoreLimit(this.#idle)
  }

  #closed (): void {
    // If the app has already responded instead of the handler, the client did not hang up.
    if (this.#hungUp || this.#response.headersSent) return
    this.#hungUp = true
    this.#onHangUp()
  }
}

/** A socket of HTTP/1.1, or a session of HTTP/2. */
interface IdleLimited {
  /** Idle timeout in milliseconds. */
  readonly timeout: number
  setTimeout (ms: number): unknown
}

interface Extension {
  readonly before: number
  readonly limit: number
  readonly attempts: number
}

/** Attempts can share a connection: HTTP/2 streams, pipelined requests. The last one restores the timeout. */
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
  // A timeout that the app has set meanwhile is not overwritten.
  if (connection.timeout === extension.limit) connection.setTimeout(extension.before)
}

/** Undefined without a timeout, as with `app.inject`. */
function idleLimited (request: IncomingMessage | Http2ServerRequest): IdleLimited | undefined {
  const connection = ('stream' in request ? request.stream.session : request.socket) as Partial<IdleLimited> | undefined
  return connection?.timeout !== undefined && connection.timeout > 0 ? connection as IdleLimited : undefined
}

function isDestroyed (request: IncomingMessage | Http2ServerRequest, response: ServerResponse): boolean {
  return 'stream' in request ? request.stream.destroyed : response.destroyed
}

import type { Socket } from 'node:net'
import { buildConnector } from 'undici'

/**
 * undici's connector for targets that send an unsolicited `100 Continue` before the response, which RFC 9110 allows. undici ends the
 * connection there but ignores all other interim responses, so the status is rewritten to `102 Processing`.
 */
export function continuingConnector (options: buildConnector.BuildOptions): buildConnector.connector {
  const connect = buildConnector(options)
  return (target, callback) => {
    connect(target, (...[error, socket]) => {
      if (error !== null) callback(error, null)
      else callback(null, withoutContinue(socket))
    })
  }
}

/** undici writes the whole request before it reads the response, so a write means that a new response begins. */
function withoutContinue (socket: Socket): Socket {
  const filter = new ContinueFilter()
  const read = socket.read.bind(socket)
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  socket.read = (size?: number) => {
    const chunk = read(size) as Buffer | null
    return chunk === null ? null : filter.filter(chunk)
  }
  socket.write = (...args: unknown[]) => {
    filter.begin()
    return write(...args)
  }
  return socket
}

/** Rewrites the status of interim responses. Everything from the final status line on passes through unchanged. */
export class ContinueFilter {
  #expectsStatus = false
  /** The beginning of a status line, or of an interim response's headers, until the rest arrives. */
  #held = EMPTY

  /** Call before each response. */
  begin (): void {
    this.#expectsStatus = true
    this.#held = EMPTY
  }

  /** Returns null while there is nothing to pass on. */
  filter (chunk: Buffer): Buffer | null {
    if (!this.#expectsStatus) return chunk
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const passed = this.#passInterim(bytes)
    this.#held = bytes.subarray(passed)
    return passed === 0 ? null : bytes.subarray(0, passed)
  }

  /** Number of bytes that can be passed on: all from the final status line on, and all that are not HTTP/1. */
  #passInterim (bytes: Buffer): number {
    for (let at = 0; at < bytes.length;) {
      const line = bytes.toString('latin1', at, at + STATUS_LINE.length)
      if (!isStatusLine(line)) break
      if (line.length < STATUS_LINE.length) return at
      if (line.endsWith('100')) bytes.write('102', at + STATUS_LINE.length - 3, 'latin1')
      const end = bytes.indexOf('\r\n\r\n', at, 'latin1')
      if (end === -1) return bytes.length - at > MAX_HELD_BYTES ? bytes.length : at
      at = end + 4
      if (at === bytes.length) return at
    }
    this.#expectsStatus = false
    return bytes.length
  }
}

/** Whether `line` is the status line of an interim response, or the beginning of one. */
function isStatusLine (line: string): boolean {
  return [...line].every((character, index) => STATUS_LINE[index] === character || (STATUS_LINE[index] === '?' && /\d/.test(character)))
}

const STATUS_LINE = 'HTTP/1.? 1??'
const EMPTY: Buffer = Buffer.alloc(0)

/** Longer headers are passed on to undici, which rejects them. */
const MAX_HELD_BYTES = 64 * 1024

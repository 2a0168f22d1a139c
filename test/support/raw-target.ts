import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'
import { dispatchHeaders } from '../../lib/cloud-tasks/headers.js'
import type { AppEngineHttpRequest, HttpRequest } from '../../lib/cloud-tasks/task.js'
import { HttpDispatcher, type HttpDispatcherOptions } from '../../lib/emulator/dispatch/dispatcher.js'
import { TokenIssuer } from '../../lib/emulator/tokens/token-issuer.js'
import { SigningKey } from '../../lib/emulator/tokens/signing-key.js'
import { Unreachable } from '../../lib/emulator/dispatch/unreachable.js'
import type { Attempt } from '../../lib/engine/engine.js'
import { systemClock } from '../../lib/clock/clock.js'

export async function refuses (t: Test, answer: Promise<unknown>, kind: string | RegExp, what = String(kind)): Promise<void> {
  const error = await answer.then(() => undefined, (error: unknown) => error)
  t.ok(error instanceof Unreachable, what)
  t.match((error as Unreachable).kind, kind)
  t.notMatch((error as Unreachable).message, /[\p{Cc}\p{Cf}]/u, 'a terminal only shows it')
}

export function createDispatcher (t: Test, options: Partial<HttpDispatcherOptions> = {}): HttpDispatcher {
  const { clock = systemClock } = options
  const tokens = new TokenIssuer({ clock, key: new SigningKey(), issuer: () => 'http://127.0.0.1:8123' })
  const dispatcher = new HttpDispatcher({ clock, tokens, appEngine: { url: undefined, host: 'service' }, ...options })
  t.teardown(async () => { await dispatcher.close() })
  return dispatcher
}

export function httpAttempt (httpRequest: HttpRequest, { deadlineMs = 600_000 } = {}): Attempt {
  return attempt({ httpRequest }, deadlineMs)
}

export function attempt (
  request: { httpRequest: HttpRequest } | { appEngineHttpRequest: AppEngineHttpRequest },
  deadlineMs: number
): Attempt {
  const task = {
    name: `${QUEUE}/tasks/t`,
    ...request,
    scheduleAt: 1721236265266.817,
    createdAt: 0,
    dispatchCount: 1,
    responseCount: 0,
    executionCount: 0
  }
  return { task, queue: 'q', headers: dispatchHeaders(task), deadlineMs, deadlineAt: deadlineMs }
}

export interface RawRequest {
  readonly line: string
  readonly headers: Record<string, string>
  readonly body: string
}

export interface RawTarget {
  readonly url: string
  /** What came, as it came. */
  readonly requests: string[]
  readonly connections: ReadonlySet<Socket>
  /** Resolves when no connection is left. */
  idle (): Promise<void>
  close (): Promise<void>
}

/** A target below HTTP. `answer` returns what to send, or does something to the socket. */
export async function rawTarget (
  t: Test,
  answer: (request: RawRequest, socket: Socket) => string | Buffer | undefined | void
): Promise<RawTarget> {
  const requests: string[] = []
  const connections = new Set<Socket>()
  const server = await listen(
    createServer(socket => {
      connections.add(socket)
      socket
        .on('close', () => {
          connections.delete(socket)
        })
        .on('error', () => {})
      let received = ''
      socket.on('data', chunk => {
        if (chunk[0] === TLS_HANDSHAKE) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
        received += chunk.toString('latin1')
        if (!isWhole(received)) return
        requests.push(received)
        received = ''
        const text = answer(parsed(requests.at(-1)!), socket)
        if (text !== undefined) socket.write(text)
      })
    })
  )
  const close = async (): Promise<void> => {
    for (const socket of connections) socket.destroy()
    await new Promise(resolve => {
      server.close(resolve)
    })
  }
  t.teardown(close)
  return {
    url: urlOf(server),
    requests,
    connections,
    close,
    idle: async () => {
      while (connections.size > 0) {
        await new Promise(resolve => {
          setImmediate(resolve)
        })
      }
    }
  }
}

export function isWhole (request: string): boolean {
  if (!request.includes('\r\n\r\n')) return false
  const { headers, body } = parsed(request)
  return body.length >= Number(headers['content-length'] ?? 0)
}

export function parsed (request: string): RawRequest {
  const end = request.indexOf('\r\n\r\n')
  const [line = '', ...fields] = request.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(
    fields.map(field => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 2)])
  )
  return { line, headers, body: request.slice(end + 4) }
}

export async function listen<S extends Server> (server: S): Promise<S> {
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return server
}

export function urlOf (server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export const QUEUE = 'projects/p/locations/l/queues/q'
export const TLS_HANDSHAKE = 0x16
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'

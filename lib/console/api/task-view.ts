import { isUtf8 } from 'node:buffer'
import { dispatchHeaders } from '../../cloud-tasks/headers.js'
import { grpcCodes } from '../../cloud-tasks/status.js'
import { queueNameOf, shortId } from '../../cloud-tasks/names.js'
import type { Task } from '../../cloud-tasks/task.js'
import { TRACE_PARENT_HEADER } from '../../delivery/headers.js'
import type { AttemptStatus, Payload, TraceInfo } from './api.js'

/** A task as observed by the console. The request of an attempt does not contain the task's creation time. */
export type SeenTask = Omit<Task, 'createdAt'> & { readonly createdAt?: number }

/** The URL of an HTTP target, or the path of an App Engine target. */
export function urlOf (task: SeenTask): string {
  return task.httpRequest?.url ?? task.appEngineHttpRequest?.relativeUri ?? '/'
}

export function methodOf (task: SeenTask): string {
  return (task.httpRequest ?? task.appEngineHttpRequest)?.httpMethod ?? 'POST'
}

export function bodyOf (task: SeenTask): Uint8Array | undefined {
  return (task.httpRequest ?? task.appEngineHttpRequest)?.body
}

/** The headers of the created task. */
export function headersOf (task: SeenTask): Readonly<Record<string, string>> {
  return (task.httpRequest ?? task.appEngineHttpRequest)?.headers ?? {}
}

/** The trace that a task was enqueued in, if its headers name one. */
export function traceOf (headers: Readonly<Record<string, string>>): TraceInfo | undefined {
  const id = /^00-([0-9a-f]{32})-[0-9a-f]{16}-0[01]$/.exec(headers[TRACE_PARENT_HEADER] ?? '')?.[1]
  return id === undefined || !isTraceId(id) ? undefined : { id }
}

export function isTraceId (id: string): boolean {
  return /^(?!0+$)[0-9a-f]{32}$/.test(id)
}

/** The headers of an attempt, without secrets. @param task its state after dispatch */
export function attemptHeaders (task: SeenTask): Record<string, string> {
  return shownHeaders(dispatchHeaders({ createdAt: 0, ...task }))
}

/** The result of the last attempt, if the task contains it. */
export function lastResultOf (task: SeenTask): AttemptStatus | undefined {
  if (task.previousResponse === undefined) return undefined
  if (task.previousResponse !== 0) return task.previousResponse
  return task.lastAttempt?.responseStatus?.code === grpcCodes.DEADLINE_EXCEEDED ? 'deadline' : 'unreachable'
}

/** The beginning of a body, and its kind. `whole` is the total length where `body` is truncated. */
export function payloadOf (
  body: Uint8Array | undefined,
  headers: Readonly<Record<string, string>> = {},
  whole: number = body?.length ?? 0
): Payload {
  if (body === undefined || whole === 0) return { text: '', kind: 'none', bytes: 0, cut: false }
  const head = body.subarray(0, SHOWN_BYTES)
  const cut = head.length < whole
  const characters = cut ? wholeCharacters(head) : head
  if (!isUtf8(characters)) return { text: Buffer.from(head).toString('base64'), kind: 'binary', bytes: whole, cut }
  const text = Buffer.from(characters).toString()
  const type = Object.entries(headers).find(([key]) => key.toLowerCase() === 'content-type')?.[1]
  return { text, kind: type !== undefined && /\bjson\b/i.test(type) ? 'json' : 'text', bytes: whole, cut }
}

export { queueNameOf, shortId }

/** Hides the values of headers that can contain credentials. */
export function shownHeaders (headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, SECRET.test(key) ? '[hidden]' : value]))
}

const SECRET = /authorization|cookie|secret|token|password|api-?key|credential|signature|session/i

/** Removes a truncated UTF-8 character at the end. */
function wholeCharacters (bytes: Uint8Array): Uint8Array {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? bytes.subarray(0, bytes.length - back) : bytes
  }
  return bytes
}

const SHOWN_BYTES = 16 * 1024

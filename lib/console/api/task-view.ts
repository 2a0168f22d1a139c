import { isUtf8 } from 'node:buffer'
import { dispatchHeaders } from '../../cloud-tasks/headers.js'
import { grpcCodes } from '../../cloud-tasks/status.js'
import { queueNameOf, shortId } from '../../cloud-tasks/names.js'
import type { Task } from '../../cloud-tasks/task.js'
import type { AttemptResult, Payload } from './api.js'

/** URL of an HTTP target, or what stands in its place on App Engine. */
export function urlOf (task: Task): string {
  return task.httpRequest?.url ?? task.appEngineHttpRequest?.relativeUri ?? '/'
}

export function methodOf (task: Task): string {
  return (task.httpRequest ?? task.appEngineHttpRequest)?.httpMethod ?? 'POST'
}

export function bodyOf (task: Task): Uint8Array | undefined {
  return (task.httpRequest ?? task.appEngineHttpRequest)?.body
}

/** The task's own headers, fit to be shown. */
export function ownHeaders (task: Task): Record<string, string> {
  return shown((task.httpRequest ?? task.appEngineHttpRequest)?.headers ?? {})
}

/** What an attempt of a task was sent with, fit to be shown. */
export function attemptHeaders (task: Task, then: Pick<Task, 'dispatchCount' | 'executionCount' | 'scheduleAt' | 'previousResponse'>): Record<string, string> {
  return shown(dispatchHeaders({ ...task, ...then }))
}

/** What the last attempt came to, as far as the task itself tells. */
export function lastResultOf (task: Task): AttemptResult | undefined {
  if (task.previousResponse === undefined) return undefined
  if (task.previousResponse !== 0) return task.previousResponse
  return task.lastAttempt?.responseStatus?.code === grpcCodes.DEADLINE_EXCEEDED ? 'deadline' : 'unreachable'
}

/** The beginning of a body, and what it is. `whole` is its length where `body` is only the beginning. */
export function payloadOf (body: Uint8Array | undefined, headers: Readonly<Record<string, string>> = {}, whole: number = body?.length ?? 0): Payload {
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

/** Headers that authorise: their names may be seen, their values may not. */
const SECRET = /authorization|cookie|secret|token|password|api-?key|credential|signature|session/i

function shown (headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, SECRET.test(key) ? '[hidden]' : value]))
}

/** Without the bytes of a character that was cut through. */
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

import { isQueueId, isTaskId, queueNameOf, shortId } from './names.js'
import type { Task } from './task.js'

export type TargetKind = 'http' | 'appEngine'

/** The attempt, as the headers of its request describe it. Never use them for authorization: any caller can set them. */
export interface AttemptHeaders {
  /** Short id. */
  readonly queue: string
  /** Short id of the task. */
  readonly id: string
  /** Number of previous attempts, including those without a response: 0 on the first. */
  readonly retryCount: number
  /** Number of previous responses: all on App Engine, all but 5xx for HTTP targets. */
  readonly executionCount: number
  readonly scheduledAt: number
  /** HTTP status of the previous attempt. After a timeout it is 504 for HTTP targets and 0 on App Engine. */
  readonly previousResponse?: number
  /** App Engine only. */
  readonly retryReason?: string
}

/** The largest attempt number that the headers can express. */
export const MAX_ATTEMPT = 1_000_000_000

/**
 * The headers of an attempt: the task's own, without those that the service ignores or replaces, and the service's.
 * `task` is the state after dispatch, so its `dispatchCount` includes this attempt. The sender of the request adds
 * Host, Content-Length and, for a task with a token, Authorization.
 */
export function dispatchHeaders (task: Task): Record<string, string> {
  const kind: TargetKind = task.httpRequest === undefined ? 'appEngine' : 'http'
  const print = PRINTED[kind]
  const headers = ownHeaders(task, kind)
  headers[print.queue] = shortId(queueNameOf(task.name))
  headers[print.id] = shortId(task.name)
  headers[print.retryCount] = String(task.dispatchCount - 1)
  headers[print.executionCount] = String(task.executionCount)
  headers[print.eta] = (task.scheduleAt / 1000).toFixed(6)
  const previous = task.previousResponse
  if (task.dispatchCount > 1 && previous !== undefined) {
    headers[print.previousResponse] = String(previous === 0 && kind === 'http' ? 504 : previous)
    headers[print.retryReason] = retryReason(kind, previous)
  }
  return headers
}

/**
 * The inverse of `dispatchHeaders`, from lower-case headers. Undefined when one of the five that every attempt has is missing or
 * malformed: such a request did not come from Cloud Tasks.
 */
export function readAttempt (
  headers: Readonly<Record<string, string | readonly string[] | undefined>>, kind: TargetKind
): AttemptHeaders | undefined {
  const parse = PARSED[kind]
  const queue = headers[parse.queue]
  const id = headers[parse.id]
  const retryCount = readCount(headers[parse.retryCount])
  const executionCount = readCount(headers[parse.executionCount])
  const eta = headers[parse.eta]
  if (typeof queue !== 'string' || !isQueueId(queue) || typeof id !== 'string' || !isTaskId(id)) return undefined
  if (retryCount === undefined || executionCount === undefined) return undefined
  if (typeof eta !== 'string' || !/^\d{1,12}(\.\d{1,9})?$/.test(eta)) return undefined

  const previousResponse = readCount(headers[parse.previousResponse])
  const reason = headers[parse.retryReason]
  return {
    queue,
    id,
    retryCount,
    executionCount,
    scheduledAt: Math.round(Number(eta) * 1e6) / 1000,
    ...(previousResponse === undefined ? undefined : { previousResponse }),
    // HTTP targets get the header, always empty.
    ...(typeof reason !== 'string' || reason === '' ? undefined : { retryReason: reason })
  }
}

function ownHeaders (task: Task, kind: TargetKind): Record<string, string> {
  const given = (task.httpRequest ?? task.appEngineHttpRequest)?.headers ?? {}
  const replacesAuthorization = task.httpRequest?.oidcToken !== undefined || task.httpRequest?.oauthToken !== undefined
  const headers: Record<string, string> = {}
  for (const key of Object.keys(given)) {
    if (!RESERVED[kind].test(key) && !(replacesAuthorization && /^authorization$/i.test(key))) headers[key] = given[key]!
  }
  return headers
}

function retryReason (kind: TargetKind, previous: number): string {
  if (kind === 'http') return ''
  return previous === 0 ? 'Instance Unavailable' : 'App Error'
}

function readCount (value: string | readonly string[] | undefined): number | undefined {
  return typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : undefined
}

/** Header names, concatenated once instead of per attempt. */
function names (prefix: string) {
  return {
    queue: `${prefix}QueueName`,
    id: `${prefix}TaskName`,
    retryCount: `${prefix}TaskRetryCount`,
    executionCount: `${prefix}TaskExecutionCount`,
    eta: `${prefix}TaskETA`,
    previousResponse: `${prefix}TaskPreviousResponse`,
    retryReason: `${prefix}TaskRetryReason`
  }
}

function lowerCase (printed: ReturnType<typeof names>): ReturnType<typeof names> {
  return Object.fromEntries(Object.entries(printed).map(([key, name]) => [key, name.toLowerCase()])) as ReturnType<typeof names>
}

const PRINTED = { http: names('X-CloudTasks-'), appEngine: names('X-AppEngine-') }
const PARSED = { http: lowerCase(PRINTED.http), appEngine: lowerCase(PRINTED.appEngine) }

const RESERVED = {
  http: /^(?:host|content-length|x-google-.*|x-appengine-.*|x-cloudtasks-.*)$/i,
  appEngine: /^(?:host|content-length|x-google-.*|x-appengine-.*)$/i
}

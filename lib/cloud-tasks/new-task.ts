import { DEFAULT_DISPATCH_DEADLINE_MS, MAX_SCHEDULE_AHEAD_MS, checkRetryConfig, completeRetryConfig } from './limits.js'
import { generateTaskId, isTaskId, parseTaskName, printQueueName } from './names.js'
import { statusErrors } from './status.js'
import type { AppEngineHttpRequest, HttpMethod, HttpRequest, NewTask, Task } from './task.js'

/**
 * Throws INVALID_ARGUMENT for tasks that CreateTask rejects, except for their size or for the state of the queue. Production also
 * rejects tokens on `http://` URLs, which are allowed here because local targets have no TLS.
 */
export function checkNewTask (queueName: string, task: NewTask, now: number): void {
  if (task.name !== undefined) checkName(queueName, task.name)
  const { httpRequest, appEngineHttpRequest } = task
  if ((httpRequest === undefined) === (appEngineHttpRequest === undefined)) throw statusErrors.noPayloadType()
  if (httpRequest !== undefined) checkHttp(httpRequest, task.dispatchDeadlineMs)
  if (appEngineHttpRequest !== undefined) checkAppEngine(appEngineHttpRequest, task.dispatchDeadlineMs)

  if (task.retryConfig !== undefined) checkRetryConfig(task.retryConfig)
  const { scheduleAt } = task
  if (scheduleAt === undefined) return
  if (!Number.isFinite(scheduleAt)) throw statusErrors.notANumber('Task.scheduleTime')
  if (scheduleAt > now + MAX_SCHEDULE_AHEAD_MS) throw statusErrors.scheduleTooFar(pacificTime(scheduleAt))
}

/** A valid new task as the service stores it: name, times, method, headers and deadline filled in. */
export function withStoredDefaults (queueName: string, task: NewTask, now: number): Task {
  // Hot path: properties are assigned in a fixed order so that all tasks of a kind have the same hidden class.
  const stored: Writable<Task> = {
    name: task.name ?? `${queueName}/tasks/${generateTaskId()}`,
    // Microseconds for the schedule, whole seconds for the creation: the service's precision.
    scheduleAt: task.scheduleAt === undefined ? now : Math.max(Math.round(task.scheduleAt * 1000) / 1000, now),
    createdAt: Math.floor(now / 1000) * 1000,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0
  }
  if (task.httpRequest !== undefined) {
    stored.httpRequest = storedHttp(task.httpRequest)
    stored.dispatchDeadlineMs = Math.floor(task.dispatchDeadlineMs ?? DEFAULT_DISPATCH_DEADLINE_MS)
  } else {
    // For App Engine no default is stored, because it depends on the service's scaling.
    stored.appEngineHttpRequest = storedAppEngine(task.appEngineHttpRequest!)
    if (task.dispatchDeadlineMs !== undefined) stored.dispatchDeadlineMs = Math.floor(task.dispatchDeadlineMs)
  }
  if (task.retryConfig !== undefined) stored.retryConfig = completeRetryConfig(task.retryConfig)
  if (task.name === undefined) stored.generatedId = true
  return stored
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

function checkName (queueName: string, name: string): void {
  const prefix = `${queueName}/tasks/`
  if (name.startsWith(prefix) && isTaskId(name.slice(prefix.length))) return
  const parsed = parseTaskName(name)
  if (parsed === undefined) throw statusErrors.taskName()
  const named = printQueueName(parsed)
  if (named !== queueName) throw statusErrors.taskInOtherQueue(queueName, named)
  throw statusErrors.taskId(parsed.task)
}

function checkHttp (request: HttpRequest, deadlineMs: number | undefined): void {
  if (request.url === '') throw statusErrors.urlRequired()
  if (!/^https?:\/\//i.test(request.url)) throw statusErrors.urlScheme()
  if (encodedLength(request.url) > MAX_URL_LENGTH) throw statusErrors.urlTooLong('HttpRequest.url')
  checkBody('HttpRequest', request, ['POST', 'PUT', 'PATCH'])
  if (headerBytes(request.headers) >= 80 * 1024) throw statusErrors.headersTooLarge()
  if (deadlineMs !== undefined && !(deadlineMs >= 15_000 && deadlineMs <= 1_800_000)) throw statusErrors.deadlineHttp()
}

function checkAppEngine (request: AppEngineHttpRequest, deadlineMs: number | undefined): void {
  const uri = request.relativeUri
  if (uri !== undefined && uri !== '') {
    if (!uri.startsWith('/') || uri.includes(' ')) throw statusErrors.relativeUri()
    if (uri.length > MAX_URL_LENGTH) throw statusErrors.urlTooLong('AppEngineHttpRequest.relativeUri')
  }
  checkBody('AppEngineHttpRequest', request, ['POST', 'PUT'])
  if (deadlineMs !== undefined && !(deadlineMs >= 15_000 && deadlineMs <= 86_415_000)) throw statusErrors.deadlineAppEngine()
}

function checkBody (field: string, request: HttpRequest | AppEngineHttpRequest, methods: readonly HttpMethod[]): void {
  if (request.body === undefined || request.body.length === 0) return
  if (!methods.includes(request.httpMethod ?? 'POST')) throw statusErrors.bodyNotAllowed(field, methods.join(', '))
}

function storedHttp (request: HttpRequest): HttpRequest {
  const headers = withoutHeaders(request.headers, HTTP_REPLACED)
  headers['User-Agent'] = 'Google-Cloud-Tasks'
  const stored: Writable<HttpRequest> = { url: request.url, httpMethod: request.httpMethod ?? 'POST', headers }
  if (request.body !== undefined) stored.body = request.body
  if (request.oidcToken !== undefined) stored.oidcToken = request.oidcToken
  if (request.oauthToken !== undefined) stored.oauthToken = request.oauthToken
  return stored
}

function storedAppEngine (request: AppEngineHttpRequest): AppEngineHttpRequest {
  const hasBody = request.body !== undefined && request.body.length > 0
  const headers = withoutHeaders(request.headers, APP_ENGINE_REPLACED)
  const given = headerValue(request.headers, 'user-agent')
  headers['User-Agent'] = given === undefined ? APP_ENGINE_AGENT : `${given} ${APP_ENGINE_AGENT}`
  if (hasBody) {
    if (headerValue(headers, 'content-type') === undefined) headers['Content-Type'] = 'application/octet-stream'
    headers['Content-Length'] = String(request.body!.length)
  }
  return { ...request, httpMethod: request.httpMethod ?? 'POST', relativeUri: request.relativeUri || '/', headers }
}

function withoutHeaders (headers: Readonly<Record<string, string>> | undefined, replaced: RegExp): Record<string, string> {
  const kept: Record<string, string> = {}
  if (headers === undefined) return kept
  for (const key of Object.keys(headers)) {
    if (!replaced.test(key)) kept[key] = headers[key]!
  }
  return kept
}

function headerValue (headers: Readonly<Record<string, string>> = {}, name: string): string | undefined {
  const key = Object.keys(headers).find(key => key.toLowerCase() === name)
  return key === undefined ? undefined : headers[key]
}

function headerBytes (headers: Readonly<Record<string, string>> = {}): number {
  let bytes = 0
  for (const key of Object.keys(headers)) bytes += Buffer.byteLength(key) + Buffer.byteLength(headers[key]!)
  return bytes
}

/** Length after percent-encoding. */
function encodedLength (url: string): number {
  if (!/[^\x21-\x7e]/.test(url)) return url.length
  const plain = url.replace(/[^\x21-\x7e]/g, '').length
  return plain + 3 * (Buffer.byteLength(url) - plain)
}

/** The time as production prints it in this message: RFC 3339 with the offset of Los Angeles. */
function pacificTime (at: number): string {
  const parts = new Intl.DateTimeFormat('en-US', { timeZone: 'America/Los_Angeles', timeZoneName: 'longOffset' })
    .formatToParts(at)
  const offset = parts.find(part => part.type === 'timeZoneName')!.value.slice('GMT'.length)
  const hours = Number(offset.split(':')[0])
  const local = new Date(at + hours * 3_600_000)
  return local.toISOString().slice(0, 'yyyy-mm-ddThh:mm:ss'.length) + offset
}

const MAX_URL_LENGTH = 2083
const APP_ENGINE_AGENT = 'AppEngine-Google; (+http://code.google.com/appengine)'

const HTTP_REPLACED = /^user-agent$/i
const APP_ENGINE_REPLACED = /^(?:user-agent|content-length)$/i

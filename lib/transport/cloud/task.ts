import type { protos } from '@google-cloud/tasks'
import type { AppEngineHttpRequest, HttpMethod, HttpRequest, NewTask } from '../../cloud-tasks/task.js'
import type { StoredTask } from '../transport.js'

type CloudTask = protos.google.cloud.tasks.v2.ITask

/** Converts a task to the official client's form. */
export function printTask ({ name, httpRequest, appEngineHttpRequest, scheduleAt, dispatchDeadlineMs }: NewTask): CloudTask {
  const task: CloudTask = {}
  if (name !== undefined) task.name = name
  if (httpRequest !== undefined) task.httpRequest = httpRequest
  if (appEngineHttpRequest !== undefined) task.appEngineHttpRequest = appEngineHttpRequest
  if (scheduleAt !== undefined) task.scheduleTime = printMs(scheduleAt)
  if (dispatchDeadlineMs !== undefined) task.dispatchDeadline = printMs(dispatchDeadlineMs)
  return task
}

/** Converts a task in FULL view from the official client's form to one that CreateTask accepts. */
export function parseTask ({ httpRequest, appEngineHttpRequest, dispatchDeadline, createTime }: CloudTask): StoredTask {
  return {
    createdAt: createTime ? parseTime(createTime) : 0,
    ...(httpRequest ? { httpRequest: parseHttp(httpRequest) } : undefined),
    ...(appEngineHttpRequest ? { appEngineHttpRequest: parseAppEngine(appEngineHttpRequest) } : undefined),
    ...(dispatchDeadline ? { dispatchDeadlineMs: parseTime(dispatchDeadline) } : undefined)
  }
}

function parseHttp (request: protos.google.cloud.tasks.v2.IHttpRequest): HttpRequest {
  const { url, oidcToken: oidc, oauthToken: oauth } = request
  return {
    url: url ?? '',
    ...parseContent(request),
    ...(oidc ? { oidcToken: { serviceAccountEmail: oidc.serviceAccountEmail ?? '', audience: oidc.audience ?? '' } } : undefined),
    ...(oauth ? { oauthToken: { serviceAccountEmail: oauth.serviceAccountEmail ?? '', scope: oauth.scope ?? '' } } : undefined)
  }
}

function parseAppEngine (request: protos.google.cloud.tasks.v2.IAppEngineHttpRequest): AppEngineHttpRequest {
  const { service, version, instance } = request.appEngineRouting ?? {}
  return {
    relativeUri: request.relativeUri ?? '/',
    ...parseContent(request),
    appEngineRouting: { service: service ?? '', version: version ?? '', instance: instance ?? '' }
  }
}

function parseContent ({ httpMethod, headers, body }: protos.google.cloud.tasks.v2.IHttpRequest) {
  return {
    httpMethod: (typeof httpMethod === 'number' ? METHODS[httpMethod] : httpMethod) as HttpMethod,
    headers: { ...headers },
    ...(body === undefined || body === null || body.length === 0
      ? undefined
      : { body: typeof body === 'string' ? Buffer.from(body, 'base64') : Buffer.from(body) })
  }
}

/** Indexed by google.cloud.tasks.v2.HttpMethod; unspecified means POST. */
const METHODS = ['POST', 'POST', 'GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']

/** Epoch milliseconds of a google.protobuf.Timestamp. */
export function parseTime ({ seconds, nanos }: protos.google.protobuf.ITimestamp): number {
  return Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1_000_000
}

/** A google.protobuf.Timestamp or Duration. */
function printMs (ms: number): { seconds: number, nanos: number } {
  const seconds = Math.floor(ms / 1000)
  return { seconds, nanos: Math.min(Math.round((ms - seconds * 1000) * 1_000_000), 999_999_999) }
}

import type { FastifyRequest } from 'fastify'
import type { TaskContent } from '../transport/transport.js'
import { LIFE_HEADER, ORIGIN_HEADER, SECRET_HEADER } from '../delivery/headers.js'

/** The content of a stored task as CreateTask accepts it: without additions by the service. */
export function contentOf ({ httpRequest, appEngineHttpRequest, dispatchDeadlineMs, retryConfig }: TaskContent): TaskContent {
  const content: Writable<TaskContent> = {}
  if (httpRequest !== undefined) content.httpRequest = { ...httpRequest, headers: withoutAdded(httpRequest.headers) }
  if (appEngineHttpRequest !== undefined) {
    const { appEngineRouting, ...request } = appEngineHttpRequest
    const { host, ...routing } = appEngineRouting ?? {}
    content.appEngineHttpRequest = {
      ...request,
      headers: withoutAdded(request.headers),
      ...(Object.values(routing).some(part => part !== undefined && part !== '') ? { appEngineRouting: routing } : undefined)
    }
  }
  if (dispatchDeadlineMs !== undefined) content.dispatchDeadlineMs = dispatchDeadlineMs
  if (retryConfig !== undefined) content.retryConfig = retryConfig
  return content
}

/** The same content with additional headers. */
export function withHeaders (content: TaskContent, added: Readonly<Record<string, string>>): TaskContent {
  const { httpRequest, appEngineHttpRequest } = content
  if (httpRequest !== undefined) return { ...content, httpRequest: { ...httpRequest, headers: { ...httpRequest.headers, ...added } } }
  return { ...content, appEngineHttpRequest: { ...appEngineHttpRequest, headers: { ...appEngineHttpRequest?.headers, ...added } } }
}

/** The headers of a task, by lower-case names. */
export function headersOf ({ httpRequest, appEngineHttpRequest }: TaskContent): Record<string, string> {
  const headers = (httpRequest ?? appEngineHttpRequest)?.headers ?? {}
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]))
}

/** The headers of an attempt without those that proxies have added, and without credentials; for tasks that cannot be read. */
export function ownHeaders ({ headers }: FastifyRequest): Record<string, string> {
  const own: Record<string, string> = {}
  for (const [key, value] of Object.entries(headers)) {
    if (typeof value === 'string' && !ADDED.test(key) && /^[\t\x20-\x7e]*$/.test(value)) own[key] = value
  }
  return own
}

function withoutAdded (headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [key, value] of Object.entries(headers)) {
    const name = key.toLowerCase()
    if (name === 'content-length' || name === LIFE_HEADER || name === ORIGIN_HEADER) continue
    // App Engine appends the service's user agent to the task's own.
    const given = name === 'user-agent' ? value.replace(SERVICE_AGENT, '') : value
    if (name !== 'user-agent' || given !== '') kept[key] = given
  }
  return kept
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

const SERVICE_AGENT = / ?(?:Google-Cloud-Tasks|AppEngine-Google; \(\+http:\/\/code\.google\.com\/appengine\))$/

const ADDED = new RegExp(`^(?:${[
  // Credentials, and headers that proxies and platforms add.
  'authorization', 'proxy-.*', 'cookie', 'x-serverless-.*', 'x-goog-.*', 'forwarded', 'via', 'x-forwarded-.*', 'x-real-ip',
  'x-envoy-.*', 'x-request-id', 'traceparent', 'tracestate', 'baggage', 'x-cloud-trace-context', 'grpc-trace-bin', 'b3', 'x-b3-.*',
  'function-execution-id',
  // Headers that Cloud Tasks and HTTP set.
  'x-cloudtasks-.*', 'x-appengine-.*', 'x-google-.*', 'user-agent', 'host', 'content-length', 'transfer-encoding', 'connection',
  'keep-alive', 'upgrade', 'te', 'trailer', 'expect', 'accept-encoding',
  // Headers of the attempt, not of its task.
  SECRET_HEADER, LIFE_HEADER, ORIGIN_HEADER
].join('|')})$`)

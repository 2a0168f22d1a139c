import { parseTaskName } from '../../cloud-tasks/names.js'
import { appEngineHost } from '../../cloud-tasks/size.js'
import type { AppEngineHttpRequest, HttpRequest } from '../../cloud-tasks/task.js'
import type { Attempt } from '../../engine/engine.js'
import { Unreachable } from './unreachable.js'

/** An attempt as it is sent, without its token. */
export interface OutgoingRequest {
  /** Scheme, host and port. */
  readonly origin: string
  readonly path: string
  readonly method: string
  /** Names and values are valid: none can inject a header. */
  readonly headers: Record<string, string>
  readonly body: Uint8Array | undefined
}

/** The `Host` header of App Engine tasks: their service's, as in production, or that of the URL they are sent to. */
export type AppEngineHost = 'service' | 'url'

export interface AppEngineServer {
  readonly url: string | undefined
  readonly host: AppEngineHost
}

/**
 * Throws `Unreachable` where no request can be made: an invalid URL, an invalid header, or an App Engine task without `appEngineUrl`.
 */
export function outgoingRequest (attempt: Attempt, appEngine: AppEngineServer): OutgoingRequest {
  const { httpRequest, appEngineHttpRequest } = attempt.task
  if (httpRequest !== undefined) return request(urlOf(httpRequest.url), httpRequest, attempt.headers)
  if (appEngine.url === undefined) {
    throw new Unreachable(
      'appEngineUrl',
      'App Engine tasks need a URL to be sent to: start the emulator with --app-engine-url (appEngineUrl)'
    )
  }
  const { relativeUri = '/', appEngineRouting } = appEngineHttpRequest!
  // Concatenated, because '//host/path' would resolve to another host.
  const url = urlOf(appEngine.url.replace(/\/$/, '') + relativeUri)
  const host = appEngine.host === 'url' ? url.host : appEngineHost(appEngineRouting, parseTaskName(attempt.task.name)!.project)
  return request(url, appEngineHttpRequest!, { ...attempt.headers, Host: host })
}

function urlOf (text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Unreachable('url', `invalid URL: ${quoted(text.slice(0, 200))}`)
  }
  return url
}

function request (
  url: URL,
  { httpMethod = 'POST', body }: HttpRequest | AppEngineHttpRequest,
  given: Readonly<Record<string, string>>
): OutgoingRequest {
  const headers: Record<string, string> = {}
  let encodings = false
  for (const name of Object.keys(given)) {
    if (!TOKEN.test(name)) {
      throw new Unreachable('header', `invalid header name: ${quoted(name.slice(0, 100))}`)
    }
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower)) continue
    if (lower === 'accept-encoding') encodings = true
    headers[name] = headerValue(name, given[name]!)
  }
  if (!encodings) headers['accept-encoding'] = 'gzip'
  return { origin: url.origin, path: url.pathname + url.search, method: httpMethod, headers, body: body?.length === 0 ? undefined : body }
}

/** Non-ASCII text is sent as UTF-8: each character of the result is one byte on the wire. */
function headerValue (name: string, value: string): string {
  if (!VALUE.test(value)) {
    throw new Unreachable(
      'header',
      `invalid value of the header ${name}: it contains a line break or another control character`
    )
  }
  return ASCII.test(value) ? value : Buffer.from(value).toString('latin1')
}

/** As JSON, with terminal control characters escaped: C1 controls are commands, others change the text direction. */
function quoted (text: string): string {
  return JSON.stringify(text).replace(CONTROLS, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const CONTROLS = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/
// eslint-disable-next-line no-control-regex
const VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/
const ASCII = /^[\t\x20-\x7e]*$/

/** They describe the connection of the task's creator, not the emulator's. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection', 'expect', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'
])

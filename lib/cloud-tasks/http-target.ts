import { statusErrors } from './status.js'
import type { AppEngineHttpRequest, HttpRequest, QueueHttpTarget, QueueExtras, Task, UriOverride } from './task.js'

/** The task as it is dispatched: the queue can override URL, method, headers and token. The stored task does not change. */
export function withOverrides (task: Task, { httpTarget, appEngineRoutingOverride }: QueueExtras): Task {
  if (task.httpRequest !== undefined) {
    return httpTarget === undefined ? task : { ...task, httpRequest: withHttpTarget(task.httpRequest, httpTarget) }
  }
  if (appEngineRoutingOverride === undefined) return task
  const appEngineHttpRequest: AppEngineHttpRequest = { ...task.appEngineHttpRequest, appEngineRouting: appEngineRoutingOverride }
  return { ...task, appEngineHttpRequest }
}

/** The URL for a task that has none; undefined when the queue's HTTP target has no host. */
export function targetUrl ({ uriOverride }: QueueHttpTarget): string | undefined {
  return uriOverride?.host === undefined ? undefined : overriddenUrl('', uriOverride)
}

/** Throws INVALID_ARGUMENT. */
export function checkHttpTarget ({ uriOverride, oidcToken, oauthToken, headerOverrides = [] }: QueueHttpTarget): void {
  if (uriOverride !== undefined) checkUriOverride(uriOverride)
  if (headerOverrides.some(({ key }) => key === '')) throw statusErrors.required('HttpTarget.headerOverrides.header.key')
  if (oidcToken !== undefined) checkToken('HttpTarget.oidcToken', oidcToken.serviceAccountEmail, 'audience', oidcToken.audience)
  if (oauthToken !== undefined) checkToken('HttpTarget.oauthToken', oauthToken.serviceAccountEmail, 'scope', oauthToken.scope)
}

function withHttpTarget (request: HttpRequest, target: QueueHttpTarget): HttpRequest {
  const { oidcToken, oauthToken, body, ...kept } = request
  const httpMethod = target.httpMethod ?? request.httpMethod ?? 'POST'
  const tokens = target.oidcToken !== undefined || target.oauthToken !== undefined ? target : request
  return {
    ...kept,
    url: target.uriOverride === undefined ? request.url : overriddenUrl(request.url, target.uriOverride),
    httpMethod,
    headers: overriddenHeaders(request.headers, target.headerOverrides),
    // "If the http_method is GET, the body of the task will be ignored at execution time."
    ...(body === undefined || BODILESS.has(httpMethod) ? undefined : { body }),
    ...(tokens.oidcToken === undefined ? undefined : { oidcToken: tokens.oidcToken }),
    ...(tokens.oauthToken === undefined ? undefined : { oauthToken: tokens.oauthToken })
  }
}

/** ALWAYS replaces every part that is set in the override. IF_NOT_EXISTS only fills in parts that the task's URL lacks. */
function overriddenUrl (text: string, override: UriOverride): string {
  const given = URL.canParse(text) ? new URL(text) : undefined
  const url = given ?? new URL('https://localhost/')
  const replaces = (isThere: boolean): boolean => given === undefined || override.enforceMode !== 'IF_NOT_EXISTS' || !isThere
  if (override.scheme !== undefined && replaces(true)) url.protocol = override.scheme.toLowerCase()
  if (override.host !== undefined && replaces(true)) url.hostname = override.host
  if (override.port !== undefined && replaces(url.port !== '')) url.port = override.port === 0 ? '' : String(override.port)
  if (override.path !== undefined && replaces(url.pathname !== '/')) url.pathname = override.path
  if (override.queryParams !== undefined && replaces(url.search !== '')) url.search = override.queryParams
  return url.href
}

function overriddenHeaders (
  headers: HttpRequest['headers'] = {}, overrides: QueueHttpTarget['headerOverrides'] = []
): Record<string, string> {
  const replaced = new Set(overrides.map(({ key }) => key.toLowerCase()))
  return Object.fromEntries([
    ...Object.entries(headers).filter(([key]) => !replaced.has(key.toLowerCase())),
    ...overrides.filter(({ key }) => key.toLowerCase() !== 'user-agent').map(({ key, value }) => [key, value])
  ])
}

function checkUriOverride ({ host, port }: UriOverride): void {
  if (host === '') throw statusErrors.required('HttpTarget.uriOverride.host')
  if (host !== undefined && !isHost(host)) throw statusErrors.notAHost('HttpTarget.uriOverride.host')
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw statusErrors.outside('HttpTarget.uriOverride.port', '0 and 65535')
  }
}

function isHost (host: string): boolean {
  return /^[A-Za-z0-9._-]+$|^\[[0-9A-Fa-f:.]+\]$/.test(host) && URL.canParse(`http://${host}/`)
}

/** On a queue both parts are required, because the default would depend on each task's URL. */
function checkToken (field: string, email: string, other: string, value: string | undefined): void {
  if (email === '') throw statusErrors.required(`${field}.serviceAccountEmail`)
  if (value === undefined || value === '') throw statusErrors.required(`${field}.${other}`)
}

const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS'])

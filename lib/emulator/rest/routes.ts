import type { ServiceDefinition } from '@grpc/grpc-js'
import type { Protos } from '../proto/protos.js'
import { packageOf, type Version } from '../service/requests.js'
import type { Method } from '../proto/schema.js'

/** The meaning of an HTTP method and path. */
export interface Route extends Method {
  readonly version: Version
  /** The name in the protos: `CreateTask`. */
  readonly method: string
  /** The request field for the path's resource: names of fields, joined by dots. */
  readonly variable: string
  /** What the body contains: the request ('*'), one field of it, a payload of any kind ('raw'), or nothing. */
  readonly body: string | undefined
}

export interface FoundRoute extends Route {
  readonly resource: string
}

/** The paths of Google's REST interface: those annotated in the protos, and those of REST-only methods and of other services. */
export class Routes {
  readonly #routes = new Map<string, Route & { resourceLength: number }>()
  readonly #suffixes = new Set<string>()

  constructor ({ definitions, schemas }: Protos) {
    for (const version of ['v2', 'v2beta3'] as const) {
      const service = `${packageOf(version)}.CloudTasks`
      for (const [method, { options }] of Object.entries(
        definitions[service] as ServiceDefinition & Record<string, { options?: object }>
      )) {
        const http = (options as Readonly<Record<string, Readonly<Record<string, string>>>>)['(google.api.http)']
        if (http === undefined) continue
        const [httpMethod, template] = Object.entries(http).find(([key]) => key !== 'body')!
        this.#add(httpMethod.toUpperCase(), template, { version, method, body: http.body, ...schemas.method(`${service}.${method}`) })
      }
      for (const [httpMethod, path, method, request, response, body] of UNANNOTATED) {
        this.#add(httpMethod, `/${version}/${path}`, {
          version,
          method,
          body,
          request: schemas.message(fullName(version, request)),
          response: schemas.message(fullName(version, response))
        })
      }
    }
    for (const root of ['v1', 'v2', 'v2beta3']) {
      for (const [path, method] of [
        ['{name=projects/*}/locations', 'ListLocations'],
        ['{name=projects/*/locations/*}', 'GetLocation']
      ] as const) {
        this.#add('GET', `/${root}/${path}`, {
          version: 'v2',
          method,
          body: undefined,
          ...schemas.method(`google.cloud.location.Locations.${method}`)
        })
      }
    }
  }

  /** @param path without a query, as in the request line. Undefined when there is no such route. */
  find (httpMethod: string, path: string): FoundRoute | undefined {
    const segments = decoded(path)
    if (segments === undefined) return undefined
    const last = segments.at(-1)!
    const [ending = ''] = /:\w+$/.exec(last) ?? []
    const suffix = this.#suffixes.has(ending) ? ending : ''
    segments[segments.length - 1] = last.slice(0, last.length - suffix.length)
    const [version, ...rest] = segments
    const route = this.#routes.get(`${httpMethod} ${version} ${shapeOf(rest)}${suffix}`)
    return route === undefined ? undefined : { ...route, resource: rest.slice(0, route.resourceLength).join('/') }
  }

  #add (httpMethod: string, template: string, route: Omit<Route, 'variable'>): void {
    const match = TEMPLATE.exec(template)
    if (match === null) throw new Error(`The protos of @google-cloud/tasks have an unexpected path: ${template}`)
    const [, version, variable, resource, collection, suffix = ''] = match as unknown as [string, string, string, string, string?, string?]
    this.#suffixes.add(suffix)
    const segments = [...resource.split('/'), ...(collection === undefined ? [] : [collection])]
    const key = `${httpMethod} ${version} ${shapeOf(segments)}${suffix}`
    this.#routes.set(key, { ...route, variable, resourceLength: resource.split('/').length })
  }
}

/** Collections and ids alternate; the route does not depend on the ids. */
function shapeOf (segments: readonly string[]): string {
  return segments.map((segment, index) => index % 2 === 0 ? segment : '*').join('/')
}

/** Undefined for a malformed escape. */
function decoded (path: string): string[] | undefined {
  try {
    return path.slice(1).split('/').map(decodeURIComponent)
  } catch {
    return undefined
  }
}

/** A name without a package belongs to Cloud Tasks. */
function fullName (version: Version, name: string): string {
  return name.includes('.') ? name : `${packageOf(version)}.${name}`
}

const TEMPLATE = /^\/(\w+)\/\{([\w.]+)=([^}]+)\}(?:\/(\w+))?(:\w+)?$/

const QUEUE = 'projects/*/locations/*/queues/*'

/** HTTP method, path, method, request, response, body. */
const UNANNOTATED: ReadonlyArray<readonly [string, string, string, string, string, string?]> = [
  ['POST', `{queue=${QUEUE}}/tasks:buffer`, 'BufferTask', 'google.api.HttpBody', 'BufferTaskResponse', 'raw'],
  ['POST', `{name=${QUEUE}/tasks/*}:buffer`, 'BufferTask', 'google.api.HttpBody', 'BufferTaskResponse', 'raw'],
  [
    'GET',
    '{name=projects/*/locations/*/operations/*}',
    'GetOperation',
    'google.longrunning.GetOperationRequest',
    'google.longrunning.Operation'
  ]
]

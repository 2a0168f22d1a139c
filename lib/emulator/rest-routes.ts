import type { ServiceDefinition } from '@grpc/grpc-js'
import type { Protos } from './protos.js'
import { packageOf, type Version } from './requests.js'
import type { Message } from './schema.js'

/** What an HTTP method and path mean. */
export interface Route {
  readonly version: Version
  /** The service's method. */
  readonly verb: string
  readonly request: Message
  readonly response: Message
  /** Where the resource of the path goes in the request: names of fields, joined by dots. */
  readonly variable: string
  /** What the body is: the request, one field of it, or nothing. */
  readonly body: string | undefined
}

export interface FoundRoute extends Route {
  readonly resource: string
}

/** The paths of Google's REST interface, out of the annotations in the protos. */
export class Routes {
  readonly #routes = new Map<string, Route & { resourceLength: number }>()
  readonly #suffixes = new Set<string>()

  constructor (protos: Protos) {
    for (const version of ['v2', 'v2beta3'] as const) {
      const service = `${packageOf(version)}.CloudTasks`
      for (const [method, { options }] of Object.entries(protos.definitions[service] as ServiceDefinition & Record<string, { options?: object }>)) {
        const http = (options as Record<string, Readonly<Record<string, string>>>)['(google.api.http)']
        if (http === undefined) continue
        const verb = method[0]!.toLowerCase() + method.slice(1)
        const [httpMethod, template] = Object.entries(http).find(([key]) => key !== 'body')!
        this.#add(httpMethod.toUpperCase(), template, { version, verb, body: http.body, ...protos.schemas.method(`${service}.${method}`) })
      }
    }
  }

  /** @param path without a query, as it stands in the request line. Undefined when there is no such route. */
  find (httpMethod: string, path: string): FoundRoute | undefined {
    const segments = decoded(path)
    if (segments === undefined) return undefined
    const last = segments.at(-1)!
    const colon = last.lastIndexOf(':')
    const suffix = colon === -1 || !this.#suffixes.has(last.slice(colon)) ? '' : last.slice(colon)
    if (suffix !== '') segments[segments.length - 1] = last.slice(0, colon)
    const [version, ...rest] = segments
    const route = this.#routes.get(`${httpMethod} ${version} ${shapeOf(rest)}${suffix}`)
    return route === undefined ? undefined : { ...route, resource: rest.slice(0, route.resourceLength).join('/') }
  }

  #add (httpMethod: string, template: string, route: Omit<Route, 'variable'>): void {
    const match = TEMPLATE.exec(template)
    if (match === null) throw new Error(`The protos of @google-cloud/tasks have an unexpected path: ${template}`)
    const [, version, variable, resource, collection, suffix = ''] = match as unknown as [string, string, string, string, string?, string?]
    if (suffix !== '') this.#suffixes.add(suffix)
    const resourceLength = resource.split('/').length
    const shape = shapeOf([...resource.split('/'), ...(collection === undefined ? [] : [collection])])
    this.#routes.set(`${httpMethod} ${version} ${shape}${suffix}`, { ...route, variable, resourceLength })
  }
}

/** Collections and ids take turns; which ids they are makes no difference to the route. */
function shapeOf (segments: readonly string[]): string {
  return segments.map((segment, index) => index % 2 === 0 ? segment : '*').join('/')
}

/** Undefined for what is no path. */
function decoded (path: string): string[] | undefined {
  try {
    return path.slice(1).split('/').map(decodeURIComponent)
  } catch {
    return undefined
  }
}

const TEMPLATE = /^\/(\w+)\/\{([\w.]+)=([^}]+)\}(?:\/(\w+))?(:\w+)?$/

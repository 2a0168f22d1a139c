import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CloudTasksError, grpcCodes, httpStatusOf } from '../../cloud-tasks/status.js'
import { badRequest, invalidField } from '../proto/bad-request.js'
import { readBufferBody } from '../service/buffer.js'
import { callerCheck } from './caller-check.js'
import { parseJson, parseText, printJson } from '../proto/json.js'
import { loadProtos } from '../proto/protos.js'
import { MAX_REQUEST_BYTES, normalize } from '../service/requests.js'
import { Routes, type FoundRoute } from './routes.js'
import type { Message } from '../proto/schema.js'
import { methodOf, type Service } from '../service/service.js'

export interface RestOptions {
  readonly service: Service
  /** Where the server listens. @default '127.0.0.1' */
  readonly host?: string
  /** More names by which it may be called, in lower case. @default none */
  readonly allowedHosts?: readonly string[]
}

/** For the server that `rest` is registered on: has it answer in Google's form also where no route is reached. */
export const restServerOptions = {
  bodyLimit: MAX_REQUEST_BYTES,
  frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => { sendError(reply, badRequest('', error.message)) }
} as const

/**
 * Google's REST interface at the root of a server, and its form of an answer for whatever has no route.
 *
 * `/projects/…` means `/v2/projects/…`, which is where firebase-admin looks for an emulator.
 */
export async function rest (app: FastifyInstance, { service, host = '127.0.0.1', allowedHosts }: RestOptions): Promise<void> {
  const protos = await loadProtos()
  const routes = new Routes(protos)
  const checkCaller = callerCheck(host, allowedHosts)

  app.addHook('onRequest', async request => { checkCaller(request.raw.headers) })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_REQUEST_BYTES }, (request, body, done) => { done(null, body) })
  app.setErrorHandler((error, request, reply) => sendError(reply, service.refusal(refusalOf(error))))
  app.setNotFoundHandler((request, reply) => sendError(reply, notFound()))

  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const [path, query = ''] = splitUrl(request.raw.url!)
    const unprefixed = path.startsWith('/projects/')
    const route = routes.find(request.method, unprefixed ? `/v2${path}` : path)
    if (route === undefined) throw notFound()
    const parameters = new Parameters(query)
    const message = requestMessage(route, parameters, request)
    const { key, call } = methodOf(service, route.method)
    if (call === undefined) throw new CloudTasksError('UNIMPLEMENTED', 'Operation is not implemented, or supported, or enabled.')
    const response = await call({ ...normalize(protos.schemas, route.version, key, message), ...(unprefixed ? { unprefixed } : undefined) })
    return sendJson(reply, 200, printJson(route.response, response, {
      enumsAsNumbers: parameters.enumsAsNumbers,
      find: name => protos.schemas.find(name)
    }))
  }
  for (const url of ['/v1/projects/*', '/v2/*', '/v2beta3/*', '/projects/*']) app.route({ method: [...METHODS], url, handler })
  app.get<{ Params: { project: string } }>('/v1/apps/:project', async (request, reply) => sendJson(reply, 200, service.getApplication({ name: request.params.project })))
}

/** Where the path's resource goes, what the query says, and the body: as google.api.http has it. */
function requestMessage (route: FoundRoute, parameters: Parameters, request: FastifyRequest): object {
  if (route.body === 'raw') {
    parameters.refuseRest()
    const body = readBufferBody(request.body as Buffer | undefined, request.headers['content-type'], json => parseJson(route.request, json, 'body'))
    return bound({ body }, route, route.variable.split('.'))
  }
  const body = bodyJson(request)
  const message: Record<string, unknown> = {}
  if (route.body === '*') {
    Object.assign(message, parseJson(route.request, body ?? {}))
    parameters.refuseRest()
  } else {
    if (route.body !== undefined) {
      const field = route.request.field.get(route.body)!
      message[field.name] = parseJson(field.message!, body ?? {}, field.protoName)
    } else if (body !== undefined && Object.keys(body).length > 0) {
      throw invalidField.unknown('', Object.keys(body)[0]!)
    }
    parameters.bind(route.request, message)
  }
  return bound(message, route, route.variable.split('.'))
}

/** The path wins over the body. */
function bound (message: Record<string, unknown>, route: FoundRoute, [key, ...rest]: string[]): Record<string, unknown> {
  const name = key!.replace(/_[a-z]/g, letter => letter[1]!.toUpperCase())
  return { ...message, [name]: rest.length === 0 ? route.resource : bound(message[name] as Record<string, unknown> ?? {}, route, rest) }
}

/** Undefined without a body. Throws INVALID_ARGUMENT for all that is no JSON object. */
function bodyJson (request: FastifyRequest): Record<string, unknown> | undefined {
  const body = request.body as Buffer | undefined
  if (body === undefined || body === null || body.length === 0) return undefined
  const type = request.headers['content-type']?.split(';')[0]!.trim().toLowerCase() ?? 'application/json'
  if (!/^application\/(?:[\w.-]+\+)?json$/.test(type)) {
    throw badRequest('', `Invalid JSON payload received. The content type must be application/json, not ${type.slice(0, 80)}.`)
  }
  let json: unknown
  try {
    json = JSON.parse(body.toString())
  } catch (error) {
    throw badRequest('', `Invalid JSON payload received. ${withoutPayload((error as Error).message)}`)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw badRequest('', 'Invalid JSON payload received. Root element must be a message.')
  return json as Record<string, unknown>
}

/** JSON.parse quotes what it could not parse. */
function withoutPayload (message: string): string {
  return /at position \d+/.test(message) ? `Unexpected token ${/at position \d+/.exec(message)![0]}.` : 'Unexpected end of string.'
}

/** The query's parameters: fields of the request, and those that every method has. */
class Parameters {
  readonly #fields: Array<[name: string, value: string]>
  readonly enumsAsNumbers: boolean

  constructor (query: string) {
    const all = [...new URLSearchParams(query)]
    const formats = all.filter(([name]) => name === '$alt' || name === 'alt').map(([, value]) => value)
    if (!formats.every(format => FORMAT.test(format))) throw badRequest('', "Invalid value at '$alt': only json and json;enum-encoding=int are supported.")
    this.enumsAsNumbers = formats.some(format => format.includes(';'))
    this.#fields = all.filter(([name]) => !SYSTEM_PARAMETERS.has(name.replace(/^\$\.?/, '')))
  }

  bind (schema: Message, message: Record<string, unknown>): void {
    for (const [name, value] of this.#fields) {
      const field = schema.field.get(name)
      if (field === undefined || (field.kind === 'message' && field.message!.fullName !== 'google.protobuf.FieldMask')) throw invalidField.parameter(name)
      message[field.name] = parseText(field, value)
    }
  }

  /** With all of the request in the body there is nothing left for the query. */
  refuseRest (): void {
    const [first] = this.#fields
    if (first !== undefined) throw invalidField.parameter(first[0])
  }
}

function splitUrl (url: string): [path: string, query?: string] {
  const at = url.indexOf('?')
  return at === -1 ? [url] : [url.slice(0, at), url.slice(at + 1)]
}

function notFound (): CloudTasksError {
  return new CloudTasksError('NOT_FOUND', 'Method not found.')
}

/** What Fastify refuses before it comes to the handler. */
function refusalOf (error: unknown): unknown {
  const { code, statusCode = 500, message } = error as { code?: string, statusCode?: number, message: string }
  if (error instanceof CloudTasksError || statusCode >= 500) return error
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return badRequest('', `Request payload size exceeds the limit: ${MAX_REQUEST_BYTES} bytes.`)
  return badRequest('', message)
}

function sendError (reply: FastifyReply, { code, message, details }: CloudTasksError): FastifyReply {
  return sendJson(reply, httpStatusOf(code), {
    error: { code: httpStatusOf(code), message, status: code satisfies keyof typeof grpcCodes, ...(details === undefined ? undefined : { details }) }
  })
}

function sendJson (reply: FastifyReply, status: number, json: unknown): FastifyReply {
  return reply.code(status).type('application/json; charset=UTF-8').send(JSON.stringify(json))
}

const FORMAT = /^json(?:;enum-encoding=int)*$/
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

const SYSTEM_PARAMETERS: ReadonlySet<string> = new Set([
  'alt', 'access_token', 'callback', 'fields', 'key', 'oauth_token', 'prettyPrint', 'quotaUser', 'uploadType', 'upload_protocol', 'xgafv', 'userProject', 'apiVersion'
])

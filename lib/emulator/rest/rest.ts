import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CloudTasksError, grpcCodes, httpStatusOf } from '../../cloud-tasks/status.js'
import { badRequest, invalidField } from '../proto/bad-request.js'
import { readBufferBody } from '../service/buffer.js'
import { callerCheck } from './caller-check.js'
import { bodyJson, decoded, formQuery, tooLarge } from './body.js'
import { firebaseTask } from './firebase.js'
import { Parameters } from './parameters.js'
import { parseSelection, selected } from './partial-response.js'
import { parseJson, printJson } from '../proto/json.js'
import { loadProtos } from '../proto/protos.js'
import { MAX_REQUEST_BYTES, normalize } from '../service/requests.js'
import { Routes, type FoundRoute } from './routes.js'
import { methodOf, type Service } from '../service/service.js'

export interface RestOptions {
  readonly service: Service
  /** The address on which the server listens. @default '127.0.0.1' */
  readonly host?: string
  /** Additional host names to accept, in lower case. @default none */
  readonly allowedHosts?: readonly string[]
}

/** Options for the server that `rest` is registered on, so that errors before routing have Google's form too. */
export const restServerOptions = {
  bodyLimit: MAX_REQUEST_BYTES,
  frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => { sendError(reply, badRequest('', error.message)) }
} as const

/**
 * Google's REST interface at the root of a server. Errors have Google's form, also for paths without a route.
 *
 * `/projects/…` is an alias of `/v2/projects/…`, which firebase-admin uses for its emulator.
 */
export async function rest (app: FastifyInstance, { service, host = '127.0.0.1', allowedHosts }: RestOptions): Promise<void> {
  const protos = await loadProtos()
  const routes = new Routes(protos)
  const checkCaller = callerCheck(host, allowedHosts)

  app.addHook('onRequest', async request => { checkCaller(request.raw.headers) })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    '*',
    { parseAs: 'buffer', bodyLimit: MAX_REQUEST_BYTES },
    async (request: FastifyRequest, body: Buffer) => await decoded(request, body)
  )
  app.setErrorHandler((error, request, reply) => sendError(reply, service.toStatusError(fromFastify(error))))
  app.setNotFoundHandler((request, reply) => sendError(reply, notFound()))

  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const [path, query = ''] = splitUrl(request.raw.url!)
    const unprefixed = path.startsWith('/projects/')
    const { method, overridden } = calledMethod(request)
    const route = routes.find(method, unprefixed ? `/v2${path}` : path)
    if (route === undefined) throw notFound()
    const form = overridden && method === 'GET' ? formQuery(request) : undefined
    const parameters = new Parameters(form === undefined ? query : `${query}&${form}`)
    const selection = parameters.selector === undefined ? undefined : parseSelection(route.response, parameters.selector)
    const message = requestMessage(route, parameters, request, form === undefined)
    const { key, call } = methodOf(service, route.method)
    if (call === undefined) throw new CloudTasksError('UNIMPLEMENTED', 'Operation is not implemented, or supported, or enabled.')
    const response = await call({
      ...normalize(protos.schemas, route.version, key, message),
      ...(unprefixed ? { unprefixed } : undefined)
    })
    const json = printJson(route.response, response, {
      enumsAsNumbers: parameters.enumsAsNumbers,
      find: name => protos.schemas.find(name)
    })
    const wanted = selection === undefined ? json : selected(json, selection)
    return sendJson(reply, 200, unprefixed && key === 'createTask' ? firebaseTask(wanted) : wanted)
  }
  for (const url of ['/v1/projects/*', '/v2/*', '/v2beta3/*', '/projects/*']) app.route({ method: [...METHODS], url, handler })
  app.get<{ Params: { project: string } }>('/v1/apps/:project', async (request, reply) =>
    sendJson(reply, 200, service.getApplication({ name: request.params.project }))
  )
}

/** Clients send other methods as POST with an override where a proxy might block them or the URL would be too long. */
function calledMethod ({ method, headers }: FastifyRequest): { method: string, overridden: boolean } {
  const override = headers['x-http-method-override']
  return method === 'POST' && typeof override === 'string'
    ? { method: override.toUpperCase(), overridden: true }
    : { method, overridden: false }
}

/** The request from path, query and body, as google.api.http describes. */
function requestMessage (route: FoundRoute, parameters: Parameters, request: FastifyRequest, hasBody: boolean): object {
  if (route.body === 'raw') {
    parameters.refuseFields()
    const body = readBufferBody(request.body as Buffer | undefined, request.headers['content-type'], json =>
      parseJson(route.request, json, 'body')
    )
    return bound({ body }, route, route.variable.split('.'))
  }
  const body = hasBody ? bodyJson(request) : undefined
  const message: Record<string, unknown> = {}
  if (route.body === '*') {
    Object.assign(message, parseJson(route.request, body ?? {}))
    parameters.refuseFields()
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

/** The path takes precedence over the body. */
function bound (message: Record<string, unknown>, route: FoundRoute, [key, ...rest]: string[]): Record<string, unknown> {
  const name = key!.replace(/_[a-z]/g, letter => letter[1]!.toUpperCase())
  return { ...message, [name]: rest.length === 0 ? route.resource : bound(message[name] as Record<string, unknown> ?? {}, route, rest) }
}

function splitUrl (url: string): [path: string, query?: string] {
  const at = url.indexOf('?')
  return at === -1 ? [url] : [url.slice(0, at), url.slice(at + 1)]
}

function notFound (): CloudTasksError {
  return new CloudTasksError('NOT_FOUND', 'Method not found.')
}

/** Converts errors that Fastify throws before the handler runs. */
function fromFastify (error: unknown): unknown {
  const { code, statusCode = 500, message } = error as { code?: string, statusCode?: number, message: string }
  if (error instanceof CloudTasksError || statusCode >= 500) return error
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return tooLarge()
  return badRequest('', message)
}

function sendError (reply: FastifyReply, { code, message, details }: CloudTasksError): FastifyReply {
  return sendJson(reply, httpStatusOf(code), {
    error: {
      code: httpStatusOf(code),
      message,
      status: code satisfies keyof typeof grpcCodes,
      ...(details === undefined ? undefined : { details })
    }
  })
}

function sendJson (reply: FastifyReply, status: number, json: unknown): FastifyReply {
  return reply.code(status).type('application/json; charset=UTF-8').send(JSON.stringify(json))
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { integer, isPlainObject, number, oneOf, string } from '../checks.js'
import { shortId } from '../cloud-tasks/names.js'
import { CloudTasksError, type GrpcCode } from '../cloud-tasks/status.js'
import type { EnqueueOptions } from '../enqueue-options.js'
import { FST_TASKS_CONSOLE_REQUEST } from '../errors.js'
import type { PluginHandle } from '../plugin-handle.js'
import { explain } from '../server-error.js'
import type { ApiError } from './api/api.js'
import { changeLetters, listLetters, type LetterQuery } from './api/letters.js'
import type { TaskConsole } from './task-console.js'
import { SECURITY_HEADERS, type Guard } from './access/guard.js'
import { enqueue, run, validate } from './invocation.js'
import { mountPage } from './page/routes.js'
import { quietRoute } from './page/quiet-route.js'
import { STATE_FILTERS, type RowQuery } from './history/row-pages.js'

export interface ConsoleContext {
  readonly guard: Guard
  /** Available when the server is ready. */
  readonly console: () => TaskConsole
  /** The app whose registry is shown; undefined in the emulator. */
  readonly app: () => PluginHandle | undefined
  /** Called in this order before anything is read or sent. */
  readonly authHooks: readonly onRequestHookHandler[]
}

/** Mounts the page and its API on an encapsulated instance. */
export function mountConsoleRoutes (scope: FastifyInstance, context: ConsoleContext): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser(
    'application/json',
    { parseAs: 'string', bodyLimit: BODY_LIMIT },
    scope.getDefaultJsonParser('error', 'error')
  )
  scope.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS)
    context.guard.checkHost(request)
  })
  for (const hook of context.authHooks) scope.addHook('onRequest', hook)
  scope.setErrorHandler<FastifyError>(async (error, request, reply) => refuse(error, request, reply))

  mountPage(scope)
  scope.register(async api => {
    api.addHook('onRequest', async (request, reply) => {
      reply.header('cache-control', 'no-store')
      if (request.method === 'POST') context.guard.checkWrite(request)
      else context.guard.checkRead(request)
    })
    for (const [route, handler] of Object.entries(apiRoutes(context))) {
      const [method, url] = route.split(' ') as ['GET' | 'POST', string]
      // The response to HEAD would never end for the event stream.
      api.route({ ...quietRoute, method, url, bodyLimit: BODY_LIMIT, exposeHeadRoute: url !== '/events', handler })
    }
    api.route({
      ...quietRoute,
      method: ['GET', 'POST'],
      url: '/*',
      handler: async (_request, reply) =>
        reply.code(404).send(failure('FST_TASKS_CONSOLE_REQUEST', 'Unknown route of the console'))
    })
  }, { prefix: '/api' })
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

function apiRoutes ({ guard, console, app }: ConsoleContext): Record<string, Handler> {
  const registry = (): PluginHandle => {
    const handle = app()
    if (handle === undefined) throw cannot('there is no task registry here', 501)
    return handle
  }
  return {
    'GET /overview': async () => console().overview(guard.token),
    'GET /tasks': async ({ query }) => console().tasks(taskQuery({ ...query as object })),
    'GET /task': async ({ query }) => console().task(text({ ...query as object }, 'name')),
    'GET /payload': async ({ query }, reply) => sendPayload(console(), text({ ...query as object }, 'name'), reply),
    'GET /events': (request, reply) => { join(console(), request, reply) },
    'POST /validate': async ({ body }) => await validate(registry(), text(body, 'task'), text(body, 'text')),
    'POST /run': async ({ body }) => await run(registry(), text(body, 'task'), text(body, 'text')),
    'POST /enqueue': async ({ body }) => await enqueue(registry(), text(body, 'task'), text(body, 'text'), enqueueOptions(body)),
    'POST /task/run': async ({ body }) => await console().runTask(text(body, 'name')),
    'POST /task/delete': async ({ body }) => {
      await console().deleteTask(text(body, 'name'))
      return {}
    },
    'POST /task/copy': async ({ body }) => {
      const copy = await console().copyTask(text(body, 'name'))
      if (copy === undefined) throw payloadGone()
      return copy
    },
    'GET /letters': async ({ query }) => await listLetters(registry(), letterQuery({ ...query as object })),
    'POST /letters/replay': async ({ body }) =>
      await changeLetters(registry(), 'replay', letterIds(body), textOption.read(fields(body).as, 'as', reading) || undefined),
    'POST /letters/discard': async ({ body }) => await changeLetters(registry(), 'discard', letterIds(body), undefined),
    'POST /queue/pause': async ({ body }) => await console().changeQueue(text(body, 'name'), 'pause'),
    'POST /queue/resume': async ({ body }) => await console().changeQueue(text(body, 'name'), 'resume'),
    'POST /queue/purge': async ({ body }) => await console().changeQueue(text(body, 'name'), 'purge')
  }
}

function sendPayload (console: TaskConsole, name: string, reply: FastifyReply): FastifyReply {
  const bytes = console.payload(name)
  if (bytes === undefined) throw payloadGone()
  return reply
    .type('text/plain; charset=utf-8')
    .header('content-disposition', `attachment; filename="${shortId(name)}.txt"`)
    .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
}

/** Hands the response over to the event stream. */
function join ({ live }: TaskConsole, request: FastifyRequest, reply: FastifyReply): void {
  if (live.full) throw cannot('too many pages are open, or the server is closing', 503)
  reply.hijack()
  reply.raw.writeHead(200, {
    ...reply.getHeaders() as Record<string, string>,
    'content-type': 'text/event-stream; charset=utf-8',
    'x-accel-buffering': 'no'
  })
  live.join(reply.raw)
}

function cannot (problem: string, statusCode: number): Error {
  return Object.assign(new FST_TASKS_CONSOLE_REQUEST(problem), { statusCode })
}

function bad (problem: string): Error {
  return cannot(problem, 400)
}

function payloadGone (): Error {
  return cannot('the payload of this task is no longer kept: it was evicted by newer ones', 410)
}

const reading = { refuse: bad }
const textOption = string()
const stateOption = oneOf(STATE_FILTERS, { default: 'pending' })
const limitOption = integer(1, 100, { default: 50 })
const letterLimitOption = integer(1, 1000, { default: 50 })
const endedBeforeOption = integer(0, 8.64e15)
const delayOption = number(0, 30 * 86_400, { default: 0 })

function fields (from: unknown): Record<string, unknown> {
  if (!isPlainObject(from)) throw bad('the body must be a JSON object')
  return from
}

function text (from: unknown, key: string): string {
  const value = textOption.read(fields(from)[key], key, reading)
  if (value === undefined) throw bad(`'${key}' is required`)
  return value
}

function taskQuery (from: Readonly<Record<string, unknown>>): RowQuery {
  const limit = from.limit === undefined ? undefined : Number(from.limit)
  return {
    queue: textOption.read(from.queue, 'queue', reading) || undefined,
    state: stateOption.read(from.state, 'state', reading),
    pageToken: textOption.read(from.pageToken, 'pageToken', reading) || undefined,
    limit: limitOption.read(limit, 'limit', reading)
  }
}

function letterQuery (from: Readonly<Record<string, unknown>>): LetterQuery {
  const whole = (key: string): number | undefined => from[key] === undefined || from[key] === '' ? undefined : Number(from[key])
  const optional = (key: string): string | undefined => textOption.read(from[key], key, reading) || undefined
  return {
    task: optional('task'),
    code: optional('code'),
    endedBefore: endedBeforeOption.read(whole('endedBefore'), 'endedBefore', reading),
    pageToken: optional('pageToken'),
    limit: letterLimitOption.read(whole('limit'), 'limit', reading)
  }
}

function letterIds (body: unknown): readonly string[] {
  const { ids } = fields(body)
  if (!Array.isArray(ids) || ids.length === 0 || ids.length > 100 || !ids.every(id => typeof id === 'string')) {
    throw bad("'ids' must be a list of 1 to 100 ids of dead letters")
  }
  return ids
}

function enqueueOptions (body: unknown): EnqueueOptions {
  const from = fields(body)
  const id = textOption.read(from.id, 'id', reading)
  const delay = delayOption.read(from.scheduleDelaySeconds, 'scheduleDelaySeconds', reading)
  return { ...(id === undefined ? undefined : { id }), ...(delay === 0 ? undefined : { scheduleDelaySeconds: delay }) }
}

function refuse (error: FastifyError | CloudTasksError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status =
    error instanceof CloudTasksError ? (STATUS[error.code] ?? 500) : error instanceof SyntaxError ? 400 : (error.statusCode ?? 500)
  if (status >= 500) request.log.error({ err: error }, 'console request failed')
  return reply.code(status).header('cache-control', 'no-store').send(failure(error.code ?? 'FST_TASKS_CONSOLE_REQUEST', explain(error)))
}

function failure (code: string, message: string): { error: ApiError } {
  return { error: { code, message } }
}

const STATUS: Partial<Record<GrpcCode, number>> = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 409,
  ALREADY_EXISTS: 409,
  NOT_FOUND: 404,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  UNAVAILABLE: 503
}

/** The largest payload, escaped in JSON. */
const BODY_LIMIT = 8 * 1024 * 1024

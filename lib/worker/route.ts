import type { FastifyContextConfig, FastifyError, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { MAX_TIMEOUT_MS } from '../clock/clock.js'
import { routePath } from '../delivery/path.js'
import { FST_TASKS_ATTEMPT_FAILED, FST_TASKS_NOT_REGISTERED, FST_TASKS_ROUTE_TAKEN } from '../errors.js'
import type { RegisteredTask } from '../registry/registry.js'
import { answer, describe, refuseWhileClosing, rejectCall } from './answers.js'
import type { AttemptResult, RunResult } from './attempt-result.js'
import { attempt, settleRefused, settleUnknown, settleValidation, type TaskRoutes } from './served-attempt.js'
import type { Outcome } from './settlement.js'

const IS_VERIFIED = Symbol('isVerified')
const OUTCOME = Symbol('outcome')

/** State of an attempt, on the request itself because an entry in a WeakMap costs as much as validating a payload. */
interface TaskRequest extends FastifyRequest {
  /** Whether its caller has been verified. */
  [IS_VERIFIED]?: boolean
  /** The outcome of its attempt. An app's hook that throws afterwards does not change it. */
  [OUTCOME]?: Outcome | undefined
}

/**
 * Mounts a route for every task that has a handler, in an encapsulated instance. The steps of an attempt are, from top to bottom:
 * authenticate -> parse -> validate -> run -> settle -> answer.
 */
export function mountRoutes (worker: TaskRoutes): void {
  const tasks = [...worker.registry.values()].filter(task => task.handler !== undefined)
  if (tasks.length === 0) return
  const { app, config } = worker
  for (const task of tasks) {
    const url = routePath(app, config.prefix, task.path)
    if (app.hasRoute({ method: task.method, url })) throw new FST_TASKS_ROUTE_TAKEN(task.name, task.method, url)
  }

  app.register(async scope => {
    // The app's parsers may keep bodies raw or reject JSON. Here a body is JSON, regardless of its content type.
    scope.removeAllContentTypeParsers()
    const parse = scope.getDefaultJsonParser('error', 'error')
    if (worker.copies.keepsBodies) {
      scope.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
        worker.copies.received(request, body)
        const text = body.toString()
        worker.watchers.received(request, text)
        return parse(request, text, done)
      })
    } else {
      scope.addContentTypeParser('*', { parseAs: 'string' }, (request, body: string, done) => {
        worker.watchers.received(request, body)
        return parse(request, body, done)
      })
    }
    // For the whole scope, so that calls of unknown paths are verified too, before the body is read.
    scope.decorateRequest(OUTCOME, undefined)
    scope.decorateRequest(IS_VERIFIED, false)
    // With a callback, to avoid a promise for each attempt.
    scope.addHook('onRequest', (request: TaskRequest, _reply, done) => {
      const accept = (): void => {
        request[IS_VERIFIED] = true
        done()
      }
      try {
        const pending = worker.authenticate(request)
        if (pending !== undefined) {
          pending.then(accept, done)
          return
        }
      } catch (error) {
        done(error as Error)
        return
      }
      accept()
    })
    for (const task of tasks) scope.route(attemptRoute(worker, task))
    if (config.prefix !== '') {
      scope.setErrorHandler<FastifyError>(async (error, request, reply) => rejectCall(undefined, error, request, reply))
      // A route, because Fastify allows only one not-found handler per prefix, and a second one crashes the process.
      const unknown = { method: ['POST', 'PUT', 'PATCH'], url: '/*' }
      if (!app.hasRoute({ method: 'POST', url: `${routePath(app, config.prefix, '')}/*` })) {
        scope.route({
          ...unknown,
          bodyLimit: BODY_LIMIT,
          schema: { hide: true } as RouteOptions['schema'] & object,
          handler: async (request, reply) => await unknownTask(worker, request, reply),
          errorHandler: async (error, request: TaskRequest, reply) => {
            // The payload of an unknown task need not be JSON.
            const isBody = request[IS_VERIFIED] === true && isParserError(error)
            return isBody ? await unknownTask(worker, request, reply) : rejectCall(undefined, error, request, reply)
          }
        })
      }
    }
  }, { prefix: config.prefix })
}

/** Results of attempts whose payload was rejected. Kept here because the app's hooks can throw similar errors. */
const endedBefore = new WeakMap<FastifyRequest, AttemptResult>()

/** The maximum size of a task, regardless of the app's own limit. */
const BODY_LIMIT = 1_048_576

function attemptRoute (worker: TaskRoutes, task: RegisteredTask): RouteOptions {
  return {
    method: task.method,
    url: task.path,
    bodyLimit: BODY_LIMIT,
    ...(worker.config.logLevel === undefined ? {} : { logLevel: worker.config.logLevel }),
    // Cloud Tasks has rate limits of its own; @fastify/rate-limit would count all its calls as one client's.
    config: { rateLimit: false } as FastifyContextConfig,
    schema: worker.config.exposeRoutes
      ? ({ body: worker.payloads.documented(task), tags: ['tasks'], summary: `Attempt of task ${task.name}` } as RouteOptions['schema'] &
          object)
      : ({ hide: true } as RouteOptions['schema'] & object),
    // The schema is for OpenAPI only: preValidation validates, with the validator of `enqueue`. Like Fastify's own validation, it runs
    // before the app's preHandler hooks; unlike it, it uses the value that an asynchronous validator resolves with.
    validatorCompiler: () => () => true,
    preValidation: async (request, reply) => {
      let result: RunResult
      try {
        if (!hasBody(request)) throw missingPayload(worker, task)
        const payload = worker.payloads.validate(task, request.body)
        result = payload instanceof Promise
          ? await settleValidation(worker, task, payload, request, reply)
          : { result: 'done', value: payload }
      } catch (error) {
        result = { result: 'failed', error }
      }
      if (result.result === 'done') {
        request.body = result.value
        return
      }
      endedBefore.set(request, result.result === 'failed' ? invalidPayloadResult(worker, result.error as Error) : result)
      throw result.error
    },
    // Attempts have their own deadline; the app's handlerTimeout would respond with 503, which throttles the queue.
    ...((worker.app.initialConfig as { handlerTimeout?: number }).handlerTimeout ? { handlerTimeout: MAX_TIMEOUT_MS } : {}),
    handler: async (request: TaskRequest, reply) => {
      // The connection becomes idle too late to be closed with the idle ones, so the server would wait for the client to close it.
      if (worker.runs.draining && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
      if (worker.runs.closed) return refuseWhileClosing(worker, task, request, reply)
      const outcome = await worker.runs.attempt(async () => await attempt(worker, task, request, reply))
      request[OUTCOME] = outcome
      // Thrown for the app's onError hooks. The error handler responds with the outcome that is kept above.
      if (outcome.status === 500) throw new FST_TASKS_ATTEMPT_FAILED(task.name, { cause: outcome.error })
      return answer(reply, outcome)
    },
    errorHandler: async (error, request: TaskRequest, reply) => {
      const outcome = request[OUTCOME]
      return outcome === undefined ? await refuse(worker, task, error, request, reply) : answer(reply, outcome)
    }
  }
}

/** Responds to a request that did not reach its handler: an unverified caller, an invalid payload, an app's hook that threw. */
async function refuse (
  worker: TaskRoutes, task: RegisteredTask, error: FastifyError, request: TaskRequest, reply: FastifyReply
): Promise<FastifyReply> {
  // An app's hook that runs before the verification can throw a parser's errors too.
  const ended = request[IS_VERIFIED] === true && isParserError(error) ? invalidPayloadResult(worker, error) : endedBefore.get(request)
  if (ended?.result === 'aborted') return refuseWhileClosing(worker, task, request, reply)
  if (ended !== undefined) return answer(reply, await settleRefused(worker, task, ended, request))
  return rejectCall(task.name, error, request, reply)
}

/** The result of an attempt whose handler cannot run because of its payload. */
function invalidPayloadResult ({ config }: TaskRoutes, error: Error): AttemptResult {
  return config.invalidPayload === 'drop' ? { result: 'dropped', reason: error.message, invalid: error } : { result: 'invalid', error }
}

/** Same rule as in Fastify. */
function hasBody ({ headers }: FastifyRequest): boolean {
  const length = headers['content-length']
  return headers['content-type'] !== undefined || headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
}

/** A missing body is rejected, not treated as null, which a coercing validator might accept. */
function missingPayload ({ payloads }: TaskRoutes, task: RegisteredTask): Error {
  return payloads.invalid(task, [{ instancePath: '', keyword: 'required', message: 'is missing: the request has no body' }], undefined)
}

function isParserError (error: FastifyError): boolean {
  return typeof error.code === 'string' && error.code.startsWith('FST_ERR_CTP_')
}

/** Responds with 404 to unknown paths below the prefix, so that the task is retried whatever the app's not-found handler does. */
async function unknownTask (worker: TaskRoutes, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const error = new FST_TASKS_NOT_REGISTERED(request.url.slice(0, 200), ' here')
  const { '*': path = '' } = request.params as { readonly '*'?: string }
  const ends = await settleUnknown(worker, `/${path}`, error, request)
  request.log.error({ err: error }, `received a task without a handler here; ${ends ? 'it will not be retried' : 'it will be retried'}`)
  return reply.code(404).send(describe(404, 'retry', error.code))
}

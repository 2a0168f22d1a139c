import type { FastifyContextConfig, FastifyError, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { MAX_TIMEOUT_MS } from '../clock/clock.js'
import { routePath } from '../delivery/path.js'
import { FST_TASKS_ATTEMPT_FAILED, FST_TASKS_NOT_REGISTERED, FST_TASKS_ROUTE_TAKEN } from '../errors.js'
import type { RegisteredTask } from '../registry/registry.js'
import { answer, describe, refuseWhileClosing, rejectCall } from './answers.js'
import type { AttemptResult, RunResult } from './attempt-result.js'
import { attempt, settleRefused, settleUnknown, settleValidation, type TaskRoutes } from './served-attempt.js'
import type { Outcome } from './settlement.js'

/**
 * Mounts a route for every task that has a handler, in an instance of its own. An attempt goes through it from top to
 * bottom: authenticate -> parse -> validate -> run -> settle -> answer.
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
    // The host's parsers may keep bodies raw or refuse JSON. Here a body is JSON, whatever its content type says.
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
    // For the whole scope, so that a call of an unknown path is verified, too, before its body is read.
    scope.addHook('onRequest', async request => {
      await worker.authenticate(request)
      verified.add(request)
    })
    for (const task of tasks) scope.route(attemptRoute(worker, task))
    if (config.prefix !== '') {
      scope.setErrorHandler<FastifyError>(async (error, request, reply) => rejectCall(undefined, error, request, reply))
      // A route, because Fastify has room for one not-found handler at a prefix, and a second ends the process.
      const unknown = { method: ['POST', 'PUT', 'PATCH'], url: '/*' }
      if (!app.hasRoute({ method: 'POST', url: `${routePath(app, config.prefix, '')}/*` })) {
        scope.route({
          ...unknown,
          bodyLimit: BODY_LIMIT,
          schema: { hide: true } as RouteOptions['schema'] & object,
          handler: async (request, reply) => await unknownTask(worker, request, reply),
          errorHandler: async (error, request, reply) => {
            // Nothing is known of its payload, which need not be JSON.
            const isBody = verified.has(request) && isParserError(error)
            return isBody ? await unknownTask(worker, request, reply) : rejectCall(undefined, error, request, reply)
          }
        })
      }
    }
  }, { prefix: config.prefix })
}

/** Requests whose caller has been verified. */
const verified = new WeakSet<FastifyRequest>()

/** How an attempt ended whose payload was not accepted. Other hooks may throw errors that look alike. */
const endedBefore = new WeakMap<FastifyRequest, AttemptResult>()

/** The outcome of a request's attempt. A hook of the host that throws afterwards does not change it. */
const outcomes = new WeakMap<FastifyRequest, Outcome>()

/** A payload has at most the size of a task, so the limit of the host must not be lower. */
const BODY_LIMIT = 1_048_576

function attemptRoute (worker: TaskRoutes, task: RegisteredTask): RouteOptions {
  return {
    method: task.method,
    url: task.path,
    bodyLimit: BODY_LIMIT,
    ...(worker.config.logLevel === undefined ? {} : { logLevel: worker.config.logLevel }),
    // Cloud Tasks paces its calls itself; @fastify/rate-limit would take its one address for a flood.
    config: { rateLimit: false } as FastifyContextConfig,
    schema: worker.config.exposeRoutes
      ? ({ body: worker.payloads.documented(task), tags: ['tasks'], summary: `Attempt of task ${task.name}` } as RouteOptions['schema'] &
          object)
      : ({ hide: true } as RouteOptions['schema'] & object),
    // The schema is for documents: preValidation validates, by the very validator that checked the payload at enqueue. It runs before
    // any preHandler hook of the host, as Fastify's own validation would, and accepts what an asynchronous validator resolves with.
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
    // Attempts have deadlines of their own; the host's limit for its handlers would answer 503 and slow the queue down.
    ...((worker.app.initialConfig as { handlerTimeout?: number }).handlerTimeout ? { handlerTimeout: MAX_TIMEOUT_MS } : {}),
    handler: async (request, reply) => {
      // Otherwise the server would wait for the client to close the connection, which became idle too late to be closed with the others.
      if (worker.runs.draining && request.raw.httpVersionMajor === 1) reply.header('connection', 'close')
      if (worker.runs.closed) return refuseWhileClosing(worker, task, request, reply)
      const outcome = await worker.runs.attempt(async () => await attempt(worker, task, request, reply))
      outcomes.set(request, outcome)
      // Only an error reaches the host's onError hooks. The error handler then answers with the outcome that is kept above.
      if (outcome.status === 500) throw new FST_TASKS_ATTEMPT_FAILED(task.name, { cause: outcome.error })
      return answer(reply, outcome)
    },
    errorHandler: async (error, request, reply) => {
      const outcome = outcomes.get(request)
      return outcome === undefined ? await refuse(worker, task, error, request, reply) : answer(reply, outcome)
    }
  }
}

/** Answers a request that did not reach its handler: an unverified caller, an invalid payload, a hook of the host that threw. */
async function refuse (
  worker: TaskRoutes, task: RegisteredTask, error: FastifyError, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply> {
  // A hook of the host that comes before the verification may throw the parser's errors, too.
  const ended = verified.has(request) && isParserError(error) ? invalidPayloadResult(worker, error) : endedBefore.get(request)
  if (ended?.result === 'aborted') return refuseWhileClosing(worker, task, request, reply)
  if (ended !== undefined) return answer(reply, await settleRefused(worker, task, ended, request))
  return rejectCall(task.name, error, request, reply)
}

/** The result of an attempt whose handler cannot run because of its payload. */
function invalidPayloadResult ({ config }: TaskRoutes, error: Error): AttemptResult {
  return config.invalidPayload === 'drop' ? { result: 'dropped', reason: error.message, invalid: error } : { result: 'invalid', error }
}

/** As Fastify decides it. */
function hasBody ({ headers }: FastifyRequest): boolean {
  const length = headers['content-length']
  return headers['content-type'] !== undefined || headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
}

/** A body that is absent is no null, which a validator that coerces may accept. */
function missingPayload ({ payloads }: TaskRoutes, task: RegisteredTask): Error {
  return payloads.invalid(task, [{ instancePath: '', keyword: 'required', message: 'is missing: the request has no body' }], undefined)
}

function isParserError (error: FastifyError): boolean {
  return typeof error.code === 'string' && error.code.startsWith('FST_ERR_CTP_')
}

/** An unknown path below the prefix: 404, so that the task is kept and retried, whatever the host answers elsewhere. */
async function unknownTask (worker: TaskRoutes, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const error = new FST_TASKS_NOT_REGISTERED(request.url.slice(0, 200), ' here')
  const { '*': path = '' } = request.params as { readonly '*'?: string }
  const ends = await settleUnknown(worker, `/${path}`, error, request)
  request.log.error({ err: error }, `a task arrived that has no handler here; ${ends ? 'its attempts are used up' : 'it will be retried'}`)
  return reply.code(404).send(describe(404, 'retry', error.code))
}

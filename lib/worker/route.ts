import type { FastifyContextConfig, FastifyError, FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { MAX_TIMEOUT_MS, type Clock } from '../clock/clock.js'
import { readAttempt } from '../cloud-tasks/headers.js'
import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import type { Config } from '../options/config.js'
import { FST_TASKS_ATTEMPT_FAILED, FST_TASKS_NOT_REGISTERED, FST_TASKS_ROUTE_TAKEN } from '../errors.js'
import type { PayloadCodec } from '../registry/payload.js'
import type { RegisteredTask, Registry } from '../registry/registry.js'
import { CLOSING_RESULT, DEADLINE_HEADER, RESULT_HEADER, RETRY_BY_QUEUE, RETRY_HEADER } from '../delivery/headers.js'
import { routePath } from '../delivery/path.js'
import type { Copies } from '../copies/copies.js'
import { readOrigin } from '../copies/facts.js'
import type { Authenticator } from './auth/authenticator.js'
import { AttemptConnection } from './connection.js'
import { AttemptContext } from './context.js'
import type { AttemptResult, RunResult } from './attempt-result.js'
import { UNKNOWN_LIMITS, type RetryLimitSource } from './retry-limits.js'
import type { Outcome, Settlement } from './settlement.js'
import type { Runs } from './run.js'
import { tracedAttempt } from './traced-attempt.js'
import type { AttemptWatchers } from './watchers.js'

export interface TaskRoutes {
  /** The instance that handlers get as `this`. */
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly authenticate: Authenticator
  readonly runs: Runs
  readonly settlement: Settlement
  readonly limits: RetryLimitSource
  readonly watchers: AttemptWatchers
  readonly copies: Copies
}

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
        scope.route({ ...unknown, schema: { hide: true } as RouteOptions['schema'] & object, handler: unknownTask })
      }
    }
  }, { prefix: config.prefix })
}

/** Requests whose caller has been verified. */
const verified = new WeakSet<FastifyRequest>()

/** How an attempt ended whose payload was not accepted. Other hooks may throw errors that look alike. */
const endedBefore = new WeakMap<FastifyRequest, AttemptResult>()

/** Deadlines that began with an asynchronous validation. */
const deadlines = new WeakMap<FastifyRequest, Deadline>()

interface Deadline {
  readonly ms: number
  readonly at: number
  /** In monotonic time, which no correction of the wall clock moves. */
  readonly endsAt: number
}

/** The outcome of a request's attempt. A hook of the host that throws afterwards does not change it. */
const outcomes = new WeakMap<FastifyRequest, Outcome>()

/** A payload has at most the size of a task, so the limit of the host must not be lower. */
const BODY_LIMIT = 1_048_576

/** How long settling may take beyond the deadline (`onExhausted`, `onDropped`, the answer itself) before an idle connection is closed. */
const ANSWER_MS = 30_000

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
        result = payload instanceof Promise ? await settled(worker, task, payload, request, reply) : { result: 'done', value: payload }
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

async function attempt (worker: TaskRoutes, task: RegisteredTask, request: FastifyRequest, reply: FastifyReply): Promise<Outcome> {
  const { ms, at, endsAt } = deadlines.get(request) ?? deadlineOf(worker, request)
  const connection = new AttemptConnection(request.raw, reply.raw, ms + ANSWER_MS)
  try {
    const context = contextOf(worker, task, request, at)
    return await traced(worker, request, context, async () => {
      await begin(worker, request, context)
      return await runAndSettle(worker, task, request, context, connection, endsAt)
    })
  } finally {
    connection.release()
  }
}

/**
 * How an asynchronous validation ends: as a run of a handler does, since a validator that never settles would hold the attempt, and a
 * closing server, for ever.
 */
async function settled (
  worker: TaskRoutes, task: RegisteredTask, payload: Promise<unknown>, request: FastifyRequest, reply: FastifyReply
): Promise<RunResult> {
  const deadline = deadlineOf(worker, request)
  deadlines.set(request, deadline)
  const connection = new AttemptConnection(request.raw, reply.raw, deadline.ms + ANSWER_MS)
  // A run that does not begin, because the server is closing, does not wait for it.
  payload.catch(() => {})
  try {
    const context = contextOf(worker, task, request, deadline.at)
    return await worker.runs.attempt(
      async () => await worker.runs.run(worker.app, async () => await payload, undefined, context, deadline.ms, connection)
    )
  } finally {
    connection.release()
  }
}

/** @param endsAt the deadline in monotonic time, which no correction of the wall clock moves */
async function runAndSettle (
  worker: TaskRoutes, task: RegisteredTask, request: FastifyRequest, context: AttemptContext, connection: AttemptConnection, endsAt: number
): Promise<Outcome> {
  const { clock } = worker
  const startedAt = clock.monotonic()
  const run = await worker.runs.run(worker.app, task.handler!, request.body, context, endsAt - startedAt, connection)
  context.durationMs = clock.monotonic() - startedAt
  return await worker.settlement.settle(task, request.body, context, run)
}

function answer (reply: FastifyReply, { status, result, code }: Outcome): FastifyReply {
  reply.code(status).header(RESULT_HEADER, result)
  if (status === 503) reply.header('retry-after', '1')
  return result === 'done' ? reply.send() : reply.send(describe(status, result, code))
}

/** Answers a request that did not reach its handler: an unverified caller, an invalid payload, a hook of the host that threw. */
async function refuse (
  worker: TaskRoutes, task: RegisteredTask, error: FastifyError, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply> {
  // A hook of the host that comes before the verification may throw the parser's errors, too.
  const ended = verified.has(request) && isParserError(error) ? invalidPayloadResult(worker, error) : endedBefore.get(request)
  if (ended?.result === 'aborted') return refuseWhileClosing(worker, task, request, reply)
  if (ended !== undefined) {
    return answer(reply, await worker.runs.attempt(async () => {
      const begun = deadlines.get(request)
      const { at, endsAt, ms } = begun ?? deadlineOf(worker, request)
      const context = contextOf(worker, task, request, at)
      return await traced(worker, request, context, async () => {
        await begin(worker, request, context)
        if (begun !== undefined) context.durationMs = worker.clock.monotonic() - (endsAt - ms)
        return await worker.settlement.settle(task, request.body, context, ended)
      })
    }))
  }
  return rejectCall(task.name, error, request, reply)
}

/** The caller gets a code; the reason is for the log. */
function rejectCall (task: string | undefined, error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode !== undefined && error.statusCode >= 400 ? error.statusCode : 500
  const level = status >= 500 ? 'error' : 'warn'
  request.log[level]({ err: error, task }, 'task call refused')
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return reply.code(status).header(RESULT_HEADER, 'refused').send(describe(status, 'refused', error.code))
}

/**
 * Answers an attempt that arrives when no handler starts any more: nothing is settled or counted, and it is never the last attempt. The
 * embedded queue takes it back. Cloud Tasks counts it, and slows its queue for a while.
 */
function refuseWhileClosing ({ config }: TaskRoutes, task: RegisteredTask, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (!config.embedded) {
    request.log.warn({ task: task.name },
      'attempt refused: the server is closing and its grace period has passed; Cloud Tasks counts the attempt')
  }
  return reply.code(503).header(RESULT_HEADER, CLOSING_RESULT).header('retry-after', '1')
    .send(describe(503, CLOSING_RESULT, 'FST_TASKS_CLOSING'))
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
async function unknownTask (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const error = new FST_TASKS_NOT_REGISTERED(request.url.slice(0, 200), ' here')
  request.log.error({ err: error }, 'a task arrived that has no handler here; it will be retried')
  return reply.code(404).send(describe(404, 'retry', error.code))
}

function contextOf (worker: TaskRoutes, task: RegisteredTask, request: FastifyRequest, deadlineAt: number): AttemptContext {
  const { config, clock, watchers } = worker
  const delivered = readAttempt(request.headers, config.target.type)
  // Cloud Scheduler and people call without the headers of a queue; that is a first attempt.
  const headers = delivered ?? {
    id: request.id, queue: task.queue ?? config.queue, retryCount: 0, executionCount: 0, scheduledAt: clock.now()
  }
  const mayHaveOwnRetry = delivered !== undefined && request.headers[RETRY_HEADER] !== RETRY_BY_QUEUE
  const origin = readOrigin(request.headers)
  return new AttemptContext({
    name: task.name,
    headers,
    delivered: delivered !== undefined,
    origin,
    letter: delivered?.queue === config.deadLetterQueue ? origin?.letter : undefined,
    clock,
    mayHaveOwnRetry,
    limits: UNKNOWN_LIMITS,
    deadlineAt,
    log: request.log,
    request,
    watchers
  })
}

function traced (
  { config }: TaskRoutes, request: FastifyRequest, context: AttemptContext, work: () => Promise<Outcome>
): Promise<Outcome> {
  return tracedAttempt(context, request.headers, config.callers.verify !== 'none', work)
}

/** Learns how often the task is retried, which may have to be read first. */
async function begin ({ limits, watchers }: TaskRoutes, request: FastifyRequest, context: AttemptContext): Promise<void> {
  if (!context.isLetter) {
    const known = limits.limitsOf(context)
    context.limits = known instanceof Promise ? await known : known
  }
  watchers.started(context, request)
}

/** Begins now. */
function deadlineOf ({ clock }: TaskRoutes, request: FastifyRequest): Deadline {
  const ms = deadlineMs(request)
  return { ms, at: clock.now() + ms, endsAt: clock.monotonic() + ms }
}

function deadlineMs (request: FastifyRequest): number {
  const seconds = Number(request.headers[DEADLINE_HEADER])
  return seconds >= 15 && seconds <= 86_415 ? seconds * 1000 : DEFAULT_DISPATCH_DEADLINE_MS
}

function describe (statusCode: number, result: string, code: string | undefined) {
  return { statusCode, result, ...(code === undefined ? {} : { code }) }
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { readAttempt } from '../cloud-tasks/headers.js'
import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import type { Copies } from '../copies/copies.js'
import { readOrigin, type Origin } from '../copies/facts.js'
import { DEADLINE_HEADER, RETRY_BY_QUEUE, RETRY_HEADER } from '../delivery/headers.js'
import type { Config } from '../options/config.js'
import type { PayloadCodec } from '../registry/payload.js'
import type { RegisteredTask, Registry } from '../registry/registry.js'
import type { AttemptScope } from '../delivery/attempt-scope.js'
import type { AttemptResult, RunResult } from './attempt-result.js'
import type { Authenticator } from './auth/authenticator.js'
import { AttemptConnection } from './connection.js'
import { AttemptContext } from './context.js'
import { UNKNOWN_LIMITS, type RetryLimitSource } from './limits/retry-limits.js'
import type { Runs } from './run.js'
import type { Outcome, Settlement } from './settlement.js'
import { tracedAttempt } from './traced-attempt.js'
import type { AttemptWatchers } from './watchers.js'

export interface TaskRoutes {
  /** The instance that handlers get as `this`. */
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  readonly scope: AttemptScope
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly authenticate: Authenticator
  readonly runs: Runs
  readonly settlement: Settlement
  readonly limits: RetryLimitSource
  readonly watchers: AttemptWatchers
  readonly copies: Copies
}

export async function attempt (worker: TaskRoutes, task: RegisteredTask, request: FastifyRequest, reply: FastifyReply): Promise<Outcome> {
  const { ms, at, beganAt } = deadlines.get(request) ?? deadlineOf(worker, request)
  const connection = new AttemptConnection(request.raw, reply.raw, ms + ANSWER_MS)
  try {
    const context = contextOf(worker, task, request, at)
    return await traced(worker, request, context, async () => {
      const beginning = begin(worker, request, context)
      if (beginning !== undefined) await beginning
      const { clock } = worker
      const startedAt = clock.monotonic()
      const running = worker.runs.run(worker.app, task.handler!, request.body, context, ms - (startedAt - beganAt), connection)
      worker.watchers.deadlineSet(context)
      const run = await running
      context.durationMs = clock.monotonic() - startedAt
      return await worker.settlement.settle(task, request.body, context, run)
    })
  } finally {
    connection.release()
  }
}

/**
 * Runs an asynchronous validation like a handler, because a validator that never settles would block the attempt, and a closing server,
 * forever.
 */
export async function settleValidation (
  worker: TaskRoutes, task: RegisteredTask, payload: Promise<unknown>, request: FastifyRequest, reply: FastifyReply
): Promise<RunResult> {
  const deadline = deadlineOf(worker, request)
  deadlines.set(request, deadline)
  const connection = new AttemptConnection(request.raw, reply.raw, deadline.ms + ANSWER_MS)
  // Not awaited when the run is rejected because the server is closing.
  payload.catch(() => {})
  try {
    const context = contextOf(worker, task, request, deadline.at)
    return await worker.runs.attempt(async () => {
      const running = worker.runs.run(worker.app, async () => await payload, undefined, context, deadline.ms, connection)
      worker.watchers.deadlineSet(context)
      return await running
    })
  } finally {
    connection.release()
  }
}

/** Settles an attempt whose payload was rejected, with the result `ended`. */
export async function settleRefused (
  worker: TaskRoutes, task: RegisteredTask, ended: AttemptResult, request: FastifyRequest
): Promise<Outcome> {
  return await worker.runs.attempt(async () => {
    const begun = deadlines.get(request)
    const { at, beganAt } = begun ?? deadlineOf(worker, request)
    const context = contextOf(worker, task, request, at)
    return await traced(worker, request, context, async () => {
      await begin(worker, request, context)
      if (begun !== undefined) context.durationMs = worker.clock.monotonic() - beganAt
      return await worker.settlement.settle(task, request.body, context, ended)
    })
  })
}

/**
 * Settles an attempt of a task that has no route here: its last attempt leaves a dead letter too, because a renamed task would be lost
 * otherwise. Resolves with whether this was the last attempt.
 * @param path below the prefix
 */
export async function settleUnknown (worker: TaskRoutes, path: string, error: Error, request: FastifyRequest): Promise<boolean> {
  const { clock, config, limits, runs, settlement } = worker
  return await runs.attempt(async () => {
    const context = contextOf(worker, { name: path, queue: undefined }, request, clock.now())
    if (!context.delivered || context.isLetter || config.deadLetterQueue === undefined) return false
    context.limits = await limits.limitsOf(context)
    return await settlement.unknown({ method: request.method as RegisteredTask['method'], path }, error, context)
  })
}

function contextOf (
  worker: TaskRoutes, task: Pick<RegisteredTask, 'name' | 'queue'>, request: FastifyRequest, deadlineAt: number
): AttemptContext {
  const { config, clock, watchers } = worker
  const delivered = readAttempt(request.headers, config.target.type)
  // Calls without a queue's headers, such as from Cloud Scheduler or curl, are first attempts.
  const headers = delivered ?? {
    id: request.id, queue: task.queue ?? config.queue, retryCount: 0, executionCount: 0, scheduledAt: clock.now()
  }
  const mayHaveOwnRetry = delivered !== undefined && request.headers[RETRY_HEADER] !== RETRY_BY_QUEUE
  const origin = readOrigin(request.headers)
  // A task of another client in the dead-letter queue is only known by its route.
  const originalOf = (letterId: string, { id, letter }: Partial<Origin> = {}) => ({
    id: letter === undefined ? letterId : letter.id ?? id!,
    queue: letter === undefined || letter.queue === config.deadLetterQueue ? task.queue ?? config.queue : letter.queue
  })
  return new AttemptContext({
    name: task.name,
    headers,
    delivered: delivered !== undefined,
    origin,
    letterOf: delivered !== undefined && delivered.queue === config.deadLetterQueue ? originalOf(delivered.id, origin) : undefined,
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
  { config, scope }: TaskRoutes, request: FastifyRequest, context: AttemptContext, work: () => Promise<Outcome>
): Promise<Outcome> {
  return tracedAttempt(context, request.headers, config.callers.verify !== 'none', scope, work)
}

/** Sets the retry limits. Returns a promise only if they have to be read first. */
function begin ({ limits, watchers }: TaskRoutes, request: FastifyRequest, context: AttemptContext): Promise<void> | undefined {
  if (!context.isLetter) {
    const known = limits.limitsOf(context)
    if (known instanceof Promise) {
      return known.then(read => {
        context.limits = read
        watchers.started(context, request)
      })
    }
    context.limits = known
  }
  watchers.started(context, request)
  return undefined
}

/** The deadline of an attempt that starts now. */
function deadlineOf ({ clock }: TaskRoutes, request: FastifyRequest): Deadline {
  const ms = deadlineMs(request)
  return { ms, at: clock.now() + ms, beganAt: clock.monotonic() }
}

function deadlineMs (request: FastifyRequest): number {
  const seconds = Number(request.headers[DEADLINE_HEADER])
  return seconds >= 15 && seconds <= 86_415 ? seconds * 1000 : DEFAULT_DISPATCH_DEADLINE_MS
}

/** Deadlines of attempts that started with an asynchronous validation. */
const deadlines = new WeakMap<FastifyRequest, Deadline>()

interface Deadline {
  readonly ms: number
  readonly at: number
  /** In monotonic time, which adjustments of the wall clock do not affect; not its end, whose rounding error would postpone the timer. */
  readonly beganAt: number
}

/** Time for `onExhausted`, `onDropped` and the response after the deadline before the idle connection is closed. */
const ANSWER_MS = 30_000

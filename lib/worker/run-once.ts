import type { AsyncResource } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import { FST_TASKS_ABORTED, FST_TASKS_NO_HANDLER } from '../errors.js'
import type { Config } from '../options/config.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { RunResult } from './attempt-result.js'
import { AttemptContext } from './context.js'
import type { RetryLimitSource } from './limits/retry-limits.js'
import type { Runs } from './run.js'

export interface RunOnceParts {
  /** The instance that handlers get as `this`. */
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  /** The async context of the handler, which is not the caller's. */
  readonly scope: AsyncResource
  readonly runs: Runs
  readonly limits: RetryLimitSource
  /** Aborts the handler's signal. */
  readonly signal: AbortSignal | undefined
}

/**
 * Runs a handler without a queue: no request, no deadline, and nothing is settled.
 * @param attempt the attempt number in the handler's context
 * @throws FST_TASKS_NO_HANDLER
 */
export async function runHandler (
  parts: RunOnceParts, task: RegisteredTask, payload: unknown, log: FastifyBaseLogger, attempt = 1
): Promise<RunResult> {
  const { app, config, clock, scope, runs, limits, signal } = parts
  const { handler, name } = task
  if (handler === undefined) throw new FST_TASKS_NO_HANDLER(name)
  const queue = task.queue ?? config.queue
  const headers = { id: `run-${randomUUID()}`, queue, retryCount: attempt - 1, executionCount: 0, scheduledAt: clock.now() }
  const deadlineMs = task.dispatchDeadlineSeconds === undefined ? DEFAULT_DISPATCH_DEADLINE_MS : task.dispatchDeadlineSeconds * 1000
  const deadlineAt = clock.now() + deadlineMs
  // As Fastify does for a route with its own log level.
  const leveled = config.logLevel === undefined ? log : log.child({}, { level: config.logLevel })
  const context = new AttemptContext({ name, headers, clock, limits: limits.knownLimits(queue), deadlineAt, log: leveled })
  const abort = (): void => { context.abort(new FST_TASKS_ABORTED(name)) }
  signal?.addEventListener('abort', abort)
  try {
    return await scope.runInAsyncScope(() => runs.attempt(async () => await runs.run(app, handler, payload, context, Infinity)))
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

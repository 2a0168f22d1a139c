import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { queueNameOf, shortId } from '../cloud-tasks/names.js'
import type { Task } from '../cloud-tasks/task.js'
import { routePath } from '../delivery/path.js'
import { FST_TASKS_EXPIRED } from '../errors.js'
import type { Config } from '../options/config.js'
import type { PayloadCodec } from '../registry/payload.js'
import type { RegisteredTask, Registry } from '../registry/registry.js'
import { AttemptContext } from './context.js'
import type { RetryLimitSource } from './limits/retry-limits.js'
import type { Runs } from './run.js'
import type { Settlement } from './settlement.js'

export interface ExpiryParts {
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly runs: Runs
  readonly settlement: Settlement
  readonly limits: RetryLimitSource
}

/**
 * Settles a task that the embedded queue dropped because of its age: without an attempt, nothing else would count it and call
 * `onExhausted`.
 * @param path URL path of its route
 */
export async function settleExpired (parts: ExpiryParts, stored: Task, path: string): Promise<void> {
  const { app, config, clock, registry, payloads, runs, settlement, limits } = parts
  const task = [...registry.values()].find(one => routePath(app, config.prefix, one.path) === path)
  // The last attempt of a dead letter was settled before; its expiry is logged with the others.
  if (task === undefined || shortId(queueNameOf(stored.name)) === config.deadLetterQueue) return
  const queue = shortId(queueNameOf(stored.name))
  const headers = {
    id: shortId(stored.name),
    queue,
    retryCount: stored.dispatchCount - 1,
    executionCount: stored.executionCount,
    scheduledAt: stored.scheduleAt,
    ...(stored.previousResponse === undefined ? undefined : { previousResponse: stored.previousResponse })
  }
  const context = new AttemptContext({
    name: task.name,
    headers,
    limits: limits.knownLimits(queue),
    deadlineAt: clock.now(),
    log: app.log
  })
  await runs.attempt(async () => {
    const payload = await payloadOf(payloads, runs, task, stored)
    await settlement.expired(task, payload, new FST_TASKS_EXPIRED(task.name), context)
  })
}

/**
 * The payload as its handler would get it; unvalidated if it does not match the schema or its validator does not settle, and undefined if
 * it is not JSON.
 */
async function payloadOf (
  payloads: PayloadCodec, runs: Runs, task: RegisteredTask, { httpRequest, appEngineHttpRequest }: Task
): Promise<unknown> {
  const text = Buffer.from((httpRequest ?? appEngineHttpRequest)?.body ?? '').toString()
  let read: { readonly value: unknown } | undefined
  const reading = (async () => { read = { value: await payloads.read(task, text) } })().catch(() => {})
  await runs.withinGrace(reading)
  if (read !== undefined) return read.value
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

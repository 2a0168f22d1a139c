import { isPlainObject, optionChecks, unknownKey } from '../checks.js'
import { MAX_DISPATCHES_PER_SECOND, completeQueueSettings } from '../cloud-tasks/limits.js'
import { isQueueId } from '../cloud-tasks/names.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import type { QueueSettings } from '../cloud-tasks/task.js'

/** The embedded queue shares no servers with anybody, so it may go faster than Cloud Tasks lets a queue go. */
export const LOCAL_MAX_DISPATCHES_PER_SECOND = 1_000_000

const YEAR = 366 * 86_400

/** The option `queues`, each queue completed with Cloud Tasks' defaults. */
export function resolveQueues (queues: unknown, transport: 'cloud' | 'local', refuse: (problem: string) => Error): ReadonlyMap<string, QueueSettings> {
  if (queues === undefined) return new Map()
  if (!isPlainObject(queues)) throw refuse("'queues' must be an object of queue settings by queue id")
  return new Map(Object.entries(queues).map(([id, queue]) => [id, resolveQueue(id, queue, transport, refuse)]))
}

function resolveQueue (id: string, queue: unknown, transport: 'cloud' | 'local', refuse: (problem: string) => Error): QueueSettings {
  const at = (...keys: string[]) => `'${['queues', id, ...keys].join('.')}'`
  if (!isQueueId(id)) throw refuse(`${at()}: a queue id has 1 to 100 letters, digits or hyphens`)
  if (!isPlainObject(queue)) throw refuse(`${at()} must be an object such as { rateLimits: { maxDispatchesPerSecond: 5 } }`)
  const unknown = unknownKey(queue, ['rateLimits', 'retryConfig'])
  if (unknown !== undefined) throw refuse(`${at()}: ${unknown}`)

  const check = optionChecks(refuse)
  const rate = check.object(queue, 'rateLimits', ['maxDispatchesPerSecond', 'maxConcurrentDispatches'], at('rateLimits'))
  const retry = check.object(queue, 'retryConfig', ['maxAttempts', 'maxRetrySeconds', 'minBackoffSeconds', 'maxBackoffSeconds', 'maxDoublings'], at('retryConfig'))
  const limit = <K extends string>(kind: 'number' | 'integer', from: Readonly<Record<string, unknown>>, section: string, key: K, min: number, max: number) =>
    (from[key] === undefined ? {} : { [key]: check[kind](from, key, min, max, 0, at(section, key)) }) as { [P in K]?: number }
  const maxRate = transport === 'local' ? LOCAL_MAX_DISPATCHES_PER_SECOND : MAX_DISPATCHES_PER_SECOND
  if (retry.maxAttempts === 0) throw refuse(`${at('retryConfig', 'maxAttempts')} counts the first attempt, so it must be 1 or more; -1 is unlimited`)
  const { minBackoffSeconds: min, maxBackoffSeconds: max } = retry
  if (typeof min === 'number' && typeof max === 'number' && min > max) throw refuse(`${at('retryConfig', 'minBackoffSeconds')} must not be more than 'maxBackoffSeconds'`)
  try {
    return completeQueueSettings({
      rateLimits: {
        ...limit('number', rate, 'rateLimits', 'maxDispatchesPerSecond', 0.001, maxRate),
        ...limit('integer', rate, 'rateLimits', 'maxConcurrentDispatches', 1, 5000)
      },
      retryConfig: {
        ...limit('integer', retry, 'retryConfig', 'maxAttempts', -1, 1_000_000),
        ...limit('number', retry, 'retryConfig', 'maxRetrySeconds', 0, YEAR),
        ...limit('number', retry, 'retryConfig', 'minBackoffSeconds', 0, YEAR),
        ...limit('number', retry, 'retryConfig', 'maxBackoffSeconds', 0.001, YEAR),
        ...limit('integer', retry, 'retryConfig', 'maxDoublings', 0, 1000)
      }
    }, maxRate)
  } catch (error) {
    throw error instanceof CloudTasksError ? refuse(`${at()}: ${error.message}`) : error
  }
}

import { integer, isPlainObject, number, readOptions, section, type Declared, type Option, type Read } from '../checks.js'
import { completeQueueSettings } from '../cloud-tasks/limits.js'
import { isQueueId } from '../cloud-tasks/names.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import type { QueueSettings, RateLimits, RetryConfig } from '../cloud-tasks/task.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'

/** Named as in firebase-functions. */
export interface QueueOptions {
  readonly rateLimits?: Partial<Omit<RateLimits, 'maxBurstSize'>>
  readonly retryConfig?: Partial<RetryConfig>
}

/** The embedded queue does not share its process with others, so it is allowed to be faster than Cloud Tasks. */
export const LOCAL_MAX_DISPATCHES_PER_SECOND = 1_000_000

const YEAR = 366 * 86_400

const attempts = integer(-1, 1_000_000)

const maxAttempts: typeof attempts = {
  read (value, path, reading) {
    if (value === 0) throw reading.refuse(`'${path}' counts the first attempt, so it must be 1 or more; -1 is unlimited`)
    return attempts.read(value, path, reading)
  }
}

export const queueOptions = {
  rateLimits: section({
    // `completeQueues` checks the transport's limit.
    maxDispatchesPerSecond: number(0.001, LOCAL_MAX_DISPATCHES_PER_SECOND),
    maxConcurrentDispatches: integer(1, 5000)
  } satisfies Declared<NonNullable<QueueOptions['rateLimits']>>),
  retryConfig: section({
    maxAttempts,
    maxRetrySeconds: number(0, YEAR),
    minBackoffSeconds: number(0, YEAR),
    maxBackoffSeconds: number(0.001, YEAR),
    maxDoublings: integer(0, 1000)
  } satisfies Declared<RetryConfig>)
} satisfies Declared<QueueOptions>

/** Settings of queues by id, as given, each checked on its own. */
export type GivenQueues = Readonly<Record<string, Read<typeof queueOptions>>>

export const queuesOption: Option<GivenQueues> = {
  options: queueOptions,
  read (value = {}, path, reading) {
    if (!isPlainObject(value)) throw reading.refuse(`'${path}' must be an object of queue settings by queue id`)
    return Object.fromEntries(Object.entries(value).map(([id, queue]) => {
      const at = `${path}.${id}`
      if (!isQueueId(id)) throw reading.refuse(`'${at}': a queue id consists of 1 to 100 letters, digits or hyphens`)
      if (!isPlainObject(queue)) throw reading.refuse(`'${at}' must be an object such as { rateLimits: { maxDispatchesPerSecond: 5 } }`)
      const read = readOptions(queueOptions, queue, reading, at)
      const { minBackoffSeconds = 0, maxBackoffSeconds = Infinity } = read.retryConfig
      if (minBackoffSeconds > maxBackoffSeconds) {
        throw reading.refuse(`'${at}.retryConfig.minBackoffSeconds' must not be more than 'maxBackoffSeconds'`)
      }
      return [id, read]
    }))
  }
}

/**
 * Fills in Cloud Tasks' defaults.
 * @param maxRate the transport's limit of dispatches a second
 * @throws FST_TASKS_INVALID_OPTION
 */
export function completeQueues (given: GivenQueues, maxRate: number): ReadonlyMap<string, QueueSettings> {
  return new Map(Object.entries(given).map(([id, queue]) => {
    try {
      return [id, completeQueueSettings(queue, maxRate)]
    } catch (error) {
      throw error instanceof CloudTasksError ? new FST_TASKS_INVALID_OPTION(`'queues.${id}': ${error.message}`) : error
    }
  }))
}

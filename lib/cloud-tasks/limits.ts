import { refusals } from './status.js'
import type { NewQueueSettings, QueueSettings } from './task.js'

/** What `gcloud tasks queues describe` shows for a queue created without settings. */
export const DEFAULT_QUEUE_SETTINGS: QueueSettings = {
  rateLimits: {
    maxDispatchesPerSecond: 500,
    maxConcurrentDispatches: 1000,
    maxBurstSize: 100
  },
  retryConfig: {
    maxAttempts: 100,
    maxRetrySeconds: 0,
    minBackoffSeconds: 0.1,
    maxBackoffSeconds: 3600,
    maxDoublings: 16
  }
}

/** How long an attempt may take when its task does not say. */
export const DEFAULT_DISPATCH_DEADLINE_MS = 600_000

export const MAX_SCHEDULE_AHEAD_MS = 30 * 24 * 3600 * 1000

/** The burst that the service derives from a rate. Unpublished: this fits the two pairs seen, 500/s with 100 and 1/s with 10. */
export function maxBurstSize (maxDispatchesPerSecond: number): number {
  return Math.max(10, Math.ceil(maxDispatchesPerSecond / 5))
}

/** "RateLimits.maxDispatchesPerSecond must be less than or equal to 500." */
export const MAX_DISPATCHES_PER_SECOND = 500

/**
 * Throws INVALID_ARGUMENT for settings that CreateQueue refuses. `maxBurstSize` is output only: any value passes.
 * @param maxRate the largest rate to accept, for a queue that is not Cloud Tasks' own
 */
export function checkQueueSettings ({ rateLimits = {}, retryConfig = {} }: NewQueueSettings, maxRate: number = MAX_DISPATCHES_PER_SECOND): void {
  const { maxDispatchesPerSecond, maxConcurrentDispatches } = rateLimits
  checkNumber('RateLimits.maxDispatchesPerSecond', maxDispatchesPerSecond, maxRate)
  checkNumber('RateLimits.maxConcurrentDispatches', maxConcurrentDispatches, 5000)
  checkWhole('RateLimits.maxConcurrentDispatches', maxConcurrentDispatches)

  const { maxAttempts, minBackoffSeconds, maxBackoffSeconds, maxDoublings, maxRetrySeconds } = retryConfig
  checkWhole('RetryConfig.maxAttempts', maxAttempts)
  if (maxAttempts !== undefined && maxAttempts < -1) throw refusals.maxAttempts()
  checkNumber('RetryConfig.maxDoublings', maxDoublings)
  checkWhole('RetryConfig.maxDoublings', maxDoublings)
  checkNumber('RetryConfig.maxRetryDuration', maxRetrySeconds)
  checkNumber('RetryConfig.minBackoff', minBackoffSeconds)
  checkNumber('RetryConfig.maxBackoff', maxBackoffSeconds)
  if (minBackoffSeconds !== undefined && maxBackoffSeconds && minBackoffSeconds > maxBackoffSeconds) {
    throw refusals.backoffOrder()
  }
}

/**
 * Settings with everything filled in. Throws as `checkQueueSettings`. As on the wire, where 0 cannot be told from absent, 0
 * means the default for the rate, the concurrency, the attempts and the maximum back-off. A default that contradicts the
 * other bound of the back-off gives way to it.
 */
export function completeQueueSettings (given: NewQueueSettings = {}, maxRate?: number): QueueSettings {
  checkQueueSettings(given, maxRate)
  const { rateLimits = {}, retryConfig = {} } = given
  const defaults = DEFAULT_QUEUE_SETTINGS
  const maxDispatchesPerSecond = rateLimits.maxDispatchesPerSecond || defaults.rateLimits.maxDispatchesPerSecond
  const min = retryConfig.minBackoffSeconds
  const max = retryConfig.maxBackoffSeconds || undefined
  return {
    rateLimits: {
      maxDispatchesPerSecond,
      maxConcurrentDispatches: rateLimits.maxConcurrentDispatches || defaults.rateLimits.maxConcurrentDispatches,
      maxBurstSize: maxBurstSize(maxDispatchesPerSecond)
    },
    retryConfig: {
      maxAttempts: retryConfig.maxAttempts || defaults.retryConfig.maxAttempts,
      maxRetrySeconds: retryConfig.maxRetrySeconds ?? defaults.retryConfig.maxRetrySeconds,
      minBackoffSeconds: min ?? Math.min(defaults.retryConfig.minBackoffSeconds, max ?? Infinity),
      maxBackoffSeconds: max ?? Math.max(defaults.retryConfig.maxBackoffSeconds, min ?? 0),
      maxDoublings: retryConfig.maxDoublings ?? defaults.retryConfig.maxDoublings
    }
  }
}

function checkNumber (field: string, value: number | undefined, max?: number): void {
  if (value === undefined) return
  if (!Number.isFinite(value)) throw refusals.notANumber(field)
  if (value < 0) throw refusals.negative(field)
  if (max !== undefined && value > max) throw refusals.above(field, max)
}

function checkWhole (field: string, value: number | undefined): void {
  if (value !== undefined && !Number.isInteger(value)) throw refusals.notAnInteger(field)
}

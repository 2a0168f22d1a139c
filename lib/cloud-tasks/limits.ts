import { checkHttpTarget } from './http-target.js'
import { statusErrors } from './status.js'
import type { NewQueueSettings, QueueExtras, QueueSettings, RetryConfig } from './task.js'

/** As `gcloud tasks queues describe` shows them for a queue created without settings. */
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

/** The dispatch deadline of a task without one of its own. */
export const DEFAULT_DISPATCH_DEADLINE_MS = 600_000

/**
 * The problem with a dispatch deadline; undefined when it is valid. Cloud Tasks: "Task.dispatchDeadline must be between [15s, 30m]",
 * on App Engine [15s, 24h15s].
 * @param target undefined where it is not known yet; the wider range then applies
 */
export function deadlineProblem (seconds: unknown, target: 'http' | 'appEngine' | undefined): string | undefined {
  const max = target === 'http' ? 1800 : 86_415
  if (typeof seconds === 'number' && seconds >= 15 && seconds <= max) return undefined
  const range = { http: '1800', appEngine: '86415', undefined: '1800 (86415 on App Engine)' }[String(target) as 'undefined']
  return `must be a number of seconds from 15 to ${range}`
}

export const MAX_SCHEDULE_AHEAD_MS = 30 * 24 * 3600 * 1000

/** The burst that the service derives from a rate. Undocumented: this fits the two known pairs, 500/s with 100 and 1/s with 10. */
export function maxBurstSize (maxDispatchesPerSecond: number): number {
  return Math.max(10, Math.ceil(maxDispatchesPerSecond / 5))
}

/** "RateLimits.maxDispatchesPerSecond must be less than or equal to 500." */
export const MAX_DISPATCHES_PER_SECOND = 500

/**
 * Throws INVALID_ARGUMENT for settings that CreateQueue rejects. `maxBurstSize` is output only, so any value is valid.
 * @param maxRate the highest valid rate, for queues outside of Cloud Tasks
 */
export function checkQueueSettings (settings: NewQueueSettings, maxRate: number = MAX_DISPATCHES_PER_SECOND): void {
  const { rateLimits = {}, retryConfig = {}, ...extras } = settings
  const { maxDispatchesPerSecond, maxConcurrentDispatches } = rateLimits
  checkNumber('RateLimits.maxDispatchesPerSecond', maxDispatchesPerSecond, maxRate)
  checkNumber('RateLimits.maxConcurrentDispatches', maxConcurrentDispatches, 5000)
  checkWhole('RateLimits.maxConcurrentDispatches', maxConcurrentDispatches)
  checkRetryConfig(retryConfig)
  checkNumber('RateLimits.maxBurstSize', extras.chosenBurstSize, 500)
  checkWhole('RateLimits.maxBurstSize', extras.chosenBurstSize)
  checkNumber('StackdriverLoggingConfig.samplingRatio', extras.samplingRatio, 1)
  checkRange('Queue.taskTtl', extras.taskTtlSeconds, 10 * DAY, 3650 * DAY, '10 days and 10 years')
  checkRange('Queue.tombstoneTtl', extras.tombstoneTtlSeconds, 3600, 9 * DAY, '1 hour and 9 days')
  if (extras.httpTarget !== undefined) checkHttpTarget(extras.httpTarget)
}

/** Throws INVALID_ARGUMENT. The limits apply to queues and tasks. */
export function checkRetryConfig (retryConfig: Partial<RetryConfig>): void {
  const { maxAttempts, minBackoffSeconds, maxBackoffSeconds, maxDoublings, maxRetrySeconds } = retryConfig
  checkWhole('RetryConfig.maxAttempts', maxAttempts)
  if (maxAttempts !== undefined && maxAttempts < -1) throw statusErrors.maxAttempts()
  checkNumber('RetryConfig.maxDoublings', maxDoublings)
  checkWhole('RetryConfig.maxDoublings', maxDoublings)
  checkNumber('RetryConfig.maxRetryDuration', maxRetrySeconds)
  checkNumber('RetryConfig.minBackoff', minBackoffSeconds)
  checkNumber('RetryConfig.maxBackoff', maxBackoffSeconds)
  if (minBackoffSeconds !== undefined && maxBackoffSeconds && minBackoffSeconds > maxBackoffSeconds) {
    throw statusErrors.backoffOrder()
  }
}

/**
 * Settings with all defaults filled in. Throws as `checkQueueSettings`. As on the wire, where 0 and absent are the same, 0
 * means the default for the rate, the concurrency, the attempts and the maximum backoff. A default backoff bound is adjusted
 * where it would contradict the other bound.
 */
export function completeQueueSettings (given: NewQueueSettings = {}, maxRate?: number): QueueSettings {
  checkQueueSettings(given, maxRate)
  const { rateLimits = {}, retryConfig = {}, ...extras } = given
  const defaults = DEFAULT_QUEUE_SETTINGS.rateLimits
  const maxDispatchesPerSecond = rateLimits.maxDispatchesPerSecond || defaults.maxDispatchesPerSecond
  return {
    rateLimits: {
      maxDispatchesPerSecond,
      maxConcurrentDispatches: rateLimits.maxConcurrentDispatches || defaults.maxConcurrentDispatches,
      maxBurstSize: extras.chosenBurstSize || maxBurstSize(maxDispatchesPerSecond)
    },
    retryConfig: completeRetryConfig(retryConfig),
    ...givenExtras(extras)
  }
}

/** Fills in defaults as `completeQueueSettings` does. */
export function completeRetryConfig (given: Partial<RetryConfig>): RetryConfig {
  const defaults = DEFAULT_QUEUE_SETTINGS.retryConfig
  const min = given.minBackoffSeconds
  const max = given.maxBackoffSeconds || undefined
  return {
    maxAttempts: given.maxAttempts || defaults.maxAttempts,
    maxRetrySeconds: given.maxRetrySeconds ?? defaults.maxRetrySeconds,
    minBackoffSeconds: min ?? Math.min(defaults.minBackoffSeconds, max ?? Infinity),
    maxBackoffSeconds: max ?? Math.max(defaults.maxBackoffSeconds, min ?? 0),
    maxDoublings: given.maxDoublings ?? defaults.maxDoublings
  }
}

function givenExtras (extras: QueueExtras): QueueExtras {
  return Object.fromEntries(EXTRAS.filter(key => extras[key] !== undefined).map(key => [key, extras[key]]))
}

const EXTRAS = [
  'appEngineRoutingOverride', 'httpTarget', 'samplingRatio', 'chosenBurstSize', 'taskTtlSeconds', 'tombstoneTtlSeconds'
] as const

function checkNumber (field: string, value: number | undefined, max?: number): void {
  if (value === undefined) return
  if (!Number.isFinite(value)) throw statusErrors.notANumber(field)
  if (value < 0) throw statusErrors.negative(field)
  if (max !== undefined && value > max) throw statusErrors.above(field, max)
}

function checkWhole (field: string, value: number | undefined): void {
  if (value !== undefined && !Number.isInteger(value)) throw statusErrors.notAnInteger(field)
}

function checkRange (field: string, value: number | undefined, min: number, max: number, range: string): void {
  if (value !== undefined && !(value >= min && value <= max)) throw statusErrors.outside(field, range)
}

const DAY = 24 * 3600

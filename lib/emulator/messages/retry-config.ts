import type { RetryConfig } from '../../cloud-tasks/task.js'
import type { RetryConfigMessage } from './messages.js'
import type { DurationMessage } from '../proto/time.js'
import { durationMessage, readDuration } from './times.js'

/** The fields that a message sets. 0 and absent are the same on the wire, and mean the default. */
export function readRetryConfig (message: RetryConfigMessage): Partial<RetryConfig> {
  const { maxAttempts, maxRetryDuration, minBackoff, maxBackoff, maxDoublings } = message
  return {
    ...(maxAttempts ? { maxAttempts } : undefined),
    ...(maxDoublings ? { maxDoublings } : undefined),
    ...seconds('maxRetrySeconds', 'RetryConfig.maxRetryDuration', maxRetryDuration),
    ...seconds('minBackoffSeconds', 'RetryConfig.minBackoff', minBackoff),
    ...seconds('maxBackoffSeconds', 'RetryConfig.maxBackoff', maxBackoff)
  }
}

export function retryConfigMessage (retry: RetryConfig): RetryConfigMessage {
  const { maxAttempts, maxDoublings, maxRetrySeconds } = retry
  return {
    maxAttempts,
    ...(maxRetrySeconds === 0 ? undefined : { maxRetryDuration: durationMessage(maxRetrySeconds) }),
    minBackoff: durationMessage(retry.minBackoffSeconds),
    maxBackoff: durationMessage(retry.maxBackoffSeconds),
    maxDoublings
  }
}

function seconds<K extends keyof RetryConfig> (key: K, field: string, duration: DurationMessage | undefined): { [P in K]?: number } {
  return (duration === undefined ? {} : { [key]: readDuration(field, duration) }) as { [P in K]?: number }
}

import type { RetryConfig } from './task.js'

/** Cloud Tasks drops tasks 31 days after their creation, regardless of retry settings. */
export const RETENTION_MS = 31 * 24 * 3600 * 1000

/**
 * Milliseconds from the end of failed attempt `attempt` (1-based) to the next: doubling `maxDoublings` times, then
 * growing by the last step, up to the maximum. No jitter: none is documented. This is the curve of App Engine's local task
 * queue; the proto's example (10 s, 300 s, 3 doublings) gives 10, 20, 40, 80, 160, 240, 300, 300.
 */
export function backoffMs (retry: RetryConfig, attempt: number): number {
  if (retry.minBackoffSeconds === 0) return 0
  const doublings = Math.min(attempt - 1, retry.maxDoublings)
  const steps = attempt - doublings
  return Math.min(retry.minBackoffSeconds * 2 ** doublings * steps, retry.maxBackoffSeconds) * 1000
}

/**
 * Whether a task that has just failed is not retried. Where attempts and time are both limited, both limits must be reached; where neither
 * is, the task is retried until its retention ends.
 */
export function isExhausted (retry: RetryConfig, dispatchCount: number, firstDispatchAt: number, now: number): boolean {
  const limitsAttempts = retry.maxAttempts !== -1
  const limitsTime = retry.maxRetrySeconds > 0
  if (!limitsAttempts && !limitsTime) return false
  const attemptsSpent = !limitsAttempts || dispatchCount >= retry.maxAttempts
  const timeSpent = !limitsTime || now - firstDispatchAt > retry.maxRetrySeconds * 1000
  return attemptsSpent && timeSpent
}

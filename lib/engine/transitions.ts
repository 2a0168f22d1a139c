import { backoffMs, isExhausted } from '../cloud-tasks/backoff.js'
import { deadlineStatus, responseStatus, unreachableStatus } from '../cloud-tasks/status.js'
import type { RetryConfig, Task } from '../cloud-tasks/task.js'

/** The end of an attempt: the status of a response, the deadline, or no response. */
export type AttemptEnd = number | 'deadline' | 'unreachable'

/** The state that the engine keeps of a running attempt. */
export interface AttemptStart {
  readonly scheduleAt: number
  readonly dispatchAt: number
  /** Started by RunTask: the backoff starts at the call. */
  readonly forced: boolean
  /** The previous attempt. */
  readonly lastAttempt: Task['lastAttempt']
}

/** The task's state when an attempt is dispatched. */
export function afterDispatch (task: Task, now: number): Task {
  const attempt = { scheduleAt: task.scheduleAt, dispatchAt: now }
  return {
    ...task,
    dispatchCount: task.dispatchCount + 1,
    firstAttempt: task.firstAttempt ?? attempt,
    lastAttempt: attempt
  }
}

/** The task's state as if an attempt had not been dispatched. Other attempts may have started or ended in the meantime. */
export function afterUndelivered (task: Task, start: AttemptStart): Task {
  const { firstAttempt, lastAttempt, ...rest } = task
  if (task.dispatchCount === 1) return { ...rest, dispatchCount: 0 }
  const last = lastAttempt?.dispatchAt === start.dispatchAt ? start.lastAttempt : lastAttempt
  return {
    ...rest,
    dispatchCount: task.dispatchCount - 1,
    firstAttempt: firstAttempt!,
    ...(last === undefined ? undefined : { lastAttempt: last })
  }
}

/** Any 2xx is success; everything else, including no response, is retried. */
export function isSuccess (end: AttemptEnd): boolean {
  return typeof end === 'number' && end >= 200 && end <= 299
}

/** The task's state after a failed attempt, due again after its backoff. */
export function afterFailure (task: Task, start: AttemptStart, end: AttemptEnd, retry: RetryConfig, now: number): Task {
  const { scheduleAt, dispatchAt } = start
  const next = {
    ...task,
    scheduleAt: (start.forced ? dispatchAt : now) + backoffMs(retry, task.dispatchCount),
    previousResponse: typeof end === 'number' ? end : 0
  }
  if (typeof end !== 'number') {
    const responseStatus = end === 'deadline' ? deadlineStatus() : unreachableStatus()
    return { ...next, lastAttempt: { scheduleAt, dispatchAt, responseStatus } }
  }
  const counts = task.httpRequest === undefined || end < 500
  return {
    ...next,
    responseCount: task.responseCount + 1,
    executionCount: task.executionCount + (counts ? 1 : 0),
    lastAttempt: { scheduleAt, dispatchAt, responseAt: now, responseStatus: responseStatus(end) }
  }
}

/** Whether a task that has just failed has reached its retry limits. */
export function isGivenUp (task: Task, retry: RetryConfig, now: number): boolean {
  return isExhausted(retry, task.dispatchCount, task.firstAttempt!.dispatchAt, now)
}

import { DEFAULT_QUEUE_SETTINGS } from '../../lib/cloud-tasks/limits.js'
import type { Task } from '../../lib/cloud-tasks/task.js'
import { afterDispatch, afterFailure } from '../../lib/engine/transitions.js'

export const now = Date.parse('2030-01-01T00:00:00Z')

export function newTask (name: string, more: Partial<Task> = {}): Task {
  const httpRequest = {
    url: 'http://localhost/work',
    httpMethod: 'POST' as const,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(`{"for":"${name}"}`)
  }
  return {
    name,
    scheduleAt: now,
    createdAt: now,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0,
    ...(more.appEngineHttpRequest === undefined ? { httpRequest } : {}),
    ...more
  }
}

/** The task after an attempt that was answered with 500. */
export function failed (task: Task, at: number = now): Task {
  return afterFailure(
    afterDispatch(task, at),
    { scheduleAt: task.scheduleAt, dispatchAt: at, forced: false, lastAttempt: undefined },
    500,
    DEFAULT_QUEUE_SETTINGS.retryConfig,
    at + 5
  )
}

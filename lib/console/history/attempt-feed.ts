import type { Clock } from '../../clock/clock.js'
import { printQueueName } from '../../cloud-tasks/names.js'
import type { HttpMethod } from '../../cloud-tasks/task.js'
import type { PluginHandle } from '../../plugin-handle.js'
import type { AttemptKey, AttemptRequest, AttemptWatcher, StartedAttempt } from '../../worker/watchers.js'
import type { SeenTask } from '../api/task-view.js'
import type { History } from './history.js'
import { teeLog } from './log-tee.js'

/** Dependencies of a feed. */
export interface AttemptFeedParts {
  readonly history: History
  readonly clock: Clock
  /** Full name of a queue from its short id. */
  readonly queueName: (id: string) => string
}

/** Full names of an app's queues from their short ids. In Google Cloud, `-` replaces a project that only the credentials contain. */
export function queueNamer ({ local, config }: PluginHandle): (id: string) => string {
  return id => local?.queueName(id) ?? printQueueName({ project: config.project ?? '-', location: config.location, queue: id })
}

/** Adds details of attempts that only the worker knows to a history: log lines, errors, drops, postponements, traces. */
export function workerFeed ({ history, clock, queueName }: AttemptFeedParts): AttemptWatcher {
  const nameOf = ({ queue, id }: AttemptKey): string => `${queueName(queue)}/tasks/${id}`
  return {
    logOf: (attempt, log) => {
      const name = nameOf(attempt)
      return teeLog(log, clock, line => { history.line(name, attempt.attempt, line) })
    },
    settled: (attempt, result) => {
      if (attempt.traceId !== undefined) history.traced(nameOf(attempt), attempt.attempt, attempt.traceId)
      if (result.result === 'dropped') history.dropped(nameOf(attempt), attempt.attempt, result.reason)
      else if (result.result === 'postponed') history.postponed(nameOf(attempt), attempt.attempt, result.until, result.reason)
      else if (result.result !== 'done') history.failed(nameOf(attempt), attempt.attempt, result.error)
    }
  }
}

/**
 * Like `workerFeed`, for queues in Google Cloud: without an engine to report attempts, they are derived from the requests that this
 * process serves. Attempts in other processes are unknown.
 */
export function servedFeed (parts: AttemptFeedParts): AttemptWatcher {
  const { history, clock, queueName } = parts
  const feed = workerFeed(parts)
  return {
    logOf: feed.logOf,
    started: (attempt, request) => { history.started({ task: taskOf(attempt, request, queueName(attempt.queue), clock.now()) }) },
    settled: (attempt, result, { status, isLast }) => {
      feed.settled(attempt, result, { status, isLast })
      const name = `${queueName(attempt.queue)}/tasks/${attempt.id}`
      const task = { name, dispatchCount: attempt.attempt }
      history.attempted({ attempt: { task }, result: status, endedAt: clock.now(), retryAt: isLast ? undefined : 'unknown' })
      if (isLast) history.ended(name, status < 300 ? 'done' : 'givenUp')
    }
  }
}

/** The parts of a task that an attempt's request contains. */
function taskOf (attempt: StartedAttempt, request: AttemptRequest, queue: string, now: number): SeenTask {
  const { id, attempt: number, executionCount, scheduledTime, previousResponse } = attempt
  const { method, url, headers, body } = request
  const scheduleAt = scheduledTime.getTime()
  return {
    name: `${queue}/tasks/${id}`,
    httpRequest: {
      url,
      httpMethod: method as HttpMethod,
      headers: Object.fromEntries(Object.entries(headers).flatMap(([key, value]) => value === undefined ? [] : [[key, String(value)]])),
      ...(body === undefined ? undefined : { body: Buffer.from(body) })
    },
    scheduleAt,
    dispatchCount: number,
    responseCount: number - 1,
    executionCount,
    lastAttempt: { scheduleAt, dispatchAt: now },
    ...(previousResponse === undefined ? undefined : { previousResponse })
  }
}

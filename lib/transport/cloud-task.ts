import type { protos } from '@google-cloud/tasks'
import type { NewTask } from '../cloud-tasks/task.js'
import type { ResolvedTarget } from '../config.js'
import type { OutgoingTask } from './transport.js'

/**
 * The task that Cloud Tasks is asked for.
 * @param parent full name of the queue
 * @param route URL path of the task's route, all prefixes included
 */
export function newTask (parent: string, target: ResolvedTarget, route: string, outgoing: OutgoingTask): NewTask {
  const { id, method: httpMethod, headers, body, scheduleAt, dispatchDeadlineMs } = outgoing
  return {
    ...(id === undefined ? {} : { name: `${parent}/tasks/${id}` }),
    ...(target.type === 'http'
      ? { httpRequest: { url: target.url + route, httpMethod, headers, body, ...oidcToken(target) } }
      : { appEngineHttpRequest: { relativeUri: route, httpMethod, headers, body, ...routing(target) } }),
    ...(scheduleAt === undefined ? {} : { scheduleAt }),
    ...(dispatchDeadlineMs === undefined ? {} : { dispatchDeadlineMs })
  }
}

/** The same task as the official client takes it. */
export function printTask ({ scheduleAt, dispatchDeadlineMs, ...task }: NewTask): protos.google.cloud.tasks.v2.ITask {
  return {
    ...task,
    ...(scheduleAt === undefined ? {} : { scheduleTime: printMs(scheduleAt) }),
    ...(dispatchDeadlineMs === undefined ? {} : { dispatchDeadline: printMs(dispatchDeadlineMs) })
  }
}

/** Epoch milliseconds of a google.protobuf.Timestamp. */
export function parseTime ({ seconds, nanos }: protos.google.protobuf.ITimestamp): number {
  return Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1_000_000
}

/** A google.protobuf.Timestamp or Duration. */
function printMs (ms: number): { seconds: number, nanos: number } {
  const seconds = Math.floor(ms / 1000)
  return { seconds, nanos: Math.min(Math.round((ms - seconds * 1000) * 1_000_000), 999_999_999) }
}

function oidcToken ({ serviceAccountEmail, audience }: Extract<ResolvedTarget, { type: 'http' }>) {
  return serviceAccountEmail === undefined ? undefined : { oidcToken: { serviceAccountEmail, audience } }
}

function routing ({ service, version }: Extract<ResolvedTarget, { type: 'appEngine' }>) {
  if (service === undefined && version === undefined) return undefined
  return { appEngineRouting: { ...(service === undefined ? {} : { service }), ...(version === undefined ? {} : { version }) } }
}

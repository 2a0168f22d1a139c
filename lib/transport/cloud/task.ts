import type { protos } from '@google-cloud/tasks'
import type { NewTask } from '../../cloud-tasks/task.js'
import type { ResolvedTarget } from '../../options/target.js'
import type { OutgoingTask } from '../transport.js'

/**
 * The task that Cloud Tasks is asked for.
 * @param parent full name of the queue
 * @param route URL path of the task's route, all prefixes included
 */
export function newTask (parent: string, target: ResolvedTarget, route: string, outgoing: OutgoingTask): NewTask {
  const { id, method: httpMethod, headers, body, scheduleAt, dispatchDeadlineMs } = outgoing
  // Assigned one by one: this runs for every task, and each spread would copy.
  const task: Writable<NewTask> = {}
  if (id !== undefined) task.name = `${parent}/tasks/${id}`
  if (target.type === 'http') {
    const { serviceAccountEmail, audience } = target
    task.httpRequest = serviceAccountEmail === undefined
      ? { url: target.url + route, httpMethod, headers, body }
      : { url: target.url + route, httpMethod, headers, body, oidcToken: { serviceAccountEmail, audience } }
  } else {
    task.appEngineHttpRequest = { relativeUri: route, httpMethod, headers, body, ...routing(target) }
  }
  if (scheduleAt !== undefined) task.scheduleAt = scheduleAt
  if (dispatchDeadlineMs !== undefined) task.dispatchDeadlineMs = dispatchDeadlineMs
  return task
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

type CloudTask = protos.google.cloud.tasks.v2.ITask

/** The same task as the official client takes it. */
export function printTask ({ name, httpRequest, appEngineHttpRequest, scheduleAt, dispatchDeadlineMs }: NewTask): CloudTask {
  const task: CloudTask = {}
  if (name !== undefined) task.name = name
  if (httpRequest !== undefined) task.httpRequest = httpRequest
  if (appEngineHttpRequest !== undefined) task.appEngineHttpRequest = appEngineHttpRequest
  if (scheduleAt !== undefined) task.scheduleTime = printMs(scheduleAt)
  if (dispatchDeadlineMs !== undefined) task.dispatchDeadline = printMs(dispatchDeadlineMs)
  return task
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

function routing ({ service, version }: Extract<ResolvedTarget, { type: 'appEngine' }>) {
  if (service === undefined && version === undefined) return undefined
  return { appEngineRouting: { ...(service === undefined ? {} : { service }), ...(version === undefined ? {} : { version }) } }
}

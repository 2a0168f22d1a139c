import type { protos } from '@google-cloud/tasks'
import type { NewTask } from '../../cloud-tasks/task.js'

type CloudTask = protos.google.cloud.tasks.v2.ITask

/** The same task in the form of the official client. */
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

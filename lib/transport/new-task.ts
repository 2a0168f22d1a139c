import type { NewTask } from '../cloud-tasks/task.js'
import type { ResolvedTarget } from '../options/target.js'
import type { OutgoingTask } from './transport.js'

/**
 * A task as Cloud Tasks' CreateTask accepts it, for either transport.
 * @param parent full name of the queue
 * @param route URL path of the task's route, all prefixes included
 */
export function newTask (parent: string, target: ResolvedTarget, route: string, outgoing: OutgoingTask): NewTask {
  const { id, method: httpMethod, headers, body, scheduleAt, dispatchDeadlineMs } = outgoing
  // Hot path: assigned one by one, because spreads copy.
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

function routing ({ service, version }: Extract<ResolvedTarget, { type: 'appEngine' }>) {
  if (service === undefined && version === undefined) return undefined
  return { appEngineRouting: { ...(service === undefined ? {} : { service }), ...(version === undefined ? {} : { version }) } }
}

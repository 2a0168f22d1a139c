/** Resource names: `projects/P/locations/L/queues/Q/tasks/T`. Printing and parsing side by side. */

export interface LocationName {
  readonly project: string
  readonly location: string
}

export interface QueueName extends LocationName {
  readonly queue: string
}

export interface TaskName extends QueueName {
  readonly task: string
}

export function printLocationName ({ project, location }: LocationName): string {
  return `projects/${project}/locations/${location}`
}

export function parseLocationName (name: string): LocationName | undefined {
  const match = locationName.exec(name)
  return match === null ? undefined : { project: match[1]!, location: match[2]! }
}

export function printQueueName ({ project, location, queue }: QueueName): string {
  return `projects/${project}/locations/${location}/queues/${queue}`
}

export function parseQueueName (name: string): QueueName | undefined {
  const match = queueName.exec(name)
  return match === null ? undefined : { project: match[1]!, location: match[2]!, queue: match[3]! }
}

export function printTaskName ({ project, location, queue, task }: TaskName): string {
  return `projects/${project}/locations/${location}/queues/${queue}/tasks/${task}`
}

/** The id is everything after `/tasks/`: the service distinguishes malformed names from invalid ids, see `isTaskId`. */
export function parseTaskName (name: string): TaskName | undefined {
  const match = taskName.exec(name)
  return match === null ? undefined : { project: match[1]!, location: match[2]!, queue: match[3]!, task: match[4]! }
}

/** The full name of a task's queue. `task` must be well-formed. */
export function queueNameOf (task: string): string {
  return task.slice(0, task.lastIndexOf('/tasks/'))
}

/** The last segment of a resource name: the short id of a queue or a task. */
export function shortId (name: string): string {
  return name.slice(name.lastIndexOf('/') + 1)
}

export function isProjectId (id: string): boolean {
  return projectId.test(id)
}

export function isLocationId (id: string): boolean {
  return locationId.test(id)
}

export function isQueueId (id: string): boolean {
  return queueId.test(id)
}

export function isTaskId (id: string): boolean {
  return taskId.test(id)
}

/** An id in the service's format: the decimal digits of a random uint64. */
export function generateTaskId (): string {
  if (nextRandom === randoms.length) {
    crypto.getRandomValues(randoms)
    nextRandom = 0
  }
  return randoms[nextRandom++]!.toString()
}

// Random bytes for many ids at once: requesting 8 bytes per id costs more than the rest of createTask.
const randoms = new BigUint64Array(512)
let nextRandom = randoms.length

const locationName = /^projects\/([A-Za-z0-9:.-]+)\/locations\/([A-Za-z0-9-]+)$/
const queueName = /^projects\/([A-Za-z0-9:.-]+)\/locations\/([A-Za-z0-9-]+)\/queues\/([A-Za-z0-9-]{1,100})$/
const taskName = /^projects\/([A-Za-z0-9:.-]+)\/locations\/([A-Za-z0-9-]+)\/queues\/([A-Za-z0-9-]{1,100})\/tasks\/(.+)$/s
const projectId = /^[A-Za-z0-9:.-]+$/
const locationId = /^[A-Za-z0-9-]+$/
const queueId = /^[A-Za-z0-9-]{1,100}$/
const taskId = /^[A-Za-z0-9_-]{1,500}$/

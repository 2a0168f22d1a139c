import { readOrigin } from '../copies/facts.js'
import { headersOf } from '../copies/source.js'
import type { ListedTask, TaskContent } from '../transport/transport.js'

/** A task whose last attempt failed. What it says of itself is text that anybody who may create tasks in its queue could have written. */
export interface DeadLetter {
  /** Short id in the dead-letter queue. */
  readonly id: string
  /** Name in the registry; undefined when no task of it has this path any more. */
  readonly task: string | undefined
  /** URL path of its attempts. */
  readonly path: string
  /** Queue that the task was in; undefined, like all that follows, for what this package did not write. */
  readonly queue: string | undefined
  /** Id of the task that failed. */
  readonly taskId: string | undefined
  /** Id of the task that was enqueued: another one once it was postponed or replayed. */
  readonly originalId: string | undefined
  readonly attempts: number | undefined
  /** When the task ended. */
  readonly time: Date | undefined
  /** Of its last attempt. The message is cut. */
  readonly error: { readonly name: string, readonly code?: string, readonly message: string } | undefined
}

/**
 * The letter that a task in the dead-letter queue is.
 * @param nameOf the task of the registry whose route has a path
 */
export function letterOf (task: ListedTask, nameOf: (path: string) => string | undefined): DeadLetter {
  const path = pathOf(task)
  const origin = readOrigin(headersOf(task))
  const letter = origin?.letter
  return {
    id: task.id,
    task: nameOf(path) ?? letter?.task,
    path,
    queue: letter?.queue,
    taskId: letter?.id ?? (letter === undefined ? undefined : origin?.id),
    originalId: origin?.id,
    attempts: letter?.attempts,
    time: letter === undefined ? undefined : new Date(letter.at),
    error: letter?.error
  }
}

function pathOf ({ httpRequest, appEngineHttpRequest }: TaskContent): string {
  const url = httpRequest?.url ?? appEngineHttpRequest?.relativeUri ?? '/'
  return URL.canParse(url, 'http://localhost') ? new URL(url, 'http://localhost').pathname : url
}

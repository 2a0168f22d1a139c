import { readOrigin } from '../copies/facts.js'
import { headersOf } from '../copies/source.js'
import type { ListedTask, TaskContent } from '../transport/transport.js'

/** A task whose last attempt failed. Its facts are not trustworthy: anyone who can create tasks in the queue could have written them. */
export interface DeadLetter {
  /** Short id in the dead-letter queue. */
  readonly id: string
  /** Name in the registry; undefined when no task has this path any more. */
  readonly task: string | undefined
  /** URL path of its route. */
  readonly path: string
  /** Queue of the failed task; undefined, like the following properties, if it was not written by this package. */
  readonly queue: string | undefined
  /** Id of the failed task. */
  readonly taskId: string | undefined
  /** Id of the original task: another one if it was postponed or replayed. */
  readonly originalId: string | undefined
  readonly attempts: number | undefined
  /** When the task ended. */
  readonly time: Date | undefined
  /** Error of the last attempt. The message is truncated. */
  readonly error: { readonly name: string, readonly code?: string, readonly message: string } | undefined
}

/**
 * Parses a task in the dead-letter queue.
 * @param nameOf returns the name of the task with that path
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

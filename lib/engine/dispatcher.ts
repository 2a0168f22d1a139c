import type { Task } from '../cloud-tasks/task.js'

/** One delivery of a task, as the engine passes it to its dispatcher. */
export interface Attempt {
  /** State after dispatch: `dispatchCount` includes this attempt, and the queue's overrides are applied. */
  readonly task: Task
  /** Short id. */
  readonly queue: string
  /** Cloud Tasks' headers and the task's own; without Host, Content-Length and a token's Authorization. */
  readonly headers: Record<string, string>
  readonly deadlineMs: number
  /** When the engine stops waiting for the response. */
  readonly deadlineAt: number
  /** Set by the dispatcher: called when the engine stops waiting, so that the request can be aborted. */
  onDeadline?: () => void
}

/** The HTTP status of the response; 0 without a response. */
export interface Answer {
  readonly status: number
  /** The response body, for observers. */
  readonly text?: string
}

/**
 * Delivers an attempt. A rejection counts as no response and is reported. An answer after the deadline is ignored. `undelivered` means
 * that the attempt did not reach its target, because this process is closing; it then does not count.
 */
export type Dispatcher = (attempt: Attempt) => Promise<Answer | 'undelivered'>

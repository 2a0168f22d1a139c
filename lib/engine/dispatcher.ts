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
  /** When the engine stops waiting for the answer. */
  readonly deadlineAt: number
  /** For the dispatcher to set: called when the engine stops waiting, so that the request can be given up. */
  onDeadline?: () => void
}

/** The HTTP status of the response; 0 when none came. */
export interface Answer {
  readonly status: number
  /** What the target said, for observers. */
  readonly text?: string
}

/**
 * Delivers an attempt. A rejection counts as no response and is reported. An answer after the deadline is ignored. `undelivered` means
 * that it never reached its target, because this process is closing; then the attempt counts as not made.
 */
export type Dispatcher = (attempt: Attempt) => Promise<Answer | 'undelivered'>

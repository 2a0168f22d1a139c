import type { Clock } from '../clock/clock.js'
import type { RegisteredTypeProvider, TaskPayload } from '../registry/definitions.js'
import type { EnqueuedTask, EnqueuedWith, PartOf } from './assertions.js'
import type { TestedAttempt } from './attempt-results.js'

/** What a test can see and do of the tasks of an app. Times are those of `clock`. */
export interface TestKit<M, F = RegisteredTypeProvider> {
  /** The plugin's clock: the process's, which a test runner may fake, and ahead of it by what `advance` and `drain` have moved it. */
  readonly clock: Pick<Clock, 'now'>
  /**
   * The tasks that wait, in the order in which they were enqueued: those that are due, scheduled, or to be retried. One whose handler has
   * succeeded is not among them any more.
   * @throws FST_TASKS_NOT_REGISTERED
   */
  enqueued<N extends keyof M & string> (name: N): Array<EnqueuedTask<N, TaskPayload<M, N, F>>>
  enqueued (): Array<{ [N in keyof M & string]: EnqueuedTask<N, TaskPayload<M, N, F>> }[keyof M & string]>
  /**
   * Returns the first task that waits and is as expected.
   * @param payload part of it, or a function that decides about it. @default any
   * @throws AssertionError of node:assert; FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_KIT_CALL
   */
  assertEnqueued<N extends keyof M & string> (
    name: N, payload?: PartOf<TaskPayload<M, N, F>> | ((payload: TaskPayload<M, N, F>) => boolean), other?: EnqueuedWith
  ): EnqueuedTask<N, TaskPayload<M, N, F>>
  /**
   * That no task waits that is as described.
   * @throws AssertionError of node:assert; FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_KIT_CALL
   */
  refuteEnqueued<N extends keyof M & string> (
    name: N, payload?: PartOf<TaskPayload<M, N, F>> | ((payload: TaskPayload<M, N, F>) => boolean), other?: Omit<EnqueuedWith, 'times'>
  ): void
  /**
   * Runs the tasks that are due, and those that they enqueue, one after another through their routes, whatever the rates of their queues
   * are. Tasks without a handler in this process, and those of paused queues, stay. It returns attempts that fail as well, and throws no
   * handler's error.
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL
   */
  drain (options?: DrainOptions): Promise<Array<TestedAttempt<keyof M & string>>>
  /**
   * Moves the clock, and runs what falls due on the way as `drain` does.
   * @param by milliseconds, a duration such as `30s`, `1.5h` or `7d`, or the time to move to
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL
   */
  advance (by: number | string | Date, options?: AdvanceOptions): Promise<Array<TestedAttempt<keyof M & string>>>
  /**
   * Delivers one attempt of a task that no queue has, and so is never retried, through its route. The payload is not validated before: one
   * that does not fit is answered 400, as in production.
   * @throws FST_TASKS_NOT_REGISTERED, FST_TASKS_NO_HANDLER, FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_KIT_CALL
   */
  deliver<N extends keyof M & string> (name: N, payload: TaskPayload<M, N, F>, options?: DeliverOptions): Promise<TestedAttempt<N>>
  /** Removes all tasks that wait, and lets the ids of all former ones be used again. */
  clear (): Promise<void>
  /**
   * Ends the kit; what waits is dispatched again, but tasks that would have gone to Google Cloud are discarded. The clock is the process's
   * again. Closing the app ends its kit as well. May be called again.
   */
  dispose (): Promise<void>
  [Symbol.dispose] (): void
  [Symbol.asyncDispose] (): Promise<void>
}

export interface AdvanceOptions {
  /** Attempts after which it throws instead of going on: a handler may enqueue its own task for ever. @default 10000 */
  readonly maxAttempts?: number
}

export interface DrainOptions extends AdvanceOptions {
  /** Also runs what is scheduled or to be retried: moves the clock, without waiting, until nothing is left. @default false */
  readonly scheduled?: boolean
}

export interface DeliverOptions {
  /** From 1. The attempts before it count as failed with 500. @default 1 */
  readonly attempt?: number
  /** What the handler sees as `task.id`: as it is, or hashed as by `enqueue`. @default a new one */
  readonly id?: string
  /** @default the definition's, else the plugin's */
  readonly queue?: string
  readonly headers?: Readonly<Record<string, string>>
}

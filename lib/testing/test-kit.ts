import { boolean, integer, string, type Declared } from '../checks.js'
import type { Clock } from '../clock/clock.js'
import { MAX_ATTEMPT } from '../cloud-tasks/headers.js'
import { queueId, taskHeaders } from '../enqueue-options.js'
import type { RegisteredTypeProvider, TaskPayload } from '../registry/definitions.js'
import type { EnqueuedTask, EnqueuedWith, PartOf } from './assertions.js'
import type { TestedAttempt } from './attempt-results.js'
import type { KitDuration } from './duration.js'

/** Inspects and runs the tasks of an app in tests. Times are those of `clock`. */
export interface TestKit<M, F = RegisteredTypeProvider> {
  /** The plugin's clock: that of the process, which a test runner may fake, plus the time by which `advance` and `drain` have moved it. */
  readonly clock: Pick<Clock, 'now'>
  /**
   * Waiting tasks, in the order in which they were enqueued: those that are due, scheduled, or retrying, but not those whose handler has
   * succeeded, nor dead letters, which `app.tasks.deadLetters` lists.
   * @throws FST_TASKS_NOT_REGISTERED
   */
  enqueued<N extends keyof M & string> (name: N): Array<EnqueuedTask<N, TaskPayload<M, N, F>>>
  enqueued (): Array<{ [N in keyof M & string]: EnqueuedTask<N, TaskPayload<M, N, F>> }[keyof M & string]>
  /**
   * Returns the first matching task.
   * @param payload a partial payload, or a predicate. @default any
   * @throws AssertionError of node:assert; FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_KIT_CALL
   */
  assertEnqueued<N extends keyof M & string> (
    name: N, payload?: PartOf<TaskPayload<M, N, F>> | ((payload: TaskPayload<M, N, F>) => boolean), other?: EnqueuedWith
  ): EnqueuedTask<N, TaskPayload<M, N, F>>
  /**
   * Asserts that no waiting task matches.
   * @throws AssertionError of node:assert; FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_KIT_CALL
   */
  refuteEnqueued<N extends keyof M & string> (
    name: N, payload?: PartOf<TaskPayload<M, N, F>> | ((payload: TaskPayload<M, N, F>) => boolean), other?: Omit<EnqueuedWith, 'times'>
  ): void
  /**
   * Runs all due tasks, and those that they enqueue, sequentially through their routes, regardless of rate limits. Tasks without a handler
   * in this process, and those in paused queues, are not run. Failed attempts are returned too; errors of handlers are not thrown.
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL
   */
  drain (options?: DrainOptions): Promise<Array<TestedAttempt<keyof M & string>>>
  /**
   * Advances the clock, and runs tasks that become due like `drain`.
   * @param by milliseconds, a duration such as `30s`, `1.5h` or `7d`, or the time to advance to
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_INVALID_KIT_CALL
   */
  advance (by: number | KitDuration | Date, options?: AdvanceOptions): Promise<Array<TestedAttempt<keyof M & string>>>
  /**
   * Delivers one attempt of a task through its route, without a queue: there is no retry, no postponed copy and no dead letter. The
   * payload is not validated in advance: an invalid one gets the response 400, as in production.
   * @throws FST_TASKS_NOT_REGISTERED, FST_TASKS_NO_HANDLER, FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_KIT_CALL
   */
  deliver<N extends keyof M & string> (name: N, payload: TaskPayload<M, N, F>, options?: DeliverOptions): Promise<TestedAttempt<N>>
  /** Removes all waiting tasks and all tombstones, so that ids can be reused. */
  clear (): Promise<void>
  /**
   * Ends the kit: waiting tasks are dispatched again, except that tasks for Google Cloud are discarded, and the clock is that of the
   * process. Closing the app ends its kit too. Idempotent.
   */
  dispose (): Promise<void>
  [Symbol.dispose] (): void
  [Symbol.asyncDispose] (): Promise<void>
}

export interface AdvanceOptions {
  /** Maximum number of attempts, after which it throws: a handler may enqueue its own task forever. @default 1000 */
  readonly maxAttempts?: number
}

export const advanceOptions = {
  maxAttempts: integer(1, Number.MAX_SAFE_INTEGER, { default: 1000 })
} satisfies Declared<AdvanceOptions>

export interface DrainOptions extends AdvanceOptions {
  /** Whether to run scheduled and retrying tasks too: advances the clock, without waiting, until none are left. @default false */
  readonly scheduled?: boolean
}

export const drainOptions = {
  ...advanceOptions,
  scheduled: boolean({ default: false })
} satisfies Declared<DrainOptions>

export interface DeliverOptions {
  /** Attempt number, from 1. Previous attempts count as failed with 500. @default 1 */
  readonly attempt?: number
  /** De-duplication key, hashed to `task.id` as by `enqueue`. @default a generated id */
  readonly id?: string
  /** @default the definition's, else the plugin's */
  readonly queue?: string
  readonly headers?: Readonly<Record<string, string>>
}

export const deliverOptions = {
  attempt: integer(1, MAX_ATTEMPT, { default: 1 }),
  id: string({ valid: id => id.length >= 1 && id.length <= 500, must: 'must be a string of 1 to 500 characters' }),
  queue: queueId,
  headers: taskHeaders
} satisfies Declared<DeliverOptions>

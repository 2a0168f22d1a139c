import { problemOf, type CopiedRoute, type Copies } from '../copies/copies.js'
import type { LetterFacts } from '../copies/facts.js'
import { FST_TASKS_POSTPONE_FAILED } from '../errors.js'
import type { Config } from '../options/config.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { AttemptResult } from './attempt-result.js'
import type { AttemptContext } from './context.js'
import { isRetried, type RetryLimitSource } from './limits/retry-limits.js'
import type { Runs } from './run.js'
import type { AttemptWatchers } from './watchers.js'

/** The outcome of an attempt, with the HTTP status that reports it to Cloud Tasks. */
export interface Outcome {
  readonly result: 'done' | 'retry' | 'dropped' | 'postponed'
  readonly status: 200 | 204 | 400 | 499 | 500 | 503 | 504
  readonly error: unknown
  readonly code: string | undefined
  /** Whether this was a failure of the last attempt. */
  readonly exhausted: boolean
}

/**
 * Number of attempts in this process by outcome. `expired` counts tasks that the embedded queue dropped because of their age.
 */
export interface OutcomeCounts { done: number, retry: number, dropped: number, postponed: number, exhausted: number, expired: number }

/** Converts the result of an attempt to its outcome: logs and counts it, and calls `onDropped` or `onExhausted` before the response. */
export class Settlement {
  readonly #config: Config
  readonly #runs: Runs
  readonly #watchers: AttemptWatchers
  readonly #copies: Copies
  readonly #now: () => number
  readonly #limits: RetryLimitSource
  readonly #counts = new Map<string, OutcomeCounts>()

  constructor (config: Config, runs: Runs, watchers: AttemptWatchers, limits: RetryLimitSource, copies: Copies, now: () => number) {
    this.#config = config
    this.#runs = runs
    this.#limits = limits
    this.#watchers = watchers
    this.#copies = copies
    this.#now = now
  }

  countsOf (name: string): Readonly<OutcomeCounts> {
    return this.#counts.get(name) ?? noCounts()
  }

  /** Never rejects. */
  async settle (task: RegisteredTask, payload: unknown, context: AttemptContext, ended: AttemptResult): Promise<Outcome> {
    let attempt = ended
    if (attempt.result === 'postponed') attempt = await this.#postponed(task, attempt, context)
    // An invalid payload does not drop a dead letter either.
    else if (attempt.result === 'dropped' && attempt.invalid !== undefined && context.isLetter) {
      attempt = { result: 'invalid', error: attempt.invalid }
    }
    const settled = outcomeOf(attempt)
    const exhausted = settled.result === 'retry' && await this.#endsTask(context)
    const outcome = { ...settled, exhausted }
    this.#count(task.name, outcome)
    if (!this.#watchers.none) {
      this.#watchers.settled(context, attempt, { status: outcome.status, isLast: outcome.result !== 'retry' || exhausted })
    }

    const lastError = exhausted ? outcome.error : attempt.result === 'dropped' ? attempt.invalid : undefined
    if (exhausted || lastError !== undefined) await this.#bury(task, context, lastError, attempt.result)
    if (attempt.result === 'postponed') {
      const { until, reason } = attempt
      context.log.info({ until: new Date(until), reason, postponements: context.postponements + 1 }, 'task postponed')
    } else if (attempt.result === 'dropped') {
      await this.#dropped(payload, attempt.reason, context)
    } else if (exhausted) {
      await this.#exhausted(payload, outcome.error, context)
    } else if (outcome.result === 'retry') {
      const certain = isRetried(context.limits, context.attempt)
      context.log.warn({ err: outcome.error, status: outcome.status, maxAttempts: context.maxAttempts },
        certain ? 'attempt failed, it will be retried' : 'attempt failed, it will be retried unless the queue allows no more attempts')
    } else {
      context.debug({ durationMs: context.durationMs }, 'task done')
    }
    return outcome
  }

  /** Creates the copy before the response is sent, so that the task cannot be lost in between. */
  async #postponed (task: RegisteredTask, postponed: PostponedResult, context: AttemptContext): Promise<AttemptResult> {
    const { originalId, queue } = context
    const origin = { id: originalId, postponements: context.postponements + 1 }
    const copied = await this.#copies.copy(task, context, { queue, origin, scheduleAt: postponed.until })
    switch (copied.outcome) {
      case 'created':
      case 'duplicate': return postponed
      case 'gone':
        context.log.info('task was deleted while it ran, so it is not postponed')
        return postponed
      default: {
        const error = new FST_TASKS_POSTPONE_FAILED(task.name, problemOf(copied), { cause: 'cause' in copied ? copied.cause : undefined })
        return { result: 'failed', error }
      }
    }
  }

  /** Creates the dead letter before the response to the last attempt is sent, so that the task cannot be lost in between. */
  async #bury (task: EndedTask, context: AttemptContext, cause: unknown, result: AttemptResult['result']): Promise<void> {
    const { deadLetterQueue } = this.#config
    if (deadLetterQueue === undefined || task.deadLetterQueue === false || context.isLetter) return
    const { originalId, id, queue, attempt, postponements } = context
    const letter = {
      queue,
      attempts: attempt,
      at: this.#now(),
      error: describeError(cause),
      ...(task.name === undefined ? undefined : { task: task.name }),
      ...(id === originalId ? undefined : { id })
    }
    // The service's deadline is slightly earlier than the worker's, so it may already have ended the task.
    const mayHaveEnded = result === 'deadline' || result === 'disconnected' || this.#now() > context.deadline.getTime() - LATE_MS
    const copied = await this.#copies.copy(task, context, {
      queue: deadLetterQueue, origin: { id: originalId, postponements, letter }, mayHaveEnded
    })
    if (copied.outcome === 'created' || copied.outcome === 'duplicate') {
      context.log.info({ deadLetterQueue }, 'kept as a dead letter')
    } else if (copied.outcome !== 'gone') {
      const err = 'cause' in copied ? copied.cause : undefined
      const problem = problemOf(copied)
      context.log.error({ err, queue, deadLetterQueue, problem }, 'task could not be kept as a dead letter')
    }
  }

  /** Settles an attempt of a task without a handler here. Resolves with whether it was the last one. Never rejects. */
  async unknown (route: CopiedRoute, error: Error, context: AttemptContext): Promise<boolean> {
    if (!await this.#endsTask(context)) return false
    await this.#bury({ ...route, name: undefined, deadLetterQueue: undefined }, context, error, 'failed')
    return true
  }

  /** Whether this failed attempt is the last, and the end of the task was not yet recorded in this process. */
  async #endsTask (context: AttemptContext): Promise<boolean> {
    // A dead letter that is run in place stays until it succeeds.
    if (context.isLetter) return false
    const limits = this.#limits.limitsOfFailed(context)
    context.limits = limits instanceof Promise ? await limits : limits
    return context.isLastAttempt && this.#limits.recordEnd(context)
  }

  /** Settles a task that ended without an attempt. Never rejects. */
  async expired (task: RegisteredTask, payload: unknown, error: Error, context: AttemptContext): Promise<void> {
    this.#countsOf(task.name).expired++
    if (this.#limits.recordEnd(context)) await this.#callOnExhausted(payload, error, context)
  }

  async #dropped (payload: unknown, reason: string, context: AttemptContext): Promise<void> {
    context.log.warn({ reason }, 'task dropped')
    try {
      await this.#runs.withinGrace(this.#config.onDropped?.(payload, reason, context))
    } catch (err) {
      context.log.error({ err }, 'onDropped failed')
    }
  }

  async #exhausted (payload: unknown, error: unknown, context: AttemptContext): Promise<void> {
    context.log.error({ err: error }, context.limits.source === 'options'
      ? "last attempt failed according to the option 'queues'; the queue's settings could not be read"
      : 'last attempt failed, it will not be retried')
    await this.#callOnExhausted(payload, error, context)
  }

  async #callOnExhausted (payload: unknown, error: unknown, context: AttemptContext): Promise<void> {
    try {
      await this.#runs.withinGrace(this.#config.onExhausted?.(payload, error, context))
    } catch (err) {
      context.log.error({ err }, 'onExhausted failed')
    }
  }

  #count (name: string, { result, exhausted }: Outcome): void {
    const counts = this.#countsOf(name)
    counts[result]++
    if (exhausted) counts.exhausted++
  }

  #countsOf (name: string): OutcomeCounts {
    let counts = this.#counts.get(name)
    if (counts === undefined) this.#counts.set(name, counts = noCounts())
    return counts
  }
}

function noCounts (): OutcomeCounts {
  return { done: 0, retry: 0, dropped: 0, postponed: 0, exhausted: 0, expired: 0 }
}

function describeError (error: unknown): LetterFacts['error'] {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { name, message, code } = error as Error & { readonly code?: unknown }
  return { name: String(name), ...(typeof code === 'string' ? { code } : undefined), message: String(message) }
}

/** `name` is undefined for a task that is not in the registry. */
type EndedTask = CopiedRoute & Pick<RegisteredTask, 'deadLetterQueue'> & { readonly name: string | undefined }

/** Margin before the deadline in which the service may have given up a failed attempt, because the response takes time too. */
const LATE_MS = 1000

type PostponedResult = Extract<AttemptResult, { readonly result: 'postponed' }>

/**
 * The table of outcomes. Cloud Tasks retries everything but 2xx, and throttles the whole queue on 429 and 503, so only a closing server
 * responds with 503.
 */
function outcomeOf (attempt: AttemptResult): Omit<Outcome, 'exhausted'> {
  switch (attempt.result) {
    case 'done': return { result: 'done', status: 204, error: undefined, code: undefined }
    case 'dropped': return { result: 'dropped', status: 200, error: undefined, code: 'FST_TASKS_DROPPED' }
    case 'postponed': return { result: 'postponed', status: 200, error: undefined, code: 'FST_TASKS_POSTPONED' }
    case 'failed': return { result: 'retry', status: 500, error: attempt.error, code: 'FST_TASKS_ATTEMPT_FAILED' }
    case 'deadline': return { result: 'retry', status: 504, error: attempt.error, code: 'FST_TASKS_DEADLINE_EXCEEDED' }
    // No response can be sent. nginx logs such requests with this status.
    case 'disconnected': return { result: 'retry', status: 499, error: attempt.error, code: 'FST_TASKS_DISCONNECTED' }
    case 'aborted': return { result: 'retry', status: 503, error: attempt.error, code: 'FST_TASKS_ABORTED' }
    case 'invalid': return { result: 'retry', status: 400, error: attempt.error, code: 'FST_TASKS_INVALID_PAYLOAD' }
  }
}

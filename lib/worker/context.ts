import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { AttemptHeaders } from '../cloud-tasks/headers.js'
import { systemClock, type Clock } from '../clock/clock.js'
import { MAX_SCHEDULE_AHEAD_MS } from '../cloud-tasks/limits.js'
import type { CopiedAttempt } from '../copies/copies.js'
import type { Origin } from '../copies/facts.js'
import { FST_TASKS_DROPPED, FST_TASKS_INVALID_DELAY, FST_TASKS_POSTPONED } from '../errors.js'
import type { TaskContext } from '../registry/definitions.js'
import type { RunResult } from './attempt-result.js'
import { isLastAttempt, type LimitedAttempt, type RetryLimits } from './limits/retry-limits.js'
import type { AttemptWatchers } from './watchers.js'

export interface AttemptContextParts {
  /** Name of the task in the registry. */
  readonly name: string
  readonly headers: AttemptHeaders
  /** Whether it was delivered by a queue. @default false */
  readonly delivered?: boolean
  /** The origin of a task that is a copy. */
  readonly origin?: Origin | undefined
  /** For a dead letter that is run in place: short id and queue of the original task. */
  readonly letterOf?: { readonly id: string, readonly queue: string } | undefined
  /** @default systemClock */
  readonly clock?: Clock
  /** See `LimitedAttempt`. @default false */
  readonly mayHaveOwnRetry?: boolean
  readonly limits: RetryLimits
  readonly deadlineAt: number
  readonly log: FastifyBaseLogger
  /** Undefined for a run without a request. */
  readonly request?: FastifyRequest
  readonly watchers?: AttemptWatchers
}

type HandlerEnding = Extract<RunResult, { readonly result: 'dropped' | 'postponed' }> & { readonly error: Error }

/** The context that a handler receives. Expensive fields are created lazily. */
export class AttemptContext implements TaskContext, LimitedAttempt, CopiedAttempt {
  readonly name: string
  readonly id: string
  readonly queue: string
  readonly originalId: string
  readonly postponements: number
  readonly sourceQueue: string
  readonly sourceId: string
  readonly delivered: boolean
  readonly isLetter: boolean
  readonly attempt: number
  readonly retryCount: number
  readonly executionCount: number
  readonly scheduledTime: Date
  readonly previousResponse: number | undefined
  readonly retryReason: string | undefined
  maxAttempts: number | undefined
  isLastAttempt: boolean
  readonly deadline: Date
  readonly mayHaveOwnRetry: boolean
  /** Run time of the handler. */
  durationMs = 0
  /** Additional fields of every log line. Set them before the first line. */
  logFields: Readonly<Record<string, string>> | undefined
  #limits: RetryLimits
  readonly #request: FastifyRequest | undefined
  readonly #log: FastifyBaseLogger
  readonly #watchers: AttemptWatchers | undefined
  #watchedLog: FastifyBaseLogger | undefined
  #taskLog: FastifyBaseLogger | undefined
  #controller: AbortController | undefined
  #aborted: unknown
  readonly #clock: Clock
  #ending: HandlerEnding | undefined

  constructor ({
    name, headers, delivered = false, origin, letterOf, clock = systemClock,
    mayHaveOwnRetry = false, limits, deadlineAt, log, request, watchers
  }: AttemptContextParts) {
    this.name = name
    // A dead letter runs with the identity of the original task.
    this.id = letterOf?.id ?? headers.id
    this.queue = letterOf?.queue ?? headers.queue
    this.isLetter = letterOf !== undefined
    this.sourceQueue = headers.queue
    this.sourceId = headers.id
    this.originalId = origin?.id ?? headers.id
    this.postponements = origin?.postponements ?? 0
    this.delivered = delivered
    this.#clock = clock
    this.attempt = headers.retryCount + 1
    this.retryCount = Math.max(0, headers.retryCount)
    this.executionCount = headers.executionCount
    this.scheduledTime = new Date(headers.scheduledAt)
    this.previousResponse = headers.previousResponse
    this.retryReason = headers.retryReason
    this.deadline = new Date(deadlineAt)
    this.mayHaveOwnRetry = mayHaveOwnRetry
    this.maxAttempts = limits.maxAttempts
    this.isLastAttempt = isLastAttempt(limits, this.attempt)
    this.#limits = limits
    this.#request = request
    this.#log = log
    this.#watchers = watchers
  }

  get limits (): RetryLimits {
    return this.#limits
  }

  /** Limits can become known, or change, while the handler runs. */
  set limits (limits: RetryLimits) {
    this.#limits = limits
    this.maxAttempts = limits.maxAttempts
    this.isLastAttempt = isLastAttempt(limits, this.attempt)
  }

  get traceId (): string | undefined {
    return this.logFields?.traceId
  }

  get log (): FastifyBaseLogger {
    this.#taskLog ??= this.#watched().child({ task: this.name, id: this.id, attempt: this.attempt })
    return this.#taskLog
  }

  get request (): FastifyRequest | undefined {
    // Handlers can also log through the request, and those lines belong to the attempt too.
    if (this.#request !== undefined && this.#watched() !== this.#log) this.#request.log = this.#watched()
    return this.#request
  }

  /** Logs at debug without creating a child logger, as every attempt logs one line. */
  debug (fields: object, message: string): void {
    this.#log.debug({ task: this.name, id: this.id, attempt: this.attempt, ...this.logFields, ...fields }, message)
  }

  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  drop (reason: string): never {
    const text = String(reason)
    this.#ending ??= { result: 'dropped', reason: text, error: new FST_TASKS_DROPPED(this.name, text) }
    throw this.#ending.error
  }

  retryAfter (delay: number | Date, reason?: string): never {
    const now = this.#clock.now()
    const until = this.#timeOf(delay, now)
    const text = reason === undefined ? undefined : String(reason)
    this.#ending ??= {
      result: 'postponed',
      until,
      reason: text,
      error: new FST_TASKS_POSTPONED(this.name, new Date(until).toISOString(), text === undefined ? '' : `: ${text}`)
    }
    throw this.#ending.error
  }

  /** The first call of `drop` or `retryAfter`, even if the handler caught the error that it threw. */
  get ending (): HandlerEnding | undefined {
    return this.#ending
  }

  #timeOf (delay: number | Date, now: number): number {
    const refuse = (problem: string) => new FST_TASKS_INVALID_DELAY(this.name, problem)
    if (delay instanceof Date) {
      const at = delay.getTime()
      if (Number.isNaN(at)) throw refuse('was given an invalid Date')
      if (at < now) throw refuse(`was given a time in the past, ${delay.toISOString()}; 0 seconds is now`)
      if (at > now + MAX_SCHEDULE_AHEAD_MS) throw refuse(`was given ${delay.toISOString()}; a task can wait for 30 days at most`)
      return at
    }
    if (typeof delay !== 'number') throw refuse(`needs seconds or a Date, not ${typeof delay}`)
    if (Number.isNaN(delay)) throw refuse('needs seconds or a Date, not NaN')
    if (delay < 0) throw refuse(`was given ${delay} seconds; 0 is now`)
    if (delay > MAX_SCHEDULE_AHEAD_MS / 1000) throw refuse(`was given ${delay} seconds; a task can wait for 2592000 (30 days) at most`)
    return now + delay * 1000
  }

  abort (reason: Error): void {
    this.#aborted ??= reason
    this.#controller?.abort(reason)
  }

  /** The logger that watchers of this attempt observe. */
  #watched (): FastifyBaseLogger {
    if (this.#watchedLog === undefined) {
      const log = this.logFields === undefined ? this.#log : this.#log.child(this.logFields)
      this.#watchedLog = this.#watchers?.none === false ? this.#watchers.logOf(this, log) : log
    }
    return this.#watchedLog
  }
}

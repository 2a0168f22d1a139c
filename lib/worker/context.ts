import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { AttemptHeaders } from '../cloud-tasks/headers.js'
import { FST_TASKS_DROPPED } from '../errors.js'
import type { TaskContext } from '../registry/definitions.js'
import { isLastAttempt, type LimitedAttempt, type RetryLimits } from './retry-limits.js'
import type { AttemptWatchers } from './watchers.js'

export interface AttemptContextParts {
  /** Name of the task in the registry. */
  readonly name: string
  readonly headers: AttemptHeaders
  /** See `LimitedAttempt`. @default false */
  readonly mayHaveOwnRetry?: boolean
  readonly limits: RetryLimits
  readonly deadlineAt: number
  readonly log: FastifyBaseLogger
  /** Undefined for a run without one. */
  readonly request?: FastifyRequest
  readonly watchers?: AttemptWatchers
}

/** What a handler knows of its attempt. Expensive fields are created lazily. */
export class AttemptContext implements TaskContext, LimitedAttempt {
  readonly name: string
  readonly id: string
  readonly queue: string
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
  /** How long the handler ran. */
  durationMs = 0
  /** On every line of the log, besides those that name the task. To be set before the first line. */
  logFields: Readonly<Record<string, string>> | undefined
  #limits: RetryLimits
  readonly #request: FastifyRequest | undefined
  readonly #log: FastifyBaseLogger
  readonly #watchers: AttemptWatchers | undefined
  #watchedLog: FastifyBaseLogger | undefined
  #taskLog: FastifyBaseLogger | undefined
  #controller: AbortController | undefined
  #aborted: unknown
  #dropError: InstanceType<typeof FST_TASKS_DROPPED> | undefined
  #dropReason: string | undefined

  constructor ({ name, headers, mayHaveOwnRetry = false, limits, deadlineAt, log, request, watchers }: AttemptContextParts) {
    this.name = name
    this.id = headers.id
    this.queue = headers.queue
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

  /** They may become known, or change, while the handler runs. */
  set limits (limits: RetryLimits) {
    this.#limits = limits
    this.maxAttempts = limits.maxAttempts
    this.isLastAttempt = isLastAttempt(limits, this.attempt)
  }

  get log (): FastifyBaseLogger {
    this.#taskLog ??= this.#watched().child({ task: this.name, id: this.id, attempt: this.attempt })
    return this.#taskLog
  }

  get request (): FastifyRequest | undefined {
    // Handlers may also log through the request, and those lines belong to the attempt as well.
    if (this.#request !== undefined && this.#watched() !== this.#log) this.#request.log = this.#watched()
    return this.#request
  }

  /** A line at debug without the cost of a logger of its own: every attempt writes one. */
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
    this.#dropReason ??= String(reason)
    throw this.#dropError ??= new FST_TASKS_DROPPED(this.name, this.#dropReason)
  }

  /** Set once `drop` was called, also where the handler caught what `drop` threw. */
  get dropReason (): string | undefined {
    return this.#dropReason
  }

  get dropError (): Error | undefined {
    return this.#dropError
  }

  abort (reason: Error): void {
    this.#aborted ??= reason
    this.#controller?.abort(reason)
  }

  /** The log that the watchers of this attempt see. */
  #watched (): FastifyBaseLogger {
    if (this.#watchedLog === undefined) {
      const log = this.logFields === undefined ? this.#log : this.#log.child(this.logFields)
      this.#watchedLog = this.#watchers?.none === false ? this.#watchers.logOf(this, log) : log
    }
    return this.#watchedLog
  }
}

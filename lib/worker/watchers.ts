import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { AttemptResult } from './attempt-result.js'

/** Identifies an attempt by its headers. A task context is one. */
export interface AttemptKey {
  /** Short id of the task. */
  readonly id: string
  /** Short id. */
  readonly queue: string
  /** 1 for the first. */
  readonly attempt: number
  /** Where a tracer has named it. */
  readonly traceId?: string | undefined
}

/** Further facts from an attempt's headers. A task context is one. */
export interface StartedAttempt extends AttemptKey {
  readonly executionCount: number
  readonly scheduledTime: Date
  readonly previousResponse: number | undefined
}

/** The request of an attempt, as it was received. */
export interface AttemptRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** Undefined where there was none. */
  readonly body: string | undefined
}

/** The effect of an attempt on its task. */
export interface Settled {
  /** HTTP status of the response. */
  readonly status: number
  /** Whether this was the last attempt, as far as the worker knows. */
  readonly isLast: boolean
}

/** Observes the attempts of one app, for display only. Must be fast, and must not throw. */
export interface AttemptWatcher {
  /** Called when an attempt starts, after authentication. Request bodies are kept only for watchers with this method. */
  started? (attempt: StartedAttempt, request: AttemptRequest): void
  /** Called when the handler, or an asynchronous validation, of an attempt is running and its deadline is set. */
  deadlineSet? (attempt: AttemptKey): void
  /** Called before the first log line of an attempt. Returns the logger to use instead of `log`. */
  logOf (attempt: AttemptKey, log: FastifyBaseLogger): FastifyBaseLogger
  /** Called before the result is logged and the response is sent. */
  settled (attempt: AttemptKey, result: AttemptResult, outcome: Settled): void
}

/** The watchers of one app. Diagnostics channels would publish the attempts of all apps in the process. */
export class AttemptWatchers {
  readonly #watchers = new Set<AttemptWatcher>()
  readonly #bodies = new WeakMap<FastifyRequest, string>()
  #needsRequests = false

  /** True while there are none, so that attempts have no overhead. */
  get none (): boolean {
    return this.#watchers.size === 0
  }

  /** Returns a function that removes it. */
  add (watcher: AttemptWatcher): () => void {
    this.#watchers.add(watcher)
    this.#update()
    return () => {
      this.#watchers.delete(watcher)
      this.#update()
    }
  }

  /** Called when a body was read, before it is parsed. */
  received (request: FastifyRequest, body: string): void {
    if (this.#needsRequests) this.#bodies.set(request, body)
  }

  started (attempt: StartedAttempt, request: FastifyRequest): void {
    if (!this.#needsRequests) return
    const { method, url, headers } = request
    const received = { method, url, headers, body: this.#bodies.get(request) }
    for (const watcher of this.#watchers) watcher.started?.(attempt, received)
  }

  deadlineSet (attempt: AttemptKey): void {
    for (const watcher of this.#watchers) watcher.deadlineSet?.(attempt)
  }

  logOf (attempt: AttemptKey, log: FastifyBaseLogger): FastifyBaseLogger {
    for (const watcher of this.#watchers) log = watcher.logOf(attempt, log)
    return log
  }

  settled (attempt: AttemptKey, result: AttemptResult, outcome: Settled): void {
    for (const watcher of this.#watchers) watcher.settled(attempt, result, outcome)
  }

  #update (): void {
    this.#needsRequests = [...this.#watchers].some(watcher => watcher.started !== undefined)
  }
}

import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { AttemptResult } from './attempt-result.js'

/** Which attempt, as its headers say. A task context is one. */
export interface AttemptKey {
  /** Short id of the task. */
  readonly id: string
  /** Short id. */
  readonly queue: string
  /** 1 for the first. */
  readonly attempt: number
}

/** What the headers say of an attempt in addition. A task context is one. */
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

/** What becomes of a task after an attempt. */
export interface Settled {
  /** HTTP status of the response. */
  readonly status: number
  /** Whether the task ends with this attempt, as far as the worker knows. */
  readonly isLast: boolean
}

/** Observes the attempts of one app: for pages, never for decisions. Must be quick, and must not throw. */
export interface AttemptWatcher {
  /** An attempt starts: its caller is verified. Request bodies are kept only for a watcher that has this method. */
  started? (attempt: StartedAttempt, request: AttemptRequest): void
  /** Something is about to be written to the log of an attempt. Returns the logger to use in place of `log`. */
  logOf (attempt: AttemptKey, log: FastifyBaseLogger): FastifyBaseLogger
  /** Called before the end of the attempt is logged and answered. */
  settled (attempt: AttemptKey, result: AttemptResult, outcome: Settled): void
}

/** The watchers of one app. Diagnostics channels would bring the attempts of every app in the process. */
export class AttemptWatchers {
  readonly #watchers = new Set<AttemptWatcher>()
  readonly #bodies = new WeakMap<FastifyRequest, string>()
  #needsRequests = false

  /** True while there is none, so that an attempt costs nothing more. */
  get none (): boolean {
    return this.#watchers.size === 0
  }

  /** Returns what removes it. */
  add (watcher: AttemptWatcher): () => void {
    this.#watchers.add(watcher)
    this.#update()
    return () => {
      this.#watchers.delete(watcher)
      this.#update()
    }
  }

  /** The body of a request was read, and is not parsed yet. */
  received (request: FastifyRequest, body: string): void {
    if (this.#needsRequests) this.#bodies.set(request, body)
  }

  started (attempt: StartedAttempt, request: FastifyRequest): void {
    if (!this.#needsRequests) return
    const { method, url, headers } = request
    const received = { method, url, headers, body: this.#bodies.get(request) }
    for (const watcher of this.#watchers) watcher.started?.(attempt, received)
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

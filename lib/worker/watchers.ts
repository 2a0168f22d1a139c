import type { FastifyBaseLogger } from 'fastify'
import type { AttemptResult } from './attempt-result.js'

/** Which attempt, as its headers say; a task context is one. */
export interface AttemptKey {
  /** Short id of the task. */
  readonly id: string
  /** Short id. */
  readonly queue: string
  /** 1 for the first. */
  readonly attempt: number
}

/** Follows the attempts of one app: for pages, never for decisions. Must be quick, and must not throw. */
export interface AttemptWatcher {
  /** Something is about to be written to the log of an attempt. Returns the logger that it is to use instead of `log`. */
  logOf (attempt: AttemptKey, log: FastifyBaseLogger): FastifyBaseLogger
  /** Told before the attempt is logged and answered. */
  settled (attempt: AttemptKey, result: AttemptResult): void
}

/** Who follows the attempts of one app. Diagnostics channels would bring those of every app in the process. */
export class AttemptWatchers {
  readonly #watchers = new Set<AttemptWatcher>()

  /** True while nobody follows, so that an attempt costs nothing more. */
  get none (): boolean {
    return this.#watchers.size === 0
  }

  /** Returns what ends it. */
  add (watcher: AttemptWatcher): () => void {
    this.#watchers.add(watcher)
    return () => { this.#watchers.delete(watcher) }
  }

  logOf (attempt: AttemptKey, log: FastifyBaseLogger): FastifyBaseLogger {
    for (const watcher of this.#watchers) log = watcher.logOf(attempt, log)
    return log
  }

  settled (attempt: AttemptKey, result: AttemptResult): void {
    for (const watcher of this.#watchers) watcher.settled(attempt, result)
  }
}

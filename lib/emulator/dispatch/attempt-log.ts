import type { Unreachable } from './unreachable.js'

/** What an emulator tells of its work. A pino logger is one, as `app.log` is. */
export interface EmulatorLogger {
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

/**
 * Tells of attempts that failed, once for each task and kind of failure: a target that is down is then one line a task, however
 * often it is tried.
 */
export class AttemptLog {
  readonly #logger: EmulatorLogger
  readonly #told = new Set<string>()

  constructor (logger: EmulatorLogger) {
    this.#logger = logger
  }

  unreachable (task: string, error: Unreachable): void {
    if (this.#isNew(`${task} ${error.kind}`)) this.#logger.warn({ task, kind: error.kind }, `an attempt failed: ${error.message}`)
  }

  late (task: string, deadlineMs: number): void {
    if (this.#isNew(`${task} deadline`)) this.#logger.warn({ task, kind: 'deadline' }, `an attempt failed: no answer within ${deadlineMs / 1000} s`)
  }

  refused (task: string, status: number): void {
    if (this.#isNew(`${task} ${status}`)) this.#logger.warn({ task, status }, `an attempt failed: the target answered ${status}`)
  }

  #isNew (event: string): boolean {
    if (this.#told.has(event)) return false
    this.#told.add(event)
    // The oldest are forgotten, so that memory has an end.
    if (this.#told.size > MAX_TOLD) this.#told.delete(this.#told.values().next().value!)
    return true
  }
}

const MAX_TOLD = 10_000

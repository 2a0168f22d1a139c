import type { Clock } from '../clock/clock.js'
import { FST_TASKS_CLOSING, FST_TASKS_VALIDATION_TIMEOUT } from '../errors.js'

/** Time limit of an asynchronous validator outside of an attempt, which has its own deadline. */
const VALIDATION_LIMIT_MS = 30_000

/** Pending asynchronous validations. They have a time limit, and do not keep the process of a closed server alive. */
export class PendingValidations {
  readonly #clock: Clock
  readonly #pending = new Set<(error: Error) => void>()
  #closed = false

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /**
   * Resolves as `validation` does.
   * @throws FST_TASKS_VALIDATION_TIMEOUT, FST_TASKS_CLOSING
   */
  async settled<T> (task: string, validation: Promise<T>): Promise<T> {
    if (this.#closed) {
      validation.catch(() => {})
      throw new FST_TASKS_CLOSING()
    }
    let end!: (error: Error) => void
    const ended = new Promise<never>((_resolve, reject) => { end = reject })
    const timer = this.#clock.setTimeout(() => {
      end(new FST_TASKS_VALIDATION_TIMEOUT(task, VALIDATION_LIMIT_MS / 1000))
    }, VALIDATION_LIMIT_MS)
    this.#pending.add(end)
    try {
      return await Promise.race([validation, ended])
    } finally {
      this.#clock.clearTimeout(timer)
      this.#pending.delete(end)
    }
  }

  close (): void {
    this.#closed = true
    for (const end of this.#pending) end(new FST_TASKS_CLOSING())
  }
}

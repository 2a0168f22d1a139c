import type { AsyncResource } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { Slots, type Slotted } from '../clock/slots.js'
import { FST_TASKS_ABORTED, FST_TASKS_DEADLINE_EXCEEDED, FST_TASKS_DISCONNECTED } from '../errors.js'
import type { HandlerFunction } from '../registry/definitions.js'
import type { RunResult } from './attempt-result.js'
import type { AttemptConnection } from './connection.js'
import type { AttemptContext } from './context.js'

/**
 * Running handlers. Each run ends in one of seven ways: the handler returned, it dropped or postponed its task, it threw, its deadline
 * passed, its client disconnected, or the server closed. In the last three cases its signal is aborted, and its later result is ignored.
 */
export class Runs {
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #running = new Slots<Running>()
  readonly #attempts = new Slots<UnderWay>()
  /** Set when the server starts to close. */
  #grace: { readonly endsAt: number, readonly admitsUntil: number } | undefined
  #graceTimer: unknown
  #graceEnded = false
  /** Called when a closing server stops waiting for attempts. */
  readonly #onGraceEnd = new Set<() => void>()

  /** @param scope the async context in which a closing server aborts handlers */
  constructor (clock: Clock, scope: AsyncResource) {
    this.#clock = clock
    this.#scope = scope
  }

  /** Whether the server is closing. */
  get draining (): boolean {
    return this.#grace !== undefined
  }

  /** Whether the server is closing and no handler starts any more. */
  get closed (): boolean {
    return this.#grace !== undefined && this.#clock.monotonic() >= this.#grace.admitsUntil
  }

  /**
   * Waits for `work`, or until the grace period of a closing server ends. Rejects as `work` does. Uses a new promise for each race,
   * because racing with one that lives as long as the server would leak a reaction every time.
   */
  async withinGrace (work: unknown): Promise<void> {
    let end!: () => void
    const ended = new Promise<void>(resolve => { end = resolve })
    if (this.#graceEnded) end()
    this.#onGraceEnd.add(end)
    try {
      await Promise.race([work, ended])
    } finally {
      this.#onGraceEnd.delete(end)
    }
  }

  /** Tracks work for which a closing server waits. */
  async attempt<T> (work: () => Promise<T>): Promise<T> {
    const attempt = { ended: work(), slot: -1 }
    this.#attempts.add(attempt)
    this.#watchGrace()
    try {
      return await attempt.ended
    } finally {
      this.#attempts.delete(attempt)
      this.#watchGrace()
    }
  }

  /**
   * Runs a handler. Never rejects.
   * @param deadlineMs Infinity for no deadline
   * @param connection ends the run when the client disconnects
   */
  run (
    app: FastifyInstance, handler: HandlerFunction<any>, payload: unknown, context: AttemptContext, deadlineMs: number,
    connection?: AttemptConnection
  ): Promise<RunResult> {
    if (this.closed) return Promise.resolve({ result: 'aborted', error: new FST_TASKS_ABORTED(context.name) })
    return new Promise(resolve => {
      let timer: unknown
      const settle = (result: RunResult): void => {
        if (!this.#running.delete(run)) return
        this.#clock.clearTimeout(timer)
        resolve(result)
      }
      const run: Running = { context, settle, slot: -1 }
      this.#running.add(run)
      if (deadlineMs !== Infinity) {
        timer = this.#clock.setTimeout(() => {
          const error = new FST_TASKS_DEADLINE_EXCEEDED(context.name, Math.round(deadlineMs) / 1000)
          context.abort(error)
          settle({ result: 'deadline', error })
        }, deadlineMs)
      }
      connection?.onHangUp(() => {
        const error = new FST_TASKS_DISCONNECTED(context.name)
        context.abort(error)
        settle({ result: 'disconnected', error })
      })
      // If the client has already disconnected, the result could not be acknowledged, so the handler is not called.
      if (run.slot === -1) return
      call(app, handler, payload, context).then(
        value => { settle(context.ending ?? { result: 'done', value }) },
        error => { settle(context.ending ?? { result: 'failed', error }) }
      )
    })
  }

  /**
   * Graceful shutdown: waits for running attempts, and aborts those that are still running after `graceMs`.
   * @param admit whether new attempts are still accepted. Cloud Tasks counts rejected attempts, so that rejecting one would waste it;
   * the embedded queue does not
   */
  async drain (graceMs: number, admit: boolean): Promise<void> {
    const endsAt = this.#clock.monotonic() + graceMs
    this.#grace = { endsAt, admitsUntil: admit ? endsAt : -Infinity }
    this.#watchGrace()
    await this.withinGrace(Promise.allSettled(this.#attempts.values().map(({ ended }) => ended)))
  }

  /** The timer runs only while there is something to abort. */
  #watchGrace (): void {
    if (this.#grace === undefined) return
    if (this.#attempts.size === 0) {
      this.#clock.clearTimeout(this.#graceTimer)
      this.#graceTimer = undefined
    } else {
      const leftMs = Math.max(0, this.#grace.endsAt - this.#clock.monotonic())
      this.#graceTimer ??= this.#clock.setTimeout(() => { this.#scope.runInAsyncScope(this.#abortAll, this) }, leftMs)
    }
  }

  #abortAll (): void {
    this.#graceEnded = true
    for (const end of this.#onGraceEnd) end()
    for (const { context, settle } of this.#running.values()) {
      const error = new FST_TASKS_ABORTED(context.name)
      context.abort(error)
      settle({ result: 'aborted', error })
    }
  }
}

/** A running handler. */
interface Running extends Slotted {
  readonly context: AttemptContext
  readonly settle: (result: RunResult) => void
}

interface UnderWay extends Slotted {
  readonly ended: Promise<unknown>
}

async function call (app: FastifyInstance, handler: HandlerFunction<any>, payload: unknown, context: AttemptContext): Promise<unknown> {
  return await handler.call(app, payload, context)
}

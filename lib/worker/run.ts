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
 * Handlers that are running. Each run ends in one of seven ways: the handler returned, it dropped or postponed its task, it threw,
 * its deadline passed, its caller hung up, or the server closed. In the last three its signal has aborted, and how it ends later no
 * longer counts.
 */
export class Runs {
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #running = new Slots<Running>()
  readonly #attempts = new Slots<UnderWay>()
  /** Of a closing server. */
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
   * Waits for `work`, or until a closing server stops waiting. Rejects as `work` does. The race is with a promise of its own, because
   * each race with one that lives as long as the server would leave a reaction behind.
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

  /** Everything that a closing server waits for happens in here. */
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
   * @param deadlineMs Infinity sets no deadline
   * @param connection ends the run when its caller hangs up
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
      // Where the caller has disconnected already, the work could not be acknowledged: it is left to the next attempt.
      if (run.slot === -1) return
      call(app, handler, payload, context).then(
        value => { settle(context.ending ?? { result: 'done', value }) },
        error => { settle(context.ending ?? { result: 'failed', error }) }
      )
    })
  }

  /**
   * Waits until the attempts that are under way have ended. When `graceMs` have passed, those that have not are aborted.
   * @param admit whether attempts that arrive in the meantime are still run. Where Cloud Tasks delivers, every delivery counts as an
   * attempt, so that refusing one would waste it; the embedded queue takes its attempts back
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

/** A handler that is running. */
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

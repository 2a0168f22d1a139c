import type { AsyncResource } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { FST_TASKS_ABORTED, FST_TASKS_DEADLINE_EXCEEDED, FST_TASKS_DISCONNECTED } from '../errors.js'
import type { HandlerFunction } from '../registry/definitions.js'
import type { RunResult } from './attempt-result.js'
import type { AttemptConnection } from './connection.js'
import type { AttemptContext } from './context.js'

/**
 * Handlers that are running. Each run ends in one of six ways: the handler returned, it dropped its task, it threw, its deadline
 * passed, its caller hung up, or the server closed. In the last three its signal has aborted, and how it ends later no longer counts.
 */
export class Runs {
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #running = new Map<AttemptContext, (result: RunResult) => void>()
  #attempts = 0
  #onIdle: (() => void) | undefined
  #draining = false
  #endGrace = (): void => {}
  /** Resolves when a closing server stops waiting for attempts. */
  readonly graceEnded = new Promise<void>(resolve => { this.#endGrace = resolve })

  /** @param scope the async context in which a closing server aborts handlers */
  constructor (clock: Clock, scope: AsyncResource) {
    this.#clock = clock
    this.#scope = scope
  }

  /** Everything that a closing server waits for happens in here. */
  async attempt<T> (work: () => Promise<T>): Promise<T> {
    this.#attempts++
    try {
      return await work()
    } finally {
      if (--this.#attempts === 0) this.#onIdle?.()
    }
  }

  /**
   * Runs a handler. Never rejects.
   * @param deadlineMs Infinity sets no deadline
   * @param connection ends the run when its caller hangs up
   */
  run (
    app: FastifyInstance, handler: HandlerFunction<any>, payload: unknown, context: AttemptContext, deadlineMs: number, connection?: AttemptConnection
  ): Promise<RunResult> {
    if (this.#draining) return Promise.resolve({ result: 'aborted', error: new FST_TASKS_ABORTED(context.name) })
    return new Promise(resolve => {
      let timer: unknown
      const settle = (result: RunResult): void => {
        if (!this.#running.delete(context)) return
        this.#clock.clearTimeout(timer)
        resolve(result)
      }
      this.#running.set(context, settle)
      if (deadlineMs !== Infinity) {
        timer = this.#clock.setTimeout(() => {
          const error = new FST_TASKS_DEADLINE_EXCEEDED(context.name, deadlineMs / 1000)
          context.abort(error)
          settle({ result: 'deadline', error })
        }, deadlineMs)
      }
      connection?.onHangUp(() => {
        const error = new FST_TASKS_DISCONNECTED(context.name)
        context.abort(error)
        settle({ result: 'disconnected', error })
      })
      // Where the caller is gone already, nobody could acknowledge the work: it is left to the next attempt.
      if (!this.#running.has(context)) return
      call(app, handler, payload, context).then(
        value => { settle(context.dropReason === undefined ? { result: 'done', value } : { result: 'dropped', reason: context.dropReason, error: context.dropError }) },
        error => { settle(context.dropReason === undefined ? { result: 'failed', error } : { result: 'dropped', reason: context.dropReason, error: context.dropError }) }
      )
    })
  }

  /** Starts no more runs and waits until all attempts have ended, for at most `graceMs`; then aborts those that have not. */
  async drain (graceMs: number): Promise<void> {
    this.#draining = true
    if (this.#attempts === 0) return
    let timer: unknown
    await new Promise<void>(resolve => {
      this.#onIdle = resolve
      timer = this.#clock.setTimeout(resolve, graceMs)
    })
    this.#clock.clearTimeout(timer)
    this.#onIdle = undefined
    this.#endGrace()
    this.#scope.runInAsyncScope(this.#abortAll, this)
  }

  #abortAll (): void {
    for (const [context, settle] of this.#running) {
      const error = new FST_TASKS_ABORTED(context.name)
      context.abort(error)
      settle({ result: 'aborted', error })
    }
  }
}

async function call (app: FastifyInstance, handler: HandlerFunction<any>, payload: unknown, context: AttemptContext): Promise<unknown> {
  return await handler.call(app, payload, context)
}

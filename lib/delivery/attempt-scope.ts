import { AsyncResource } from 'node:async_hooks'
import { scopeChannel, type ScopeEvent } from '../events.js'

/**
 * The async context in which attempts start, and in which timers, `onDropped` and `onExhausted` run: that of the plugin's registration,
 * never that of the request that enqueued a task or freed a slot. A tracer takes its own span out of it, because a span that is active
 * at registration would otherwise be the parent of every attempt.
 */
export class AttemptScope extends AsyncResource {
  #untraced: AsyncResource | undefined
  #listening: AsyncResource | undefined

  constructor () {
    super('fastify-cloud-tasks')
  }

  /** That of `listen`, which requests inherit from their server. */
  get listening (): AsyncResource | undefined {
    return this.#listening
  }

  /** To be called in the context of `listen`. */
  listened (): void {
    this.#listening = new AsyncResource('fastify-cloud-tasks')
  }

  override runInAsyncScope<This, Result> (work: (this: This, ...args: any[]) => Result, thisArg?: This, ...args: any[]): Result {
    // An instrumentation may be created after the registration.
    if (!scopeChannel.hasSubscribers) return super.runInAsyncScope(work, thisArg, ...args)
    this.#untraced ??= super.runInAsyncScope(createUntraced)
    return this.#untraced.runInAsyncScope(work, thisArg, ...args)
  }
}

function createUntraced (): AsyncResource {
  const event: ScopeEvent = { around: undefined }
  scopeChannel.publish(event)
  const create = (): AsyncResource => new AsyncResource('fastify-cloud-tasks')
  return event.around === undefined ? create() : event.around(create)
}

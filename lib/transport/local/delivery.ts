import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../clock/clock.js'
import { isExhausted } from '../../cloud-tasks/backoff.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../cloud-tasks/limits.js'
import { shortId } from '../../cloud-tasks/names.js'
import type { Task } from '../../cloud-tasks/task.js'
import { CLOSING_RESULT } from '../../delivery/headers.js'
import type { OneTimeSecrets } from '../../delivery/one-time-secrets.js'
import type { Answer, Attempt } from '../../engine/engine.js'
import type { Config } from '../../options/config.js'
import { EMBEDDED_ORIGIN } from '../../options/target.js'
import { inject } from './inject.js'
import { loopback } from './loopback.js'
import type { RouteCall, RouteRequest, RouteResponse } from './route-call.js'

export interface DeliveryOptions {
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  readonly secrets: OneTimeSecrets
}

/** Delivers attempts of the embedded queue to the task routes of the same process. */
export class Delivery {
  readonly #options: DeliveryOptions
  readonly #send: (app: FastifyInstance, clock: Clock, request: RouteRequest) => RouteCall
  #closing = false

  constructor (options: DeliveryOptions) {
    this.#options = options
    this.#send = options.config.localDelivery === 'inject' ? (app, _clock, request) => inject(app, request) : loopback
  }

  /** From now on, attempts that the closing server refuses count as undelivered. */
  close (): void {
    this.#closing = true
  }

  /** Delivers an attempt to its route. */
  async deliver (attempt: Attempt): Promise<Answer | 'undelivered'> {
    const { task, headers } = attempt
    const request = task.httpRequest ?? task.appEngineHttpRequest
    const { app, clock, secrets } = this.#options
    const secret = secrets.issue()
    const { httpMethod: method = 'POST', body } = request ?? {}
    const url = pathOf(task)
    const call = this.#send(app, clock, { method, url, headers, secret, body })
    attempt.onDeadline = call.abort
    try {
      const response = await call.response
      if (this.#closing && isUndelivered(response)) return 'undelivered'
      if (response.result === undefined) this.#warnUnhandled(attempt, url, response.status)
      return { status: response.status }
    } finally {
      // Invalidates the secret if no task route has used it.
      secrets.take(secret)
    }
  }

  /** Logged here because the attempt did not reach the worker. */
  #warnUnhandled ({ task, queue }: Attempt, url: string, status: number): void {
    const { app, clock, config } = this.#options
    const { retryConfig } = config.queues.get(queue) ?? DEFAULT_QUEUE_SETTINGS
    const ends = status < 300 || isExhausted(retryConfig, task.dispatchCount, task.firstAttempt?.dispatchAt ?? 0, clock.now())
    app.log[ends ? 'error' : 'warn'](
      { url, status, id: shortId(task.name), attempt: task.dispatchCount },
      `an attempt got a response before it reached its handler${ends ? ', and is not retried' : ''}: ` +
        'this process has no handler for it, or a hook of yours answers on the task routes'
    )
  }
}

/** URL path of the route of a task in the embedded queue. */
export function pathOf ({ httpRequest, appEngineHttpRequest }: Task): string {
  return httpRequest?.url.slice(EMBEDDED_ORIGIN.length) ?? appEngineHttpRequest?.relativeUri ?? '/'
}

/** While the server closes, the task route reports that, or Fastify responds with 503 before any route. */
function isUndelivered ({ status, result }: RouteResponse): boolean {
  return result === CLOSING_RESULT || (result === undefined && status === 503)
}

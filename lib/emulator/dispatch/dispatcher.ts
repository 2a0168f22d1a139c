import { Agent, type Dispatcher as UndiciDispatcher } from 'undici'
import type { Answer, Attempt, Dispatcher } from '../../engine/engine.js'
import type { Clock } from '../../clock/clock.js'
import { Exchange } from './exchange.js'
import type { TokenIssuer } from '../tokens/token-issuer.js'
import { outgoingRequest, type OutgoingRequest } from './outgoing-request.js'
import { connectionProblem, Unreachable } from './unreachable.js'

export interface HttpDispatcherOptions {
  readonly clock: Clock
  readonly tokens: TokenIssuer
  /** Where App Engine tasks go. */
  readonly appEngineUrl?: string
}

/**
 * Sends attempts over HTTP/1.1. Each gets a connection of its own for as long as it runs, so how many there are is what the
 * queues allow (`maxConcurrentDispatches`); afterwards it is kept for the next one to the same target, and closed after four
 * seconds without any. Redirects are answers like any other.
 *
 * `dispatch` rejects with `Unreachable` alone. After the deadline it closes the connection; the engine has ended the attempt by
 * then and takes no notice.
 */
export class HttpDispatcher {
  readonly dispatch: Dispatcher = async attempt => await this.#send(attempt)
  readonly #options: HttpDispatcherOptions
  // The deadline is the attempt's, so undici's own limits are off; the one on connecting says more than the deadline would.
  readonly #agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 10_000 }, keepAliveTimeout: 4000 })

  constructor (options: HttpDispatcherOptions) {
    this.#options = options
  }

  /** Targets that it has connections to. */
  get targets (): number {
    return Object.keys(this.#agent.stats).length
  }

  /** Cuts off what is under way and closes all connections. Afterwards every attempt is refused. */
  async close (): Promise<void> {
    await this.#agent.destroy(new Unreachable('closing', 'the emulator was stopped'))
  }

  async #send (attempt: Attempt): Promise<Answer> {
    const request = outgoingRequest(attempt, this.#options.appEngineUrl)
    const authorization = this.#authorization(attempt)
    if (authorization !== undefined) request.headers.Authorization = typeof authorization === 'string' ? authorization : await authorization
    return await this.#exchange(request, attempt.deadlineMs)
  }

  #exchange (request: OutgoingRequest, deadlineMs: number): Promise<Answer> {
    const { clock } = this.#options
    return new Promise((resolve, reject) => {
      const exchange = new Exchange((answer, error) => {
        clock.clearTimeout(timer)
        if (answer !== undefined) resolve(answer)
        else if (error === deadline) resolve(NO_ANSWER)
        else reject(error instanceof Unreachable ? error : connectionProblem(new URL(request.origin).host, error))
      })
      const timer = clock.setTimeout(() => { exchange.abort(deadline) }, deadlineMs + GRACE_MS)
      const { origin, path, headers } = request
      const method = request.method as UndiciDispatcher.HttpMethod
      this.#agent.dispatch({ origin, path, method, headers, body: request.body ?? null }, exchange)
    })
  }

  /** Only the first token for an account and an audience has to be waited for. */
  #authorization ({ task }: Attempt): string | Promise<string> | undefined {
    const { url = '', oidcToken, oauthToken } = task.httpRequest ?? {}
    const { tokens } = this.#options
    if (oidcToken !== undefined) return tokens.oidc(oidcToken.serviceAccountEmail, oidcToken.audience || url)
    if (oauthToken !== undefined) return tokens.oauth(oauthToken.serviceAccountEmail, oauthToken.scope)
    return undefined
  }
}

const NO_ANSWER: Answer = { status: 0 }

/** Lets the engine, which knows it for a deadline, be first. */
const GRACE_MS = 100

const deadline = new Error('The deadline of the attempt has passed')

import { Agent, type Dispatcher as UndiciDispatcher } from 'undici'
import type { Answer, Attempt } from '../../engine/engine.js'
import type { Clock } from '../../clock/clock.js'
import { continuingConnector } from './connector.js'
import { Exchange } from './exchange.js'
import type { TokenIssuer } from '../tokens/token-issuer.js'
import { outgoingRequest, type AppEngineServer, type OutgoingRequest } from './outgoing-request.js'
import { connectionProblem, Unreachable } from './unreachable.js'

export interface HttpDispatcherOptions {
  readonly clock: Clock
  readonly tokens: TokenIssuer
  readonly appEngine: AppEngineServer
}

/**
 * Sends attempts over HTTP/1.1. Each uses a connection of its own while it runs, so `maxConcurrentDispatches` limits their number.
 * The connection is then reused for the same target, and closed after four idle seconds. Redirects are not followed.
 *
 * `dispatch` rejects only with `Unreachable`. After the deadline it closes the connection; by then the engine has ended the
 * attempt and ignores the result.
 */
export class HttpDispatcher {
  readonly dispatch = async (attempt: Attempt): Promise<Answer> => await this.#send(attempt)
  readonly #options: HttpDispatcherOptions
  // The attempt has a deadline, so undici's timeouts are off, except for connecting, where its error is more specific.
  readonly #agent = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: continuingConnector({ timeout: 10_000 }),
    keepAliveTimeout: 4000,
    maxHeaderSize: MAX_HEADER_BYTES
  })

  constructor (options: HttpDispatcherOptions) {
    this.#options = options
  }

  /** Number of targets with open connections. */
  get targets (): number {
    return Object.keys(this.#agent.stats).length
  }

  /** Aborts running attempts and closes all connections. Later attempts are rejected. */
  async close (): Promise<void> {
    await this.#agent.destroy(new Unreachable('closing', 'the emulator was stopped'))
  }

  async #send (attempt: Attempt): Promise<Answer> {
    const request = outgoingRequest(attempt, this.#options.appEngine)
    const authorization = this.#authorization(attempt)
    if (authorization !== undefined) {
      request.headers.Authorization = typeof authorization === 'string' ? authorization : await authorization
    }
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

  /** Returns a promise only where a token has to be signed first. */
  #authorization ({ task }: Attempt): string | Promise<string> | undefined {
    const { url = '', oidcToken, oauthToken } = task.httpRequest ?? {}
    const { tokens } = this.#options
    if (oidcToken !== undefined) return tokens.oidc(oidcToken.serviceAccountEmail, oidcToken.audience || url)
    if (oauthToken !== undefined) return tokens.oauth(oauthToken.serviceAccountEmail, oauthToken.scope)
    return undefined
  }
}

/** Targets are trusted, and some debug tools send long headers; undici's default is 16 KiB. */
const MAX_HEADER_BYTES = 64 * 1024

const NO_ANSWER: Answer = { status: 0 }

/** Lets the engine's own deadline, which records the attempt as timed out, expire first. */
const GRACE_MS = 100

const deadline = new Error('The deadline of the attempt has passed')

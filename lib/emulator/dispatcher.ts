import { Agent, request } from 'undici'
import type { HttpMethod } from '../cloud-tasks/task.js'
import type { Answer, Attempt } from '../engine/engine.js'
import type { Tokens } from './tokens.js'

export interface HttpDispatcherOptions {
  readonly tokens: Tokens
  /** Origin of the app that App Engine tasks go to. */
  readonly appEngineUrl: string | undefined
}

/**
 * Delivers attempts over HTTP. Redirects are not followed, answers are read up to a limit, and whatever keeps a target from
 * answering, a header that HTTP does not allow included, is an attempt without a response whose reason observers get to see.
 */
export class HttpDispatcher {
  readonly #agent = new Agent({ connections: 256, keepAliveTimeout: 4000, headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 10_000 } })
  readonly #tokens: Tokens
  readonly #appEngineUrl: string | undefined

  constructor ({ tokens, appEngineUrl }: HttpDispatcherOptions) {
    this.#tokens = tokens
    this.#appEngineUrl = appEngineUrl
  }

  /** Never rejects. */
  async dispatch (attempt: Attempt): Promise<Answer> {
    try {
      return await this.#send(attempt)
    } catch (error) {
      return { status: 0, text: reasonOf(error) }
    }
  }

  /** Ends every attempt that is under way. */
  async close (): Promise<void> {
    await this.#agent.destroy()
  }

  async #send ({ task, headers, deadlineMs }: Attempt): Promise<Answer> {
    const { httpRequest, appEngineHttpRequest } = task
    const url = httpRequest?.url ?? this.#appEngine(appEngineHttpRequest?.relativeUri ?? '/')
    const authorization = httpRequest === undefined ? undefined : await this.#tokens.authorization(httpRequest)
    const { statusCode, body } = await request(url, {
      dispatcher: this.#agent,
      method: (httpRequest ?? appEngineHttpRequest)?.httpMethod as HttpMethod,
      headers: { ...headers, 'accept-encoding': 'gzip', ...(authorization === undefined ? undefined : { Authorization: authorization }) },
      body: (httpRequest ?? appEngineHttpRequest)?.body ?? null,
      signal: AbortSignal.timeout(deadlineMs)
    })
    const pieces: Buffer[] = []
    let size = 0
    for await (const piece of body as AsyncIterable<Buffer>) {
      if (size < MAX_TEXT_BYTES) pieces.push(piece)
      size += piece.length
      // Leaving the loop destroys the stream, and with it the connection.
      if (size > MAX_ANSWER_BYTES) break
    }
    return { status: statusCode, text: Buffer.concat(pieces).subarray(0, MAX_TEXT_BYTES).toString() }
  }

  #appEngine (relativeUri: string): string {
    if (this.#appEngineUrl === undefined) throw new Error('App Engine tasks have no target here; start the emulator with --app-engine-url URL')
    return this.#appEngineUrl.replace(/\/$/, '') + relativeUri
  }
}

function reasonOf (error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}

/** What observers get of an answer. */
const MAX_TEXT_BYTES = 4096

/** A target that answers more than that has its connection closed. */
const MAX_ANSWER_BYTES = 1024 * 1024

import { constants, gunzipSync } from 'node:zlib'
import type { Dispatcher } from 'undici'
import type { Answer } from '../../engine/engine.js'

/** Receives the target's response or the connection's error. */
type Done = (answer: Answer | undefined, error: unknown) => void

/**
 * One request and its response, as an undici handler. It ends with the response, whole or up to a size limit, with an error, or with
 * `abort`. `done` is called exactly once.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  #done: Done | undefined
  #controller: Dispatcher.DispatchController | undefined
  #aborted: Error | undefined
  #status = 0
  #gzip = false
  #received = 0
  readonly #kept: Buffer[] = []

  constructor (done: Done) {
    this.#done = done
  }

  /** Closes the connection, or prevents the request from being sent. */
  abort (error: Error): void {
    this.#aborted = error
    this.#end(undefined, error)
    this.#controller?.abort(error)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#aborted !== undefined) controller.abort(this.#aborted)
  }

  onResponseStart (
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>
  ): void {
    if (status < 200) return // An interim response, such as early hints.
    this.#status = status
    this.#gzip = headers['content-encoding'] === 'gzip'
  }

  onResponseData (controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Copied, because the chunk retains the whole buffer that it is a view of.
    if (this.#received < KEPT_BYTES) this.#kept.push(Buffer.from(chunk.subarray(0, KEPT_BYTES - this.#received)))
    this.#received += chunk.length
    if (this.#received <= MAX_ANSWER_BYTES) return
    this.#answer()
    controller.abort(new Error('The response is too long'))
  }

  onResponseEnd (): void {
    this.#answer()
  }

  onResponseError (controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#end(undefined, error)
  }

  #answer (): void {
    this.#end(new HttpAnswer(this.#status, this.#kept, this.#gzip), undefined)
  }

  #end (answer: Answer | undefined, error: unknown): void {
    const done = this.#done
    this.#done = undefined
    done?.(answer, error)
  }
}

class HttpAnswer implements Answer {
  readonly status: number
  readonly #kept: readonly Buffer[]
  readonly #gzip: boolean

  constructor (status: number, kept: readonly Buffer[], gzip: boolean) {
    this.status = status
    this.#kept = kept
    this.#gzip = gzip
  }

  /** The beginning of the response's body. Decoded lazily, as it is rarely read. */
  get text (): string {
    const bytes = Buffer.concat(this.#kept)
    return (this.#gzip ? unzipped(bytes) : bytes).subarray(0, KEPT_BYTES).toString()
  }
}

/** As much as can be inflated: the kept bytes are truncated. */
function unzipped (bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH })
  } catch {
    return bytes // Not gzip, although its header says so.
  }
}

/** How much of a response's body is kept for display. */
const KEPT_BYTES = 4096

/** A longer response counts too, but its end is not awaited. */
const MAX_ANSWER_BYTES = 1024 * 1024

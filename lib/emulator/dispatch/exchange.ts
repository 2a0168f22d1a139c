import { constants, gunzipSync } from 'node:zlib'
import type { Dispatcher } from 'undici'
import type { Answer } from '../../engine/engine.js'

/** What it came to: the target's answer, or the error of the connection. */
type Done = (answer: Answer | undefined, error: unknown) => void

/**
 * One request and its answer, from undici's point of view. It is over once the whole answer has come, or so much of it that the
 * rest does not matter, or an error, or `abort`; `done` is called once, whatever follows.
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

  /** Closes the connection, or does not even begin when it comes first. */
  abort (error: Error): void {
    this.#aborted = error
    this.#end(undefined, error)
    this.#controller?.abort(error)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#aborted !== undefined) controller.abort(this.#aborted)
  }

  onResponseStart (controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status < 200) return // Early hints: the answer is yet to come.
    this.#status = status
    this.#gzip = headers['content-encoding'] === 'gzip'
  }

  onResponseData (controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // A copy: the chunk is a window on what came with it, however large.
    if (this.#received < KEPT_BYTES) this.#kept.push(Buffer.from(chunk.subarray(0, KEPT_BYTES - this.#received)))
    this.#received += chunk.length
    if (this.#received <= MAX_ANSWER_BYTES) return
    this.#answer()
    controller.abort(new Error('The answer is longer than anybody reads'))
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

  /** The beginning of the answer's body. Made when somebody asks, which is rare. */
  get text (): string {
    const bytes = Buffer.concat(this.#kept)
    return (this.#gzip ? unzipped(bytes) : bytes).subarray(0, KEPT_BYTES).toString()
  }
}

/** As far as it goes: what is kept ends in the middle. */
function unzipped (bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH })
  } catch {
    return bytes // Not gzip, whatever its header says.
  }
}

/** What is kept of an answer's body for people to see. */
const KEPT_BYTES = 4096

/** A longer answer is an answer too, but nobody waits for its end. */
const MAX_ANSWER_BYTES = 1024 * 1024

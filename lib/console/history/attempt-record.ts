import type { AttemptReport } from '../../engine/engine.js'
import type { AttemptInfo, AttemptStatus, ErrorInfo } from '../api/api.js'
import { attemptHeaders, shownHeaders, type SeenTask } from '../api/task-view.js'
import { errorInfo, sizeOf } from './error-info.js'
import type { LogLines } from './log-lines.js'
import { cut } from './text.js'

/** An attempt that has ended. `retryAt` is `unknown` when it will be retried, and only its queue knows when. */
export interface EndedAttempt extends Pick<AttemptReport, 'result' | 'endedAt' | 'error' | 'text'> {
  readonly attempt: { readonly task: Pick<SeenTask, 'name' | 'dispatchCount'> & Partial<Pick<SeenTask, 'lastAttempt'>> }
  readonly durationMs?: number
  readonly retryAt: number | 'unknown' | undefined
}

/** The record of one attempt. */
export class AttemptRecord {
  /** 1 for the first. */
  readonly number: number
  readonly startedAt: number
  readonly #received: Readonly<Record<string, string>> | undefined
  /** State of the task from which headers are created lazily, where they were not received. */
  readonly #then: Pick<SeenTask, 'dispatchCount' | 'executionCount' | 'scheduleAt' | 'previousResponse'>
  endedAt: number | undefined
  result: AttemptStatus | undefined
  text: string | undefined
  logs: LogLines | undefined
  error: ErrorInfo | undefined
  dropReason: string | undefined
  postponedUntil: number | undefined
  postponeReason: string | undefined
  retryAt: number | undefined
  traceId: string | undefined

  /**
   * @param task its state after dispatch
   * @param received the headers of its request, where this process has served it
   */
  constructor (
    { dispatchCount, executionCount, scheduleAt, previousResponse, lastAttempt }: SeenTask,
    received: Readonly<Record<string, string>> | undefined
  ) {
    this.#received = received
    this.number = dispatchCount
    this.startedAt = lastAttempt!.dispatchAt
    this.#then = { dispatchCount, executionCount, scheduleAt, ...(previousResponse === undefined ? undefined : { previousResponse }) }
  }

  /** Number of characters, in addition to the fixed size of an attempt. */
  get chars (): number {
    const received = this.#received === undefined ? 0 : sizeOfHeaders(this.#received)
    const error = this.error === undefined ? 0 : sizeOf(this.error)
    const texts = [this.text, this.dropReason, this.postponeReason, this.traceId].reduce((sum, text) => sum + (text?.length ?? 0), 0)
    return (this.logs?.chars ?? 0) + texts + error + received
  }

  finish ({ result, endedAt, error, text, retryAt }: EndedAttempt): void {
    this.endedAt = endedAt
    this.result = result
    if (typeof retryAt === 'number') this.retryAt = retryAt
    if (text !== undefined) this.text = cut(text, MAX_TEXT)
    if (error !== undefined) this.error ??= errorInfo(error)
  }

  /** Removes large data. @param length maximum length of the remaining texts */
  strip (length: number): void {
    this.logs?.drop()
    this.text = this.text?.slice(0, length)
    if (this.error !== undefined) this.error = { name: this.error.name, message: this.error.message.slice(0, length) }
  }

  /** @param task the task with its request, if known */
  info (task: SeenTask | undefined): AttemptInfo {
    const { number, startedAt, endedAt, result, text, logs, error, dropReason, postponedUntil, postponeReason, retryAt, traceId } = this
    const made = task === undefined ? {} : attemptHeaders({ ...task, ...this.#then })
    return {
      number,
      startedAt,
      ...(endedAt === undefined ? undefined : { endedAt }),
      ...(result === undefined ? undefined : { result }),
      headers: this.#received === undefined ? made : shownHeaders(this.#received),
      ...(text === undefined ? undefined : { text }),
      logs: logs?.lines() ?? [],
      logsOmitted: logs?.omitted ?? 0,
      ...(error === undefined ? undefined : { error }),
      ...(dropReason === undefined ? undefined : { dropReason }),
      ...(postponedUntil === undefined ? undefined : { postponedUntil }),
      ...(postponeReason === undefined ? undefined : { postponeReason }),
      ...(retryAt === undefined ? undefined : { retryAt }),
      ...(traceId === undefined ? undefined : { trace: { id: traceId } })
    }
  }
}

/** Number of characters in names and values. */
export function sizeOfHeaders (headers: Readonly<Record<string, string>>): number {
  let size = 0
  for (const key in headers) size += key.length + headers[key]!.length
  return size
}

/** Maximum length of a kept response. */
const MAX_TEXT = 4096

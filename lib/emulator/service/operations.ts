import { randomUUID } from 'node:crypto'
import { CloudTasksError, grpcCodes, statusErrors } from '../../cloud-tasks/status.js'
import type { TimestampMessage } from '../proto/time.js'
import { timestampMessage } from '../messages/times.js'

/** google.longrunning.Operation. An Any has its type in '@type', next to the fields of its message. */
export interface OperationMessage {
  readonly name: string
  readonly done: true
  readonly metadata: { readonly '@type': string, readonly [field: string]: unknown }
  readonly response?: { readonly '@type': string, readonly [field: string]: unknown }
  readonly error?: StatusMessage
}

interface StatusMessage {
  readonly code: number
  readonly message: string
}

export interface BatchCall<R, T> {
  /** The queue. */
  readonly parent: string
  readonly requestId: string
  readonly requests: readonly R[]
  readonly maxRequests: number
  /** Full name of the metadata's message type. */
  readonly metadata: string
  readonly run: (request: R) => Promise<T>
  /** Whether an error of one request becomes the response to the whole batch, after all requests have run. */
  readonly rejects: (error: CloudTasksError) => boolean
  readonly response: (results: T[]) => NonNullable<OperationMessage['response']>
}

/**
 * Batches of tasks. They are not atomic: each request succeeds or fails on its own, and the operation's metadata lists the failures.
 * An operation is done when it is returned; the newest 1000 are kept.
 */
export class Operations {
  readonly #now: () => number
  readonly #toStatusError: (error: unknown) => CloudTasksError
  readonly #operations = new Map<string, Promise<OperationMessage | CloudTasksError>>()

  /** @param toStatusError converts anything thrown to the error that the caller gets */
  constructor (now: () => number, toStatusError: (error: unknown) => CloudTasksError) {
    this.#now = now
    this.#toStatusError = toStatusError
  }

  /** Throws NOT_FOUND also for a batch that was rejected as a whole, as it has no operation. */
  async get (name: string): Promise<OperationMessage> {
    const operation = await this.#operations.get(name)
    if (operation === undefined || operation instanceof CloudTasksError) throw statusErrors.notFound()
    return operation
  }

  /** Idempotent by request id: the same id in the same queue returns the same operation, and nothing runs twice. */
  async run<R, T>(batch: BatchCall<R, T>): Promise<OperationMessage> {
    const { parent, requestId, requests, maxRequests } = batch
    if (requests.length === 0) throw statusErrors.emptyBatch()
    if (requests.length > maxRequests) throw statusErrors.largeBatch(maxRequests)
    if (requestId !== '' && !UUID4.test(requestId)) throw statusErrors.requestId()
    const location = parent.slice(0, parent.indexOf('/queues/'))
    const id = requestId === '' ? randomUUID() : `${parent.slice(parent.lastIndexOf('/') + 1)}-${requestId.toLowerCase()}`
    const name = `${location}/operations/${id}`
    const operation = await (this.#operations.get(name) ?? this.#start(name, batch))
    if (operation instanceof CloudTasksError) throw operation
    return operation
  }

  #start<R, T>(name: string, batch: BatchCall<R, T>): Promise<OperationMessage | CloudTasksError> {
    const operation = this.#execute(name, batch)
    this.#operations.set(name, operation)
    if (this.#operations.size > MAX_REMEMBERED) this.#operations.delete(this.#operations.keys().next().value!)
    return operation
  }

  async #execute<R, T>(
    name: string,
    { requests, metadata, run, rejects, response }: BatchCall<R, T>
  ): Promise<OperationMessage | CloudTasksError> {
    const startTime = timestampMessage(this.#now())
    const results = await Promise.allSettled(requests.map(run))
    const errors = new Map<number, CloudTasksError>()
    const succeeded: T[] = []
    for (const [index, result] of results.entries()) {
      if (result.status === 'fulfilled') succeeded.push(result.value)
      else errors.set(index, this.#toStatusError(result.reason))
    }
    const rejection = [...errors.values()].find(rejects)
    if (rejection !== undefined) return rejection
    const failedRequests = Object.fromEntries([...errors].map(([index, error]) => [index, statusOf(error)]))
    const state = succeeded.length === results.length ? 'SUCCEEDED' : succeeded.length === 0 ? 'FAILED' : 'PARTIALLY_SUCCEEDED'
    return {
      name,
      done: true,
      metadata: metadataOf(metadata, startTime, timestampMessage(this.#now()), state, failedRequests),
      ...(state === 'FAILED'
        ? { error: statusOf(statusErrors.wholeBatchFailed(metadata.slice(metadata.lastIndexOf('.') + 1))) }
        : { response: response(succeeded) })
    }
  }
}

function metadataOf (
  type: string,
  startTime: TimestampMessage,
  endTime: TimestampMessage,
  state: string,
  failedRequests: object
): OperationMessage['metadata'] {
  return { '@type': `type.googleapis.com/${type}`, startTime, endTime, state, failedRequests }
}

function statusOf ({ code, message }: CloudTasksError): StatusMessage {
  return { code: grpcCodes[code], message }
}

const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i
const MAX_REMEMBERED = 1000

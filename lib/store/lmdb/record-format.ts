import type { AppEngineHttpRequest, HttpRequest, RetryConfig, Task } from '../../cloud-tasks/task.js'
import type { Tombstone } from '../store.js'

/**
 * How things stand in the store. A task is two records. What never changes is written once, its body as it is; what an attempt leaves
 * behind is written
 * beside it, so that a retry costs little, however large the task. Numbers are little-endian.
 *
 *   task    flags u8, queue u32, created u32 (seconds), due f64, length of id u16, length of request u32, id, request (JSON), body
 *   state   due f64, the rest (JSON)
 *   name    until f64, the name
 */

/** The databases of a store. */
export type Table = 'queues' | 'tasks' | 'states' | 'names'

/**
 * A change of one record. A value of undefined removes it. `created`: nothing of that key has been written before, so that
 * a removal can undo it without a trace. Keys of `queues` are names, all others are numbers.
 */
export type Row = readonly [table: Table, key: string | number, value: Buffer | undefined, created?: true]

/** What the front of a task's record tells without a look at its request. */
export interface TaskHeader {
  /** The queue's number in this store. */
  readonly queue: number
  readonly id: string
  readonly scheduleAt: number
  readonly createdAt: number
  readonly generatedId: boolean
}

/** What attempts change. */
type State = Pick<
  Task,
  'scheduleAt' | 'dispatchCount' | 'responseCount' | 'executionCount' | 'previousResponse' | 'firstAttempt' | 'lastAttempt'
>

/** What a task's record holds as JSON; its end is left out where there is nothing. */
type Unchanging = [request: HttpRequest | AppEngineHttpRequest, dispatchDeadlineMs?: number | null, retryConfig?: RetryConfig]

export function encodeTask (task: Task, queue: number, id: string): Buffer {
  const { body } = (task.httpRequest ?? task.appEngineHttpRequest)!
  const request = { ...(task.httpRequest ?? task.appEngineHttpRequest), body: undefined }
  const json = JSON.stringify(encodeImmutable(request, task))
  const jsonBytes = Buffer.byteLength(json)
  const buffer = Buffer.allocUnsafe(FRONT + id.length + jsonBytes + (body?.length ?? 0))
  buffer[0] =
    (task.generatedId === true ? GENERATED_ID : 0) | (task.httpRequest === undefined ? APP_ENGINE : 0) | (body === undefined ? 0 : BODY)
  buffer.writeUInt32LE(queue, 1)
  buffer.writeUInt32LE(task.createdAt / 1000, 5)
  buffer.writeDoubleLE(task.scheduleAt, 9)
  buffer.writeUInt16LE(id.length, 17)
  buffer.writeUInt32LE(jsonBytes, 19)
  buffer.write(id, FRONT, 'latin1')
  buffer.write(json, FRONT + id.length)
  if (body !== undefined) buffer.set(body, FRONT + id.length + jsonBytes)
  return buffer
}

/** Reads the first `size` bytes of `buffer`. Throws when they are no task. */
export function decodeHeader (buffer: Buffer, size: number): TaskHeader {
  const idLength = size < FRONT ? Infinity : buffer.readUInt16LE(17)
  if (FRONT + idLength + (size < FRONT ? 0 : buffer.readUInt32LE(19)) > size) throw new Error('A record of the store is damaged')
  return {
    queue: buffer.readUInt32LE(1),
    id: buffer.toString('latin1', FRONT, FRONT + idLength),
    scheduleAt: buffer.readDoubleLE(9),
    createdAt: buffer.readUInt32LE(5) * 1000,
    generatedId: (buffer[0]! & GENERATED_ID) !== 0
  }
}

/** The task as it was stored. Copies what it keeps of `buffer`. */
export function decodeTask (buffer: Buffer, size: number, name: string): Task {
  const flags = buffer[0]!
  const jsonAt = FRONT + buffer.readUInt16LE(17)
  const bodyAt = jsonAt + buffer.readUInt32LE(19)
  const [request, dispatchDeadlineMs, retryConfig] = JSON.parse(buffer.toString('utf8', jsonAt, bodyAt)) as Unchanging
  // Written out and in one order, so that all tasks of a kind share a shape.
  const task: Writable<Task> = {
    name,
    scheduleAt: buffer.readDoubleLE(9),
    createdAt: buffer.readUInt32LE(5) * 1000,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0
  }
  if ((flags & BODY) !== 0) (request as { body?: Uint8Array }).body = Buffer.copyBytesFrom(buffer, bodyAt, size - bodyAt)
  if ((flags & APP_ENGINE) === 0) task.httpRequest = request as HttpRequest
  else task.appEngineHttpRequest = request
  if (typeof dispatchDeadlineMs === 'number') task.dispatchDeadlineMs = dispatchDeadlineMs
  if (retryConfig !== undefined) task.retryConfig = retryConfig
  if ((flags & GENERATED_ID) !== 0) task.generatedId = true
  return task
}

export function encodeState (task: Task): Buffer {
  const { scheduleAt, dispatchCount, responseCount, executionCount, previousResponse, firstAttempt, lastAttempt } = task
  const json = JSON.stringify({ dispatchCount, responseCount, executionCount, previousResponse, firstAttempt, lastAttempt })
  const buffer = Buffer.allocUnsafe(8 + Buffer.byteLength(json))
  buffer.writeDoubleLE(scheduleAt, 0)
  buffer.write(json, 8)
  return buffer
}

export function decodeState (buffer: Buffer, size: number): State {
  return { scheduleAt: buffer.readDoubleLE(0), ...JSON.parse(buffer.toString('utf8', 8, size)) as Omit<State, 'scheduleAt'> }
}

/** When the task of that state is due. */
export function decodeDue (buffer: Buffer): number {
  return buffer.readDoubleLE(0)
}

export function encodeTombstone ({ name, until }: Tombstone): Buffer {
  const buffer = Buffer.allocUnsafe(8 + Buffer.byteLength(name))
  buffer.writeDoubleLE(until, 0)
  buffer.write(name, 8)
  return buffer
}

export function decodeTombstone (buffer: Buffer, size: number): Tombstone {
  return { name: buffer.toString('utf8', 8, size), until: buffer.readDoubleLE(0) }
}

function encodeImmutable (request: object, { dispatchDeadlineMs, retryConfig }: Task): unknown[] {
  if (retryConfig !== undefined) return [request, dispatchDeadlineMs ?? null, retryConfig]
  return dispatchDeadlineMs === undefined ? [request] : [request, dispatchDeadlineMs]
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

const FRONT = 23

const GENERATED_ID = 1
const APP_ENGINE = 2
const BODY = 4

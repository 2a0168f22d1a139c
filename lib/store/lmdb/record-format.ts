import { crc32 } from 'node:zlib'
import type { AppEngineHttpRequest, HttpRequest, RetryConfig, Task } from '../../cloud-tasks/task.js'
import type { StoredQueue, Tombstone } from '../store.js'

/**
 * The format of records. A task has two: the immutable part, with its raw body, and the state that attempts change, so that a retry is
 * cheap regardless of the task's size. Numbers are little-endian.
 *
 *   task    flags u8, queue u32, created u32 (seconds), due f64, length of id u16, length of request u32, id, request (JSON), body, seal
 *   state   due f64, the rest (JSON), seal
 *   name    until f64, the name, seal
 *   queue   JSON of its number and itself, seal
 *
 * The seal is written when the record goes to lmdb: a checksum u32 of what an opening store reads of it, and one of all before that.
 * Both begin with the record's key, so that a record under another key is noticed, too. What an opening store needs of a million tasks
 * is checked in JavaScript, which takes 30 ns for so few bytes; the rest is checked when the task is read.
 */

/** The databases of a store. */
export type Table = 'queues' | 'tasks' | 'states' | 'names'

/**
 * A change of one record. A value of undefined removes it. `created`: the key has not been written before, so that a removal can undo it.
 * Keys of `queues` are names, all others are numbers.
 */
export type Row = readonly [table: Table, key: string | number, value: Buffer | undefined, created?: true]

/** The header of a task's record, which can be read without its request. */
export interface TaskHeader {
  /** The queue's number in this store. */
  readonly queue: number
  readonly id: string
  readonly scheduleAt: number
  readonly createdAt: number
  readonly generatedId: boolean
  /** `sealOf` its key, if nothing of the header is damaged. */
  readonly seal: number
}

/** What an opening store reads of a state. */
export interface StateHeader {
  readonly dueAt: number
  /** As a task's. */
  readonly seal: number
}

/** The state that attempts change. */
type State = Pick<
  Task,
  'scheduleAt' | 'dispatchCount' | 'responseCount' | 'executionCount' | 'previousResponse' | 'firstAttempt' | 'lastAttempt'
>

/** The JSON part of a task's record; empty elements at the end are omitted. */
type Unchanging = [request: HttpRequest | AppEngineHttpRequest, dispatchDeadlineMs?: number | null, retryConfig?: RetryConfig]

export function encodeTask (task: Task, queue: number, id: string): Buffer {
  const { body } = (task.httpRequest ?? task.appEngineHttpRequest)!
  const request = { ...(task.httpRequest ?? task.appEngineHttpRequest), body: undefined }
  const json = JSON.stringify(encodeImmutable(request, task))
  const jsonBytes = Buffer.byteLength(json)
  const buffer = Buffer.allocUnsafe(FRONT + id.length + jsonBytes + (body?.length ?? 0) + SEAL)
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

/** Reads the first `size` bytes of `buffer`. Throws if they are not a task. */
export function decodeHeader (buffer: Buffer, size: number): TaskHeader {
  const end = headerEnd(buffer, size)
  return {
    queue: buffer.readUInt32LE(1),
    id: buffer.toString('latin1', FRONT, end),
    scheduleAt: buffer.readDoubleLE(9),
    createdAt: buffer.readUInt32LE(5) * 1000,
    generatedId: (buffer[0]! & GENERATED_ID) !== 0,
    seal: buffer.readInt32LE(size - SEAL) ^ checksum(buffer, end)
  }
}

/** Decodes a task. Copies data from `buffer`. */
export function decodeTask (buffer: Buffer, size: number, name: string): Task {
  const flags = buffer[0]!
  const jsonAt = FRONT + buffer.readUInt16LE(17)
  const bodyAt = jsonAt + buffer.readUInt32LE(19)
  const [request, dispatchDeadlineMs, retryConfig] = JSON.parse(buffer.toString('utf8', jsonAt, bodyAt)) as Unchanging
  // Properties are assigned in a fixed order so that all tasks of a kind have the same hidden class.
  const task: Writable<Task> = {
    name,
    scheduleAt: buffer.readDoubleLE(9),
    createdAt: buffer.readUInt32LE(5) * 1000,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0
  }
  if ((flags & BODY) !== 0) (request as { body?: Uint8Array }).body = Buffer.copyBytesFrom(buffer, bodyAt, size - SEAL - bodyAt)
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
  const buffer = Buffer.allocUnsafe(8 + Buffer.byteLength(json) + SEAL)
  buffer.writeDoubleLE(scheduleAt, 0)
  buffer.write(json, 8)
  return buffer
}

export function decodeState (buffer: Buffer, size: number): State {
  return { scheduleAt: buffer.readDoubleLE(0), ...JSON.parse(buffer.toString('utf8', 8, size - SEAL)) as Omit<State, 'scheduleAt'> }
}

/** Reads the first `size` bytes of `buffer`. Throws when they are no state. */
export function decodeStateHeader (buffer: Buffer, size: number): StateHeader {
  if (size < 8 + SEAL) throw new Error('a record is too short')
  return { dueAt: buffer.readDoubleLE(0), seal: buffer.readInt32LE(size - SEAL) ^ checksum(buffer, 8) }
}

export function encodeTombstone ({ name, until }: Tombstone): Buffer {
  const buffer = Buffer.allocUnsafe(8 + Buffer.byteLength(name) + SEAL)
  buffer.writeDoubleLE(until, 0)
  buffer.write(name, 8)
  return buffer
}

/** Throws when the first `size` bytes of `buffer` are no name, whatever their key. */
export function decodeTombstone (buffer: Buffer, size: number): Tombstone {
  const end = size - SEAL
  if (end < 8 || (buffer.readInt32LE(end) ^ checksum(buffer, end)) !== NO_KEY) throw new Error('a name that is remembered is damaged')
  return { name: buffer.toString('utf8', 8, end), until: buffer.readDoubleLE(0) }
}

export function encodeQueue (queue: StoredQueue, number: number): Buffer {
  const json = JSON.stringify([number, queue])
  const buffer = Buffer.allocUnsafe(Buffer.byteLength(json) + SEAL)
  buffer.write(json)
  return buffer
}

/** Throws when it is not the queue of that name. */
export function decodeQueue (buffer: Buffer, name: string): { number: number, queue: StoredQueue } {
  if (!isSealed('queues', name, buffer, buffer.length)) throw new Error(`queue ${name} is damaged`)
  const [number, queue] = JSON.parse(buffer.toString('utf8', 0, buffer.length - SEAL)) as [number, StoredQueue]
  if (queue.name !== name) throw new Error(`queue ${name} is damaged`)
  return { number, queue }
}

/** Fills in the seal of a record that goes to lmdb. */
export function seal (table: Table, key: string | number, value: Buffer): void {
  const end = value.length - SEAL
  const header = table === 'tasks' ? headerEnd(value, value.length) : table === 'states' ? 8 : end
  value.writeInt32LE(checksum(value, header) ^ sealOf(table, key), end)
  // Names are read whole, and seldom.
  value.writeUInt32LE(table === 'names' ? 0 : crc32(value.subarray(0, end), sealOf(table, key)), end + 4)
}

/** Whether a record of lmdb is as it was written, under that key. */
export function isSealed (table: Exclude<Table, 'names'>, key: string | number, value: Buffer, size: number): boolean {
  return size >= SEAL && crc32(value.subarray(0, size - SEAL), sealOf(table, key)) === value.readUInt32LE(size - 4)
}

/** What the seals of a key begin with. */
export function sealOf (table: Table, key: string | number): number {
  return table === 'names' || typeof key === 'string' ? NO_KEY : (Math.imul(key, 0x9e3779b1) ^ (table === 'tasks' ? 0 : 1)) >>> 0
}

/** Of the first `end` bytes, in words: whatever is damaged within one of them is noticed. */
export function checksum (buffer: Buffer, end: number): number {
  let sum = end
  let at = 0
  for (; at + 4 <= end; at += 4) {
    sum = Math.imul(sum ^ (buffer[at]! | buffer[at + 1]! << 8 | buffer[at + 2]! << 16 | buffer[at + 3]! << 24), 0x5bd1e995)
    sum ^= sum >>> 15
  }
  for (; at < end; at++) {
    sum = Math.imul(sum ^ buffer[at]!, 0x5bd1e995)
    sum ^= sum >>> 15
  }
  return sum
}

/** Where the request of a task begins. Throws when the first `size` bytes of `buffer` are no task. */
function headerEnd (buffer: Buffer, size: number): number {
  const end = FRONT + buffer.readUInt16LE(17)
  if (end + buffer.readUInt32LE(19) > size - SEAL) throw new Error('a record has another length than it says')
  return end
}

function encodeImmutable (request: object, { dispatchDeadlineMs, retryConfig }: Task): unknown[] {
  if (retryConfig !== undefined) return [request, dispatchDeadlineMs ?? null, retryConfig]
  return dispatchDeadlineMs === undefined ? [request] : [request, dispatchDeadlineMs]
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

const FRONT = 23
/** Bytes of a record's seal. */
const SEAL = 8
const NO_KEY = 0x5eed

const GENERATED_ID = 1
const APP_ENGINE = 2
const BODY = 4

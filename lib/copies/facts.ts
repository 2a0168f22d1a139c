/** The header that describes the origin of a copied task. Not for authorization. */
import { isPlainObject } from '../checks.js'
import { isQueueId, isTaskId } from '../cloud-tasks/names.js'
import { ORIGIN_HEADER } from '../delivery/headers.js'

/** The origin of a task that is a copy of another. */
export interface Origin {
  /** Short id of the original task. */
  readonly id: string
  /** How often handlers postponed it. */
  readonly postponements: number
  /** Set on dead letters only. */
  readonly letter?: LetterFacts
}

/** What a dead letter contains about the failed task. Texts are truncated. */
export interface LetterFacts {
  /** Short id of the queue that the task was in. */
  readonly queue: string
  /** Short id of the task; absent if it is the original one. */
  readonly id?: string
  /** Name in the registry. */
  readonly task?: string
  readonly attempts: number
  /** When it ended, in epoch milliseconds. */
  readonly at: number
  readonly error: { readonly name: string, readonly code?: string, readonly message: string }
}

/** Maximum length of the header's value. */
export const MAX_ORIGIN_BYTES = 1024

/** The value of the header: base64url of JSON, because messages contain newlines and Unicode. Texts are truncated to fit. */
export function printOrigin (origin: Origin): string {
  for (const length of [600, 400, 200, 100, 40, 0]) {
    const text = encode(cutTexts(origin, length))
    if (text.length <= MAX_ORIGIN_BYTES) return text
  }
  const { letter, ...rest } = origin
  return encode(letter === undefined
    ? rest
    : { ...rest, letter: { queue: letter.queue, id: letter.id, attempts: letter.attempts, at: letter.at } })
}

/** Undefined for invalid values. Anyone who can create tasks can set this header. */
export function readOrigin (headers: Readonly<Record<string, unknown>> | undefined): Origin | undefined {
  const value = headers?.[ORIGIN_HEADER]
  if (typeof value !== 'string' || value.length > MAX_ORIGIN_BYTES) return undefined
  let origin: unknown
  try {
    origin = JSON.parse(Buffer.from(value, 'base64url').toString())
  } catch {
    return undefined
  }
  if (!isPlainObject(origin) || !isId(origin.id) || !isCount(origin.postponements)) return undefined
  const read = { id: origin.id, postponements: origin.postponements }
  if (origin.letter === undefined) return read
  const letter = readLetter(origin.letter)
  return letter === undefined ? undefined : { ...read, letter }
}

function readLetter (letter: unknown): LetterFacts | undefined {
  if (!isPlainObject(letter)) return undefined
  // Long ids leave no space for an error.
  const { queue, id, task, attempts, at, error = { name: '', message: '' } } = letter
  if (!isPlainObject(error)) return undefined
  const { name, code, message } = error
  if (typeof queue !== 'string' || !isQueueId(queue) || (id !== undefined && !isId(id)) || !isCount(attempts)) return undefined
  if (typeof at !== 'number' || Number.isNaN(new Date(at).getTime())) return undefined
  if (typeof name !== 'string' || typeof message !== 'string') return undefined
  if ((task !== undefined && typeof task !== 'string') || (code !== undefined && typeof code !== 'string')) return undefined
  return {
    queue,
    ...(id === undefined ? undefined : { id }),
    ...(task === undefined ? undefined : { task }),
    attempts,
    at,
    error: { name, ...(code === undefined ? undefined : { code }), message }
  }
}

function isId (id: unknown): id is string {
  return typeof id === 'string' && isTaskId(id)
}

function isCount (count: unknown): count is number {
  return Number.isSafeInteger(count) && count as number >= 0
}

function cutTexts (origin: Origin, length: number): Origin {
  const { letter } = origin
  if (letter === undefined) return origin
  const { name, code, message } = letter.error
  const codes = code === undefined ? undefined : { code: cut(code, 60) }
  const error = { name: cut(name, Math.min(length, 60)), ...codes, message: cut(message, length) }
  return { ...origin, letter: { ...letter, error } }
}

/** An unpaired surrogate has no UTF-8 encoding. */
function cut (text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '')
}

function encode (origin: Origin | object): string {
  return Buffer.from(JSON.stringify(origin)).toString('base64url')
}

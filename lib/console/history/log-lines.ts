import { isPlainObject } from '../../checks.js'
import type { Clock } from '../../clock/clock.js'
import type { LogLine } from '../api/api.js'
import { cut } from './text.js'

/** A log line: JSON as written by pino, or the parsed arguments of another logger. */
export type WrittenLine = string | LogLine

/** The first and the latest log lines of an attempt, limited in number and length. */
export class LogLines {
  readonly #clock: Clock
  readonly #first: WrittenLine[] = []
  readonly #latest: WrittenLine[] = []
  #chars = 0
  omitted = 0

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /** Number of characters. */
  get chars (): number {
    return this.#chars
  }

  add (line: WrittenLine): void {
    const kept = typeof line === 'string' && line.length > MAX_LINE ? parseLine(line, this.#clock.now()) : line
    const chars = charsOf(kept)
    this.#chars += chars
    if (this.#first.length < FIRST && this.#latest.length === 0 && this.#chars <= MAX_CHARS / 2) {
      this.#first.push(kept)
      return
    }
    this.#latest.push(kept)
    while (this.#latest.length > LATEST || (this.#chars > MAX_CHARS && this.#latest.length > 1)) {
      this.#chars -= charsOf(this.#latest.shift()!)
      this.omitted++
    }
  }

  /** Removes all lines, and counts them as omitted. */
  drop (): void {
    this.omitted += this.#first.length + this.#latest.length
    this.#first.length = this.#latest.length = this.#chars = 0
  }

  /** The kept lines, oldest first. Omitted lines followed the first ones. */
  lines (): LogLine[] {
    const now = this.#clock.now()
    return [...this.#first, ...this.#latest].map(line => typeof line === 'string' ? parseLine(line, now) : line)
  }
}

/** The name of a pino level; a custom level gets the name of the next lower one. */
export function levelName (level: unknown): LogLine['level'] {
  if (typeof level === 'string') return LEVELS.find(name => name === level.toLowerCase()) ?? 'info'
  const number = typeof level === 'number' ? Math.floor(level / 10) : 3
  return LEVELS[Math.min(Math.max(number, 1), LEVELS.length) - 1]!
}

/** Creates a line for loggers that do not write JSON. */
export function madeLine (at: number, level: LogLine['level'], message: string, fields: object | undefined): LogLine {
  const text = fields === undefined ? undefined : printFields(fields)
  return { at, level, message: cut(message, MAX_MESSAGE), ...(text === undefined ? undefined : { fields: text }) }
}

/** Fields that are the same in every line of an attempt, or shown separately. */
const COMMON = new Set(['level', 'time', 'pid', 'hostname', 'msg', 'message', 'reqId', 'task', 'id', 'attempt'])

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const

/** @param at epoch milliseconds, for a line without a time */
function parseLine (line: string, at: number): LogLine {
  if (line.length > MAX_PARSED) return { at, level: 'info', message: cut(line, MAX_MESSAGE) }
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch {
    // The app may have a custom format.
    return { at, level: 'info', message: cut(line.trimEnd(), MAX_MESSAGE) }
  }
  if (!isPlainObject(parsed)) return { at, level: 'info', message: cut(line.trimEnd(), MAX_MESSAGE) }
  const message = parsed.msg ?? parsed.message
  const rest = Object.fromEntries(Object.entries(parsed).filter(([key]) => !COMMON.has(key)))
  const fields = Object.keys(rest).length === 0 ? undefined : cut(JSON.stringify(rest), MAX_FIELDS)
  return {
    at: timeOf(parsed.time) ?? at,
    level: levelName(parsed.level),
    message: typeof message === 'string' ? cut(message, MAX_MESSAGE) : '',
    ...(fields === undefined ? undefined : { fields })
  }
}

function timeOf (time: unknown): number | undefined {
  const at = typeof time === 'string' ? Date.parse(time) : time
  return typeof at === 'number' && Number.isFinite(at) ? at : undefined
}

function charsOf (line: WrittenLine): number {
  return typeof line === 'string' ? line.length : line.message.length + (line.fields?.length ?? 0) + 64
}

function printFields (fields: object): string | undefined {
  try {
    const text = JSON.stringify(fields, printable)
    return text === '{}' || text === undefined ? undefined : cut(text, MAX_FIELDS)
  } catch {
    return '"fields that cannot be printed"'
  }
}

function printable (key: string, value: unknown): unknown {
  if (SECRET.test(key)) return '[hidden]'
  if (value instanceof Error) return { name: value.name, message: value.message, stack: value.stack }
  return typeof value === 'bigint' ? String(value) : value
}

const SECRET = /authorization|cookie|password|passwd|secret|token|api-?key|credential/i

const FIRST = 50
const LATEST = 150
const MAX_CHARS = 64 * 1024
/** Longer lines are parsed and truncated on writing instead of on reading. */
const MAX_LINE = 4096
const MAX_PARSED = 1024 * 1024
const MAX_MESSAGE = 4096
const MAX_FIELDS = 4096

export interface TimestampMessage {
  readonly seconds?: number
  readonly nanos?: number
}

export interface DurationMessage {
  readonly seconds?: number
  readonly nanos?: number
}

/** Timestamps and durations in their JSON form. Invalid text parses to undefined. */

/** RFC 3339 in UTC with 0, 3, 6 or 9 fractional digits. */
export function printTimestamp ({ seconds = 0, nanos = 0 }: TimestampMessage): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, -'.000Z'.length)}${fraction(nanos)}Z`
}

/** RFC 3339, with any offset and up to 9 fractional digits. */
export function parseTimestamp (text: string): TimestampMessage | undefined {
  const match = TIMESTAMP.exec(text)
  if (match === null) return undefined
  const [, date, time, digits = '', offset] = match as unknown as [string, string, string, string | undefined, string]
  const local = Date.parse(`${date}T${time}Z`)
  // Date.parse reads 30 February as 2 March.
  if (Number.isNaN(local) || !new Date(local).toISOString().startsWith(`${date}T${time}`)) return undefined
  const seconds = local / 1000 - offsetSeconds(offset)
  return isTimestamp({ seconds }) ? { seconds, nanos: Number(digits.padEnd(9, '0')) } : undefined
}

/** From year 1 to year 9999, the range of google.protobuf.Timestamp. */
export function isTimestamp ({ seconds = 0, nanos = 0 }: TimestampMessage): boolean {
  return seconds >= MIN_SECONDS && seconds <= MAX_SECONDS && nanos >= 0 && nanos <= 999_999_999
}

/** Seconds with 0, 3, 6 or 9 fractional digits and an `s`. */
export function printDuration ({ seconds = 0, nanos = 0 }: DurationMessage): string {
  const sign = seconds < 0 || nanos < 0 ? '-' : ''
  return `${sign}${Math.abs(seconds)}${fraction(Math.abs(nanos))}s`
}

/** Up to 9 fractional digits. */
export function parseDuration (text: string): DurationMessage | undefined {
  const match = DURATION.exec(text)
  if (match === null) return undefined
  const [, sign, whole, digits = ''] = match as unknown as [string, string, string, string | undefined]
  const by = sign === '-' ? -1 : 1
  // Adding 0 turns -0 into 0.
  const duration = { seconds: by * Number(whole) + 0, nanos: by * Number(digits.padEnd(9, '0')) + 0 }
  return isDuration(duration) ? duration : undefined
}

/** At most 10,000 years, both parts of the same sign, as google.protobuf.Duration requires. */
export function isDuration ({ seconds = 0, nanos = 0 }: DurationMessage): boolean {
  return Math.abs(seconds) <= MAX_DURATION_SECONDS && Math.abs(nanos) <= 999_999_999 && seconds * nanos >= 0
}

function fraction (nanos: number): string {
  if (nanos === 0) return ''
  const digits = String(nanos).padStart(9, '0')
  if (digits.endsWith('000000')) return `.${digits.slice(0, 3)}`
  return `.${digits.endsWith('000') ? digits.slice(0, 6) : digits}`
}

function offsetSeconds (offset: string): number {
  if (offset === 'Z' || offset === 'z') return 0
  const [hours, minutes] = offset.slice(1).split(':').map(Number) as [number, number]
  return (offset.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60)
}

const TIMESTAMP = /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/
const DURATION = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/

const MIN_SECONDS = -62_135_596_800
const MAX_SECONDS = 253_402_300_799
const MAX_DURATION_SECONDS = 315_576_000_000

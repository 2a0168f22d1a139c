import { statusErrors } from '../../cloud-tasks/status.js'
import type { DurationMessage, TimestampMessage } from '../proto/time.js'
import { isDuration, isTimestamp } from '../proto/time.js'

/** Converts between the engine's numbers and Google's messages. Errors name the `field`. */

/** Epoch milliseconds, to the microsecond, as Cloud Tasks keeps them. Throws INVALID_ARGUMENT outside of the years 1 to 9999. */
export function readTimestamp (field: string, message: TimestampMessage): number {
  if (!isTimestamp(message)) throw statusErrors.notATime(field)
  return (message.seconds ?? 0) * 1000 + Math.floor((message.nanos ?? 0) / 1000) / 1000
}

export function timestampMessage (at: number): TimestampMessage {
  const micros = Math.round(at * 1000)
  const seconds = Math.floor(micros / 1e6)
  return { seconds, nanos: (micros - seconds * 1e6) * 1000 }
}

/** Seconds. Throws INVALID_ARGUMENT for an invalid google.protobuf.Duration. */
export function readDuration (field: string, message: DurationMessage): number {
  if (!isDuration(message)) throw statusErrors.notADuration(field)
  return (message.seconds ?? 0) + (message.nanos ?? 0) / 1e9
}

export function durationMessage (seconds: number): DurationMessage {
  const whole = Math.floor(seconds)
  const nanos = Math.round((seconds - whole) * 1e9)
  return nanos === 1e9 ? { seconds: whole + 1, nanos: 0 } : { seconds: whole, nanos }
}

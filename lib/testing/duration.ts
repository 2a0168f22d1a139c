import { parseDuration } from '../clock/duration.js'
import type { KitClock } from './kit-clock.js'

/** Such as `30s`, `1.5h` or `7d`. */
export type KitDuration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/**
 * Milliseconds by which to advance a clock.
 * @param by milliseconds, like fake timers; a duration; or the time to advance to
 */
export function readAdvance (by: unknown, clock: KitClock, refuse: (problem: string) => Error): number {
  const now = clock.now()
  const ms = by instanceof Date ? untilTime(by, clock) : typeof by === 'string' ? (parseDuration(by) ?? NaN) * 1000 : by
  if (typeof ms !== 'number' || !Number.isFinite(ms)) {
    throw refuse("the time must be milliseconds, a duration such as '30s', '5m', '1.5h' or '7d', or a Date to advance to")
  }
  if (ms < 0) throw refuse('the clock cannot be set back')
  if (now + ms > LAST_TIME) throw refuse('the clock cannot be advanced beyond the year 9999')
  return ms
}

/** A time that has passed since the kit was created is reached, as where a retry has become due in the meantime. */
function untilTime (time: Date, clock: KitClock): number {
  const ms = time.getTime() - clock.now()
  return ms < 0 && time.getTime() >= clock.startedAt ? 0 : ms
}

const LAST_TIME = Date.parse('9999-12-31T00:00:00Z')

import { parseDuration } from '../clock/duration.js'

/**
 * Milliseconds by which to advance a clock from `now`.
 * @param by milliseconds, like fake timers; a duration; or the time to advance to
 */
export function readAdvance (by: unknown, now: number, refuse: (problem: string) => Error): number {
  const ms = by instanceof Date ? by.getTime() - now : typeof by === 'string' ? (parseDuration(by) ?? NaN) * 1000 : by
  if (typeof ms !== 'number' || !Number.isFinite(ms)) {
    throw refuse("the time must be milliseconds, a duration such as '30s', '5m', '1.5h' or '7d', or a Date to advance to")
  }
  if (ms < 0) throw refuse('the clock cannot be set back')
  return ms
}

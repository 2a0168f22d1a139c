import { systemClock } from '../clock/clock.js'
import { MAX_SCHEDULE_AHEAD_MS } from '../cloud-tasks/limits.js'

/**
 * Parses the `Retry-After` header of an HTTP response to seconds, for `task.retryAfter`: 0 for a date in the past, and at most 30 days
 * (2,592,000), the maximum delay of a task. Undefined for an absent or malformed header.
 * @param value seconds or a date according to RFC 9110, section 10.2.3: `response.headers.get('retry-after')`
 * @param now epoch milliseconds, for dates. @default the system's clock
 */
export function parseRetryAfter (
  value: string | readonly string[] | null | undefined, now: number = systemClock.now()
): number | undefined {
  const text = (typeof value === 'string' || value === null || value === undefined ? value : value[0])?.trim()
  if (text === undefined) return undefined
  if (/^\d+$/.test(text)) return Math.min(Number(text), MAX_SECONDS)
  const at = HTTP_DATE.test(text) ? Date.parse(text.endsWith('GMT') ? text : `${text} GMT`) : NaN
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, Math.ceil((at - now) / 1000)), MAX_SECONDS)
}

const MAX_SECONDS = MAX_SCHEDULE_AHEAD_MS / 1000

/** The current format and the two obsolete ones, of RFC 850 and of asctime. */
const HTTP_DATE = new RegExp(`^(?:${[
  '[A-Z][a-z]{2}, \\d{2} [A-Z][a-z]{2} \\d{4} \\d{2}:\\d{2}:\\d{2} GMT',
  '[A-Z][a-z]{5,8}, \\d{2}-[A-Z][a-z]{2}-\\d{2} \\d{2}:\\d{2}:\\d{2} GMT',
  '[A-Z][a-z]{2} [A-Z][a-z]{2} [ \\d]\\d \\d{2}:\\d{2}:\\d{2} \\d{4}'
].join('|')})$`)

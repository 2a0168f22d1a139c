import { isPlainObject, number, option, string, type Declared, type Option } from './checks.js'
import type { Clock } from './clock/clock.js'
import { MAX_SCHEDULE_AHEAD_MS, deadlineProblem } from './cloud-tasks/limits.js'
import { isQueueId } from './cloud-tasks/names.js'
import { reservedHeader } from './delivery/headers.js'

/** Named as in firebase-admin's `TaskOptions`. */
export interface EnqueueOptions {
  /**
   * De-duplication key, 1 to 500 characters. While a task with this name and id is queued, and for about an hour to a day
   * after it has finished, it is not added to the same queue again; the result then has `duplicate: true`.
   */
  readonly id?: string
  /** When to run, at most 30 days ahead; a time in the past means now. Excludes `scheduleDelaySeconds`. */
  readonly scheduleTime?: Date
  /** Seconds from now, 0 to 2,592,000 (30 days). */
  readonly scheduleDelaySeconds?: number
  /** Time limit of an attempt in seconds: 15 to 1800, on App Engine 15 to 86415. @default the definition's */
  readonly dispatchDeadlineSeconds?: number
  /** @default the definition's, else the plugin's */
  readonly queue?: string
  /** Sent with every attempt. Headers that Cloud Tasks sets or removes are rejected, and so is `content-type`. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface DeleteOptions {
  /** @default the definition's, else the plugin's */
  readonly queue?: string
  /** Whether to look for postponed or replayed copies. @default true */
  readonly copies?: boolean
}

const MAX_DELAY_SECONDS = MAX_SCHEDULE_AHEAD_MS / 1000

/** Without those that Cloud Tasks or this package sets. */
export const taskHeaders: Option<EnqueueOptions['headers']> = {
  read (value, path, { refuse }) {
    if (value === undefined) return undefined
    if (!isPlainObject(value)) throw refuse(`'${path}' must be an object of strings`)
    for (const [key, one] of Object.entries(value)) {
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(key)) throw refuse(`'${path}' has an invalid header name`)
      if (typeof one !== 'string' || !/^[\t\x20-\x7e]*$/.test(one)) {
        throw refuse(`'${path}.${key}' must be a string of printable ASCII characters`)
      }
      if (reservedHeader(key)) throw refuse(`'${path}.${key}' is set by Cloud Tasks or by this package`)
    }
    return value as Readonly<Record<string, string>>
  }
}

export const queueId = string({ valid: isQueueId, must: 'must be a queue id: 1 to 100 letters, digits or hyphens' })

/**
 * Check of each option of `enqueue`. The defaults are those of the definition and the plugin.
 * @param target determines the maximum deadline
 */
export function enqueueOptions (target: 'http' | 'appEngine', clock: Clock) {
  return {
    id: string({ valid: id => id.length >= 1 && id.length <= 500, must: 'must be a string of 1 to 500 characters' }),
    scheduleTime: option<Date>(time => {
      if (!(time instanceof Date) || Number.isNaN(time.getTime())) return 'must be a valid Date'
      return time.getTime() > clock.now() + MAX_SCHEDULE_AHEAD_MS ? 'may be at most 30 days ahead' : undefined
    }),
    scheduleDelaySeconds: number(0, MAX_DELAY_SECONDS),
    dispatchDeadlineSeconds: option<number>(seconds => deadlineProblem(seconds, target)),
    queue: queueId,
    headers: taskHeaders
  } satisfies Declared<EnqueueOptions>
}

import type { AsyncResource } from 'node:async_hooks'
import type { FastifyBaseLogger } from 'fastify'
import type { Clock } from '../../clock/clock.js'
import type { RetryConfig } from '../../cloud-tasks/task.js'
import type { RetrySettings } from '../../transport/transport.js'
import { EndedTasks } from './ended-tasks.js'
import { Readings, type Reading, type Unread } from './readings.js'
import { UNKNOWN_LIMITS, retryLimits, type LimitedAttempt, type RetryLimits, type RetryLimitSource } from './retry-limits.js'

export interface RemoteLimitsOptions {
  readonly settings: RetrySettings
  /** A queue's settings in the option `queues`, without defaults. */
  readonly named: (queue: string) => Partial<RetryConfig>
  /** Whether tasks of a queue are kept as dead letters, so that their last attempt must be known. */
  readonly keepsLetters: (queue: string) => boolean
  readonly clock: Clock
  /** The async context in which settings are read, instead of that of an attempt. */
  readonly scope: AsyncResource
  readonly log: FastifyBaseLogger
}

const REMEDY = "run 'fastify-cloud-tasks queues sync', or correct the option"

/** Age after which a queue's settings are refreshed. */
const REFRESH_MS = 300_000

/** Maximum age when an attempt has failed and may be the last. */
const RECENT_MS = 10_000

/** Maximum age when an attempt contradicts them. */
const CONTRADICTED_MS = 1000

/**
 * Limits of queues in Cloud Tasks, whose settings can differ from the options. A task's own `retryConfig` takes precedence, then the last
 * known one of its queue, then the option `queues`.
 */
export class RemoteLimits implements RetryLimitSource {
  readonly #options: RemoteLimitsOptions
  readonly #queues: Readings<RetryLimits>
  readonly #tasks: Readings<OwnLimits>
  readonly #ended = new EndedTasks()
  /** Queues for which an attempt has disproved the options. */
  readonly #disproved = new Set<string>()
  readonly #logged = new Set<string>()
  /** Permissions are rarely granted per task, so a denial applies to all tasks for a while. */
  #denial: { /** In monotonic time. */ readonly until: number, readonly reading: Unread } | undefined

  constructor (options: RemoteLimitsOptions) {
    const { clock, scope } = options
    this.#options = options
    this.#queues = new Readings<RetryLimits>({
      read: queue => this.#readQueue(queue),
      clock,
      scope,
      refreshMs: REFRESH_MS,
      maxKeys: 1000,
      onRead: (queue, limits) => {
        this.#compare(queue, limits)
        this.#logUnknownEnd(queue, limits)
      },
      onUnread: (queue, reading) => {
        this.#logUnreadQueue(queue, reading)
        this.#logUnknownEnd(queue, this.knownLimits(queue))
      }
    })
    this.#tasks = new Readings<OwnLimits>({
      read: key => this.#readTask(key),
      clock,
      scope,
      refreshMs: Infinity,
      maxKeys: 10_000,
      onRead: () => {},
      onUnread: (_, reading) => { this.#logUnreadTask(reading) }
    })
  }

  /** Reads queues in advance. Returns at once. */
  prepare (queues: Iterable<string>): void {
    for (const queue of queues) this.#queues.prepare(queue)
  }

  limitsOf (attempt: LimitedAttempt): RetryLimits | Promise<RetryLimits> {
    this.#ended.see(attempt)
    // Most tasks succeed on the first attempt. The others are few enough to be read individually.
    return this.#decide(attempt, this.#ownLimits(attempt, attempt.attempt > 1), this.#queues.get(attempt.queue))
  }

  limitsOfFailed (attempt: LimitedAttempt): RetryLimits | Promise<RetryLimits> {
    return this.#decide(attempt, this.#ownLimits(attempt, true), this.#queues.get(attempt.queue, RECENT_MS))
  }

  knownLimits (queue: string): RetryLimits {
    return this.#queues.known(queue) ?? this.#namedLimits(queue)
  }

  recordEnd (attempt: LimitedAttempt): boolean {
    return this.#ended.add(attempt)
  }

  close (): void {
    this.#queues.close()
    this.#tasks.close()
  }

  #ownLimits (attempt: LimitedAttempt, read: boolean): MaybeLater<OwnLimits> {
    if (!attempt.mayHaveOwnRetry) return 'none'
    if (this.#options.settings.ofTask === undefined) return undefined
    return read ? this.#tasks.get(keyOf(attempt)) : this.#tasks.known(keyOf(attempt))
  }

  #decide (attempt: LimitedAttempt, own: MaybeLater<OwnLimits>, queue: MaybeLater<RetryLimits>): RetryLimits | Promise<RetryLimits> {
    if (own instanceof Promise || queue instanceof Promise) {
      return Promise.all([own, queue]).then(([ownLimits, queueLimits]) => this.#decide(attempt, ownLimits, queueLimits))
    }
    if (own !== undefined && own !== 'none') return own
    if (queue === undefined) return this.#limitsByOptions(attempt)
    if (!isBeyond(queue, attempt)) return queue
    // The queue has changed since it was read, or the task has a higher limit of its own.
    const recent = this.#queues.get(attempt.queue, CONTRADICTED_MS)
    return recent instanceof Promise
      ? recent.then(limits => this.#recentLimits(attempt, own, limits ?? queue))
      : this.#recentLimits(attempt, own, recent ?? queue)
  }

  #recentLimits (attempt: LimitedAttempt, own: 'none' | undefined, queue: RetryLimits): RetryLimits {
    return own === undefined && isBeyond(queue, attempt) ? UNKNOWN_LIMITS : queue
  }

  #namedLimits (queue: string): RetryLimits {
    const { maxAttempts, maxRetrySeconds } = this.#options.named(queue)
    if (this.#disproved.has(queue) || (maxAttempts === undefined && maxRetrySeconds === undefined)) return UNKNOWN_LIMITS
    return retryLimits('options', this.#options.named(queue))
  }

  /** An attempt beyond the options' limit disproves them. */
  #limitsByOptions (attempt: LimitedAttempt): RetryLimits {
    const limits = this.#namedLimits(attempt.queue)
    if (!isBeyond(limits, attempt)) return limits
    // The task may have a higher limit of its own, so the options may still be right for the others.
    if (attempt.mayHaveOwnRetry) return UNKNOWN_LIMITS
    this.#disproved.add(attempt.queue)
    this.#options.log.warn({ queue: attempt.queue, id: attempt.id, attempt: attempt.attempt, maxAttempts: limits.maxAttempts },
      "an attempt beyond the 'maxAttempts' of the option 'queues' arrived, so the queue in Cloud Tasks allows more; from now on no " +
      `attempt of this queue counts as the last: ${REMEDY}`)
    return UNKNOWN_LIMITS
  }

  /** The queue's settings apply, but different options are a mistake: the next `queues sync` would change the queue. */
  #compare (queue: string, limits: RetryLimits): void {
    const { maxAttempts, maxRetrySeconds } = this.#options.named(queue)
    const wrong = {
      ...(maxAttempts === undefined || (maxAttempts === -1 ? undefined : maxAttempts) === limits.maxAttempts ? {} : { maxAttempts }),
      ...(maxRetrySeconds === undefined || maxRetrySeconds === limits.maxRetrySeconds ? {} : { maxRetrySeconds })
    }
    if (Object.keys(wrong).length === 0 || !this.#isFirst(`${queue} differs`)) return
    const queueSettings = { maxAttempts: limits.maxAttempts ?? -1, maxRetrySeconds: limits.maxRetrySeconds }
    this.#options.log.warn({ queue, queueSettings, options: wrong },
      `the queue in Cloud Tasks has another 'retryConfig' than the option 'queues'; the queue's applies: ${REMEDY}`)
  }

  async #readQueue (queue: string): Promise<Reading<RetryLimits>> {
    const reading = await this.#options.settings.ofQueue(queue)
    return reading.outcome === 'read' ? { outcome: 'read', value: retryLimits('queue', reading.retryConfig) } : reading
  }

  async #readTask (key: string): Promise<Reading<OwnLimits>> {
    const { settings, clock } = this.#options
    if (this.#denial !== undefined && clock.monotonic() < this.#denial.until) return this.#denial.reading
    const [queue, id] = key.split('/') as [string, string]
    const reading = await settings.ofTask!(queue, id)
    if (reading.outcome === 'read') return { outcome: 'read', value: retryLimits('task', reading.retryConfig) }
    if (reading.outcome === 'missing') return { outcome: 'read', value: 'none' }
    if (reading.outcome === 'denied') this.#denial = { until: clock.monotonic() + REFRESH_MS, reading }
    return reading
  }

  #logUnreadQueue (queue: string, reading: Unread): void {
    if (reading.outcome === 'missing') {
      if (!this.#isFirst(`${queue} missing`)) return
      this.#options.log.warn({ queue },
        "a queue of an attempt is not in 'project' and 'location'; only the option 'queues' determines which attempt is the last")
      return
    }
    // A denial applies to all queues, so it is logged once.
    if (!this.#isFirst(reading.outcome === 'denied' ? 'denied' : `${queue} failed`)) return
    this.#options.log.warn({ queue, err: reading.cause },
      `the retry settings of a queue could not be read; only the option 'queues' determines which attempt is the last: ${reading.problem}`)
  }

  /** There is no dead letter if the last attempt is unknown, or attempts are unlimited. */
  #logUnknownEnd (queue: string, { source, maxRetrySeconds }: RetryLimits): void {
    if ((source !== 'unknown' && maxRetrySeconds === 0) || !this.#options.keepsLetters(queue)) return
    if (!this.#isFirst(`${queue} keeps no letters`)) return
    const why = source === 'unknown'
      ? "neither the queue nor the option 'queues' says how many attempts they get: grant cloudtasks.queues.get, or set 'maxAttempts'"
      : "with 'maxRetrySeconds' only Cloud Tasks knows which attempt is the last: set it to 0, and 'maxAttempts' instead"
    this.#options.log.warn({ queue }, `tasks of this queue are not kept as dead letters, because ${why}`)
  }

  #logUnreadTask (reading: Unread): void {
    if (reading.outcome === 'missing' || !this.#isFirst(`task ${reading.outcome}`)) return
    this.#options.log.warn({ err: reading.cause },
      `a task that another client has enqueued could not be read, so a 'retryConfig' of its own is not respected: ${reading.problem}`)
  }

  #isFirst (message: string): boolean {
    // Bounds the memory: queue ids come from callers, which are not authenticated with `auth: false`.
    if (this.#logged.size > 10_000) this.#logged.clear()
    return this.#logged.size < this.#logged.add(message).size
  }
}

/** A task's own limits, or 'none'. */
type OwnLimits = RetryLimits | 'none'

/** Undefined where it could not be read. */
type MaybeLater<V> = V | undefined | Promise<V | undefined>

function isBeyond ({ maxAttempts, maxRetrySeconds }: RetryLimits, { attempt }: LimitedAttempt): boolean {
  return maxAttempts !== undefined && maxRetrySeconds === 0 && attempt > maxAttempts
}

function keyOf ({ queue, id }: LimitedAttempt): string {
  return `${queue}/${id}`
}

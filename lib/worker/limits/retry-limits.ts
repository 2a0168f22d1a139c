import type { QueueSettings, RetryConfig } from '../../cloud-tasks/task.js'

/** How long a task is retried, and where that is known from. */
export interface RetryLimits {
  /** Attempts in all, the first included; undefined where there is no limit, and where none is known. */
  readonly maxAttempts: number | undefined
  /** 0: `maxAttempts` alone decides. Otherwise a task ends only when this time has passed as well. */
  readonly maxRetrySeconds: number
  /** `options`: the queue could not be read, so these are only what the option `queues` names. They may be wrong. */
  readonly source: 'queue' | 'task' | 'options' | 'unknown'
}

/** An attempt, as far as its limits depend on it. */
export interface LimitedAttempt {
  /** Short id. */
  readonly queue: string
  /** Short id of the task. */
  readonly id: string
  /** 1 for the first. */
  readonly attempt: number
  /** When this attempt was due: the same when it is delivered twice. */
  readonly scheduledTime: Date
  /** The task may have a `retryConfig` of its own, which then counts instead of its queue's. */
  readonly mayHaveOwnRetry: boolean
}

/** Knows the limits of attempts. Its promises never reject. */
export interface RetryLimitSource {
  /** At the start of an attempt. A promise only where something has to be read first. */
  limitsOf (attempt: LimitedAttempt): RetryLimits | Promise<RetryLimits>
  /** For an attempt that has failed: as `limitsOf`, but recent enough to decide whether its task ends. */
  limitsOfFailed (attempt: LimitedAttempt): RetryLimits | Promise<RetryLimits>
  /** What is known of a queue now, without reading anything. */
  knownLimits (queue: string): RetryLimits
  /** Records that a task ends with this attempt. False when its end was recorded before. */
  recordEnd (attempt: LimitedAttempt): boolean
  /** Reads nothing more, and lets attempts that wait go on with what is known. */
  close (): void
}

export const UNKNOWN_LIMITS: RetryLimits = { maxAttempts: undefined, maxRetrySeconds: 0, source: 'unknown' }

export function retryLimits (source: RetryLimits['source'], { maxAttempts, maxRetrySeconds = 0 }: Partial<RetryConfig>): RetryLimits {
  return { maxAttempts: maxAttempts === -1 ? undefined : maxAttempts, maxRetrySeconds, source }
}

/** Whether a failure of this attempt ends its task. False where a limit on time decides, too: that depends on the service's clock. */
export function isLastAttempt ({ maxAttempts, maxRetrySeconds }: RetryLimits, attempt: number): boolean {
  return maxAttempts !== undefined && maxRetrySeconds === 0 && attempt >= maxAttempts
}

/** Whether a task that has failed this attempt is certain to get another one. */
export function isRetried ({ maxAttempts, maxRetrySeconds, source }: RetryLimits, attempt: number): boolean {
  if (source === 'unknown' || source === 'options') return false
  return maxAttempts === undefined ? maxRetrySeconds === 0 : attempt < maxAttempts
}

/** Limits of the embedded queue, whose queues have the settings of the options and which delivers no attempt twice. */
export class EmbeddedLimits implements RetryLimitSource {
  readonly #named: ReadonlyMap<string, RetryLimits>
  readonly #unnamed: RetryLimits

  /**
   * @param queues settings by short id
   * @param unnamed settings of all other queues
   */
  constructor (queues: ReadonlyMap<string, QueueSettings>, unnamed: QueueSettings) {
    this.#named = new Map([...queues].map(([id, { retryConfig }]) => [id, retryLimits('queue', retryConfig)]))
    this.#unnamed = retryLimits('queue', unnamed.retryConfig)
  }

  limitsOf ({ queue }: LimitedAttempt): RetryLimits {
    return this.knownLimits(queue)
  }

  limitsOfFailed ({ queue }: LimitedAttempt): RetryLimits {
    return this.knownLimits(queue)
  }

  knownLimits (queue: string): RetryLimits {
    return this.#named.get(queue) ?? this.#unnamed
  }

  recordEnd (): boolean {
    return true
  }

  close (): void {}
}

import type { QueueSettings, RetryConfig } from '../../cloud-tasks/task.js'

/** How long a task is retried, and the source of this knowledge. */
export interface RetryLimits {
  /** Number of attempts including the first; undefined where it is unlimited or unknown. */
  readonly maxAttempts: number | undefined
  /** 0: only `maxAttempts` applies. Otherwise both limits must be reached. */
  readonly maxRetrySeconds: number
  /** `options`: the queue could not be read, so the limits are those of the option `queues`, which can be wrong. */
  readonly source: 'queue' | 'task' | 'options' | 'unknown'
}

/** The aspects of an attempt that its limits depend on. */
export interface LimitedAttempt {
  /** Short id. */
  readonly queue: string
  /** Short id of the task. */
  readonly id: string
  /** 1 for the first. */
  readonly attempt: number
  /** When this attempt was due; the same for a duplicate delivery. */
  readonly scheduledTime: Date
  /** Whether the task may have its own `retryConfig`, which replaces its queue's. */
  readonly mayHaveOwnRetry: boolean
}

/** Provides the limits of attempts. Its promises never reject. */
export interface RetryLimitSource {
  /** Limits at the start of an attempt. Returns a promise only where they have to be read first. */
  limitsOf (attempt: LimitedAttempt): RetryLimits | Promise<RetryLimits>
  /** Limits of a failed attempt: like `limitsOf`, but recent enough to decide whether it was the last. */
  limitsOfFailed (attempt: LimitedAttempt): RetryLimits | Promise<RetryLimits>
  /** The known limits of a queue, without reading. */
  knownLimits (queue: string): RetryLimits
  /** Records that this attempt was the task's last. Returns false when that was recorded before. */
  recordEnd (attempt: LimitedAttempt): boolean
  /** Stops reading, and resumes waiting attempts with the known limits. */
  close (): void
}

export const UNKNOWN_LIMITS: RetryLimits = { maxAttempts: undefined, maxRetrySeconds: 0, source: 'unknown' }

export function retryLimits (source: RetryLimits['source'], { maxAttempts, maxRetrySeconds = 0 }: Partial<RetryConfig>): RetryLimits {
  return { maxAttempts: maxAttempts === -1 ? undefined : maxAttempts, maxRetrySeconds, source }
}

/** Whether the task is not retried if this attempt fails. False with a time limit, which depends on the service's clock. */
export function isLastAttempt ({ maxAttempts, maxRetrySeconds }: RetryLimits, attempt: number): boolean {
  return maxAttempts !== undefined && maxRetrySeconds === 0 && attempt >= maxAttempts
}

/** Whether a task is certain to be retried after this attempt has failed. */
export function isRetried ({ maxAttempts, maxRetrySeconds, source }: RetryLimits, attempt: number): boolean {
  if (source === 'unknown' || source === 'options') return false
  return maxAttempts === undefined ? maxRetrySeconds === 0 : attempt < maxAttempts
}

/** Limits in the embedded queue, whose queues have the settings in the options, and which never delivers an attempt twice. */
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

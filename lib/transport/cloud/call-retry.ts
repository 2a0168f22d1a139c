import { sleep, type Clock } from '../../clock/clock.js'

/** The aspects of a failed call that retries depend on. */
export interface Fault {
  /** Whether a retry can succeed. */
  readonly transient: boolean
  /** Whether the call may have taken effect although it failed. */
  readonly mayHaveArrived: boolean
}

/** The result of a call that was retried until it succeeded, failed permanently, or timed out. */
export type CallResult<T, F extends Fault> =
  | { readonly ok: true, readonly value: T }
  /** `ambiguous`: a try before the last one may have taken effect. */
  | { readonly ok: false, readonly fault: F, readonly tries: number, readonly ambiguous: boolean }

export interface RetryOptions<F extends Fault> {
  readonly classifyError: (error: unknown) => F
  /** Time limit of all tries together, in milliseconds. */
  readonly budgetMs: number
  /** Aborts the wait between tries, and thereby the call. */
  readonly signal: AbortSignal
  readonly clock: Clock
  /** From 0 to 1. @default Math.random */
  readonly random?: (() => number) | undefined
}

const FIRST_DELAY_MS = 100
const MAX_DELAY_MS = 2000

/**
 * Retries `call` within a time budget. Never rejects. The backoff doubles from 100 ms to 2 s, each multiplied by a random factor from
 * 0.5 to 1 so that processes do not retry in lockstep. Hand-written, because gax's retries neither report the number of tries nor whether
 * an earlier one may have taken effect.
 * @param call receives its timeout in milliseconds: half the budget for the first try, so that a hanging connection leaves time to retry
 */
export async function withRetries<T, F extends Fault> (
  call: (timeoutMs: number) => Promise<T>, options: RetryOptions<F>
): Promise<CallResult<T, F>> {
  const { classifyError, budgetMs, signal, clock, random = Math.random } = options
  const startedAt = clock.monotonic()
  let remainingMs = budgetMs
  let ambiguous = false
  for (let tries = 1; ; tries++) {
    try {
      return { ok: true, value: await call(tries === 1 ? budgetMs / 2 : remainingMs) }
    } catch (error) {
      const fault = classifyError(error)
      const failed = { ok: false, fault, tries, ambiguous } as const
      if (!fault.transient) return failed
      const waitMs = Math.min(FIRST_DELAY_MS * 2 ** (tries - 1), MAX_DELAY_MS) * (1 + random()) / 2
      remainingMs = budgetMs - (clock.monotonic() - startedAt) - waitMs
      if (remainingMs <= 0) return failed
      try {
        await sleep(clock, waitMs, signal)
      } catch {
        return failed
      }
      ambiguous ||= fault.mayHaveArrived
    }
  }
}

import { sleep, type Clock } from '../../clock/clock.js'

/** The aspects of a failed call that retries depend on. */
export interface Fault {
  /** Trying again may help. */
  readonly transient: boolean
  /** The receiver may have carried the call out, although no answer confirms it. */
  readonly mayHaveArrived: boolean
}

/** The result of a call that was tried until it succeeded, failed for good, or used up its time. */
export type CallResult<T, F extends Fault> =
  | { readonly ok: true, readonly value: T }
  /** `ambiguous`: a try before the last one may have been carried out. */
  | { readonly ok: false, readonly fault: F, readonly tries: number, readonly ambiguous: boolean }

export interface RetryOptions<F extends Fault> {
  readonly classifyError: (error: unknown) => F
  /** Milliseconds that all tries together may take. */
  readonly budgetMs: number
  /** Ends the wait between tries, and with it the call. */
  readonly signal: AbortSignal
  readonly clock: Clock
  /** From 0 to 1. @default Math.random */
  readonly random?: (() => number) | undefined
}

const FIRST_DELAY_MS = 100
const MAX_DELAY_MS = 2000

/**
 * Tries `call` within a time budget. Never rejects. The waits double from 100 ms to 2 s, each shortened at random to between half and
 * all of it, so that processes that failed together do not retry together.
 * @param call gets the milliseconds that this try may take: half the budget at first, so that a connection that hangs
 * leaves time for another one
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
      if (remainingMs <= 0 || signal.aborted) return failed
      try {
        await sleep(clock, waitMs, signal)
      } catch {
        return failed
      }
      ambiguous ||= fault.mayHaveArrived
    }
  }
}

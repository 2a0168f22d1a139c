import timers from 'node:timers'

/**
 * The only source of time in this package: one instance is passed down from the plugin or the emulator to everything that reads the
 * time or sets timers. Tests pass a `ManualClock`.
 */
export interface Clock {
  /**
   * The wall clock, in epoch milliseconds: for times that are stored, displayed, or compared with those of other machines. It can
   * jump in both directions, when it is adjusted or after a virtual machine was suspended.
   */
  now (): number
  /** Milliseconds since an arbitrary start. Never goes back and never jumps: for durations. */
  monotonic (): number
  /** Calls `callback` once, `ms` milliseconds of monotonic time from now; at most 24.8 days. */
  setTimeout (callback: () => void, ms: number): unknown
  clearTimeout (handle: unknown): void
  /** Calls `callback` on the next turn of the event loop. */
  setImmediate (callback: () => void): unknown
  clearImmediate (handle: unknown): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, Math.min(ms, MAX_TIMEOUT_MS)),
  clearTimeout: handle => { clearTimeout(handle as NodeJS.Timeout) },
  setImmediate: callback => setImmediate(callback),
  clearImmediate: handle => { clearImmediate(handle as NodeJS.Immediate) }
}

/** Resolves after `ms` milliseconds. Rejects with the signal's reason as soon as it aborts. */
export async function sleep (clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  let wake!: () => void
  const awake = new Promise<void>(resolve => { wake = resolve })
  const timer = clock.setTimeout(wake, ms)
  signal.addEventListener('abort', wake)
  await awake
  clock.clearTimeout(timer)
  signal.removeEventListener('abort', wake)
  signal.throwIfAborted()
}

/** Resolves on a later turn of the event loop, so that long work does not block it. Independent of any clock. */
export function nextTurn (): Promise<void> {
  return new Promise(resolve => { realImmediate(resolve) })
}

/** Node's own functions, captured on load: fake timers of a test runner must not affect them. */
export const {
  setImmediate: realImmediate, clearImmediate: clearRealImmediate, setTimeout: realTimeout, clearTimeout: clearRealTimeout
} = timers

/** The system's, but for durations and timers that a test runner fakes. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: performance.now.bind(performance),
  setTimeout: (callback, ms) => realTimeout(callback, Math.min(ms, MAX_TIMEOUT_MS)),
  clearTimeout: handle => { clearRealTimeout(handle as NodeJS.Timeout) },
  setImmediate: callback => realImmediate(callback),
  clearImmediate: handle => { clearRealImmediate(handle as NodeJS.Immediate) }
}

/** The maximum delay of Node's `setTimeout`; a longer one would fire at once. */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1

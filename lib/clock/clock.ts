/** Time as the engine sees it. Tests turn its hands; everything else passes `systemClock`. */
export interface Clock {
  /** Epoch milliseconds. */
  now (): number
  setTimeout (callback: () => void, ms: number): unknown
  clearTimeout (handle: unknown): void
  /** Runs `callback` once what is already waiting on the event loop had its turn. */
  setImmediate (callback: () => void): unknown
  clearImmediate (handle: unknown): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: handle => { clearTimeout(handle as NodeJS.Timeout) },
  setImmediate: callback => setImmediate(callback),
  clearImmediate: handle => { clearImmediate(handle as NodeJS.Immediate) }
}

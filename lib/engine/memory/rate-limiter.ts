import type { RateLimits } from '../../cloud-tasks/task.js'

/**
 * A token bucket as documented for Cloud Tasks: holds `maxBurstSize` tokens, refills continuously at `maxDispatchesPerSecond`, and
 * every dispatch takes one. In any interval of `t` seconds it allows at most burst + rate * t dispatches.
 */
export class RateLimiter {
  #perMs: number
  #capacity: number
  #tokens: number
  #countedAt: number

  /** Starts full. */
  constructor (limits: RateLimits, now: number) {
    this.#perMs = limits.maxDispatchesPerSecond / 1000
    this.#capacity = limits.maxBurstSize
    this.#tokens = limits.maxBurstSize
    this.#countedAt = now
  }

  /** When the next token is available: not after `now` if there is one already. */
  nextAt (now: number): number {
    this.#refill(now)
    return this.#tokens >= ONE ? now : now + (1 - this.#tokens) / this.#perMs
  }

  /** Takes a token if there is one. */
  take (now: number): boolean {
    this.#refill(now)
    if (this.#tokens < ONE) return false
    this.#tokens = Math.max(0, this.#tokens - 1)
    return true
  }

  /** Changes the limits. Saved tokens are kept, up to the new burst. */
  configure (limits: RateLimits, now: number): void {
    this.#refill(now)
    this.#perMs = limits.maxDispatchesPerSecond / 1000
    this.#capacity = limits.maxBurstSize
    this.#tokens = Math.min(this.#tokens, this.#capacity)
  }

  #refill (now: number): void {
    // If the clock was set back, counting restarts from now: no token is gained, and none is delayed.
    if (now > this.#countedAt) {
      this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#countedAt) * this.#perMs)
    }
    this.#countedAt = now
  }
}

/** A token, with a tolerance for floating-point errors. */
const ONE = 1 - 1e-9

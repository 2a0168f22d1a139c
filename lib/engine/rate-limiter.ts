import type { RateLimits } from '../cloud-tasks/task.js'

/**
 * A token bucket as Cloud Tasks describes it: holds `maxBurstSize` tokens, refills continuously at
 * `maxDispatchesPerSecond`, and every dispatch takes one. In any span of `t` seconds it gives at most burst + rate * t.
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

  /** When the next token is there: not after `now` if there is one already. */
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

  /** From `now` on other limits hold. Tokens saved up under the old ones stay, as far as the new burst has room. */
  configure (limits: RateLimits, now: number): void {
    this.#refill(now)
    this.#perMs = limits.maxDispatchesPerSecond / 1000
    this.#capacity = limits.maxBurstSize
    this.#tokens = Math.min(this.#tokens, this.#capacity)
  }

  #refill (now: number): void {
    // If the clock was set back, time counts from where it is now: no token is gained, and none is delayed.
    if (now > this.#countedAt) {
      this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#countedAt) * this.#perMs)
    }
    this.#countedAt = now
  }
}

/** A token, less what adding up fractions of it may lose. */
const ONE = 1 - 1e-9

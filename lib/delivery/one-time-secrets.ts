import { randomFillSync } from 'node:crypto'

/**
 * One secret per attempt, by which the task routes recognise the embedded queue of their own process. A secret that leaks to a log, a
 * proxy or a handler is no longer valid. As each is valid only once, a constant-time comparison is not needed.
 */
export class OneTimeSecrets {
  /** By the number at the front of each; undefined where none is in use. */
  readonly #valid: Array<string | undefined> = []
  readonly #unused: number[] = []

  /** 128 random bits. */
  issue (): string {
    const place = this.#unused.pop() ?? this.#valid.length
    const secret = `${place}-${randomText()}`
    this.#valid[place] = secret
    return secret
  }

  /** Returns true once per secret. */
  take (secret: string): boolean {
    const place = Number.parseInt(secret, 10)
    if (this.#valid[place] !== secret) return false
    this.#valid[place] = undefined
    this.#unused.push(place)
    return true
  }
}

function randomText (): string {
  if (next === pool.length) {
    randomFillSync(pool)
    next = 0
  }
  next += BYTES
  return pool.toString('hex', next - BYTES, next)
}

const BYTES = 16
// One call for many: asking the system for 16 bytes at a time costs more than the rest.
const pool = Buffer.alloc(256 * BYTES)
let next = pool.length

import { randomUUID } from 'node:crypto'

/**
 * One secret for each attempt, by which the task routes recognise the embedded queue of their own process. A secret that a log, a proxy
 * or a handler has seen is no longer valid; and because each is valid only once, comparing them needs no constant time.
 */
export class OneTimeSecrets {
  readonly #valid = new Set<string>()

  /** 122 random bits. */
  issue (): string {
    const secret = randomUUID()
    this.#valid.add(secret)
    return secret
  }

  /** True once. */
  take (secret: string): boolean {
    return this.#valid.delete(secret)
  }
}

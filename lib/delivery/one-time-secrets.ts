import { randomUUID } from 'node:crypto'

/**
 * Secrets for one attempt each, with which the embedded queue proves itself on the task routes of its own process. What a
 * log, a proxy or a handler gets hold of opens nothing any more; one that is worth something only once needs no constant time.
 */
export class OneTimeSecrets {
  readonly #valid = new Set<string>()

  /** 122 random bits. */
  issue (): string {
    const pass = randomUUID()
    this.#valid.add(pass)
    return pass
  }

  /** True once. */
  take (pass: string): boolean {
    return this.#valid.delete(pass)
  }
}

/** Counts what is running, so that one can wait for its end. */
export class InFlight {
  #count = 0
  #waiting: Array<() => void> = []

  enter (): void {
    this.#count++
  }

  leave (): void {
    this.#count--
    if (this.#count > 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  /** Resolves when nothing is running. */
  async idle (): Promise<void> {
    if (this.#count > 0) await new Promise<void>(resolve => { this.#waiting.push(resolve) })
  }
}

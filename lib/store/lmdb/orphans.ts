/**
 * Tasks whose queue is gone. Nothing reaches them any more; they are removed bit by bit, because a million in one commit
 * would hold up everything else.
 */
export class OrphanCleaner {
  readonly #remove: (tasks: readonly number[]) => Promise<void>
  readonly #queues: Array<Iterator<number>> = []
  #removing = false
  #stopped = false

  constructor (remove: (tasks: readonly number[]) => Promise<void>) {
    this.#remove = remove
  }

  /** Removes them from now on. What a failure leaves, the next start finds again. */
  add (tasks: Iterable<number>): void {
    this.#queues.push(tasks[Symbol.iterator]())
    if (!this.#removing) this.#removeAll().catch(() => {})
  }

  stop (): void {
    this.#stopped = true
  }

  async #removeAll (): Promise<void> {
    this.#removing = true
    try {
      for (let queue = this.#queues[0]; queue !== undefined && !this.#stopped; queue = this.#queues[0]) {
        const some = take(queue, PER_COMMIT)
        if (some.length < PER_COMMIT) this.#queues.shift()
        if (some.length > 0) await this.#remove(some)
      }
    } finally {
      this.#removing = false
    }
  }
}

function take<T> (items: Iterator<T>, count: number): T[] {
  const taken: T[] = []
  while (taken.length < count) {
    const { value, done } = items.next()
    if (done === true) break
    taken.push(value)
  }
  return taken
}

const PER_COMMIT = 500

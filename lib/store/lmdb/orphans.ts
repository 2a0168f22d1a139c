/**
 * Tasks whose queue was deleted. They are unreachable, and removed in small commits, because a million in one would block everything
 * else.
 */
export class OrphanCleaner {
  readonly #remove: (tasks: readonly number[]) => Promise<void>
  readonly #queues: Array<Iterator<number>> = []
  #removing = false
  #stopped = false

  constructor (remove: (tasks: readonly number[]) => Promise<void>) {
    this.#remove = remove
  }

  /** Starts removing them. After a failure, the next start finds the rest. */
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

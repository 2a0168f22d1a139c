import type { TaskRecord } from './task-record.js'

/** The tasks that ended last, one per name. When memory is short, large data of the oldest ones is removed. */
export class EndedTasks {
  readonly #limit: number
  /** A ring buffer: record number n is at index n modulo the limit, until it is removed. */
  readonly #ring: Array<TaskRecord | undefined>
  readonly #byName = new Map<string, TaskRecord>()
  /** Numbers of the oldest record, of the oldest that is not stripped, and of the next one. */
  #first = 0
  #whole = 0
  #next = 0

  /** @param limit maximum number of tasks */
  constructor (limit: number) {
    this.#limit = limit
    this.#ring = new Array<undefined>(limit).fill(undefined)
  }

  get size (): number {
    return this.#byName.size
  }

  /** The latest task with that name. */
  get (name: string): TaskRecord | undefined {
    return this.#byName.get(name)
  }

  /** Adds a task that has ended, and evicts an earlier one with the same name, or the oldest one. Returns the number of freed bytes. */
  add (record: TaskRecord): number {
    if (this.#limit === 0) {
      record.forgotten = true
      return record.size
    }
    let freed = this.#next - this.#first === this.#limit ? this.forgetOldest() ?? 0 : 0
    const former = this.#byName.get(record.name)
    if (former !== undefined) {
      this.#ring[this.#ring.indexOf(former)] = undefined
      former.forgotten = true
      freed += former.size
    }
    this.#ring[this.#next++ % this.#limit] = record
    this.#byName.set(record.name, record)
    return freed
  }

  /** Strips the oldest task that is not yet stripped. Returns the number of freed bytes; undefined when there is none. */
  stripOldest (): number | undefined {
    for (this.#whole = Math.max(this.#whole, this.#first); this.#whole < this.#next;) {
      const record = this.#ring[this.#whole++ % this.#limit]
      if (record === undefined) continue
      const before = record.size
      record.strip()
      record.size = record.measure()
      return before - record.size
    }
    return undefined
  }

  /** Returns the number of freed bytes; undefined when there is no task. */
  forgetOldest (): number | undefined {
    while (this.#first < this.#next) {
      const slot = this.#first++ % this.#limit
      const record = this.#ring[slot]
      if (record === undefined) continue
      this.#ring[slot] = undefined
      this.#byName.delete(record.name)
      record.forgotten = true
      return record.size
    }
    return undefined
  }

  /** Oldest first. */
  values (): TaskRecord[] {
    const numbers = Array.from({ length: this.#next - this.#first }, (_, index) => this.#first + index)
    return numbers.flatMap(number => this.#ring[number % this.#limit] ?? [])
  }
}

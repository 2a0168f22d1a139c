import type { AppEngineHttpRequest, HttpRequest, Task } from '../../cloud-tasks/task.js'
import { TaskRecord } from './task-record.js'

/**
 * The tasks that ended last, in the order in which they ended. Most were done at their first attempt, without a word. Of such
 * a one there are a few numbers in one array, and its name and request as the engine had them; a record is made of it when
 * somebody looks. To keep an object for each would cost more than all else that a history does: the garbage collector copies
 * it twice before it takes it for old.
 */
export class PastTasks {
  readonly #limit: number
  readonly #numbers: Float64Array
  /** Empty where there is a record, or a gap: a later task has the name. */
  readonly #names: string[]
  readonly #requests: Array<HttpRequest | AppEngineHttpRequest | undefined>
  readonly #records: Array<TaskRecord | undefined>
  /** Places grow as tasks end. Of the oldest, of the next one to come, and of the first that still has all it had. */
  #first = 0
  #next = 0
  #whole = 0
  #gaps = 0
  /** Places by name, of those before `#indexed`; brought up to date when somebody asks. */
  readonly #index = new Map<string, number>()
  #indexed = 0

  /** @param limit tasks that are kept */
  constructor (limit: number) {
    this.#limit = limit
    this.#numbers = new Float64Array(limit * FIELDS)
    this.#names = new Array<string>(limit).fill('')
    this.#requests = new Array<undefined>(limit).fill(undefined)
    this.#records = new Array<undefined>(limit).fill(undefined)
  }

  get size (): number {
    this.#bringUpToDate()
    return this.#next - this.#first - this.#gaps
  }

  /** Takes over the record of a task that has ended, in place of the oldest one if there are enough. Returns by how many bytes more is taken. */
  add (record: TaskRecord): number {
    const before = record.size
    if (this.#limit === 0) {
      record.forgotten = true
      return -before
    }
    const freed = this.#next - this.#first === this.#limit ? this.forgetOldest()! : 0
    const place = this.#next++
    const size = record.measure()
    if (record.isPlain) {
      this.#write(place, record.task!, record.endedAt!, record.lastResult as number, size)
    } else {
      record.place = place
      record.size = size
      this.#records[place % this.#limit] = record
    }
    return size - before - freed
  }

  /** The latest task of that name. What is added to the record stays with the task. */
  get (name: string): TaskRecord | undefined {
    this.#bringUpToDate()
    const place = this.#index.get(name)
    return place === undefined || place < this.#first ? undefined : this.#keep(place)
  }

  /** Oldest first. Only to be read. */
  * values (): Generator<TaskRecord, void> {
    this.#bringUpToDate()
    for (let place = this.#first; place < this.#next; place++) {
      const record = this.#read(place)
      if (record !== undefined) yield record
    }
  }

  /** Latest first. Only to be read. */
  * reversed (): Generator<TaskRecord, void> {
    this.#bringUpToDate()
    for (let place = this.#next - 1; place >= this.#first; place--) {
      const record = this.#read(place)
      if (record !== undefined) yield record
    }
  }

  /** The oldest task that still has all it had loses what is large of it. Returns the bytes that are free now, undefined when there is none. */
  stripOldest (): number | undefined {
    this.#whole = Math.max(this.#whole, this.#first)
    if (this.#whole === this.#next) return undefined
    const record = this.#keep(this.#whole++)
    if (record === undefined) return 0
    const before = record.size
    record.strip()
    record.size = record.measure()
    return before - record.size
  }

  /** Returns the bytes that are free now, undefined when there is none. */
  forgetOldest (): number | undefined {
    if (this.#first === this.#next) return undefined
    const place = this.#first++
    const slot = place % this.#limit
    const record = this.#records[slot]
    if (record === undefined && this.#names[slot] === '') this.#gaps--
    if (record !== undefined) record.forgotten = true
    const size = this.#sizeAt(slot)
    this.#clear(slot)
    return size
  }

  #write (place: number, task: Task, endedAt: number, status: number, size: number): void {
    const slot = place % this.#limit
    this.#names[slot] = task.name
    this.#requests[slot] = task.httpRequest ?? task.appEngineHttpRequest
    const at = slot * FIELDS
    const numbers = this.#numbers
    numbers[at + SIZE] = size
    numbers[at + IS_HTTP] = task.httpRequest === undefined ? 0 : 1
    numbers[at + CREATED_AT] = task.createdAt
    numbers[at + SCHEDULE_AT] = task.scheduleAt
    numbers[at + DISPATCH_AT] = task.lastAttempt!.dispatchAt
    numbers[at + ENDED_AT] = endedAt
    numbers[at + STATUS] = status
    numbers[at + DEADLINE_MS] = task.dispatchDeadlineMs ?? NaN
  }

  /** Undefined where there is a gap. */
  #read (place: number): TaskRecord | undefined {
    const slot = place % this.#limit
    const record = this.#records[slot]
    const name = this.#names[slot]!
    if (record !== undefined || name === '') return record
    const number = (field: number): number => this.#numbers[slot * FIELDS + field]!
    const request = this.#requests[slot]
    const scheduleAt = number(SCHEDULE_AT)
    const made = TaskRecord.done({
      name,
      ...(number(IS_HTTP) === 1 ? { httpRequest: request as HttpRequest } : { appEngineHttpRequest: request as AppEngineHttpRequest }),
      ...(Number.isNaN(number(DEADLINE_MS)) ? undefined : { dispatchDeadlineMs: number(DEADLINE_MS) }),
      scheduleAt,
      createdAt: number(CREATED_AT),
      dispatchCount: 1,
      responseCount: 0,
      executionCount: 0,
      lastAttempt: { scheduleAt, dispatchAt: number(DISPATCH_AT) }
    }, number(ENDED_AT), number(STATUS))
    made.place = place
    made.size = number(SIZE)
    return made
  }

  /** As `#read`, and from now on there is a record. */
  #keep (place: number): TaskRecord | undefined {
    const record = this.#read(place)
    const slot = place % this.#limit
    if (record !== undefined && this.#records[slot] === undefined) {
      this.#clear(slot)
      this.#records[slot] = record
    }
    return record
  }

  #sizeAt (slot: number): number {
    return this.#records[slot]?.size ?? this.#numbers[slot * FIELDS + SIZE]!
  }

  #clear (slot: number): void {
    this.#names[slot] = ''
    this.#requests[slot] = this.#records[slot] = undefined
  }

  #bringUpToDate (): void {
    if (this.#index.size > 2 * this.#limit) {
      this.#index.clear()
      this.#indexed = 0
    }
    for (let place = Math.max(this.#indexed, this.#first); place < this.#next; place++) {
      const slot = place % this.#limit
      const name = this.#records[slot]?.name ?? this.#names[slot]!
      if (name === '') continue
      const before = this.#index.get(name)
      if (before !== undefined && before >= this.#first) this.#leaveGap(before)
      this.#index.set(name, place)
    }
    this.#indexed = this.#next
  }

  /** Keeps the size, until the place itself is given up. */
  #leaveGap (place: number): void {
    const slot = place % this.#limit
    const record = this.#records[slot]
    this.#numbers[slot * FIELDS + SIZE] = this.#sizeAt(slot)
    if (record !== undefined) record.forgotten = true
    this.#clear(slot)
    this.#gaps++
  }
}

/** Numbers of a task. */
const [SIZE, IS_HTTP, CREATED_AT, SCHEDULE_AT, DISPATCH_AT, ENDED_AT, STATUS, DEADLINE_MS] = [0, 1, 2, 3, 4, 5, 6, 7] as const
const FIELDS = 8

import type { Row } from './record-format.js'
import { StoreError } from '../store-error.js'

/** What goes in one commit, and who is to be told how it went. */
export interface Batch {
  /** In the order in which they were asked for. */
  readonly rows: Row[]
  /** What the values of its rows take. */
  bytes: number
  /** Whether it only ends or shortens what is there, so that it may use the space that is kept for that. */
  shrinks: boolean
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface GroupCommitOptions<B extends Batch> {
  readonly begin: (batch: Batch) => B
  /** Resolves once the batch is durable. */
  readonly write: (batch: B) => Promise<void>
  readonly onDone: (batch: B, failed: boolean) => void
}

/**
 * Group commit: changes gather while a commit is under way and go together in the next one, so that they share a sync and
 * one alone never waits for a timer. One commit at a time: what was asked for first is durable first, and when one fails
 * the next is tried by itself.
 */
export class GroupCommit<B extends Batch> {
  readonly #options: GroupCommitOptions<B>
  /** The last one takes what comes in; those before it are complete. */
  readonly #waiting: B[] = []
  #underWay: B | undefined
  #failure: StoreError | undefined

  constructor (options: GroupCommitOptions<B>) {
    this.#options = options
  }

  /** Batches whose fate is open, the newest first. */
  * open (): Iterable<B> {
    for (let i = this.#waiting.length - 1; i >= 0; i--) yield this.#waiting[i]!
    if (this.#underWay !== undefined) yield this.#underWay
  }

  /** The batch that the next changes join. All that is put into it in one go is committed in one step. */
  batch (): B {
    if (this.#failure !== undefined) throw this.#failure
    const last = this.#waiting.at(-1)
    if (last !== undefined && last.bytes < BATCH_BYTES) return last
    const { promise, resolve, reject } = newPromise()
    const batch = this.#options.begin({ rows: [], bytes: 0, shrinks: true, promise, resolve, reject })
    this.#waiting.push(batch)
    // Not at once: what is asked for in the same turn of the event loop shall share the sync.
    if (this.#underWay === undefined && last === undefined) queueMicrotask(() => { this.#commit() })
    return batch
  }

  /** Takes no more changes. Resolves when what was asked for is settled. */
  async close (): Promise<void> {
    this.#failure ??= new StoreError('closed', 'The store is closed')
    for (const batch of [...this.open()]) await batch.promise.catch(() => {}) // Its callers have the error.
  }

  #commit (): void {
    if (this.#underWay !== undefined) return
    const batch = this.#waiting.shift()
    if (batch === undefined) return
    this.#underWay = batch
    this.#options.write(batch).then(() => { this.#done(batch, undefined) }, error => { this.#done(batch, error) })
  }

  #done (batch: B, error: unknown): void {
    this.#underWay = undefined
    if (error !== undefined) {
      // First: the next one may have to do what this one has not.
      this.#options.onDone(batch, true)
      this.#commit()
      batch.reject(error)
      return
    }
    // The next one first: while it syncs, those who waited for this one go on.
    this.#commit()
    this.#options.onDone(batch, false)
    batch.resolve()
  }
}

/** Where a batch ends and the next begins, far below what one write can take (2 GiB). */
const BATCH_BYTES = 64 * 1024 * 1024

function newPromise (): { promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void } {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  return { promise, resolve, reject }
}

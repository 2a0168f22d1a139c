import type { Row } from './record-format.js'
import { StoreError } from '../store-error.js'

/** The changes of one commit, and the promise of its callers. */
export interface Batch {
  /** In the order of the calls. */
  readonly rows: Row[]
  /** Size of the rows' values in bytes. */
  bytes: number
  /** Whether it only removes or shrinks records, so that it may use the reserved disk space. */
  shrinks: boolean
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface GroupCommitOptions<B extends Batch> {
  readonly begin: (batch: Batch) => B
  /** Resolves when the batch is durable. */
  readonly write: (batch: B) => Promise<void>
  readonly onDone: (batch: B, failed: boolean) => void
}

/**
 * Group commit: changes that arrive during a commit are collected for the next one, so that they share a sync, and a single change
 * never waits for a timer. Commits are sequential: changes become durable in order, and after a failure the next one is still attempted.
 */
export class GroupCommit<B extends Batch> {
  readonly #options: GroupCommitOptions<B>
  /** The last batch accepts changes; those before it are complete. */
  readonly #waiting: B[] = []
  #underWay: B | undefined
  #failure: StoreError | undefined

  constructor (options: GroupCommitOptions<B>) {
    this.#options = options
  }

  /** Pending batches, newest first. */
  * open (): Iterable<B> {
    for (let i = this.#waiting.length - 1; i >= 0; i--) yield this.#waiting[i]!
    if (this.#underWay !== undefined) yield this.#underWay
  }

  /** The batch for the next changes. Changes that are added synchronously are committed atomically. */
  batch (): B {
    if (this.#failure !== undefined) throw this.#failure
    const last = this.#waiting.at(-1)
    if (last !== undefined && last.bytes < BATCH_BYTES) return last
    const { promise, resolve, reject } = newPromise()
    const batch = this.#options.begin({ rows: [], bytes: 0, shrinks: true, promise, resolve, reject })
    this.#waiting.push(batch)
    // Deferred, so that all changes in the same turn of the event loop share the sync.
    queueMicrotask(() => { this.#commit() })
    return batch
  }

  /** Accepts no more changes. Resolves when all pending ones are settled. */
  async close (): Promise<void> {
    this.#failure ??= new StoreError('closed', 'The store is closed')
    for (const batch of [...this.open()]) await batch.promise.catch(() => {}) // Its callers get the error.
  }

  /** Writes the next batch unless one is under way. */
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

/** Maximum size of a batch, far below the limit of a write (2 GiB). */
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

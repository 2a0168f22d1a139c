import type { Database, RootDatabase } from 'lmdb'
import { StoreError } from './store-error.js'

/** What a commit takes with it, besides records: something to be told how it went. */
export interface Batch {
  /** Changes in the order in which they were asked for; a value of undefined removes the record. */
  readonly records: Array<readonly [database: Database, key: string | number, value: Buffer | undefined]>
  /** Whether it only ends or shortens what is there, so that it may use the space that is kept for that. */
  shrinks: boolean
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface CommitsOptions<B extends Batch> {
  readonly root: RootDatabase
  readonly begin: (batch: Batch) => B
  /** Throws when a commit with so many bytes of records may not be made. */
  readonly check: (bytes: number, shrinks: boolean) => void
  readonly onDone: (batch: B, failed: boolean) => void
}

/**
 * Group commit: changes gather while a commit is under way and go together in the next one, so that they share a sync and
 * one alone never waits for a timer. One commit at a time: what was asked for first is durable first, and when one fails
 * the next is tried by itself.
 */
export class Commits<B extends Batch> {
  readonly #options: CommitsOptions<B>
  #gathering: B | undefined
  #underWay: B | undefined
  #failure: StoreError | undefined

  constructor (options: CommitsOptions<B>) {
    this.#options = options
  }

  /** Batches whose fate is open, the newest first. */
  * open (): Iterable<B> {
    if (this.#gathering !== undefined) yield this.#gathering
    if (this.#underWay !== undefined) yield this.#underWay
  }

  /** The batch that the next changes join. All that is put into it in one go is committed in one step. */
  batch (): B {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#gathering !== undefined) return this.#gathering
    const { promise, resolve, reject } = newPromise()
    const batch = this.#gathering = this.#options.begin({ records: [], shrinks: true, promise, resolve, reject })
    // Not at once: what is asked for in the same turn of the event loop shall share the sync.
    if (this.#underWay === undefined) queueMicrotask(() => { this.#commit() })
    return batch
  }

  /** Takes no more changes. Resolves when what was asked for is settled. */
  async close (): Promise<void> {
    this.#failure ??= new StoreError('closed', 'The store is closed')
    for (const batch of [...this.open()]) await batch.promise.catch(() => {})
  }

  #commit (): void {
    const batch = this.#gathering
    if (batch === undefined || this.#underWay !== undefined) return
    this.#gathering = undefined
    this.#underWay = batch
    this.#write(batch).then(() => { this.#done(batch, undefined) }, error => { this.#done(batch, error) })
  }

  async #write ({ records, shrinks }: B): Promise<void> {
    if (this.#failure?.problem === 'broken') throw this.#failure
    let bytes = 0
    for (const [, , value] of records) bytes += value?.length ?? 0
    this.#options.check(bytes, shrinks)
    try {
      await this.#options.root.batch(() => {
        for (const [database, key, value] of records) {
          if (value === undefined) database.remove(key)
          else database.put(key, value)
        }
      })
    } catch (error) {
      throw await this.#explain(error)
    }
  }

  #done (batch: B, error: unknown): void {
    this.#underWay = undefined
    // The next one first: while it syncs, those who waited for this one go on.
    this.#commit()
    this.#options.onDone(batch, error !== undefined)
    if (error === undefined) batch.resolve()
    else batch.reject(error)
  }

  /**
   * lmdb has undone the failed commit. Where only space was lacking the next may succeed. After anything else, such as a
   * failed sync, nobody knows what the disk has of earlier writes, so nothing more is acknowledged.
   */
  async #explain (error: unknown): Promise<StoreError> {
    const cause = await Promise.resolve((error as { commitError?: Promise<unknown> }).commitError).then(() => error, reason => reason as unknown)
    const message = cause instanceof Error ? cause.message : String(cause)
    if (OUT_OF_SPACE.has((cause as { code?: unknown }).code)) return new StoreError('full', `The disk has no space left: ${message}`, cause)
    this.#failure = new StoreError('broken', `A write to the disk failed, and nothing more is stored until the process starts again: ${message}`, cause)
    return this.#failure
  }
}

function newPromise (): { promise: Promise<void>, resolve: () => void, reject: (error: unknown) => void } {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const promise = new Promise<void>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  return { promise, resolve, reject }
}

/** ENOSPC, EFBIG and EDQUOT, as lmdb passes them on: the numbers are Linux's and macOS's. */
const OUT_OF_SPACE = new Set<unknown>([28, 27, 122, 69])

import { nextTurn } from '../../clock/clock.js'
import { Memtable, Layer } from './memtable.js'
import { readProgress, writeRows, type Databases, type OnProgress, type Progress } from './databases.js'
import type { DiskSpace } from './disk-space.js'
import type { JournalFile } from '../journal-file.js'
import { Journal, readJournal, removeJournals } from './journal.js'
import type { Row, Table } from './record-format.js'
import { StoreError, isOutOfSpace } from '../store-error.js'
import type { StoreLock } from '../lock.js'

export interface WriteAheadOptions {
  readonly directory: string
  readonly databases: Databases
  readonly lock: StoreLock
  readonly space: DiskSpace
  readonly journal: Journal
  /** Size of changes in memory at which they are flushed to the databases. @default 8 MiB */
  readonly journalBytes?: number | undefined
}

/**
 * Write-ahead log: commits are written to the journal first, with one write each, and flushed to the databases from time to time. Tasks
 * that have ended before a flush are never written to the databases.
 */
export class WriteAhead {
  readonly #options: WriteAheadOptions
  readonly #memtable = new Memtable()
  readonly #journal: Journal
  readonly #base: number
  readonly #layerBytes: number
  /** Writes the flushing layer to the databases. Resolves with whether it is written. */
  #flush: Promise<boolean> | undefined
  #flushedSequence = 0
  #failure: StoreError | undefined

  /** Create it after `recover` has resolved. */
  constructor (options: WriteAheadOptions) {
    this.#options = options
    this.#layerBytes = options.journalBytes ?? 8 * 1024 * 1024
    this.#journal = options.journal
    this.#base = this.#flushedSequence = this.#journal.sequence
  }

  /** The record's newest state, if it is not yet in the databases: undefined if it is removed, null if they have it. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    return this.#memtable.get(table, key)
  }

  /**
   * Resolves when the rows would survive a power failure. Not concurrent.
   * @param shrinks whether the rows only remove or shrink records, so that they may use the reserved disk space
   * @throws StoreError
   */
  async write (rows: readonly Row[], shrinks: boolean): Promise<void> {
    const { directory, lock } = this.#options
    if (this.#isFull(MOST_LAYERS)) await this.#flush
    if (this.#failure !== undefined) throw this.#failure
    await this.#checkSpace(rows, shrinks)
    if (this.#failure !== undefined) throw this.#failure
    if (this.#flush === undefined && this.#isFull(1)) this.#startFlush()
    try {
      await this.#journal.append(rows)
    } catch (error) {
      throw this.#explain(error)
    }
    // Checked after the write: a process that takes the directory over reads the journal afterwards, so nothing is lost.
    if (!lock.isHeld()) throw this.#failure = takenOver(directory)
    this.#memtable.active.add(rows)
  }

  /** Flushes everything to the databases, if possible; otherwise the next start does. */
  async close (): Promise<void> {
    await this.#flushAll()
    await this.#journal.close()
    if (this.#failure !== undefined || !this.#memtable.isEmpty) return
    if (await this.#writeRows([], this.#journal.sequence, false)) await this.#journal.remove()
  }

  /** Changes in memory need disk space too; if there is too little, they are flushed first. */
  async #checkSpace (rows: readonly Row[], shrinks: boolean): Promise<void> {
    const { space } = this.#options
    let bytes = 0
    for (const [, , value] of rows) bytes += value?.length ?? 0
    try {
      space.check(bytes + this.#memtable.bytes, shrinks)
    } catch {
      await this.#flushAll()
      space.check(bytes + this.#memtable.bytes, shrinks)
    }
  }

  /** Flushes the older layer, which may have failed for lack of space, then the last one. */
  async #flushAll (): Promise<void> {
    await this.#flush
    while (this.#failure === undefined && !this.#memtable.isEmpty) {
      if (!(await this.#startFlush())) return
    }
  }

  #isFull (layers: number): boolean {
    const { active } = this.#memtable
    return active.bytes >= layers * this.#layerBytes || active.size >= layers * LAYER_ROWS ||
      this.#journal.bytes >= layers * JOURNAL_FACTOR * this.#layerBytes
  }

  /** Starts flushing a layer, again if that has failed for lack of space. */
  #startFlush (): Promise<boolean> {
    if (this.#memtable.flushing === undefined) {
      this.#memtable.complete()
      this.#flushedSequence = this.#journal.sequence
      this.#journal.rotate()
    }
    this.#flush = this.#store(this.#memtable.flushing!).finally(() => { this.#flush = undefined })
    return this.#flush
  }

  async #store (layer: Layer): Promise<boolean> {
    const written = await this.#writeRows(layer.rows(), this.#flushedSequence, true)
    if (written) this.#memtable.drop()
    return written
  }

  /** Never rejects. Resolves with whether everything is written. */
  async #writeRows (rows: Iterable<Row>, sequence: number, isOpen: boolean): Promise<boolean> {
    const { databases, space, directory, lock } = this.#options
    const progress: Progress = { sequence, run: this.#journal.run, base: this.#base, isOpen }
    try {
      const written = await writeRows(databases, rows, progress, bytes => {
        // A process that takes the directory over waits until the file stops changing.
        if (!lock.isHeld()) throw takenOver(directory)
        space.check(bytes, true)
      })
      if (!written) throw takenOver(directory)
      return true
    } catch (error) {
      this.#explain(error)
      return false
    }
  }

  /**
   * If only space is lacking, a retry can succeed. After any other error, such as a failed sync, the state of earlier writes on disk is
   * unknown, so nothing more is acknowledged.
   */
  #explain (error: unknown): StoreError {
    const problem = problemOf(error)
    if (problem.problem !== 'full') this.#failure = problem
    return problem
  }
}

export interface RecoveryOptions extends Pick<WriteAheadOptions, 'directory' | 'databases' | 'space'> {
  /** The new run. */
  readonly run: number
  /** @default createJournalFile */
  readonly createFile?: ((path: string) => Promise<JournalFile>) | undefined
  readonly onProgress: OnProgress
}

/**
 * Recovery: writes the journals of former runs to the databases, and creates this run's journal.
 * @throws StoreError damaged, full, broken, inUse
 */
export async function recover ({ directory, databases, space, run, createFile, onProgress }: RecoveryOptions): Promise<Journal> {
  const before = readProgress(databases, run)
  const frames = await readJournal(directory, before, run)
  const layer = new Layer()
  for (const [index, { rows }] of frames.entries()) {
    // None counts as created, because the former process may have been killed while writing them to the databases.
    layer.add(rows)
    if (index % FRAMES_PER_TURN !== 0) continue
    onProgress('replaying the journal', index, frames.length)
    await nextTurn()
  }
  const { sequence } = frames.at(-1) ?? before
  try {
    const journal = await Journal.create({ directory, sequence, run, createFile })
    try {
      const progress: Progress = { sequence, run, base: sequence, isOpen: true }
      const written = await writeRows(databases, layer.rows(), progress, bytes => { space.check(bytes, true) })
      if (!written) throw takenOver(directory)
      await removeJournals(directory, run)
      return journal
    } catch (error) {
      // Its files are kept, because the databases may already refer to them; otherwise the next start removes them.
      await journal.close()
      throw error
    }
  } catch (error) {
    throw problemOf(error)
  }
}

export function takenOver (directory: string): StoreError {
  return new StoreError('inUse', `${directory} was taken over by another process`)
}

function problemOf (error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const message = error instanceof Error ? error.message : String(error)
  return isOutOfSpace(error)
    ? new StoreError('full', `The disk has no space left: ${message}`, error)
    : new StoreError('broken', `A write to the disk failed, and nothing more is stored until the process starts again: ${message}`, error)
}

const FRAMES_PER_TURN = 100
/** Maximum number of rows in a layer, in addition to the limit of its size. */
const LAYER_ROWS = 20_000
/** Maximum ratio of the journal's size to its changes in memory, as every commit is aligned to a sector. */
const JOURNAL_FACTOR = 2
/** Maximum size of the active layer during a flush, as a multiple of the usual one; then commits wait. */
const MOST_LAYERS = 4

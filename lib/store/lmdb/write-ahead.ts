import { nextTurn } from '../../clock/clock.js'
import { Memtable, Layer } from './memtable.js'
import { readProgress, writeRows, type Databases, type OnProgress, type Progress } from './databases.js'
import type { DiskSpace } from './disk-space.js'
import type { JournalFile } from './journal-file.js'
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
  /** What gathers in memory before it goes to the databases. @default 8 MiB */
  readonly journalBytes?: number | undefined
}

/**
 * Commits go to the journal first, which takes one write; from time to time all that has gathered there goes to the
 * databases. What was added and has ended in between never gets there.
 */
export class WriteAhead {
  readonly #options: WriteAheadOptions
  readonly #memtable = new Memtable()
  readonly #journal: Journal
  readonly #base: number
  readonly #layerBytes: number
  /** Writes the flushing layer to the databases. */
  #flush: Promise<void> | undefined
  #flushedSequence = 0
  #failure: StoreError | undefined

  /** To be made once `recover` has resolved. */
  constructor (options: WriteAheadOptions) {
    this.#options = options
    this.#layerBytes = options.journalBytes ?? 8 * 1024 * 1024
    this.#journal = options.journal
    this.#base = this.#flushedSequence = this.#journal.sequence
  }

  /** The record's newest state, when the databases do not have it yet: undefined when it is removed, null when they have it. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    return this.#memtable.get(table, key)
  }

  /**
   * Resolves once the rows would survive a power cut. One call at a time.
   * @param shrinks the rows only end or shorten what is there, so that they may use the space that is kept for that
   * @throws StoreError
   */
  async write (rows: readonly Row[], shrinks: boolean): Promise<void> {
    const { directory, lock } = this.#options
    if (this.#flush !== undefined && this.#isFull(MOST_LAYERS)) await this.#flush
    if (this.#failure !== undefined) throw this.#failure
    await this.#checkSpace(rows, shrinks)
    if (this.#failure !== undefined) throw this.#failure
    if (this.#flush === undefined && this.#isFull(1)) this.#startFlush()
    try {
      await this.#journal.append(rows)
    } catch (error) {
      throw this.#explain(error)
    }
    // Not before: who takes the directory over reads the journal after that, so what was written until then is not lost.
    if (!lock.isHeld()) throw this.#failure = takenOver(directory)
    this.#memtable.active.add(rows)
  }

  /** Writes everything to the databases, if that can still be done; else the next start does it. */
  async close (): Promise<void> {
    await this.#flushAll()
    await this.#journal.close()
    if (this.#failure !== undefined || !this.#memtable.isEmpty) return
    if (await this.#writeRows([], this.#journal.sequence, false)) await this.#journal.remove()
  }

  /** What waits in memory needs room, too: where that is too much, it is written first. */
  async #checkSpace (rows: readonly Row[], shrinks: boolean): Promise<void> {
    const { space } = this.#options
    let bytes = 0
    for (const [, , value] of rows) bytes += value?.length ?? 0
    try {
      space.check(bytes + this.#memtable.bytes, shrinks)
    } catch (error) {
      if (this.#memtable.isEmpty) throw error
      await this.#flushAll()
      space.check(bytes + this.#memtable.bytes, shrinks)
    }
  }

  /** The older layer, which may have failed for lack of space, then the last one, as far as that succeeds. */
  async #flushAll (): Promise<void> {
    await this.#flush
    for (let layers = 0; layers < 2 && this.#failure === undefined && !this.#memtable.isEmpty; layers++) {
      this.#startFlush()
      await this.#flush
    }
  }

  #isFull (layers: number): boolean {
    const { active } = this.#memtable
    return active.bytes >= layers * this.#layerBytes || active.size >= layers * LAYER_ROWS ||
      this.#journal.bytes >= layers * JOURNAL_FACTOR * this.#layerBytes
  }

  /** Begins to write a layer to the databases, once more if that has failed for lack of space. */
  #startFlush (): void {
    if (this.#memtable.flushing === undefined) {
      this.#memtable.complete()
      this.#flushedSequence = this.#journal.sequence
      this.#journal.rotate()
    }
    this.#flush = this.#store(this.#memtable.flushing!).finally(() => { this.#flush = undefined })
  }

  async #store (layer: Layer): Promise<void> {
    if (await this.#writeRows(layer.rows(), this.#flushedSequence, true)) this.#memtable.drop()
  }

  /** Never rejects. Resolves with whether all is written. */
  async #writeRows (rows: Iterable<Row>, sequence: number, isOpen: boolean): Promise<boolean> {
    const { databases, space, directory, lock } = this.#options
    const progress: Progress = { sequence, run: this.#journal.run, base: this.#base, isOpen }
    try {
      const written = await writeRows(databases, rows, progress, bytes => {
        // Who takes the directory over looks at the file; the sooner nothing changes there, the better.
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
   * Where only space is lacking the next attempt may succeed. After anything else, such as a failed sync, nobody knows what
   * the disk has of earlier writes, so nothing more is acknowledged.
   */
  #explain (error: unknown): StoreError {
    const problem = problemOf(error)
    if (problem.problem !== 'full') this.#failure = problem
    return problem
  }
}

export interface RecoveryOptions extends Pick<WriteAheadOptions, 'directory' | 'databases' | 'space'> {
  /** The run that begins. */
  readonly run: number
  /** @default createJournalFile */
  readonly createFile?: ((path: string) => Promise<JournalFile>) | undefined
  readonly onProgress: OnProgress
}

/**
 * Writes to the databases what former runs left in the journal, and begins this one's.
 * @throws StoreError damaged, full, broken, inUse
 */
export async function recover ({ directory, databases, space, run, createFile, onProgress }: RecoveryOptions): Promise<Journal> {
  const before = readProgress(databases, run)
  const frames = await readJournal(directory, before, run)
  const layer = new Layer()
  for (const [index, { rows }] of frames.entries()) {
    // None counts as created: the former process may have been killed while it wrote them to the databases.
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
    } catch (error) {
      // Its files stay, because the databases may expect them by now; if they do not, the next start removes them.
      await journal.close()
      throw error
    }
    await removeJournals(directory, run)
    return journal
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
/** What a layer takes at most before it goes to the databases, besides its bytes. */
const LAYER_ROWS = 20_000
/** The journal may be so many times as large as what is in memory of it: every commit begins at a sector. */
const JOURNAL_FACTOR = 2
/** What one takes while the older is on its way; then commits wait. */
const MOST_LAYERS = 4

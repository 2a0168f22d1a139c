import { nextTurn } from '../../clock/clock.js'
import { Memtable, Layer } from './memtable.js'
import { readProgress, writeRows, type Databases, type OnProgress } from './databases.js'
import type { DiskSpace } from './disk-space.js'
import type { JournalFile } from './journal-file.js'
import { Journal, readJournal, removeJournal } from './journal.js'
import type { Row, Table } from './row.js'
import { StoreError, isOutOfSpace } from '../store-error.js'
import type { StoreLock } from './lock.js'

export interface WriteAheadOptions {
  readonly directory: string
  readonly databases: Databases
  readonly lock: StoreLock
  readonly space: DiskSpace
  /** @default createJournalFile */
  readonly createFile?: ((path: string) => Promise<JournalFile>) | undefined
  /** What gathers in the journal before it goes to the databases. @default 8 MiB */
  readonly journalBytes?: number | undefined
}

/**
 * Commits go to the journal first, which takes one write; from time to time all that has gathered there goes to the
 * databases. What was added and has ended in between never gets there.
 */
export class WriteAhead {
  readonly #options: WriteAheadOptions
  readonly #backlog = new Memtable()
  readonly #journal: Journal
  readonly #run: number
  readonly #layerBytes: number
  /** Writes the older layer to the databases. */
  #emptying: Promise<void> | undefined
  #leavingSequence = 0
  #failure: StoreError | undefined

  /** To be made once `recover` has resolved. */
  constructor (options: WriteAheadOptions) {
    this.#options = options
    const { directory, createFile, journalBytes = 8 * 1024 * 1024 } = options
    this.#layerBytes = journalBytes
    const progress = readProgress(options.databases)
    this.#run = progress.run
    this.#journal = new Journal({ directory, createFile, progress })
  }

  /** The record's newest state, when the databases do not have it yet: undefined when it is removed, null when they have it. */
  get (table: Table, key: string | number): Buffer | undefined | null {
    return this.#backlog.get(table, key)
  }

  /**
   * Resolves once the rows would survive a power cut. One call at a time.
   * @param shrinks the rows only end or shorten what is there, so that they may use the space that is kept for that
   * @throws StoreError
   */
  async write (rows: readonly Row[], shrinks: boolean): Promise<void> {
    const { directory, lock, space } = this.#options
    if (this.#emptying !== undefined && this.#isFull(MOST_LAYERS)) await this.#emptying
    if (this.#failure !== undefined) throw this.#failure
    let bytes = this.#backlog.bytes
    for (const [, , value] of rows) bytes += value?.length ?? 0
    space.check(bytes, shrinks)
    if (this.#emptying === undefined && this.#isFull(1)) this.#empty()
    try {
      await this.#journal.append(rows)
    } catch (error) {
      throw this.#explain(error)
    }
    // Not before: who takes the directory over reads the journal after that, so what was written until then is not lost.
    if (!lock.isHeld()) throw this.#failure = takenOver(directory)
    this.#backlog.taking.add(rows)
  }

  /** Writes everything to the databases, if that can still be done; else the next start does it. */
  async close (): Promise<void> {
    await this.#emptying
    // Twice: an older layer that has failed for lack of space, then the last one.
    for (let layers = 0; layers < 2 && this.#failure === undefined && !this.#backlog.isEmpty; layers++) {
      this.#empty()
      await this.#emptying
    }
    await this.#journal.close()
    if (this.#failure === undefined && this.#backlog.isEmpty) await this.#journal.remove()
  }

  #isFull (layers: number): boolean {
    return this.#journal.bytes >= layers * this.#layerBytes || this.#backlog.taking.size >= layers * LAYER_ROWS
  }

  /** Begins to write the older layer to the databases, once more if that has failed for lack of space. */
  #empty (): void {
    if (this.#backlog.leaving === undefined) {
      this.#backlog.complete()
      this.#leavingSequence = this.#journal.sequence
      this.#journal.turn()
    }
    this.#emptying = this.#store(this.#backlog.leaving!, this.#leavingSequence).finally(() => { this.#emptying = undefined })
  }

  /** Never rejects. */
  async #store (layer: Layer, sequence: number): Promise<void> {
    const { databases, space, directory } = this.#options
    try {
      const written = await writeRows(databases, layer.rows(), { sequence, run: this.#run }, bytes => { space.check(bytes, true) })
      if (!written) throw takenOver(directory)
      this.#backlog.drop()
    } catch (error) {
      this.#explain(error)
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

/**
 * Writes to the databases what former runs left in the journal, and begins this one's.
 * @throws StoreError damaged, full, broken, inUse
 */
export async function recover (
  directory: string, databases: Databases, space: DiskSpace, run: number, onProgress: OnProgress = () => {}
): Promise<void> {
  const before = readProgress(databases)
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
    const written = await writeRows(databases, layer.rows(), { sequence, run }, bytes => { space.check(bytes, true) })
    if (!written) throw takenOver(directory)
    await removeJournal(directory)
  } catch (error) {
    throw problemOf(error)
  }
}

function takenOver (directory: string): StoreError {
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
/** What one takes while the older is on its way; then commits wait. */
const MOST_LAYERS = 4

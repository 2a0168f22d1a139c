import { closeSync, openSync } from 'node:fs'
import { open, type Database, type DatabaseOptions, type RootDatabase } from 'lmdb'
import { lastingProblem } from './file-check/lasting-problem.js'
import {
  checksum, decodeHeader, decodeStateHeader, decodeTombstone, isSealed, seal, type Row, type StateHeader, type TaskHeader
} from './record-format.js'
import { waitForFormerWriter } from '../former-writer.js'
import { StoreError, damaged, isOutOfSpace } from '../store-error.js'
import { DATABASES, accessProblem, clearNew, type StoreFiles } from './directory.js'
import type { Tombstone } from '../store.js'

/** The databases of a store, all in one file. */
export interface Databases {
  /** Its path. */
  readonly file: string
  readonly root: RootDatabase
  /** By name. JSON of the queue and its number. */
  readonly queues: Database<Buffer, string>
  /** By number: the immutable part of a task. */
  readonly tasks: Database<TaskHeader, number>
  /** By the task's number: what its attempts have changed. */
  readonly states: Database<StateHeader, number>
  /** By numbers of their own: names that are not to be used again yet. */
  readonly names: Database<Tombstone, number>
  /** Under 0, how much of the journal is in the databases; under 1, the run that may write, as that entry's version. */
  readonly journal: Database<Buffer, number>
}

/** The part of the journal that is in the databases. */
export interface Progress {
  /** Number of the last commit in the databases. */
  readonly sequence: number
  /** All earlier runs are in the databases. A run is everything that one process writes, from opening the store to its end. */
  readonly run: number
  /** Number of the last commit before that run. */
  readonly base: number
  /** Whether the run's journal files must be there: from their creation to a clean end. */
  readonly isOpen: boolean
}

/** Called repeatedly while a store is opened, which is aborted if it throws. */
export type OnProgress = (step: string, done: number, total: number | undefined) => void

/** @throws StoreError damaged, access */
export async function openDatabases (directory: string, files: StoreFiles, onProgress: OnProgress = () => {}): Promise<Databases> {
  const { data: file } = files
  let root: RootDatabase | undefined
  try {
    if (!(await clearNew(directory, files))) {
      const problem = await lastingProblem(file, DATABASES, (done, total) => { onProgress('checking tasks.mdb', done, total) })
      if (problem !== undefined) throw new Error(problem)
    }
    // lmdb creates files that are readable by everyone, but payloads are private. Existing files keep their mode.
    for (const path of [file, `${file}-lock`]) closeSync(openSync(path, 'a', 0o600))
    await waitForFormerWriter(directory, file, seconds => {
      onProgress('waiting for the former process, which writes to tasks.mdb', seconds, undefined)
    })
    root = open({
      path: file,
      noSubdir: true,
      maxDbs: 5,
      // By default, lmdb exposes commits before they are synced, and uses the boot id to decide what is valid after a crash. With this
      // option that is not needed: new pages are written next to the old ones and synced before the page that refers to them.
      overlappingSync: false,
      // Commits are batched by the caller. With lmdb's batching, a failed one also causes an unhandled rejection.
      eventTurnBatching: false
    })
    return {
      file,
      root,
      queues: root.openDB('queues', { encoding: 'binary' }),
      tasks: root.openDB('tasks', reading(decodeHeader)),
      states: root.openDB('states', reading(decodeStateHeader)),
      names: root.openDB('names', reading(decodeTombstone)),
      journal: root.openDB('journal', { encoding: 'binary', useVersions: true })
    }
  } catch (error) {
    await root?.close()
    if (error instanceof StoreError) throw error
    const { code } = error as { readonly code?: string | number }
    // The system's; lmdb's own are negative.
    if (typeof code === 'string' || code! > 0) throw accessProblem(directory, error)
    throw damaged(file, (error as Error).message, error)
  }
}

/**
 * All entries, in the order of their keys, read in pieces: no transaction stays open between two of them.
 * @throws StoreError damaged
 */
export function * entriesOf<V, K extends string | number> (
  { file }: Databases, database: Database<V, K>
): Generator<{ key: K, value: V }, undefined> {
  let after: K | undefined
  for (;;) {
    let piece: Array<{ key: K, value: V }>
    try {
      piece = [...database.getRange({ ...(after === undefined ? undefined : { start: after, exclusiveStart: true }), limit: PIECE })]
    } catch (error) {
      throw damaged(file, (error as Error).message, error)
    }
    yield * piece
    if (piece.length < PIECE) return undefined
    after = piece.at(-1)!.key
  }
}

/**
 * The record, to be used before anything else is read; undefined when there is none.
 * @throws StoreError damaged
 */
export function readRecord (databases: Databases, table: 'tasks' | 'states', number: number, name: string): Buffer | undefined {
  const record = databases[table].getBinaryFast(number)
  if (record === undefined || isSealed(table, number, record, record.length)) return record
  throw new StoreError('damaged',
    `${databases.file}: the record of task ${name} is damaged, so that it cannot be run; delete the task, or restore a backup`)
}

/**
 * To be called in a transaction. From its commit on, `writeRows` of earlier runs writes nothing. Returns the run's number.
 * @param known a run that there was; without it the file is an older copy of itself
 * @throws StoreError damaged
 */
export function beginRun ({ file, journal }: Databases, known: number): number {
  const last = journal.getEntry(RUN)
  if (last !== undefined && (last.value.length !== 8 || last.value.readDoubleLE(0) !== last.version)) {
    throw damaged(file, 'the number of its last run is damaged')
  }
  const run = (last?.version ?? 0) + 1
  if (run <= known) throw damaged(file, 'it is older than format.json beside it, as after half a restore; restore both from one backup')
  const value = Buffer.alloc(8)
  value.writeDoubleLE(run)
  journal.putSync(RUN, value, run)
  return run
}

/**
 * What `writeRows` has said last.
 * @param run the one that reads
 * @throws StoreError damaged
 */
export function readProgress ({ file, journal }: Databases, run: number): Progress {
  const value = journal.get(PROGRESS)
  if (value === undefined && run === 1) return { sequence: 0, run: 0, base: 0, isOpen: false }
  if (value?.length !== PROGRESS_BYTES + 4 || value.readInt32LE(PROGRESS_BYTES) !== checksum(value, PROGRESS_BYTES)) {
    throw damaged(file, 'what it says of the journal is damaged')
  }
  const progress = { sequence: value.readDoubleLE(0), run: value.readDoubleLE(8), base: value.readDoubleLE(16), isOpen: value[24] === 1 }
  if (progress.run >= run) throw damaged(file, 'the number of its last run is lost')
  return progress
}

/**
 * Writes rows in chunks, each durable before the next, so that none blocks the event loop; the last one stores `progress`. Idempotent:
 * it can be repeated after an interruption.
 * @param check throws when that number of bytes must not be written
 * @returns false when a later run has started: then it has stopped, and written nothing since
 */
export async function writeRows (
  databases: Databases, rows: Iterable<Row>, progress: Progress, check: (bytes: number) => void
): Promise<boolean> {
  const iterator = rows[Symbol.iterator]()
  for (let more = true; more;) {
    const piece: Row[] = []
    let bytes = 0
    while (piece.length < WRITE_ROWS && bytes < WRITE_BYTES) {
      const { value: row, done } = iterator.next()
      if (done === true) {
        more = false
        break
      }
      piece.push(row)
      bytes += row[2]?.length ?? 0
    }
    check(bytes)
    if (!(await commitInParts(databases, piece, progress, !more))) return false
  }
  // Reads in this turn of the event loop have seen the previous state.
  databases.root.resetReadTxn()
  return true
}

/**
 * In rare cases LMDB aborts a transaction while it writes its list of free pages (MDB_BAD_TXN, "reserved freelist had a data entry with
 * zero-size"), before anything reaches the file. The rows are committed again in smaller transactions, which allocate other pages.
 */
async function commitInParts (databases: Databases, rows: readonly Row[], progress: Progress, isLast: boolean): Promise<boolean> {
  for (let parts = 1; ; parts *= 4) {
    try {
      const size = Math.max(1, Math.ceil(rows.length / parts))
      for (let from = 0; ; from += size) {
        const ends = from + size >= rows.length
        if (!(await commit(databases, rows.slice(from, from + size), progress, isLast && ends))) return false
        if (ends) return true
      }
    } catch (error) {
      if ((error as { code?: unknown }).code !== MDB_BAD_TXN || parts >= MAX_PARTS) throw error
    }
  }
}

const MDB_BAD_TXN = -30_782
const MAX_PARTS = 64

async function commit (
  databases: Databases, rows: readonly Row[], { sequence, run, base, isOpen }: Progress, isLast: boolean
): Promise<boolean> {
  try {
    // lmdb checks the version within the transaction, so there is no race with other processes.
    return await databases.journal.ifVersion(RUN, run, () => {
      for (const [table, key, value] of rows) {
        const database = databases[table] as Database<unknown, string | number>
        if (value === undefined) {
          database.remove(key)
          continue
        }
        seal(table, key, value)
        database.put(key, value)
      }
      if (!isLast) return
      const value = Buffer.allocUnsafe(PROGRESS_BYTES + 4)
      value.writeDoubleLE(sequence, 0)
      value.writeDoubleLE(run, 8)
      value.writeDoubleLE(base, 16)
      value[24] = isOpen ? 1 : 0
      value.writeInt32LE(checksum(value, PROGRESS_BYTES), PROGRESS_BYTES)
      databases.journal.put(PROGRESS, value, 0)
    })
  } catch (error) {
    // lmdb's error contains the reason as a promise.
    const reason = await (error as { commitError?: Promise<unknown> }).commitError?.catch((reason: unknown) => reason) ?? error
    if (isOutOfSpace(reason)) checkUsable(databases, reason)
    throw reason
  }
}

/**
 * To be called after a transaction has failed for lack of space. If that was the write of its last page, LMDB begins none any more, and
 * release 3.5 of lmdb never settles the promise of the next one.
 * @throws an error that does not count as lack of space, when a retry would not end
 */
function checkUsable ({ root }: Databases, reason: unknown): void {
  try {
    root.transactionSync(() => {})
  } catch {
    throw new Error((reason as Error).message, { cause: reason })
  }
}

/** Values are written as they are, and read without a copy. lmdb's types have this option for the root only. */
function reading (decode: (buffer: Buffer, size: number) => unknown): DatabaseOptions {
  return { encoder: { encode: (value: Buffer) => value, decode } } as DatabaseOptions
}

const PROGRESS = 0
const RUN = 1
const PROGRESS_BYTES = 25
const PIECE = 500
const WRITE_ROWS = 1000
const WRITE_BYTES = 1024 * 1024

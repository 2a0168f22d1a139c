import { closeSync, openSync, statSync } from 'node:fs'
import { open, type Database, type DatabaseOptions, type RootDatabase } from 'lmdb'
import { systemClock } from '../../clock/clock.js'
import { lmdbFileProblem } from './file-check/lmdb-file.js'
import { decodeDue, decodeHeader, decodeTombstone, type Row, type TaskHeader } from './record-format.js'
import { StoreError } from '../store-error.js'
import { accessProblem, clearNew, type StoreFiles } from './directory.js'
import type { StoredQueue, Tombstone } from '../store.js'

/** The databases of a store, all in one file. What iterating over them yields is named by their types. */
export interface Databases {
  readonly root: RootDatabase
  /** By name. JSON of the queue and its number. */
  readonly queues: Database<Buffer, string>
  /** By number: what never changes of a task. */
  readonly tasks: Database<TaskHeader, number>
  /** By the task's number: what its attempts have changed. Yields when the task is due. */
  readonly states: Database<number, number>
  /** By numbers of their own: names that are not to be used again yet. */
  readonly names: Database<Tombstone, number>
  /** Under 0, how far the journal was written to the databases; under 1, which run may write, as that entry's version. */
  readonly journal: Database<Buffer, number>
}

/** What of the journal the databases have. */
export interface Progress {
  /** Number of the last commit that they have. */
  readonly sequence: number
  /** They have all that runs before this one have left. A run is what one process writes, from opening the store to its end. */
  readonly run: number
  /** Number of the last commit before that run. */
  readonly base: number
  /** Whether the run's journal files must be there: from their creation to a clean end. */
  readonly isOpen: boolean
}

/** Called now and then while a store is opened. What it throws ends that. */
export type OnProgress = (step: string, done: number, total: number) => void

/** @throws StoreError damaged, access */
export async function openDatabases (directory: string, files: StoreFiles, onProgress: OnProgress = () => {}): Promise<Databases> {
  const { data: file } = files
  let root: RootDatabase | undefined
  try {
    if (!clearNew(directory, files)) {
      const problem = await lastingProblem(file, (done, total) => { onProgress('checking tasks.mdb', done, total) })
      if (problem !== undefined) throw new Error(problem)
    }
    // Payloads are nobody else's business, and lmdb would make its files readable for all. What is there keeps its mode.
    for (const path of [file, `${file}-lock`]) closeSync(openSync(path, 'a', 0o600))
    root = open({
      path: file,
      noSubdir: true,
      maxDbs: 5,
      // lmdb's default shows a commit before it is synced and decides by the boot id what to believe after a crash. Without
      // it there is nothing to decide: new pages are written beside the old and synced, then the page that points at them.
      overlappingSync: false,
      // Commits are batched by their caller. With lmdb's own batching a failed one also rejects a promise that nobody has.
      eventTurnBatching: false
    })
    return {
      root,
      queues: root.openDB('queues', { encoding: 'binary' }),
      tasks: root.openDB('tasks', reading(decodeHeader)),
      states: root.openDB('states', reading(decodeDue)),
      names: root.openDB('names', reading(decodeTombstone)),
      journal: root.openDB('journal', { encoding: 'binary', useVersions: true })
    }
  } catch (error) {
    await root?.close()
    if (error instanceof StoreError) throw error
    if (typeof (error as NodeJS.ErrnoException).code === 'string') throw accessProblem(directory, error)
    throw new StoreError(
      'damaged',
      `${file} cannot be opened: ${(error as Error).message}; it is left as it is, restore a backup or choose another directory`,
      error
    )
  }
}

/**
 * What is wrong with the file. A former holder that this process cannot see may be at its last commit when the file is looked at, so
 * what is wrong counts only once the file has not changed for a while.
 */
async function lastingProblem (file: string, onPages: (done: number, total: number) => void): Promise<string | undefined> {
  for (let before = '', problem: string | undefined; ;) {
    const state = stateOf(file)
    if (problem !== undefined && state === before) return problem
    before = state
    problem = await lmdbFileProblem(file, DATABASES, onPages)
    if (problem === undefined) return undefined
    await new Promise<void>(resolve => { systemClock.setTimeout(resolve, REST_MS) })
  }
}

function stateOf (file: string): string {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stats === undefined ? '' : `${stats.ino} ${stats.size} ${stats.mtimeNs}`
}

/** All entries, in the order of their keys, read in pieces: no transaction stays open between two of them. */
export function * entriesOf<V, K extends string | number> (database: Database<V, K>): Generator<{ key: K, value: V }, undefined> {
  let after: K | undefined
  for (;;) {
    const piece = [...database.getRange({ ...(after === undefined ? undefined : { start: after, exclusiveStart: true }), limit: PIECE })]
    yield * piece
    if (piece.length < PIECE) return undefined
    after = piece.at(-1)!.key
  }
}

/** To be called in a transaction. From its commit on, `writeRows` of earlier runs writes nothing. Returns the run's number. */
export function beginRun ({ journal }: Databases): number {
  const run = (journal.getEntry(RUN)?.version ?? 0) + 1
  journal.putSync(RUN, Buffer.alloc(1), run)
  return run
}

/** What `writeRows` has said last. */
export function readProgress ({ journal }: Databases): Progress {
  const value = journal.get(PROGRESS)
  if (value === undefined) return { sequence: 0, run: 0, base: 0, isOpen: false }
  return { sequence: value.readDoubleLE(0), run: value.readDoubleLE(8), base: value.readDoubleLE(16), isOpen: value[24] === 1 }
}

/**
 * Writes rows in pieces, each durable before the next, so that none holds up the event loop; the last one leaves word of
 * `progress`. Cut short, it can be done again.
 * @param check throws when so many bytes may not be written
 * @returns false when a later run has begun: then it has stopped, and written nothing since that
 */
export async function writeRows (
  databases: Databases,
  rows: Iterable<Row>,
  progress: Progress,
  check: (bytes: number) => void
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
    if (!(await commit(databases, piece, progress, !more))) return false
  }
  // What was read in this turn of the event loop has seen the state before.
  databases.root.resetReadTxn()
  return true
}

async function commit (
  databases: Databases, rows: readonly Row[], { sequence, run, base, isOpen }: Progress, isLast: boolean
): Promise<boolean> {
  try {
    // lmdb looks at the version inside the transaction, so no other process can come in between.
    return await databases.journal.ifVersion(RUN, run, () => {
      for (const [table, key, value] of rows) {
        const database = databases[table] as Database<unknown, string | number>
        if (value === undefined) database.remove(key)
        else database.put(key, value)
      }
      if (!isLast) return
      const value = Buffer.allocUnsafe(25)
      value.writeDoubleLE(sequence, 0)
      value.writeDoubleLE(run, 8)
      value.writeDoubleLE(base, 16)
      value[24] = isOpen ? 1 : 0
      databases.journal.put(PROGRESS, value, 0)
    })
  } catch (error) {
    // lmdb's reason is a promise of its own.
    await (error as { commitError?: Promise<unknown> }).commitError
    throw error
  }
}

/** Bytes of the file that hold nothing and will be written again. */
export function freeBytesInside ({ root, queues, tasks, states, names, journal }: Databases): number {
  const { pageSize, lastPageNumber, free, root: main } = root.getStats() as Stats & { lastPageNumber: number, free: Stats, root: Stats }
  let used = META_PAGES
  for (const tree of [free, main, ...[queues, tasks, states, names, journal].map(database => database.getStats() as Stats)]) {
    used += tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages
  }
  return Math.max(0, lastPageNumber + 1 - used) * pageSize
}

/** Of one tree, as lmdb counts. */
interface Stats {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

export function printQueue (queue: StoredQueue, number: number): Buffer {
  return Buffer.from(JSON.stringify([number, queue]))
}

export function parseQueue (value: Buffer): { number: number, queue: StoredQueue } {
  const [number, queue] = JSON.parse(value.toString()) as [number, StoredQueue]
  return { number, queue }
}

/** Values are written as they are, and read without a copy. lmdb's types have this option for the root only. */
function reading (decode: (buffer: Buffer, size: number) => unknown): DatabaseOptions {
  return { encoder: { encode: (value: Buffer) => value, decode } } as DatabaseOptions
}

const DATABASES = ['queues', 'tasks', 'states', 'names', 'journal']
const PROGRESS = 0
const RUN = 1
/** How long a file must rest until it counts as damaged. */
const REST_MS = 200
const PIECE = 500
const WRITE_ROWS = 1000
const WRITE_BYTES = 1024 * 1024
const META_PAGES = 2

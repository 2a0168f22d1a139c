import { closeSync, openSync } from 'node:fs'
import { open, type Database, type DatabaseOptions, type RootDatabase } from 'lmdb'
import { lmdbFileProblem } from './lmdb-file.js'
import { decodeDue, decodeHead, decodeTombstone, type Head } from './record.js'
import { StoreError } from './store-error.js'
import { accessProblem } from './store-directory.js'
import type { StoredQueue, Tombstone } from './store.js'

/** The databases of a store, all in one file. What iterating over them yields is named by their types. */
export interface Databases {
  readonly root: RootDatabase
  /** By name. JSON of the queue and its number. */
  readonly queues: Database<Buffer, string>
  /** By number: what never changes of a task. */
  readonly tasks: Database<Head, number>
  /** By the task's number: what its attempts have changed. Yields when the task is due. */
  readonly states: Database<number, number>
  /** By numbers of their own: names that are not to be used again yet. */
  readonly names: Database<Tombstone, number>
}

/** @throws StoreError damaged, access */
export async function openDatabases (directory: string, file: string): Promise<Databases> {
  let root: RootDatabase | undefined
  try {
    const problem = await lmdbFileProblem(file)
    if (problem !== undefined) throw new Error(problem)
    // Payloads are nobody else's business, and lmdb would make its files readable for all. What is there keeps its mode.
    for (const path of [file, `${file}-lock`]) closeSync(openSync(path, 'a', 0o600))
    root = open({
      path: file,
      noSubdir: true,
      maxDbs: 4,
      overlappingSync: false,
      // Commits are batched by their caller. With lmdb's own batching a failed one also rejects a promise that nobody has.
      eventTurnBatching: false
    })
    return {
      root,
      queues: root.openDB('queues', { encoding: 'binary' }),
      tasks: root.openDB('tasks', reading(decodeHead)),
      states: root.openDB('states', reading(decodeDue)),
      names: root.openDB('names', reading(decodeTombstone))
    }
  } catch (error) {
    await root?.close()
    if (typeof (error as NodeJS.ErrnoException).code === 'string') throw accessProblem(directory, error)
    throw new StoreError('damaged', `${file} cannot be opened: ${(error as Error).message}; it is left as it is, restore a backup or choose another directory`, error)
  }
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

/** Bytes of the file that hold nothing and will be written again. */
export function freeBytesInside ({ root, queues, tasks, states, names }: Databases): number {
  const { pageSize, lastPageNumber, free, root: main } = root.getStats() as Stats & { lastPageNumber: number, free: Stats, root: Stats }
  let used = META_PAGES
  for (const tree of [free, main, ...[queues, tasks, states, names].map(database => database.getStats() as Stats)]) {
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

const PIECE = 500
const META_PAGES = 2

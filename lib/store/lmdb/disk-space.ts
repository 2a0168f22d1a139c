import { statfsSync } from 'node:fs'
import type { Databases } from './databases.js'
import { StoreError } from '../store-error.js'

/**
 * Rejects a commit before the disk is full. lmdb would roll back such a commit, but release 3.5 formats the error into a buffer that is
 * too short, which can crash the process. Removals of tasks may use a reserve that additions must leave, so that they still succeed; the
 * space that they free in the file, which never shrinks, is reused.
 */
export class DiskSpace {
  readonly #directory: string
  readonly #databases: Databases
  readonly #freeBytes: () => number

  /** @param freeBytes returns the free space, instead of the file system */
  constructor (directory: string, databases: Databases, freeBytes: (() => number) | undefined) {
    this.#directory = directory
    this.#databases = databases
    this.#freeBytes = freeBytes ?? (() => freeBytesOf(directory))
  }

  /** @throws StoreError full, when there is not enough space for that number of bytes */
  check (bytes: number, shrinks: boolean): void {
    const free = this.#freeBytes()
    // New pages are written before the old ones are free: twice the bytes, and the pages on the path to them.
    const needed = RESERVE_BYTES + 2 * bytes
    if (free >= (shrinks ? needed : needed + RESERVE_BYTES)) return
    if (free >= needed && freeBytesInside(this.#databases) >= needed) return
    throw tooLittle(this.#directory, free)
  }
}

/**
 * To be called before lmdb opens its files, which can crash the process on a full disk.
 * @throws StoreError full
 */
export function checkReserve (directory: string, freeBytes = () => freeBytesOf(directory)): void {
  const free = freeBytes()
  if (free < RESERVE_BYTES) throw tooLittle(directory, free)
}

function tooLittle (directory: string, free: number): StoreError {
  return new StoreError('full', `${directory}: the disk is full, only ${Math.floor(free / 1024)} KiB are left`)
}

function freeBytesOf (directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

/** The reserve for removals of tasks, and the same again for the pages on the path to a record. */
const RESERVE_BYTES = 4 * 1024 * 1024

/** Free bytes in the file, which will be reused. */
function freeBytesInside ({ root, queues, tasks, states, names, journal }: Databases): number {
  const { pageSize, lastPageNumber, free, root: main } = root.getStats() as Stats & { lastPageNumber: number, free: Stats, root: Stats }
  let used = META_PAGES
  for (const tree of [free, main, ...[queues, tasks, states, names, journal].map(database => database.getStats() as Stats)]) {
    used += tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages
  }
  return Math.max(0, lastPageNumber + 1 - used) * pageSize
}

/** lmdb's statistics of a tree. */
interface Stats {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

const META_PAGES = 2

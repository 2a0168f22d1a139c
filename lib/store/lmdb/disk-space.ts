import { statfsSync } from 'node:fs'
import { freeBytesInside, type Databases } from './databases.js'
import { StoreError } from '../store-error.js'

/**
 * Refuses a commit before it meets a full disk. lmdb would undo such a commit, but release 3.5 words that error into a
 * buffer that is too short for it, and the process may die of it. The ends of tasks may use what new ones must leave, so
 * that they go on; and what they free inside the file, which never shrinks, can be used again.
 */
export class DiskSpace {
  readonly #directory: string
  readonly #databases: Databases
  readonly #freeBytes: () => number

  /** @param freeBytes what the disk has left, instead of asking the file system */
  constructor (directory: string, databases: Databases, freeBytes: (() => number) | undefined) {
    this.#directory = directory
    this.#databases = databases
    this.#freeBytes = freeBytes ?? (() => freeBytesOf(directory))
  }

  /** @throws StoreError full, when there is no room for so many bytes */
  check (bytes: number, shrinks: boolean): void {
    const free = this.#freeBytes()
    // New pages are written beside the old before those are free: twice the bytes, and the way down to them.
    const needed = RESERVE_BYTES + 2 * bytes
    if (free >= (shrinks ? needed : needed + RESERVE_BYTES)) return
    if (free >= needed && freeBytesInside(this.#databases) >= needed) return
    throw new StoreError('full', `${this.#directory}: the disk is full, it has only ${Math.floor(free / 1024)} KiB left`)
  }
}

function freeBytesOf (directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

/** What is left free for the ends of tasks, and once more for the pages on the way to any record. */
const RESERVE_BYTES = 4 * 1024 * 1024

/**
 * What is wrong with a store.
 * inUse: another engine has it. foreign: the directory holds something else. version: made by another version.
 * damaged: its data cannot be relied on. access: the system denies it. full: no space is left. broken: a write failed, and
 * nothing is known of the disk since. closed: `close` was called. unloadable: the package lmdb cannot be loaded.
 */
export type StoreProblem = 'inUse' | 'foreign' | 'version' | 'damaged' | 'access' | 'full' | 'broken' | 'closed' | 'unloadable'

/** A store cannot be opened, or refuses a change. Says what is wrong and what to do. */
export class StoreError extends Error {
  readonly problem: StoreProblem

  constructor (problem: StoreProblem, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StoreError'
    this.problem = problem
  }
}

/** Whether the system, or lmdb in its own way, says that a disk or a quota is full. */
export function isOutOfSpace (error: unknown): boolean {
  return OUT_OF_SPACE.has((error as { code?: unknown } | null)?.code)
}

/** As Node names them and as lmdb passes them on: the numbers are Linux's and macOS's. */
const OUT_OF_SPACE = new Set<unknown>(['ENOSPC', 'EFBIG', 'EDQUOT', 28, 27, 122, 69])

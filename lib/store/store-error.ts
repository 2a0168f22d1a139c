/**
 * The problem of a store.
 * inUse: another engine has it open. foreign: the directory contains other files. version: created by another version.
 * damaged: its data is inconsistent. access: permission denied. full: no space left. broken: a write failed, and
 * the state of the disk is unknown since. closed: `close` was called. unloadable: the package lmdb cannot be loaded.
 */
export type StoreProblem = 'inUse' | 'foreign' | 'version' | 'damaged' | 'access' | 'full' | 'broken' | 'closed' | 'unloadable'

/** A store cannot be opened, or a write failed. The message contains the problem and how to fix it. */
export class StoreError extends Error {
  readonly problem: StoreProblem

  constructor (problem: StoreProblem, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StoreError'
    this.problem = problem
  }
}

/** @param path the file or directory that is damaged */
export function damaged (path: string, problem: string, cause?: unknown): StoreError {
  return new StoreError(
    'damaged', `${path} cannot be opened: ${problem}; it is left as it is, restore a backup or choose another directory`, cause
  )
}

/** Whether an error of the system or of lmdb means that a disk or a quota is full. */
export function isOutOfSpace (error: unknown): boolean {
  return OUT_OF_SPACE.has((error as { code?: unknown } | null)?.code)
}

/** Node's names, and the numbers of Linux and macOS that lmdb passes on. */
const OUT_OF_SPACE = new Set<unknown>(['ENOSPC', 'EFBIG', 'EDQUOT', 28, 27, 122, 69])

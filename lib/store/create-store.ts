import { MemoryStore } from './memory-store.js'
import { StoreError } from './store-error.js'
import type { Store } from './store.js'

/**
 * Creates a store in a directory, or in memory without one. Loads lmdb only with a directory.
 * @throws StoreError unloadable
 */
export async function createStore (directory: string | undefined): Promise<Store> {
  if (directory === undefined) return new MemoryStore()
  try {
    const { LmdbStore } = await import('./lmdb/lmdb-store.js')
    return new LmdbStore({ directory })
  } catch (error) {
    const [reason] = (error as Error).message.split('\n', 1)
    throw new StoreError('unloadable',
      `the package lmdb does not load here (${reason}); if a bundler made this program, it must stay external, ` +
      'see docs/bundlers.md, or name no directory to keep tasks in memory',
      error)
  }
}

import { StoreError } from '../store-error.js'
import { StoreLock } from '../lock.js'
import { beginRun, openDatabases, type Databases, type OnProgress } from './databases.js'
import { accessProblem, completeFormat, lastRun, lastWriteAt, prepareDirectory } from './directory.js'
import { DiskSpace, checkReserve } from './disk-space.js'
import type { Journal } from './journal.js'
import type { JournalFile } from '../journal-file.js'
import { WriteAhead, recover, takenOver } from './write-ahead.js'

export interface LmdbStoreOptions {
  /** Created if missing. Used by one engine at a time. */
  readonly directory: string
  /** Returns the free disk space in bytes. @default that of the file system */
  readonly freeBytes?: () => number
  /** Creates journal files. @default files that sync */
  readonly createJournalFile?: (path: string) => Promise<JournalFile>
  /** Size of changes in memory at which they are flushed to the databases. @default 8 MiB */
  readonly journalBytes?: number
}

/** An open directory. */
export interface OpenDirectory {
  readonly databases: Databases
  readonly writeAhead: WriteAhead
  /** Time of the former process's last write. */
  readonly lastKnownAt: number | undefined
  /** Call it once, when nothing is being written any more. */
  close (): Promise<void>
}

/**
 * Locks the directory, checks its files, and recovers acknowledged changes from the journal. Leaves nothing open or locked on failure.
 * @throws StoreError
 */
export async function openDirectory (options: LmdbStoreOptions, onProgress: OnProgress): Promise<OpenDirectory> {
  const { directory, freeBytes, createJournalFile: createFile, journalBytes } = options
  const files = prepareDirectory(directory)
  const lock = new StoreLock(files.lock)
  let databases: Databases | undefined
  let journal: Journal | undefined
  try {
    // First, to fence a former holder in another container: it cannot write any more, and the files stop changing.
    lock.take()
    const lastKnownAt = lastWriteAt(directory)
    checkReserve(directory, freeBytes)
    const opened = databases = await openDatabases(directory, files, onProgress)
    const { root } = opened
    const space = new DiskSpace(directory, opened, freeBytes)
    // LMDB lets one transaction write at a time, of all processes, so no former holder is writing.
    const run = root.transactionSync(() => {
      if (!lock.isHeld()) throw takenOver(directory)
      return beginRun(opened, lastRun(files))
    })
    journal = await recover({ directory, databases, space, run, createFile, onProgress })
    const writeAhead = new WriteAhead({ directory, databases, space, lock, journal, journalBytes })
    if (!lock.isHeld()) throw takenOver(directory)
    completeFormat(files, run)
    const close = async (): Promise<void> => {
      try {
        await writeAhead.close()
      } finally {
        await root.close()
        lock.release()
      }
    }
    return { databases, writeAhead, lastKnownAt, close }
  } catch (error) {
    await journal?.close()
    await databases?.root.close()
    lock.release()
    throw error instanceof StoreError ? error : accessProblem(directory, error)
  }
}

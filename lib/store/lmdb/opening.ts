import { systemClock } from '../../clock/clock.js'
import { StoreError } from '../store-error.js'
import { StoreLock } from '../lock.js'
import { beginRun, openDatabases, type Databases, type OnProgress } from './databases.js'
import { accessProblem, completeFormat, lastRun, lastWriteAt, prepareDirectory, type StoreFiles } from './directory.js'
import { DiskSpace } from './disk-space.js'
import type { JournalFile } from './journal-file.js'
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
  try {
    // First, to fence a former holder in another container: it cannot write any more, and the files stop changing.
    lock.take()
    const lastKnownAt = lastWriteAt(directory)
    const { root } = databases = await openDatabases(directory, files, onProgress)
    const space = new DiskSpace(directory, databases, freeBytes)
    space.check(0, true)
    const run = await beginOwnRun(databases, files, lock, directory, onProgress)
    const journal = await recover({ directory, databases, space, run, createFile, onProgress })
    const writeAhead = new WriteAhead({ directory, databases, space, lock, journal, journalBytes })
    if (!lock.isHeld()) throw takenOver(directory)
    completeFormat(files, run)
    const close = async (): Promise<void> => {
      await writeAhead.close()
      await root.close()
      lock.release()
    }
    return { databases, writeAhead, lastKnownAt, close }
  } catch (error) {
    await databases?.root.close()
    lock.release()
    throw error instanceof StoreError ? error : accessProblem(directory, error)
  }
}

/**
 * Lmdb lets one transaction write at a time, of all processes, so that nobody else is inside. A former holder that is stopped in the
 * midst of one, as in a paused container, has to go on or end first; the event loop is free meanwhile.
 */
async function beginOwnRun (
  databases: Databases, files: StoreFiles, lock: StoreLock, directory: string, onProgress: OnProgress
): Promise<number> {
  let failure: unknown
  const begun = databases.root.transaction(() => {
    try {
      if (!lock.isHeld()) throw takenOver(directory)
      return beginRun(databases, lastRun(files))
    } catch (error) {
      failure = error
      return 0
    }
  })
  let [isOver, seconds] = [false, 0]
  const wait = (): void => {
    if (isOver) return
    try {
      onProgress('waiting for the former process, which writes to tasks.mdb', seconds++, undefined)
    } catch (error) {
      // Closed meanwhile: that ends when the transaction does.
      failure ??= error
    }
    timer = systemClock.setTimeout(wait, 1000)
  }
  let timer = systemClock.setTimeout(wait, 1000)
  const run = await begun.finally(() => {
    isOver = true
    systemClock.clearTimeout(timer)
  })
  if (failure !== undefined) throw failure
  return run
}

import { close, constants, fdatasync, fsync, ftruncate, open, write } from 'node:fs'

/** A file that is written in pieces. */
export interface JournalFile {
  /** Resolves when `bytes` would survive a power failure. Not concurrent. */
  write (bytes: Buffer, position: number): Promise<void>
  /** Resolves when the file is durably truncated to `size`. */
  truncate (size: number): Promise<void>
  close (): Promise<void>
}

/**
 * Creates a new file, readable only by its owner. Rejects if it exists.
 * @param platform decides how it is synced
 */
export function createJournalFile (path: string, platform: NodeJS.Platform = process.platform): Promise<JournalFile> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_DSYNC } = constants
  // Writes and syncs in one call, where that is reliable: macOS would leave the bytes in the drive's cache.
  const syncs = platform === 'linux'
  return new Promise((resolve, reject) => {
    open(path, O_WRONLY | O_CREAT | O_EXCL | (syncs ? O_DSYNC : 0), 0o600, (error, fd) => {
      if (error === null) resolve(new SyncedFile(fd, syncs))
      else reject(error)
    })
  })
}

/** Uses callbacks, because a promise of `fs` costs as much as a small write. */
class SyncedFile implements JournalFile {
  readonly #fd: number
  readonly #writeSyncs: boolean

  constructor (fd: number, writeSyncs: boolean) {
    this.#fd = fd
    this.#writeSyncs = writeSyncs
  }

  write (bytes: Buffer, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const rest = (from: number): void => {
        write(this.#fd, bytes, from, bytes.length - from, position + from, (error, written) => {
          if (error !== null) reject(error)
          else if (written === 0) reject(new Error('the system wrote no bytes'))
          else if (from + written < bytes.length) rest(from + written)
          else if (this.#writeSyncs) resolve()
          else fdatasync(this.#fd, settle(resolve, reject))
        })
      }
      rest(0)
    })
  }

  async truncate (size: number): Promise<void> {
    await new Promise<void>((resolve, reject) => { ftruncate(this.#fd, size, settle(resolve, reject)) })
    await new Promise<void>((resolve, reject) => { fsync(this.#fd, settle(resolve, reject)) })
  }

  close (): Promise<void> {
    return new Promise((resolve, reject) => { close(this.#fd, settle(resolve, reject)) })
  }
}

function settle (resolve: () => void, reject: (error: Error) => void): (error?: Error | null) => void {
  return error => {
    if (error === null || error === undefined) resolve()
    else reject(error)
  }
}

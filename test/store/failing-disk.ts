import { closeSync, openSync, writeSync } from 'node:fs'
import { createJournalFile, type JournalFile } from '../../lib/store/journal-file.js'

export type Written = 'none' | 'half' | 'all'

export interface WriteFault {
  readonly code: 'ENOSPC' | 'EDQUOT' | 'EIO'
  /** What reaches the disk nevertheless. */
  readonly written: Written
  readonly times: number
}

interface Write {
  readonly path: string
  readonly bytes: Buffer
  readonly position: number
}

/** The disk of a store, with real files: its writes fail, or wait, and its free space is as a test says. */
export class FailingDisk {
  /** Whether something has failed, so that a change may have been rejected. */
  hasFailed = false
  /** Whether changes that were rejected, or not acknowledged, may be in the files. */
  mayHoldMore = false
  #fault: WriteFault | undefined
  #failuresLeft = 0
  #failsTruncation = false
  #free = { bytes: ENOUGH, afterCalls: 0 }
  #release: (() => void) | undefined
  #released = Promise.resolve()
  #held: Write | undefined
  #isWriting = false

  /** A replacement of `createJournalFile`. */
  async createFile (path: string): Promise<JournalFile> {
    const file = await createJournalFile(path)
    return {
      write: (bytes, position) => this.#write(file, { path, bytes, position }),
      truncate: async size => {
        if (this.#failsTruncation) this.#failForGood('the disk does not truncate files')
        this.#isWriting = true
        await file.truncate(size)
        this.#isWriting = false
      },
      close: () => file.close()
    }
  }

  /** A replacement of the file system's number. */
  freeBytes (): number {
    return this.#free.afterCalls-- > 0 ? ENOUGH : this.#free.bytes
  }

  setFreeBytes (bytes: number, afterCalls: number): void {
    this.hasFailed ||= bytes < ENOUGH
    this.#free = { bytes, afterCalls }
  }

  failWrites (fault: WriteFault): void {
    this.hasFailed = true
    this.#fault = fault
    this.#failuresLeft = fault.times
  }

  failTruncation (): void {
    this.hasFailed = true
    this.#failsTruncation = true
  }

  /** Writes wait until `release`. */
  hold (): void {
    if (this.#release === undefined) this.#released = new Promise(resolve => { this.#release = resolve })
  }

  release (): void {
    this.#release?.()
    this.#release = undefined
  }

  /** Writes some of what is held, as when the process ends now. */
  writeHeld (written: Written): void {
    // What is no frame follows one that is written: the head of a longer file, or the zeros that undo it.
    if (this.#isWriting || (this.#held !== undefined && (written !== 'none' || !isFrame(this.#held)))) this.mayHoldMore = true
    if (this.#held === undefined || written === 'none') return
    const { path, bytes, position } = this.#held
    const fd = openSync(path, 'r+')
    writeSync(fd, bytes, 0, lengthOf(bytes, written), position)
    closeSync(fd)
  }

  async #write (file: JournalFile, write: Write): Promise<void> {
    this.#held = write
    await this.#released
    this.#held = undefined
    this.#isWriting = true
    try {
      await this.#writeOrFail(file, write)
    } finally {
      this.#isWriting = false
    }
  }

  async #writeOrFail (file: JournalFile, write: Write): Promise<void> {
    const { bytes, position } = write
    if (this.#fault === undefined || this.#failuresLeft === 0) {
      await file.write(bytes, position)
      return
    }
    const { code, written } = this.#fault
    this.#failuresLeft--
    if (written !== 'none') await file.write(bytes.subarray(0, lengthOf(bytes, written)), position)
    if (!isFrame(write) || (code === 'EIO' && written !== 'none')) this.mayHoldMore = true
    // As a real one, not within a turn of the event loop.
    await new Promise(resolve => { setImmediate(resolve) })
    throw Object.assign(new Error(`the disk fails with ${code}`), { code })
  }

  #failForGood (message: string): never {
    this.mayHoldMore = true
    throw Object.assign(new Error(message), { code: 'EIO' })
  }
}

function isFrame ({ bytes, position }: Write): boolean {
  return position > 0 && bytes.some(byte => byte !== 0)
}

function lengthOf (bytes: Buffer, written: Written): number {
  return written === 'none' ? 0 : written === 'half' ? bytes.length >> 1 : bytes.length
}

/** Free space without a limit. */
export const ENOUGH = 2 ** 40

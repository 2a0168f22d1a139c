import { closeSync, openSync, writeSync } from 'node:fs'
import { createJournalFile, type JournalFile } from '../../lib/store/journal-file.js'
import { isOutOfSpace, type StoreProblem } from '../../lib/store/store-error.js'
import { FailingBatches, type BatchFault } from './failing-batches.js'

export type Written = 'none' | 'half' | 'all'

export interface WriteFault {
  readonly code: 'ENOSPC' | 'EDQUOT' | 'EIO'
  /** Number of writes that succeed before; the creation of a file counts as one. */
  readonly after?: number
  /** What reaches the disk nevertheless. */
  readonly written: Written
  readonly times: number
}

interface Write {
  readonly path: string
  readonly bytes: Buffer
  readonly position: number
}

/** The disk of a store, with real files: its writes and LMDB's fail, or wait, and its free space is as a test says. */
export class FailingDisk {
  /** What changes may be rejected with, as something fails. */
  readonly explained = new Set<StoreProblem>()
  /** Whether changes that were rejected, or not acknowledged, may be in the files. */
  mayHoldMore = false
  #openingProblem: StoreProblem | undefined
  #fault: WriteFault | undefined
  #successesLeft = 0
  #failuresLeft = 0
  #failsTruncation = false
  #free = { bytes: ENOUGH, afterCalls: 0 }
  readonly #writeGate = new Gate()
  readonly #batchGate = new Gate()
  readonly #batches: FailingBatches
  #isAttached = false
  #held: Write | undefined
  #isWriting = false

  /** @param surprises gets what a store must not do */
  constructor (surprises: Error[] = []) {
    this.#batches = new FailingBatches(() => this.#batchGate.opened, surprises)
  }

  /** What a store that is being opened must be rejected with, as something has failed. */
  get openingProblem (): StoreProblem | undefined {
    return this.#openingProblem ?? this.#batches.openingProblem
  }

  /** Whether a transaction of LMDB has failed, so that nothing more must be stored. */
  get hasBrokenBatches (): boolean {
    return this.#batches.isBroken
  }

  /** A replacement of `createJournalFile`. */
  async createFile (path: string): Promise<JournalFile> {
    const fault = this.#nextFault()
    if (fault !== undefined) {
      if (fault.written === 'all') await (await createJournalFile(path)).close()
      throw errorOf(fault)
    }
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
    // The first call of a store that is being opened is right before its databases are.
    if (!this.#isAttached) this.#batches.attach()
    this.#isAttached = true
    if (this.#free.afterCalls-- > 0) return ENOUGH
    if (this.#free.bytes === 0) this.#openingProblem ??= 'full'
    return this.#free.bytes
  }

  setFreeBytes (bytes: number, afterCalls: number): void {
    if (bytes < ENOUGH) this.explained.add('full')
    this.#free = { bytes, afterCalls }
  }

  failWrites (fault: WriteFault): void {
    if (fault.code !== 'EIO') this.explained.add('full')
    // A full disk may also not let a part of a write be undone.
    this.explained.add('broken')
    this.#fault = fault
    this.#successesLeft = fault.after ?? 0
    this.#failuresLeft = fault.times
  }

  failTruncation (): void {
    this.#failsTruncation = true
  }

  /** Transactions of LMDB fail. A full disk there is no reason to reject a change. */
  failBatches (fault: BatchFault): void {
    this.#batches.fail(fault)
  }

  /** Writes wait until `release`. */
  hold (): void {
    this.#writeGate.close()
  }

  /** Transactions of LMDB do. */
  holdBatches (): void {
    this.#batchGate.close()
  }

  release (): void {
    this.#writeGate.open()
    this.#batchGate.open()
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
    await this.#writeGate.opened
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
    const fault = this.#nextFault()
    if (fault === undefined) {
      await file.write(bytes, position)
      return
    }
    const { code, written } = fault
    if (written !== 'none') await file.write(bytes.subarray(0, lengthOf(bytes, written)), position)
    if (!isFrame(write) || (code === 'EIO' && written !== 'none')) this.mayHoldMore = true
    // As a real one, not within a turn of the event loop.
    await new Promise(resolve => { setImmediate(resolve) })
    throw errorOf(fault)
  }

  #nextFault (): WriteFault | undefined {
    if (this.#failuresLeft === 0) return undefined
    if (this.#successesLeft > 0) {
      this.#successesLeft--
      return undefined
    }
    this.#failuresLeft--
    this.#openingProblem ??= isOutOfSpace(this.#fault) ? 'full' : 'broken'
    return this.#fault
  }

  #failForGood (message: string): never {
    this.mayHoldMore = true
    throw Object.assign(new Error(message), { code: 'EIO' })
  }
}

/** What passes waits while it is closed. */
class Gate {
  opened = Promise.resolve()
  #open: (() => void) | undefined

  close (): void {
    if (this.#open === undefined) this.opened = new Promise(resolve => { this.#open = resolve })
  }

  open (): void {
    this.#open?.()
    this.#open = undefined
  }
}

function errorOf ({ code }: WriteFault): Error {
  return Object.assign(new Error(`the disk fails with ${code}`), { code })
}

function isFrame ({ bytes, position }: Write): boolean {
  return position > 0 && bytes.some(byte => byte !== 0)
}

function lengthOf (bytes: Buffer, written: Written): number {
  return written === 'none' ? 0 : written === 'half' ? bytes.length >> 1 : bytes.length
}

/** Free space without a limit. */
export const ENOUGH = 2 ** 40

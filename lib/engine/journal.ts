import { randomBytes } from 'node:crypto'
import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createJournalFile, type JournalFile } from './journal-file.js'
import { SECTOR, decodeFile, encodeFileHead, encodeFrame, hasFileHead, wholeSectors, type Frame } from './journal-frame.js'
import type { Row } from './rows.js'
import { syncDirectory } from './store-directory.js'
import { StoreError, isOutOfSpace } from './store-error.js'

export interface JournalOptions {
  readonly directory: string
  /** The last commit that the databases have. */
  readonly sequence: number
  /** @default createJournalFile */
  readonly createFile?: ((path: string) => Promise<JournalFile>) | undefined
}

/** A file that is written from its beginning again and again: overwriting costs a disk less than appending. */
interface Part {
  readonly file: JournalFile
  readonly path: string
  readonly salt: number
  /** Bytes that the file has. */
  size: number
}

/**
 * Makes commits durable with one write each, in two files that take turns. One process writes them; the next one reads them
 * and begins with new ones.
 */
export class Journal {
  readonly #directory: string
  readonly #createFile: (path: string) => Promise<JournalFile>
  readonly #parts: [Part | undefined, Part | undefined] = [undefined, undefined]
  #turn: 0 | 1 = 0
  #position = SECTOR
  #sequence: number

  constructor ({ directory, sequence, createFile = createJournalFile }: JournalOptions) {
    this.#directory = directory
    this.#sequence = sequence
    this.#createFile = createFile
  }

  /** Of the last commit that was appended. */
  get sequence (): number {
    return this.#sequence
  }

  /** Resolves once the rows are durable. One at a time. Where it rejects for lack of space, nothing of them is there. */
  async append (rows: readonly Row[]): Promise<void> {
    const part = this.#parts[this.#turn] ??= await this.#create()
    const position = this.#position
    let frameSize = 0
    const frame = encodeFrame(this.#sequence + 1, rows, part.salt, size => {
      frameSize = wholeSectors(size)
      const end = position + frameSize
      // The file grows in large steps: a write that also changes its size is two for the disk.
      return end <= part.size ? frameSize : Math.ceil(end / GROWTH) * GROWTH - position
    })
    try {
      await part.file.write(frame, position)
    } catch (error) {
      if (isOutOfSpace(error)) await this.#erase(part)
      throw error
    }
    part.size = Math.max(part.size, position + frame.length)
    this.#position += frameSize
    this.#sequence++
  }

  /** Goes on in the other file, whose commits must be in the databases by now. */
  turn (): void {
    this.#turn = this.#turn === 0 ? 1 : 0
    this.#position = SECTOR
  }

  async close (): Promise<void> {
    for (const part of this.#parts) await part?.file.close()
  }

  /** The frame itself may be there, and only the zeros behind it have found no room. */
  async #erase ({ file, size }: Part): Promise<void> {
    try {
      await file.truncate(size)
      if (this.#position < size) await file.write(Buffer.alloc(SECTOR), this.#position)
    } catch (error) {
      throw new Error(`what the full disk has taken of a change cannot be taken back: ${(error as Error).message}`, { cause: error })
    }
  }

  async #create (): Promise<Part> {
    const path = join(this.#directory, `${this.#sequence + 1}${SUFFIX}`)
    const salt = randomBytes(4).readUInt32LE()
    const file = await this.#createFile(path)
    try {
      await file.write(encodeFileHead(salt), 0)
      syncDirectory(this.#directory)
    } catch (error) {
      await file.close()
      await rm(path, { force: true })
      throw error
    }
    return { file, path, salt, size: SECTOR }
  }
}

/**
 * The commits in a directory's journal that come after `sequence`, in their order.
 * @throws StoreError damaged, when one is missing: only the very last may have been cut short, and that was never acknowledged
 */
export async function readJournal (directory: string, sequence: number): Promise<Frame[]> {
  const frames: Frame[] = []
  for (const path of await journalFiles(directory)) {
    const bytes = await readFile(path)
    if (hasFileHead(bytes)) {
      for (const frame of decodeFile(bytes)) if (frame.sequence > sequence) frames.push(frame)
    } else if (bytes.length > SECTOR) {
      throw damaged(path, 'its beginning is lost')
    }
  }
  frames.sort((a, b) => a.sequence - b.sequence)
  for (const [index, frame] of frames.entries()) {
    if (frame.sequence !== sequence + 1 + index) throw damaged(directory, `the journal has no commit ${sequence + 1 + index} and goes on behind it`)
  }
  return frames
}

/** Removes what `readJournal` has read, once the databases have it. */
export async function removeJournal (directory: string): Promise<void> {
  for (const path of await journalFiles(directory)) await rm(path)
}

async function journalFiles (directory: string): Promise<string[]> {
  const names = await readdir(directory)
  return names.filter(name => name.endsWith(SUFFIX)).map(name => join(directory, name))
}

function damaged (path: string, problem: string): StoreError {
  return new StoreError('damaged', `${path}: ${problem}; it is left as it is, restore a backup or choose another directory`)
}

const SUFFIX = '.journal'
const GROWTH = 256 * 1024

import { randomBytes } from 'node:crypto'
import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nextTurn } from '../../clock/clock.js'
import type { Progress } from './databases.js'
import { createJournalFile, type JournalFile } from './journal-file.js'
import { SECTOR, decodeFile, decodeFileHead, encodeFileHead, encodeFrame, wholeSectors, type Frame } from './journal-frame.js'
import type { Row } from './row.js'
import { syncDirectory } from './directory.js'
import { StoreError, isOutOfSpace } from '../store-error.js'

export interface JournalOptions {
  readonly directory: string
  /** What the databases have, as of this run. */
  readonly progress: Progress
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
  readonly #run: number
  readonly #parts: [Part | undefined, Part | undefined] = [undefined, undefined]
  #turn: 0 | 1 = 0
  #position = SECTOR
  #sequence: number

  constructor ({ directory, progress, createFile = createJournalFile }: JournalOptions) {
    this.#directory = directory
    this.#sequence = progress.sequence
    this.#run = progress.run
    this.#createFile = createFile
  }

  /** Of the last commit that was appended. */
  get sequence (): number {
    return this.#sequence
  }

  /** Bytes of the file that are in use. */
  get bytes (): number {
    return this.#position
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

  /** Removes its files, once the databases have all that is in them. To be called after `close`. */
  async remove (): Promise<void> {
    for (const part of this.#parts) if (part !== undefined) await rm(part.path, { force: true })
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
    const path = join(this.#directory, `${this.#run}-${this.#sequence + 1}${SUFFIX}`)
    const salt = randomBytes(4).readUInt32LE()
    const file = await this.#createFile(path)
    try {
      await file.write(encodeFileHead({ salt, run: this.#run }), 0)
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
 * The commits in a directory's journal that the databases do not have, in their order.
 * @param run the one that reads; what later ones have written does not fit the databases
 * @throws StoreError damaged, when one is missing: only the very last may have been cut short, and that was never acknowledged
 */
export async function readJournal (directory: string, progress: Progress, run: number): Promise<Frame[]> {
  const { sequence } = progress
  const frames: Frame[] = []
  for (const path of await journalFiles(directory)) {
    const bytes = await readFile(path)
    const head = decodeFileHead(bytes)
    if (head === undefined) {
      if (bytes.length > SECTOR) throw damaged(path, 'its beginning is lost')
      continue
    }
    if (head.run >= run) throw damaged(path, 'it is newer than tasks.mdb beside it')
    // Made by a process at the moment when another took the directory over; never acknowledged.
    if (head.run < progress.run) continue
    for (const frame of decodeFile(bytes, head)) {
      if (frame.sequence > sequence) frames.push(frame)
      if (frames.length % FRAMES_PER_TURN === 0) await nextTurn()
    }
  }
  frames.sort((a, b) => a.sequence - b.sequence)
  for (const [index, frame] of frames.entries()) {
    if (frame.sequence !== sequence + 1 + index) {
      throw damaged(directory, `the journal has no commit ${sequence + 1 + index} and goes on behind it`)
    }
  }
  return frames
}

/** Removes what `readJournal` has read, once the databases have it. */
export async function removeJournal (directory: string): Promise<void> {
  for (const path of await journalFiles(directory)) await rm(path, { force: true })
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
const FRAMES_PER_TURN = 100

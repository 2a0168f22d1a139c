import { randomBytes } from 'node:crypto'
import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nextTurn } from '../../clock/clock.js'
import type { Progress } from './databases.js'
import { createJournalFile, type JournalFile } from './journal-file.js'
import { SECTOR, decodeFile, decodeFileHead, encodeFileHead, encodeFrame, wholeSectors, type Frame } from './journal-frame.js'
import type { Row } from './record-format.js'
import { syncDirectory } from '../durable-file.js'
import { StoreError, isOutOfSpace } from '../store-error.js'

export interface JournalOptions {
  readonly directory: string
  /** Number of the last commit before this journal. */
  readonly sequence: number
  readonly run: number
  /** @default createJournalFile */
  readonly createFile?: ((path: string) => Promise<JournalFile>) | undefined
}

/** A file that is written from its beginning again and again: overwriting costs a disk less than appending. */
interface Part {
  readonly file: JournalFile
  readonly path: string
  readonly salt: number
  readonly part: 1 | 2
  /** Bytes that the file has, as its head says. */
  size: number
}

/**
 * Makes commits durable with one write each, in two files that take turns. One process writes them; the next one reads them
 * and begins with new ones. Both exist from the start, so that no commit needs a descriptor, and none of them can be missed unnoticed.
 */
export class Journal {
  readonly #run: number
  readonly #parts: readonly [Part, Part]
  #active: 0 | 1 = 0
  #position = SECTOR
  #sequence: number

  constructor (run: number, sequence: number, parts: readonly [Part, Part]) {
    this.#run = run
    this.#sequence = sequence
    this.#parts = parts
  }

  /** Makes the files of a run, durably. Leaves none behind when that fails. */
  static async create ({ directory, sequence, run, createFile = createJournalFile }: JournalOptions): Promise<Journal> {
    const parts: Part[] = []
    try {
      for (const part of [1, 2] as const) parts.push(await createPart(directory, run, part, createFile))
      syncDirectory(directory)
    } catch (error) {
      for (const part of parts) await discard(part)
      throw error
    }
    return new Journal(run, sequence, parts as [Part, Part])
  }

  get run (): number {
    return this.#run
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
    const part = this.#parts[this.#active]
    const position = this.#position
    let frameSize = 0
    const frame = encodeFrame(this.#sequence + 1, rows, part.salt, size => {
      frameSize = wholeSectors(size)
      const end = position + frameSize
      // The file grows in large steps: a write that also changes its size is two for the disk.
      return end <= part.size ? frameSize : Math.ceil(end / GROWTH) * GROWTH - position
    })
    const size = Math.max(part.size, position + frame.length)
    try {
      await part.file.write(frame, position)
      // Before the commit is acknowledged, so that a file that loses its end is noticed.
      if (size > part.size) await part.file.write(encodeFileHead({ ...part, run: this.#run, size }), 0)
    } catch (error) {
      if (isOutOfSpace(error)) await this.#erase(part)
      throw error
    }
    part.size = size
    this.#position += frameSize
    this.#sequence++
  }

  /** Goes on in the other file, whose commits must be in the databases by now. */
  rotate (): void {
    this.#active = this.#active === 0 ? 1 : 0
    this.#position = SECTOR
  }

  async close (): Promise<void> {
    for (const part of this.#parts) await part.file.close()
  }

  /** Removes its files, once the databases have all that is in them and say so. To be called after `close`. */
  async remove (): Promise<void> {
    for (const part of this.#parts) await rm(part.path, { force: true })
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
}

async function createPart (
  directory: string, run: number, number: 1 | 2, createFile: (path: string) => Promise<JournalFile>
): Promise<Part> {
  const path = pathOf(directory, run, number)
  const salt = randomBytes(4).readUInt32LE()
  const part: Part = { file: await createFile(path), path, salt, part: number, size: SECTOR }
  try {
    await part.file.write(encodeFileHead({ ...part, run }), 0)
  } catch (error) {
    await discard(part)
    throw error
  }
  return part
}

async function discard ({ file, path }: Part): Promise<void> {
  await file.close()
  await rm(path, { force: true })
}

/**
 * The commits in a directory's journal that the databases do not have, in their order.
 * @param run the one that reads; what later ones have written does not fit the databases
 * @throws StoreError damaged, when one is missing: only the very last may have been cut short, and that was never acknowledged
 */
export async function readJournal (directory: string, progress: Progress, run: number): Promise<Frame[]> {
  const { sequence, isOpen } = progress
  const frames: Frame[] = []
  const expected = new Map(isOpen ? pathsOf(directory, progress.run) : [])
  let last = 0
  for (const path of new Set([...expected.keys(), ...await journalFiles(directory)])) {
    const bytes = await readExisting(path)
    const head = bytes === undefined ? undefined : decodeFileHead(bytes)
    if (bytes === undefined || head === undefined) {
      if (expected.has(path)) throw damaged(path, bytes === undefined ? 'it is missing' : 'its beginning is lost')
      // Cut short when it was made, before the databases knew of it.
      continue
    }
    if (head.run > progress.run && head.run >= run) throw damaged(path, 'it is newer than tasks.mdb beside it')
    // Made by a process at the moment when another took the directory over; never acknowledged.
    if (head.run !== progress.run) {
      if (expected.has(path)) throw damaged(path, 'it is of another run')
      continue
    }
    if (expected.has(path) && head.part !== expected.get(path)) throw damaged(path, 'it is the other file of its run')
    if (bytes.length < head.size) throw damaged(path, 'its end is missing')
    for (const frame of decodeFile(bytes, head)) {
      last = Math.max(last, frame.sequence)
      if (frame.sequence > sequence) frames.push(frame)
      if (frames.length % FRAMES_PER_TURN === 0) await nextTurn()
    }
  }
  frames.sort((a, b) => a.sequence - b.sequence)
  for (const [index, frame] of frames.entries()) {
    if (frame.sequence === sequence + 1 + index) continue
    throw damaged(directory, `the journal has no commit ${sequence + 1 + index} and goes on behind it`)
  }
  // What the databases have of this run is in the journal until more is.
  if (isOpen && sequence > progress.base && last < sequence) {
    throw damaged(directory, `the journal ends before commit ${sequence}, which tasks.mdb has`)
  }
  return frames
}

async function readExisting (path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Removes the files of all runs before that one, once the databases have what is in them. */
export async function removeJournals (directory: string, run: number): Promise<void> {
  const own = new Map(pathsOf(directory, run))
  for (const path of await journalFiles(directory)) if (!own.has(path)) await rm(path, { force: true })
}

function pathsOf (directory: string, run: number): Array<[path: string, part: 1 | 2]> {
  return ([1, 2] as const).map(part => [pathOf(directory, run, part), part])
}

function pathOf (directory: string, run: number, part: 1 | 2): string {
  return join(directory, `${run}-${part}${SUFFIX}`)
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

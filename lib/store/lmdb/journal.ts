import { randomBytes } from 'node:crypto'
import { readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nextTurn } from '../../clock/clock.js'
import type { Progress } from './databases.js'
import { createJournalFile, type JournalFile } from '../journal-file.js'
import {
  SECTOR, decodeFile, decodeFileHead, encodeFileHead, encodeFrame, wholeSectors, type FileHead, type Frame
} from './journal-frame.js'
import type { Row } from './record-format.js'
import { syncDirectory } from '../durable-file.js'
import { damaged, isOutOfSpace } from '../store-error.js'

export interface JournalOptions {
  readonly directory: string
  /** Number of the last commit before this journal. */
  readonly sequence: number
  readonly run: number
  /** @default createJournalFile */
  readonly createFile?: ((path: string) => Promise<JournalFile>) | undefined
}

/** A file that is reused from its beginning, because overwriting is cheaper than appending. */
interface Part {
  readonly file: JournalFile
  readonly path: string
  readonly salt: number
  readonly part: 1 | 2
  /** Size of the file in its header. */
  size: number
  /** The largest size that its header may have, where a write of it failed: the file is never shorter. */
  leastSize: number
}

/**
 * Makes commits durable with one write each, in two alternating files. In front of LMDB, because a commit of LMDB takes several random
 * writes and syncs: the journal doubled the rate of additions and cut the latency of a single one to a fifth (test/bench/README.md). Each
 * run creates new files, both at the start, so that no commit needs a new descriptor, and a missing file is noticed.
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

  /** Creates the files of a run, durably. Removes them on failure. */
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

  /** Number of the last commit. */
  get sequence (): number {
    return this.#sequence
  }

  /** Bytes of the commits in the active file: 0 right after `rotate`, so that it is not rotated twice, onto the last commits. */
  get bytes (): number {
    return this.#position - SECTOR
  }

  /** Resolves when the rows are durable. Not concurrent. If it rejects for lack of space, nothing has been written. */
  async append (rows: readonly Row[]): Promise<void> {
    const part = this.#parts[this.#active]
    const position = this.#position
    let frameSize = 0
    const frame = encodeFrame(this.#sequence + 1, rows, part.salt, size => {
      frameSize = wholeSectors(size)
      const end = position + frameSize
      // The file grows in large steps, because changing its size costs an additional disk write.
      return end <= part.size ? frameSize : Math.ceil(end / GROWTH) * GROWTH - position
    })
    const size = Math.max(part.size, position + frame.length)
    try {
      await part.file.write(frame, position)
      part.leastSize = Math.max(part.leastSize, size)
      // Before the commit is acknowledged, so that a truncated file is noticed.
      if (size > part.size) await part.file.write(encodeFileHead({ ...part, run: this.#run, size }), 0)
    } catch (error) {
      if (isOutOfSpace(error)) await this.#erase(part)
      throw error
    }
    part.size = size
    this.#position += frameSize
    this.#sequence++
  }

  /** Switches to the other file, whose commits must already be in the databases. */
  rotate (): void {
    this.#active = this.#active === 0 ? 1 : 0
    this.#position = SECTOR
  }

  async close (): Promise<void> {
    for (const part of this.#parts) await part.file.close()
  }

  /** Removes its files, after their content is recorded in the databases. Call it after `close`. */
  async remove (): Promise<void> {
    for (const part of this.#parts) await rm(part.path, { force: true })
  }

  /** The frame may be complete, and only its padding, or the new head of the file, may have failed for lack of space. */
  async #erase ({ file, leastSize }: Part): Promise<void> {
    try {
      await file.truncate(leastSize)
      if (this.#position < leastSize) await file.write(Buffer.alloc(SECTOR), this.#position)
    } catch (error) {
      throw new Error(`a partial write to the full disk could not be undone: ${(error as Error).message}`, { cause: error })
    }
  }
}

async function createPart (
  directory: string, run: number, number: 1 | 2, createFile: (path: string) => Promise<JournalFile>
): Promise<Part> {
  const path = pathOf(directory, run, number)
  const salt = randomBytes(4).readUInt32LE()
  const part: Part = { file: await createFile(path), path, salt, part: number, size: SECTOR, leastSize: SECTOR }
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
 * The commits in a directory's journal that are not in the databases, in order.
 * @param run the reading run, later than that of `progress`; a file of it or of a later one does not match the databases
 * @throws StoreError damaged, when one is missing: only the last one can be torn, which was never acknowledged
 */
export async function readJournal (directory: string, progress: Progress, run: number): Promise<Frame[]> {
  const { sequence, isOpen } = progress
  const frames: Frame[] = []
  const expected = new Map(isOpen ? pathsOf(directory, progress.run) : [])
  let last = 0
  for (const path of new Set([...expected.keys(), ...await journalFiles(directory)])) {
    const { bytes, head } = await readWithHead(path)
    if (bytes === undefined || head === undefined) {
      if (expected.has(path)) throw damaged(path, bytes === undefined ? 'it is missing' : 'its beginning is lost')
      // Its creation was interrupted before it was recorded in the databases.
      continue
    }
    if (head.run >= run) throw damaged(path, 'it is newer than tasks.mdb beside it')
    // Written by a process while another one took the directory over; never acknowledged.
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
  // Commits that are in the databases stay in the journal until later ones are too.
  if (isOpen && sequence > progress.base && last < sequence) {
    throw damaged(directory, `the journal ends before commit ${sequence}, which tasks.mdb has`)
  }
  return frames
}

/**
 * Reads the file again if it looks incomplete: a former holder in another container may be writing a last commit, which first makes the
 * file longer, and then says so in its head.
 */
async function readWithHead (path: string): Promise<{ bytes: Buffer | undefined, head: FileHead | undefined }> {
  for (let isSecond = false; ; isSecond = true) {
    const bytes = await readExisting(path)
    const head = bytes === undefined ? undefined : decodeFileHead(bytes)
    if (isSecond || bytes === undefined || (head !== undefined && bytes.length >= head.size)) return { bytes, head }
  }
}

async function readExisting (path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Removes the files of all earlier runs, after their content is in the databases. */
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

const SUFFIX = '.journal'
const GROWTH = 256 * 1024
const FRAMES_PER_TURN = 100

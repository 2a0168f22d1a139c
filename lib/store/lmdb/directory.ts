import { accessSync, constants, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { open } from 'lmdb'
import { createFile, replaceFile, syncDirectory } from '../durable-file.js'
import { StoreError, damaged, isOutOfSpace } from '../store-error.js'
import { lmdbFileProblem } from './file-check/lmdb-file.js'
import { decodeFile, decodeFileHead } from './journal-frame.js'
import type { Table } from './record-format.js'

/** Version of everything in the directory: files, databases, keys and records. */
export const FORMAT_VERSION = 4

const RECORDS: readonly Table[] = ['queues', 'tasks', 'states', 'names']
/** The databases in tasks.mdb. */
export const DATABASES: readonly string[] = [...RECORDS, 'journal']

/** Paths of the files in a store's directory, except `.gitignore`. */
export interface StoreFiles {
  /** Marks the directory as a store, with its version. */
  readonly format: string
  /** lmdb's data file; its lock file has the suffix `-lock`. */
  readonly data: string
  readonly lock: string
}

/**
 * Initializes `directory` as a store, if it is missing or empty. Does not touch unknown files.
 * @throws StoreError foreign, version, access
 */
export function prepareDirectory (directory: string): StoreFiles {
  const files = { format: join(directory, 'format.json'), data: join(directory, 'tasks.mdb'), lock: join(directory, 'owner.json') }
  try {
    makeDirectory(resolve(directory))
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    if (readFormat(directory, files.format) === undefined) create(directory, files)
  } catch (error) {
    throw error instanceof StoreError ? error : accessProblem(directory, error)
  }
  return files
}

/**
 * Removes the files of interrupted first starts: nothing in them was acknowledged. Requires the lock. Resolves with whether the store is
 * new.
 * @throws StoreError damaged, if there are changes in them: then format.json is an older copy of itself
 */
export async function clearNew (directory: string, { format, data }: StoreFiles): Promise<boolean> {
  if (readFormat(directory, format)?.state !== 'new') return false
  const journals = readdirSync(directory).filter(name => name.endsWith('.journal')).map(name => join(directory, name))
  if (journals.some(hasCommits) || await hasRecords(data)) {
    throw damaged(directory, 'its format.json is that of a new store, and there are changes beside it, as after half a restore')
  }
  for (const path of [data, `${data}-lock`, ...journals]) rmSync(path, { force: true })
  return true
}

function hasCommits (journal: string): boolean {
  const bytes = readFileSync(journal)
  const head = decodeFileHead(bytes)
  return head !== undefined && decodeFile(bytes, head).next().done === false
}

async function hasRecords (data: string): Promise<boolean> {
  const size = statSync(data, { throwIfNoEntry: false })?.size ?? 0
  if (await lmdbFileProblem(data, DATABASES) !== undefined) return size > FIRST_BYTES
  const root = open({ path: data, noSubdir: true, readOnly: true, maxDbs: DATABASES.length })
  try {
    const stats = RECORDS.map(name => root.openDB(name, { encoding: 'binary' }).getStats() as { readonly entryCount: number })
    return stats.some(({ entryCount }) => entryCount > 0)
  } finally {
    await root.close()
  }
}

/** Number of the last run that was opened; a run is what one process writes between opening the store and its end. 0 if there was none. */
export function lastRun ({ format }: StoreFiles): number {
  return Number(readFormat(dirname(format), format)?.run ?? 0)
}

/** To be called when the store is open: from then on, files that are missing, or older than that run, are a loss. */
export function completeFormat ({ format }: StoreFiles, run: number): void {
  replaceFile(format, printFormat({ run }), 0o600)
}

/** Converts an error of the file system or of lmdb. */
export function accessProblem (directory: string, error: unknown): StoreError {
  const { message } = error as Error
  if (isOutOfSpace(error)) return new StoreError('full', `${directory}: no space is left on the disk`, error)
  return new StoreError(
    'access',
    `${directory} cannot be used to keep tasks: ${message}; the process must be able to read and write it`,
    error
  )
}

function makeDirectory (directory: string): void {
  const first = mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  const upTo = dirname(first)
  for (let path = dirname(directory); ; path = dirname(path)) {
    syncDirectory(path)
    if (path === upTo || path === dirname(path)) return
  }
}

interface Format {
  readonly state?: 'new'
  readonly run?: number
}

/** Undefined when there is none. */
function readFormat (directory: string, file: string): Format | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const found = parse(text) as (Format & { readonly format?: unknown, readonly version?: unknown }) | null | undefined
  if (found?.format !== FORMAT) {
    throw new StoreError('foreign', `${directory}: its format.json is not that of a task store; choose another directory`)
  }
  if (found.version === FORMAT_VERSION) return found
  throw new StoreError('version',
    `${directory} has version ${String(found.version)} of the format and this release reads version ${FORMAT_VERSION}; ` +
    'open it with a release that knows its version, or choose another directory')
}

function create (directory: string, { format }: StoreFiles): void {
  // A .gitignore that hides everything must not be created among a user's files. Hidden files are allowed: those of an interrupted
  // start, and those that systems create in an empty volume.
  const others = readdirSync(directory).filter(name => !name.startsWith('.') && name !== 'lost+found')
  // Another process may be initializing the same directory.
  if (readFormat(directory, format) !== undefined) return
  if (others.length > 0) {
    const some = others.slice(0, 3).join(', ')
    throw new StoreError('foreign', `${directory} holds other files (${some}); choose an empty directory or one that does not exist`)
  }
  const gitignore = join(directory, '.gitignore')
  // A start on a full disk leaves an empty file.
  const isMissing = (statSync(gitignore, { throwIfNoEntry: false })?.size ?? 0) === 0
  try {
    if (isMissing) replaceFile(gitignore, '*\n', 0o644)
    // Not replaced, because another process may have completed it, and its tasks would be lost if the store counted as new.
    createFile(format, printFormat({ state: 'new' }), 0o600)
  } catch (error) {
    if (isMissing) rmSync(gitignore, { force: true })
    throw error
  }
}

function printFormat (more: Format): string {
  return JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, ...more }) + '\n'
}

/** Modification time of the newest file with tasks; undefined if there is none. */
export function lastWriteAt (directory: string): number | undefined {
  const times = readdirSync(directory)
    .filter(name => name === 'tasks.mdb' || name.endsWith('.journal'))
    .map(name => statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? 0)
  return times.length === 0 ? undefined : Math.max(...times)
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const FORMAT = 'fastify-cloud-tasks'
/** More than a first start writes to tasks.mdb, which is 11 pages of 4 KiB. */
const FIRST_BYTES = 64 * 1024

import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { StoreError } from '../store-error.js'

/** Version of everything in the directory: files, databases, keys and records. */
export const FORMAT_VERSION = 2

/** Paths of the files that lie in a store's directory, besides `.gitignore`. */
export interface StoreFiles {
  /** Says that the directory is a store, and of which version. */
  readonly format: string
  /** lmdb's; it keeps a second file of the same name and `-lock` beside it. */
  readonly data: string
  readonly lock: string
}

/**
 * Makes `directory` a store, if it is none: created where it is missing, taken where it is empty. Touches nothing that it
 * does not know.
 * @throws StoreError foreign, version, access
 */
export function prepareDirectory (directory: string): StoreFiles {
  const files = { format: join(directory, 'format.json'), data: join(directory, 'tasks.mdb'), lock: join(directory, 'owner.json') }
  try {
    makeDirectory(resolve(directory))
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    const format = readFormat(files.format)
    if (format === undefined) create(directory, files)
    else checkFormat(directory, format)
  } catch (error) {
    throw error instanceof StoreError ? error : accessProblem(directory, error)
  }
  return files
}

/** What the system says against a file, in terms of the directory. */
export function accessProblem (directory: string, error: unknown): StoreError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') return new StoreError('full', `${directory}: no space is left on the disk`, error)
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

/** The text of the file; undefined when there is none. */
function readFormat (file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function checkFormat (directory: string, text: string): void {
  const found = parse(text) as { readonly format?: unknown, readonly version?: unknown } | null | undefined
  if (found?.format !== FORMAT) {
    throw new StoreError('foreign', `${directory}: its format.json is not that of a task store; choose another directory`)
  }
  if (found.version === FORMAT_VERSION) return
  throw new StoreError(
    'version',
    `${directory} has version ${String(found.version)} of the format and this release reads version ${FORMAT_VERSION}; ` +
      'open it with a release that knows its version, or choose another directory'
  )
}

function create (directory: string, files: StoreFiles): void {
  // A .gitignore that hides everything must not come to lie among somebody's own files. Hidden ones are left aside: the
  // leftovers of a start that was cut short, and what systems put into an empty volume.
  const strangers = readdirSync(directory).filter(name => !name.startsWith('.') && name !== 'lost+found')
  if (strangers.length > 0) {
    throw new StoreError(
      'foreign',
      `${directory} holds other files (${strangers.slice(0, 3).join(', ')}); choose an empty directory or one that does not exist`
    )
  }
  // 'wx' follows no link and leaves alone what is there.
  try {
    writeFileSync(join(directory, '.gitignore'), '*\n', { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const text = JSON.stringify({ format: FORMAT, version: FORMAT_VERSION }) + '\n'
  const draft = join(directory, '.format.json')
  rmSync(draft, { force: true })
  writeFileSync(draft, text, { flush: true, flag: 'wx', mode: 0o600 })
  renameSync(draft, files.format)
  syncDirectory(directory)
}

/** When the newest of the files that hold tasks was written; undefined where there is none. */
export function lastWriteAt (directory: string): number | undefined {
  const times = readdirSync(directory)
    .filter(name => name === 'tasks.mdb' || name.endsWith('.journal'))
    .map(name => statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? 0)
  return times.length === 0 ? undefined : Math.max(...times)
}

/** Makes names in a directory durable. */
export function syncDirectory (directory: string): void {
  // Windows has no such thing: there names are durable with their files.
  if (process.platform === 'win32') return
  const fd = openSync(directory, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const FORMAT = 'fastify-cloud-tasks'

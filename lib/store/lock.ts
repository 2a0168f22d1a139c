import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { StoreError } from './store-error.js'

/** The holder of a store. */
interface Holder {
  readonly pid: number
  /** The thread id on Linux; undefined elsewhere. */
  readonly thread?: number | undefined
  /** Distinguishes this process, or thread, from a later one with the same id; empty where the system does not provide it. */
  readonly startedAt: string
  /** Unique for each time that the store is opened. */
  readonly nonce?: string
}

/**
 * A lock file with the process that has a store open. It survives a killed process, so it is valid only while that process, or its
 * worker thread, is alive. Containers that share a directory do not see each other's processes; there the newer process takes the store
 * over, and the old one detects that by `isHeld`.
 */
export class StoreLock {
  readonly #file: string
  readonly #nonce = randomUUID()
  /** Undefined while it is not taken. */
  #written: string | undefined

  constructor (file: string) {
    this.#file = file
  }

  /**
   * Acquires the lock if no living process holds it. If several processes do so concurrently, the last one gets it, see `isHeld`.
   * @throws StoreError inUse, with the pid
   */
  take (): void {
    const draft = join(dirname(this.#file), `.${basename(this.#file)}-${this.#nonce}`)
    const holder: Holder = { ...ownIdentity(), nonce: this.#nonce }
    try {
      writeFileSync(draft, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
      this.#check()
      renameSync(draft, this.#file)
    } catch (error) {
      rmSync(draft, { force: true })
      throw error
    }
    held.add(this.#nonce)
    this.#written = this.#stamp()
  }

  /** Whether no other process has taken the lock since. */
  isHeld (): boolean {
    return this.#stamp() === this.#written
  }

  release (): void {
    if (this.isHeld()) rmSync(this.#file, { force: true })
    held.delete(this.#nonce)
    this.#written = undefined
  }

  #check (): void {
    const holder = this.#read()
    if (holder === undefined || !isAlive(holder)) return
    const who = holder.pid === process.pid ? `this process (pid ${holder.pid}) already` : `the process with pid ${holder.pid}`
    throw new StoreError('inUse',
      `${this.#file}: ${who} has this directory open; each directory takes one process, and one registration in it`)
  }

  #stamp (): string {
    const stats = statSync(this.#file, { throwIfNoEntry: false })
    return stats === undefined ? 'gone' : `${stats.ino} ${stats.mtimeMs}`
  }

  #read (): Holder | undefined {
    try {
      const holder = JSON.parse(readFileSync(this.#file, 'utf8')) as Holder | null
      return Number.isSafeInteger(holder?.pid) && holder!.pid > 0 && holder!.pid < 2 ** 31 ? holder! : undefined
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // Invalid JSON: its writer was killed while writing, before it had the store.
      if (error instanceof SyntaxError || code === 'ENOENT') return undefined
      if (code === 'EISDIR') {
        throw new StoreError('foreign',
          `${this.#file} is a directory, and the store keeps a file of that name there; remove it or choose another directory`, error)
      }
      throw error
    }
  }
}

function isAlive ({ pid, thread, startedAt, nonce }: Holder): boolean {
  const own = ownIdentity()
  // A former process had the same id, as the first process of a container always has, or this thread has released it.
  if (pid === process.pid && thread === own.thread) {
    return nonce === undefined ? startedAt === own.startedAt && startedAt !== '' : held.has(nonce)
  }
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: alive, but owned by another user.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const start = startOf(pid, thread)
  return start !== DEAD && (start === '' || startedAt === '' || isSameStart(start, startedAt))
}

/** The boot id is compared only if both have one. */
function isSameStart (a: string, b: string): boolean {
  const [[bootA, ...restA], [bootB, ...restB]] = [a.split(' '), b.split(' ')]
  return restA.join(' ') === restB.join(' ') && (bootA === bootB || bootA === UNKNOWN_BOOT || bootB === UNKNOWN_BOOT)
}

function ownIdentity (): Omit<Holder, 'nonce'> {
  const thread = ownThread()
  return { pid: process.pid, thread, startedAt: startOf(process.pid, thread) }
}

/** The system's id of this thread; undefined if it is unavailable. */
function ownThread (): number | undefined {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')))
  } catch {
    return undefined
  }
}

/** Start time of a process or thread, in the system's format; empty if it is unavailable. */
function startOf (pid: number, thread: number | undefined): string {
  if (process.platform === 'linux') return linuxStart(pid, thread)
  if (process.platform !== 'darwin') return ''
  try {
    return execFileSync('/bin/ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' }).trim() || DEAD
  } catch {
    return ''
  }
}

/** Boot id and ticks since boot. A zombie process still has its pid until its parent has waited for it. */
function linuxStart (pid: number, thread: number | undefined): string {
  let stat: string
  try {
    stat = readFileSync(thread === undefined ? `/proc/${pid}/stat` : `/proc/${pid}/task/${thread}/stat`, 'latin1')
  } catch (error) {
    // A thread without an entry in a live process has ended.
    return thread !== undefined && (error as NodeJS.ErrnoException).code === 'ENOENT' && linuxStart(pid, undefined) !== '' ? DEAD : ''
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? DEAD : `${bootId()} ${fields[19]}`
}

/** Hidden by some sandboxes: systemd's `ProcSubset=pid`, gVisor. */
function bootId (): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return UNKNOWN_BOOT
  }
}

const HELD = Symbol.for('fastify-cloud-tasks.held')

/** Nonces of the locks that this thread holds, shared by all copies of this package. */
const held = ((globalThis as { [HELD]?: Set<string> })[HELD] ??= new Set<string>())

const DEAD = 'dead'
const UNKNOWN_BOOT = '-'

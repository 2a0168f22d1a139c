import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { StoreError } from './store-error.js'

/** Who holds a store. */
interface Holder {
  readonly pid: number
  /** The thread, where the system says which it is (Linux); undefined elsewhere. */
  readonly thread?: number | undefined
  /** Tells this process, or thread, from another that got the same number later; empty where the system does not say. */
  readonly startedAt: string
  /** Of this one time that the store was opened. */
  readonly nonce?: string
}

/**
 * A file that names the process that has a store open. It outlives a process that was killed, so it counts only while that
 * very process, or worker thread of it, lives. Containers that share a directory do not see each other's processes; there the newcomer
 * takes the store over, and `isHeld` tells the old holder.
 */
export class StoreLock {
  readonly #file: string
  readonly #nonce = randomUUID()
  #written = ''

  constructor (file: string) {
    this.#file = file
  }

  /**
   * Takes it where no living process has it. Of several that do so at the same time the last one has it, and `isHeld` says so.
   * @throws StoreError inUse, naming the pid
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

  /** Whether nobody has taken it since. */
  isHeld (): boolean {
    return this.#written !== '' && this.#stamp() === this.#written
  }

  release (): void {
    if (this.isHeld()) rmSync(this.#file, { force: true })
    held.delete(this.#nonce)
    this.#written = ''
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
      // Unreadable as JSON: its writer was killed at it, before it had the store.
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
  // A former process had the same number, as the first one of a container always has, or this thread has let go of it.
  if (pid === process.pid && thread === own.thread) {
    return nonce === undefined ? startedAt === own.startedAt && startedAt !== '' : held.has(nonce)
  }
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it lives and is somebody else's.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const start = startOf(pid, thread)
  return start !== DEAD && (start === '' || startedAt === '' || isSameStart(start, startedAt))
}

/** The boot counts only where both know it. */
function isSameStart (a: string, b: string): boolean {
  const [[bootA, ...restA], [bootB, ...restB]] = [a.split(' '), b.split(' ')]
  return restA.join(' ') === restB.join(' ') && (bootA === bootB || bootA === UNKNOWN_BOOT || bootB === UNKNOWN_BOOT)
}

function ownIdentity (): Omit<Holder, 'nonce'> {
  const thread = ownThread()
  return { pid: process.pid, thread, startedAt: startOf(process.pid, thread) }
}

/** The system's number of this thread; undefined where it does not say. */
function ownThread (): number | undefined {
  try {
    return Number(basename(readlinkSync('/proc/thread-self')))
  } catch {
    return undefined
  }
}

/** When a process, or a thread of it, started, in the system's own words; empty where it does not say. */
function startOf (pid: number, thread: number | undefined): string {
  if (process.platform === 'linux') return linuxStart(pid, thread)
  if (process.platform !== 'darwin') return ''
  try {
    return execFileSync('/bin/ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' }).trim() || DEAD
  } catch {
    return ''
  }
}

/** Which boot, and ticks since that. A process that has ended still has its pid until its parent has waited for it. */
function linuxStart (pid: number, thread: number | undefined): string {
  let stat: string
  try {
    stat = readFileSync(thread === undefined ? `/proc/${pid}/stat` : `/proc/${pid}/task/${thread}/stat`, 'latin1')
  } catch (error) {
    // Of a process that is there, a thread that has no entry has ended.
    return thread !== undefined && (error as NodeJS.ErrnoException).code === 'ENOENT' && linuxStart(pid, undefined) !== '' ? DEAD : ''
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? DEAD : `${bootId()} ${fields[19]}`
}

/** Some sandboxes hide it: systemd's `ProcSubset=pid`, gVisor. */
function bootId (): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return UNKNOWN_BOOT
  }
}

const HELD = Symbol.for('fastify-cloud-tasks.held')

/** Nonces of what this thread holds, in all copies of this package. */
const held = ((globalThis as { [HELD]?: Set<string> })[HELD] ??= new Set<string>())

const DEAD = 'dead'
const UNKNOWN_BOOT = '-'

import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { StoreError } from '../store-error.js'

/** Who holds a store. */
interface Holder {
  readonly pid: number
  /** Tells this process from another that got the same pid later; empty where the system does not say. */
  readonly startedAt: string
}

/**
 * A file that names the process that has a store open. It outlives a process that was killed, so it counts only while that
 * very process lives: its pid is there and started when the file says. Containers that share a directory do not see each
 * other's processes; there the newcomer takes the store over, and `isHeld` tells the old holder.
 */
export class StoreLock {
  readonly #file: string
  #written = ''

  constructor (file: string) {
    this.#file = file
  }

  /** @throws StoreError inUse, naming the pid */
  check (): void {
    const holder = this.#read()
    if (holder === undefined || !isAlive(holder)) return
    const who = holder.pid === process.pid ? `this process (pid ${holder.pid}) already` : `the process with pid ${holder.pid}`
    throw new StoreError(
      'inUse',
      `${this.#file}: ${who} has this directory open; each directory takes one process, and one registration in it`
    )
  }

  /** Checks and takes it. To be called where no other process can be doing the same. */
  take (): void {
    this.check()
    const holder: Holder = { pid: process.pid, startedAt: startOf(process.pid) }
    rmSync(this.#file, { force: true })
    writeFileSync(this.#file, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
    this.#written = this.#stamp()
  }

  /** Whether nobody has taken it since. */
  isHeld (): boolean {
    return this.#written !== '' && this.#stamp() === this.#written
  }

  release (): void {
    if (this.isHeld()) rmSync(this.#file, { force: true })
    this.#written = ''
  }

  #stamp (): string {
    const stats = statSync(this.#file, { throwIfNoEntry: false })
    return stats === undefined ? 'gone' : `${stats.ino} ${stats.mtimeMs}`
  }

  #read (): Holder | undefined {
    try {
      const holder = JSON.parse(readFileSync(this.#file, 'utf8')) as Holder | null
      return Number.isSafeInteger(holder?.pid) ? holder! : undefined
    } catch (error) {
      // Unreadable as JSON: its writer was killed at it, before it had the store.
      if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
}

function isAlive ({ pid, startedAt }: Holder): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it lives and is somebody else's.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const start = startOf(pid)
  return start !== DEAD && (start === '' || startedAt === '' || start === startedAt)
}

/** When a process started, in the system's own words. */
function startOf (pid: number): string {
  try {
    if (process.platform === 'linux') return linuxStart(pid)
    if (process.platform === 'darwin') {
      return execFileSync('/bin/ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' }).trim() || DEAD
    }
  } catch {
    // Not to be found out: the pid alone decides.
  }
  return ''
}

/** Ticks since boot, and which boot. A process that has ended and that nobody has waited for still has its pid. */
function linuxStart (pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return DEAD
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${fields[19]}`
}

const DEAD = 'dead'

import { spawn } from 'node:child_process'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wholeLines } from '../support/kill-log.js'
import { transpile } from '../support/transpile.js'

export interface CrashOptions {
  readonly kills: number
  /** The same seed kills at the same times. */
  readonly seed: number
  readonly mode: 'load' | 'hasty'
  /** How long a child lives at most before it is killed. @default 500 */
  readonly maxLifeMs?: number
  /** Kill on beyond `kills` until so many tasks were acknowledged. @default 0 */
  readonly acknowledged?: number
}

export interface CrashReport {
  kills: number
  acknowledged: number
  runs: number
  retries: number
  /** Acknowledged and never run to success. */
  lost: number
  /** The first of them. */
  lostIds: string[]
  /** Run after their end was durable. */
  cameBack: number
  /** Attempts whose number or due time is not what was made durable before. */
  forgotten: number
  /** Whatever else must not be, in words. */
  faults: string[]
}

/**
 * Kills a process that takes and runs tasks (crash-child.ts), again and again, each time at a random moment; lets the last
 * one run all that is left; and holds what was promised against what happened.
 */
export async function crash (options: CrashOptions): Promise<CrashReport> {
  const { kills, seed, mode, maxLifeMs = 500, acknowledged = 0 } = options
  const folder = await mkdtemp(join(tmpdir(), 'crash-'))
  const [directory, log] = [join(folder, 'store'), join(folder, 'log')]
  try {
    await writeFile(log, '')
    await transpile(join(folder, 'program'), 'test/store/crash-child.ts', 'test/support/kill-log.ts')
    const program = join(folder, 'program/test/store/crash-child.js')
    const random = mulberry32(seed)
    const ledger = new Ledger()
    let round = 0
    for (; round < kills || ledger.report().acknowledged < acknowledged; round++) {
      const code = await live([program, directory, log, String(round), mode], Math.floor(random() * maxLifeMs))
      if (code !== 'SIGKILL') {
        ledger.fault(`the process ended by itself: ${code}`)
        break
      }
      if (acknowledged > 0 || round === kills - 1) await ledger.read(log)
    }
    const code = await live([program, directory, log, String(round), 'drain'], undefined)
    if (code !== '0') ledger.fault(`the last process ended with ${code}`)
    await ledger.read(log)
    return { ...ledger.report(), kills: round }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Runs a child until it ends, or kills it `lifeMs` after it has opened its store. Resolves with its code or signal. */
function live (args: string[], lifeMs: number | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH }
    })
    let timer: NodeJS.Timeout | undefined
    child.stdout.once('data', () => {
      if (lifeMs !== undefined) timer = setTimeout(() => { child.kill('SIGKILL') }, lifeMs)
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      resolve(signal ?? String(code))
    })
  })
}

/** What is known of a task. */
interface Known {
  acknowledged: boolean
  succeeded: boolean
  ended: boolean
  lastRun: number
  /** Last attempt whose outcome is durable, and when it made the task due. */
  stored: number
  due: string
}

/** Reads the log of all children from where it stopped last. */
class Ledger {
  readonly #tasks = new Map<string, Known>()
  readonly #faults: string[] = []
  #runs = 0
  #retries = 0
  #acknowledged = 0
  #cameBack = 0
  #forgotten = 0
  #setting = 0
  #position = 0

  fault (text: string): void {
    this.#faults.push(text)
  }

  async read (log: string): Promise<void> {
    const file = await open(log)
    const bytes = Buffer.alloc((await file.stat()).size - this.#position)
    await file.read(bytes, 0, bytes.length, this.#position)
    await file.close()
    for (const line of wholeLines(bytes.toString('latin1'))) this.#take(line)
    this.#position += bytes.length
  }

  report (): CrashReport {
    const lost: string[] = []
    for (const [id, task] of this.#tasks) if (task.acknowledged && !task.succeeded) lost.push(id)
    return {
      kills: 0,
      acknowledged: this.#acknowledged,
      runs: this.#runs,
      retries: this.#retries,
      lost: lost.length,
      lostIds: lost.slice(0, 5),
      cameBack: this.#cameBack,
      forgotten: this.#forgotten,
      faults: this.#faults
    }
  }

  #take (line: string): void {
    const [what, id = '', number = '', due = '', how] = line.split(' ')
    switch (what) {
      case 'ack':
        this.#task(id).acknowledged = true
        this.#acknowledged++
        break
      case 'run': this.#run(this.#task(id), Number(number), due, how === 'ok'); break
      case 'retry': {
        const task = this.#task(id)
        task.stored = Number(number)
        task.due = due
        this.#retries++
        break
      }
      case 'end': this.#task(id).ended = true; break
      case 'setting': this.#setting = Number(id); break
      case 'open':
        // The change that was under way when the process was killed may have come through.
        if (Number(id) !== this.#setting && Number(id) !== this.#setting + 1) this.fault(`the setting was ${this.#setting} and is ${id}`)
        this.#setting = Number(id)
        break
      default: this.fault(line)
    }
  }

  #run (task: Known, number: number, due: string, ok: boolean): void {
    this.#runs++
    if (task.ended) this.#cameBack++
    // An outcome may be durable without a line about it, and an attempt that was cut short does not count.
    if (number <= task.stored || number > task.lastRun + 1) this.#forgotten++
    else if (number === task.stored + 1 && task.stored > 0 && due !== task.due) this.#forgotten++
    task.lastRun = Math.max(task.lastRun, number)
    if (ok) task.succeeded = true
  }

  #task (id: string): Known {
    let task = this.#tasks.get(id)
    if (task === undefined) {
      this.#tasks.set(id, (task = { acknowledged: false, succeeded: false, ended: false, lastRun: 0, stored: 0, due: '' }))
    }
    return task
  }
}

/** A small random number generator with a seed. */
function mulberry32 (seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6D2B79F5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEmulator, type Emulator } from '../../lib/emulator/index.js'
import { shortId } from '../../lib/cloud-tasks/names.js'
import { readOrigin } from '../../lib/copies/facts.js'
import { headersOf } from '../../lib/copies/source.js'
import { wholeLines } from '../support/kill-log.js'
import { transpile } from '../support/transpile.js'
import { freePort } from '../support/free-port.js'

/** Where a process is killed: at these steps, and else at a random time. */
export const STEPS = {
  embedded: ['enqueue', 'retry', 'letter', 'successor', 'replay', 'task ended', 'letter removed', 'handler', 'answer'],
  emulator: ['enqueue', 'read', 'letter', 'successor', 'replay', 'letter removed', 'handler', 'answer']
} as const

export interface KillOptions {
  readonly place: 'embedded' | 'emulator'
  /** One for each kill: a step of kill-child.ts, or how many milliseconds the process lives after it is ready. */
  readonly kills: ReadonlyArray<string | number>
  /** `hasty`: the embedded queue's letters are stored later than they are acknowledged, which must be found. @default load */
  readonly mode?: 'load' | 'hasty'
}

export interface KillReport {
  /** Processes that were killed, and how many of them at a step of their own. */
  kills: number
  atSteps: number
  tasks: number
  letters: number
  replays: number
  discards: number
  postponements: number
  /** Tasks whose last attempt was cut off before it was answered: the emulator ended them, and their worker could not. */
  cutOff: number
  /** What must not be, in words. */
  faults: string[]
}

/** All steps, before and after, each time the first or a later time. */
export function killsAt (place: KillOptions['place'], times: readonly number[]): string[] {
  return times.flatMap(time => STEPS[place].flatMap(step => ['before', 'after'].flatMap(when => {
    return step === 'answer' && when === 'after' ? [] : [`${when}:${step}:${time}`]
  })))
}

/** Kills a process again and again, lets a last one run all that is left, and checks that every task is where it must be. */
export async function killAndCheck ({ place, kills, mode = 'load' }: KillOptions, program: string): Promise<KillReport> {
  const folder = await mkdtemp(join(tmpdir(), 'kill-'))
  const log = join(folder, 'log')
  const emulator = place === 'emulator' ? await startEmulator() : undefined
  try {
    await writeFile(log, '')
    const where = emulator === undefined ? [join(folder, 'store')] : [emulator.emulator.address, String(await freePort())]
    let atSteps = 0
    const faults: string[] = []
    for (const [round, kill] of kills.entries()) {
      const step = typeof kill === 'string' ? kill : '-'
      await emulator?.setRunning(false)
      const { end, byItself } = await live([program, log, String(round), mode, step, ...where], typeof kill === 'number' ? kill : STEP_MS,
        async () => { await emulator?.setRunning(true) })
      if (end !== 'SIGKILL') faults.push(`the process ended with ${end}`)
      if (byItself) atSteps++
    }
    await emulator?.setRunning(false)
    const { end } = await live([program, log, 'last', 'drain', '-', ...where], 60_000, async () => { await emulator?.setRunning(true) })
    if (end !== '0') faults.push(`the last process ended with ${end}`)
    const ledger = new Ledger(await readFile(log, 'latin1'), emulator?.cutOff ?? new Set())
    return { kills: kills.length, atSteps, ...ledger.report(), faults: [...faults, ...ledger.faults()] }
  } finally {
    await emulator?.emulator.close()
    await rm(folder, { recursive: true })
  }
}

/** The children as JavaScript, in `folder`. Resolves with the program to give to `killAndCheck`. */
export async function transpileChild (folder: string): Promise<string> {
  await transpile(join(folder, 'program'), 'test/dead-letters/kill-child.ts', 'test/support/kill-log.ts')
  return join(folder, 'program/test/dead-letters/kill-child.js')
}

/** Longest that a process lives that does not come to its step. */
const STEP_MS = 20_000

/** Runs a child until it ends, or kills it `lifeMs` after it is ready. */
function live (args: string[], lifeMs: number, onReady: () => Promise<void>): Promise<{ end: string, byItself: boolean }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env.PATH } })
    let timer: NodeJS.Timeout | undefined
    let killed = false
    child.stdout.once('data', () => {
      timer = setTimeout(() => {
        killed = true
        child.kill('SIGKILL')
      }, lifeMs)
      onReady().catch(reject)
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      resolve({ end: signal ?? String(code), byItself: signal === 'SIGKILL' && !killed })
    })
  })
}

interface StartedEmulator {
  readonly emulator: Emulator
  /** Ids that were enqueued of tasks that ended with an attempt that was not answered, such as replays that never reached their worker. */
  readonly cutOff: Set<string>
  /** While no worker listens, an attempt would only be wasted. */
  setRunning (running: boolean): Promise<void>
}

async function startEmulator (): Promise<StartedEmulator> {
  const emulator = createEmulator({ port: 0 })
  await emulator.listen()
  const { engine } = emulator
  const name = (id: string): string => `projects/demo/locations/us-central1/queues/${id}`
  const rateLimits = { maxDispatchesPerSecond: 500, maxConcurrentDispatches: 100 }
  // Long enough for the queue to be paused, once a worker is dead, before the next attempt would be wasted, too.
  const retryConfig = { minBackoffSeconds: 0.2, maxBackoffSeconds: 0.3 }
  await engine.createQueue(name('default'), { rateLimits, retryConfig: { ...retryConfig, maxAttempts: 2 } })
  await engine.createQueue(name('patient'), { rateLimits, retryConfig: { ...retryConfig, maxAttempts: -1 } })
  await engine.createQueue(name('dead'), { retryConfig: { maxAttempts: -1 } })
  await engine.pauseQueue(name('dead'))
  const cutOff = new Set<string>()
  engine.observe({
    attempted ({ attempt: { task }, result, retryAt }) {
      if (typeof result !== 'number' && retryAt === undefined) cutOff.add(readOrigin(headersOf(task))?.id ?? shortId(task.name))
    }
  })
  return {
    emulator,
    cutOff,
    async setRunning (running) {
      for (const id of ['default', 'patient']) await (running ? engine.resumeQueue(name(id)) : engine.pauseQueue(name(id)))
    }
  }
}

interface Known {
  task: string
  /** The id that was enqueued. */
  original: string
  /** Ids that ran, by how often they had been postponed. */
  readonly ids: Map<number, Set<string>>
  readonly done: Set<string>
  readonly replayed: Set<string>
  readonly discarded: Set<string>
  readonly letters: string[]
}

/** What all processes wrote, held against what was promised. */
class Ledger {
  readonly #tasks = new Map<string, Known>()
  readonly #cutOff: ReadonlySet<string>
  readonly #gone = new Set<string>()
  readonly #odd: string[] = []

  constructor (log: string, cutOff: ReadonlySet<string>) {
    this.#cutOff = cutOff
    for (const line of wholeLines(log)) this.#read(line)
  }

  report () {
    const all = [...this.#tasks.values()]
    const count = (of: (known: Known) => number): number => all.reduce((sum, known) => sum + of(known), 0)
    return {
      tasks: all.length,
      letters: count(({ letters, replayed, discarded }) => letters.length + replayed.size + discarded.size),
      replays: count(({ replayed }) => replayed.size),
      discards: count(({ discarded }) => discarded.size),
      postponements: count(({ ids }) => Math.max(...ids.keys())),
      cutOff: all.filter(known => this.#isCutOff(known)).length
    }
  }

  faults (): string[] {
    return [...this.#odd, ...[...this.#tasks].flatMap(([n, known]) => {
      const faults = this.#faultsOf(known)
      return faults.map(fault => `${known.task} ${n}: ${fault}`)
    })]
  }

  #faultsOf (known: Known): string[] {
    const { task, ids, done, replayed, discarded, letters } = known
    const faults: string[] = []
    const expect = (holds: boolean, fault: string): void => { if (!holds) faults.push(fault) }
    const excused = this.#isCutOff(known)
    const isPostponed = task.startsWith('postponed')
    for (const [postponements, set] of ids) {
      const most = isPostponed ? 1 : 1 + replayed.size
      expect(set.size <= most, `ran as ${set.size} tasks after ${postponements} postponements, with ${replayed.size} letters replayed`)
    }
    const last = task === 'postponed' ? 2 : task === 'postponedThenKept' ? 1 : 0
    for (let level = 0; level <= last; level++) expect(ids.has(level) || excused, `never ran after ${level} postponements`)
    expect(letters.length === new Set(letters).size, 'one letter is listed twice')
    for (const letter of letters) expect(!this.#gone.has(letter), 'its letter was discarded and is there')
    switch (task) {
      case 'kept':
      case 'postponedThenKept':
      case 'again':
        expect(letters.length === 1 || (letters.length === 0 && excused), `${letters.length} letters are left`)
        break
      case 'replayed':
        expect(done.size === 1 || excused, `${done.size} tasks of it are done`)
        expect(letters.length === 0, `${letters.length} letters are left`)
        break
      case 'postponed':
        expect(done.size === 1, `${done.size} tasks of it are done`)
        expect(letters.length === 0, `${letters.length} letters are left`)
        break
      case 'discarded':
        expect(discarded.size === 1 || excused, `${discarded.size} letters were discarded`)
        expect(letters.length === 0, `${letters.length} letters are left`)
    }
    return faults
  }

  #isCutOff ({ original }: Known): boolean {
    return this.#cutOff.has(original)
  }

  #read (line: string): void {
    const [what, first = '', second = '', id = '', original = '', postponements = ''] = line.split(' ')
    switch (what) {
      case 'run': {
        const known = this.#known(first)
        known.task = second
        known.original = original
        const level = Number(postponements)
        known.ids.set(level, (known.ids.get(level) ?? new Set()).add(id))
        break
      }
      case 'done': this.#known(first).done.add(second); break
      case 'replaying': this.#known(second).replayed.add(first); break
      case 'discarding': this.#known(second).discarded.add(first); break
      case 'discarded': this.#gone.add(first); break
      case 'letter': this.#known(second).letters.push(first); break
      default: this.#odd.push(line)
    }
  }

  #known (n: string): Known {
    let known = this.#tasks.get(n)
    if (known === undefined) {
      known = { task: '', original: '', ids: new Map(), done: new Set(), replayed: new Set(), discarded: new Set(), letters: [] }
      this.#tasks.set(n, known)
    }
    return known
  }
}

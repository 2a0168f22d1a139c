import type { Clock } from '../clock/clock.js'

/** Tasks that ended because they had outlived their retention. */
export interface ExpiryReport {
  readonly count: number
  /** Full names of the first of them, at most ten. */
  readonly names: readonly string[]
}

/** Gathers expired tasks, so that thousands of them make one report a second and not thousands. */
export class ExpiryReports {
  readonly #clock: Clock
  readonly #report: (report: ExpiryReport) => void
  #count = 0
  #names: string[] = []
  #timer: unknown

  constructor (clock: Clock, report: (report: ExpiryReport) => void) {
    this.#clock = clock
    this.#report = report
  }

  add (name: string): void {
    this.#count++
    if (this.#names.length < MAX_NAMES) this.#names.push(name)
    this.#timer ??= this.#clock.setTimeout(() => { this.flush() }, INTERVAL_MS)
  }

  /** Reports what has gathered, and leaves no timer. */
  flush (): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#count === 0) return
    const report = { count: this.#count, names: this.#names }
    this.#count = 0
    this.#names = []
    this.#report(report)
  }
}

const INTERVAL_MS = 1000
const MAX_NAMES = 10

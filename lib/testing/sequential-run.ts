import { DEFAULT_DISPATCH_DEADLINE_MS } from '../cloud-tasks/limits.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import { clearRealTimeout, realTimeout } from '../clock/clock.js'
import type { Engine } from '../engine/engine.js'
import { FST_TASKS_CLOSING, FST_TASKS_DRAIN_UNBOUNDED } from '../errors.js'
import type { Arrivals } from './arrivals.js'
import type { AttemptResults, TestedAttempt } from './attempt-results.js'
import type { KitClock } from './kit-clock.js'
import type { WaitingTask, WaitingTasks } from './waiting-tasks.js'

export interface SequentialRunOptions {
  /** For error messages. */
  readonly call: string
  readonly maxAttempts: number
  readonly engine: Engine
  readonly waiting: WaitingTasks
  readonly results: AttemptResults
  readonly arrivals: Arrivals
  readonly clock: KitClock
  /** Called with the name in the registry of each task that has ended. */
  readonly ended: (task: string) => void
}

/** Runs attempts one after another, and collects them. */
export class SequentialRun {
  readonly #attempts: TestedAttempt[] = []
  readonly #options: SequentialRunOptions

  constructor (options: SequentialRunOptions) {
    this.#options = options
  }

  /**
   * Runs what is due, and with `scheduled` what will be.
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_CLOSING
   */
  async drain (scheduled: boolean): Promise<TestedAttempt[]> {
    const { arrivals, clock, waiting } = this.#options
    for (;;) {
      await arrivals.all()
      const first = waiting.first()
      const waitMs = this.#untilDue(first)
      if (first !== undefined && waitMs === 0) {
        await this.#next(first, scheduled ? Infinity : -Infinity)
      } else if (first !== undefined && scheduled) {
        await this.#moveTo(clock.monotonic() + waitMs)
      } else {
        // An attempt that was already running.
        const { running } = waiting
        if (running === undefined) return this.#attempts
        await waiting.attemptOf(running)
      }
    }
  }

  /**
   * Runs what falls due while the clock advances.
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_CLOSING
   */
  async advance (ms: number): Promise<TestedAttempt[]> {
    const { arrivals, clock, waiting } = this.#options
    const end = clock.monotonic() + ms
    // Calls that were made before this one begin their attempts.
    await clock.settle()
    for (;;) {
      await arrivals.all()
      const first = waiting.first()
      const waitMs = this.#untilDue(first)
      if (first !== undefined && waitMs === 0) await this.#next(first, end)
      else if (clock.monotonic() < end) await this.#moveTo(Math.min(clock.monotonic() + waitMs, end))
      else return this.#attempts
    }
  }

  #untilDue (task: WaitingTask | undefined): number {
    const ms = task === undefined ? Infinity : task.dueAt - this.#options.clock.now()
    return ms < RESOLUTION_MS ? 0 : ms
  }

  /** Advances the clock to `end`, or only to the next timer, which may make tasks due. */
  async #moveTo (end: number): Promise<void> {
    const { clock } = this.#options
    if (clock.stepTo(end)) await clock.settle()
  }

  /**
   * Runs an attempt of a task that has a handler here. While it takes long in real time, the clock goes on, to its deadline at most.
   * @param end up to when the clock may go
   */
  async #next (task: WaitingTask, end: number): Promise<void> {
    const { call, maxAttempts, arrivals, clock } = this.#options
    if (this.#attempts.length === maxAttempts) throw new FST_TASKS_DRAIN_UNBOUNDED(call, maxAttempts, this.#attempts.at(-1)!.task)
    const departure = arrivals.depart(task)
    // Its deadline is reached a moment before, see `KitClock.setTimeout`.
    const deadline = clock.monotonic() + (task.task.dispatchDeadlineMs ?? DEFAULT_DISPATCH_DEADLINE_MS)
    const state = { isRunning: true }
    const attempt = this.#run(task).finally(() => {
      state.isRunning = false
      arrivals.end(departure)
    })
    await withinRealTime(attempt, PATIENCE_MS)
    const last = Math.min(end, deadline)
    while (state.isRunning && clock.monotonic() < last) await this.#moveTo(last)
    await attempt
  }

  async #run ({ name, definition }: WaitingTask): Promise<void> {
    const { engine, waiting, results, clock, ended } = this.#options
    const end = waiting.attemptOf(name)
    try {
      await engine.runTask(name, false)
    } catch (error) {
      // Its retention has ended.
      if (!(error instanceof CloudTasksError) || error.code !== 'NOT_FOUND') throw error
      waiting.forget(name)
      return
    }
    const report = await end
    if (report === undefined) throw new FST_TASKS_CLOSING()
    // The route settles the attempt a moment later, when its client disconnects.
    if (report.result === 'deadline') await clock.turn()
    const task = definition!.name
    this.#attempts.push(results.ofReport(task, report))
    if (report.retryAt === undefined) ended(task)
  }
}

/** Waits for `work`, `ms` at most. */
async function withinRealTime (work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout
  const late = new Promise<void>(resolve => { timer = realTimeout(resolve, ms) })
  await Promise.race([work.catch(() => {}), late])
  clearRealTimeout(timer!)
}

/** How long an attempt may take in real time before the clock goes on. */
const PATIENCE_MS = 2000
/** Precision of epoch milliseconds with a fraction. */
const RESOLUTION_MS = 0.001

import { CloudTasksError } from '../cloud-tasks/status.js'
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
  readonly attempts: TestedAttempt[] = []
  readonly #options: SequentialRunOptions

  constructor (options: SequentialRunOptions) {
    this.#options = options
  }

  /**
   * Runs an attempt of a task that has a handler here.
   * @throws FST_TASKS_DRAIN_UNBOUNDED, FST_TASKS_CLOSING
   */
  async next (task: WaitingTask): Promise<void> {
    const { call, maxAttempts, arrivals } = this.#options
    if (this.attempts.length === maxAttempts) throw new FST_TASKS_DRAIN_UNBOUNDED(call, maxAttempts, this.attempts.at(-1)!.task)
    const departure = arrivals.depart(task)
    try {
      await this.#run(task)
    } finally {
      arrivals.end(departure)
    }
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
    this.attempts.push(results.ofReport(task, report))
    if (report.retryAt === undefined) ended(task)
  }
}

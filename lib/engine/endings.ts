import type { Task } from '../cloud-tasks/task.js'
import type { Clock } from '../clock/clock.js'
import type { ExpiryReports } from './expiry.js'
import type { InFlight } from './memory/in-flight.js'
import type { EndOfTask, Observers } from './observers.js'
import type { TaskEntry, TaskQueue } from './memory/task-queue.js'
import type { ErrorContext, WriteBehind } from './write-behind.js'

export interface EndingsOptions {
  readonly clock: Clock
  readonly writeBehind: WriteBehind
  readonly observers: Observers
  readonly expiryReports: ExpiryReports
  readonly onExpired: (task: Task) => unknown
  readonly onError: (error: unknown, where: ErrorContext) => void
  /** Called when a slot of the queue becomes free. */
  readonly onEnd: (queue: TaskQueue) => void
}

/** Ends tasks: after their last attempt, or without one when they have expired. */
export class Endings {
  readonly #options: EndingsOptions
  readonly #inFlight: InFlight

  /** @param inFlight counts the attempts and expirations that are running */
  constructor (options: EndingsOptions, inFlight: InFlight) {
    this.#options = options
    this.#inFlight = inFlight
  }

  /** Removes a task. Never rejects: resolves with whether that is stored. */
  end (queue: TaskQueue, entry: TaskEntry, why: EndOfTask): Promise<boolean> {
    const { writeBehind, observers } = this.#options
    queue.remove(entry)
    // An entry in the old generation would keep the task alive until a full garbage collection.
    entry.unstored = undefined
    const stored = writeBehind.remove(entry)
    if (!observers.none) observers.notify('ended', entry.name, why)
    return stored
  }

  /**
   * Ends an expired task without an attempt, and calls `onExpired` after its end is stored, so that it is not called again after a
   * crash. It occupies a slot until then, so that the number of concurrent expirations is limited.
   */
  expire (queue: TaskQueue, entry: TaskEntry, task: Task): void {
    const { expiryReports, onExpired, onError, onEnd } = this.#options
    expiryReports.add(entry.name)
    queue.running++
    this.#inFlight.enter()
    this.end(queue, entry, 'expired')
      .then(stored => stored ? onExpired(task) : undefined)
      .catch(error => { onError(error, { during: 'expire', name: entry.name }) })
      .finally(() => {
        queue.running--
        onEnd(queue)
        this.#inFlight.leave()
      })
  }

  /**
   * The task's newest state. If the store fails to read it, the error is reported and the task is due again in a second; in a minute if
   * its record is damaged, because another attempt does not change that. A task that the store has lost is removed.
   */
  read (queue: TaskQueue, entry: TaskEntry): Task | undefined {
    const { clock, writeBehind } = this.#options
    try {
      const task = writeBehind.read(entry)
      if (task !== undefined) return task
      queue.remove(entry)
      throw new Error(`The store has lost task ${entry.name}`)
    } catch (error) {
      writeBehind.report(error, entry.name)
      const againMs = (error as { readonly problem?: unknown }).problem === 'damaged' ? DAMAGED_AGAIN_MS : AGAIN_MS
      if (entry.attempts === 0 && queue.owns(entry)) queue.due.schedule(entry, clock.now() + againMs)
      return undefined
    }
  }
}

/** Delay after which a task is retried that could not be read, or whose attempt was not delivered. */
export const AGAIN_MS = 1000
const DAMAGED_AGAIN_MS = 60_000

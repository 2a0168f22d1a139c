import { queueNameOf } from '../../cloud-tasks/names.js'
import type { Engine } from '../../engine/engine.js'
import type { QueueStatsMessage } from '../messages/messages.js'
import { timestampMessage } from '../messages/times.js'

/** v2beta3's queue statistics, counted since the start. Memory per queue is constant. */
export class QueueStats {
  readonly #engine: Engine
  readonly #now: () => number
  readonly #lastMinutes = new Map<string, LastMinute>()

  constructor (engine: Engine, now: () => number) {
    this.#engine = engine
    this.#now = now
    engine.observe({
      attempted: ({ attempt, result, endedAt }) => {
        if (typeof result === 'number') this.#lastMinute(queueNameOf(attempt.task.name)).count(endedAt)
      },
      changed: queue => {
        if (engine.findQueue(queue) === undefined) this.#lastMinutes.delete(queue)
      }
    })
  }

  of (queue: string): QueueStatsMessage {
    const { settings, state } = this.#engine.getQueue(queue)
    const { tasks, firstDueAt } = this.#engine.backlog(queue)
    const { running } = this.#engine.counts(queue)
    return {
      tasksCount: tasks,
      ...(firstDueAt === undefined ? undefined : { oldestEstimatedArrivalTime: timestampMessage(firstDueAt) }),
      executedLastMinuteCount: this.#lastMinutes.get(queue)?.total(this.#now()) ?? 0,
      concurrentDispatchesCount: running,
      effectiveExecutionRate: state === 'RUNNING' ? settings.rateLimits.maxDispatchesPerSecond : 0
    }
  }

  #lastMinute (queue: string): LastMinute {
    let counted = this.#lastMinutes.get(queue)
    if (counted === undefined) this.#lastMinutes.set(queue, counted = new LastMinute())
    return counted
  }
}

/** Counts events of the last sixty seconds, per second. */
class LastMinute {
  readonly #counts = new Array<number>(60).fill(0)
  #second = 0

  count (at: number): void {
    this.#forward(at)
    this.#counts[this.#second % 60]!++
  }

  total (now: number): number {
    this.#forward(now)
    return this.#counts.reduce((sum, count) => sum + count, 0)
  }

  /** Drops seconds older than a minute. When the clock was set back, counting continues in the newest second. */
  #forward (at: number): void {
    const second = Math.floor(at / 1000)
    if (second - this.#second >= 60) this.#counts.fill(0)
    else for (let past = this.#second + 1; past <= second; past++) this.#counts[past % 60] = 0
    this.#second = Math.max(this.#second, second)
  }
}

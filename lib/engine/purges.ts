import type { Clock } from '../clock/clock.js'
import type { NameMap } from '../store/name-map.js'
import type { DueHeap } from './memory/due-heap.js'
import type { WriteBehind } from './write-behind.js'
import type { TaskEntry, TaskQueue } from './memory/task-queue.js'

/** Removes the tasks of purged queues from the store, which takes a while: they are invisible at once. */
export class Purges {
  readonly #clock: Clock
  readonly #writeBehind: WriteBehind

  constructor (clock: Clock, writeBehind: WriteBehind) {
    this.#clock = clock
    this.#writeBehind = writeBehind
  }

  /** Resolves when all tasks that the queue has now are removed from the store. */
  async purge (queue: TaskQueue): Promise<void> {
    await this.#writeBehind.track(this.#remove(queue, queue.purge()))
  }

  /** Removes a purged task now, if its name is needed before its turn. */
  removeNow (queue: TaskQueue, name: string): void {
    for (const tasks of queue.purged) {
      const entry = tasks.get(name)
      if (entry === undefined) continue
      tasks.delete(name)
      this.#writeBehind.remove(entry)
    }
  }

  /** In slices, because a million removals at once would block the event loop. */
  async #remove (queue: TaskQueue, { tasks, due }: ReturnType<TaskQueue['purge']>): Promise<void> {
    let slice: Array<Promise<unknown>> = []
    for (const entry of inStoredOrder(tasks, due)) {
      if (!tasks.delete(entry.name)) continue
      slice.push(this.#writeBehind.remove(entry))
      if (slice.length < SLICE) continue
      await Promise.all(slice)
      slice = []
      await new Promise<void>(resolve => { this.#clock.setImmediate(resolve) })
    }
    queue.purged.delete(tasks)
    await Promise.all(slice)
  }
}

/**
 * All tasks, waiting ones first, running ones last. Most were stored in due order, and removing records in the order in which they were
 * stored is much cheaper on disk than in random order.
 */
function * inStoredOrder (tasks: NameMap<TaskEntry>, due: DueHeap<TaskEntry>): Generator<TaskEntry, void> {
  yield * due.values()
  yield * tasks.values()
}

const SLICE = 500

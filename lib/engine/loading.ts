import { nextTurn } from '../clock/clock.js'
import { queueNameOf } from '../cloud-tasks/names.js'
import type { LoadProgress } from '../store/store.js'
import type { EngineParts } from './assembly.js'
import { TaskEntry } from './memory/task-queue.js'

/**
 * Loads what a former run has stored into the parts of an engine.
 * @param onProgress called repeatedly with the progress
 * @param checkNotClosed called repeatedly; ends the loading by throwing
 */
export async function load (parts: EngineParts, onProgress: (progress: LoadProgress) => void, checkNotClosed: () => void): Promise<void> {
  const { store, queues, retention, writeBehind, tombstoneMs, onError } = parts
  const stored = await store.load(onProgress)
  queues.load(stored.queues)
  const now = retention.begin(stored.lastKnownAt)
  await inSlices(stored.tombstones, checkNotClosed, ({ name, until }) => {
    // Limited to the configured time, because the clock may have been set back since it was stored.
    writeBehind.names.add(name, Math.min(until - now, tombstoneMs(name)))
  })
  await inSlices(stored.tasks, checkNotClosed, task => {
    const queue = queues.find(queueNameOf(task.name))
    if (queue !== undefined) queue.add(new TaskEntry(task))
    else onError(new Error(`The store has no queue for task ${task.name}`), { during: 'load', name: task.name })
  }, done => { onProgress({ step: 'loading tasks', done, total: stored.taskCount }) })
  checkNotClosed()
}

/** Yields to the event loop in between, so that a million items do not block it, and `close` can end it. */
async function inSlices<T> (
  items: Iterable<T>, checkNotClosed: () => void, load: (item: T) => void, onSlice?: (done: number) => void
): Promise<void> {
  let loaded = 0
  checkNotClosed()
  for (const item of items) {
    load(item)
    if (++loaded % SLICE !== 0) continue
    onSlice?.(loaded)
    await nextTurn()
    checkNotClosed()
  }
}

const SLICE = 1000

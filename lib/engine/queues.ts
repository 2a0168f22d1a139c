import { isDeepStrictEqual } from 'node:util'
import { completeQueueSettings } from '../cloud-tasks/limits.js'
import { parseLocationName, parseQueueName } from '../cloud-tasks/names.js'
import { statusErrors } from '../cloud-tasks/status.js'
import type { NewQueueSettings, QueueSettings } from '../cloud-tasks/task.js'
import type { Clock } from '../clock/clock.js'
import type { Store, StoredQueue } from '../store/store.js'
import type { DispatchLoop } from './dispatch-loop.js'
import type { Observers } from './observers.js'
import type { WriteBehind } from './write-behind.js'
import { Purges } from './purges.js'
import { queuePage, type QueuePage, type QueueQuery } from './memory/queue-pages.js'
import { TaskQueue } from './memory/task-queue.js'

export interface QueuesOptions {
  readonly store: Store
  readonly clock: Clock
  readonly writeBehind: WriteBehind
  readonly dispatchLoop: DispatchLoop
  readonly observers: Observers
  /** How long the name of a deleted queue cannot be reused. */
  readonly tombstoneMs: number
  /** Maximum rate of a queue. */
  readonly maxRate: number
}

/** Derives a queue's new settings from its current ones, which are undefined for a missing queue. If it throws, nothing changes. */
export type SettingsChange = (settings: QueueSettings | undefined) => NewQueueSettings

/** The queues of an engine. Changes are serialized, because each builds on the previous one. */
export class Queues {
  readonly #options: QueuesOptions
  readonly #queues = new Map<string, TaskQueue>()
  readonly #purges: Purges
  #changes: Promise<unknown> = Promise.resolve()

  constructor (options: QueuesOptions) {
    this.#options = options
    this.#purges = new Purges(options.clock, options.writeBehind)
  }

  /** Adds the queues in the store. */
  load (queues: Iterable<StoredQueue>): void {
    const monotonic = this.#options.clock.monotonic()
    for (const stored of queues) this.#queues.set(stored.name, new TaskQueue(stored, monotonic))
  }

  all (): Iterable<TaskQueue> {
    return this.#queues.values()
  }

  find (name: string): TaskQueue | undefined {
    return this.#queues.get(name)
  }

  /** Throws NOT_FOUND if the queue does not exist, INVALID_ARGUMENT if its name is invalid. */
  get (name: string): TaskQueue {
    const queue = this.#queues.get(name)
    if (queue !== undefined) return queue
    checkName(name)
    throw statusErrors.queueNotFound()
  }

  /** The queues of `projects/P/locations/L`, in lexicographic order. */
  list (parent: string, query: QueueQuery): QueuePage {
    if (parseLocationName(parent) === undefined) throw statusErrors.locationName()
    const prefix = `${parent}/queues/`
    return queuePage([...this.#queues.values()].filter(({ name }) => name.startsWith(prefix)), query)
  }

  create (name: string, settings: NewQueueSettings | undefined): Promise<StoredQueue> {
    return this.#change(async () => {
      checkName(name)
      const complete = completeQueueSettings(settings, this.#options.maxRate)
      if (this.#queues.has(name)) throw statusErrors.queueExists()
      return await this.#add({ name, settings: complete, state: 'RUNNING' })
    })
  }

  update (name: string, settings: NewQueueSettings | SettingsChange | undefined): Promise<StoredQueue> {
    return this.#change(async () => {
      checkName(name)
      const queue = this.#queues.get(name)
      const complete = completeQueueSettings(
        typeof settings === 'function' ? settings(queue?.stored.settings) : settings,
        this.#options.maxRate
      )
      return queue === undefined
        ? await this.#add({ name, settings: complete, state: 'RUNNING' })
        : await this.#replace(queue, { settings: complete })
    })
  }

  /** Creates or changes many queues in one step. Unchanged ones are not written. */
  updateAll (settings: ReadonlyMap<string, NewQueueSettings>): Promise<void> {
    return this.#change(async () => {
      const changes: Array<Promise<StoredQueue>> = []
      for (const [name, wanted] of settings) {
        checkName(name)
        const queue = this.#queues.get(name)
        const complete = completeQueueSettings(wanted, this.#options.maxRate)
        if (queue === undefined) changes.push(this.#add({ name, settings: complete, state: 'RUNNING' }))
        else if (!isDeepStrictEqual(queue.stored.settings, complete)) changes.push(this.#replace(queue, { settings: complete }))
      }
      await Promise.all(changes)
    })
  }

  setPolicy (name: string, change: (policy: unknown) => unknown): Promise<StoredQueue> {
    return this.#change(async () => {
      const queue = this.get(name)
      return await this.#replace(queue, { policy: change(queue.stored.policy) })
    })
  }

  setState (name: string, state: 'RUNNING' | 'PAUSED'): Promise<StoredQueue> {
    return this.#change(async () => await this.#replace(this.get(name), { state }))
  }

  delete (name: string): Promise<void> {
    return this.#change(async () => {
      checkName(name)
      const queue = this.#queues.get(name)
      if (queue === undefined) throw statusErrors.notFound()
      const { writeBehind, store, tombstoneMs } = this.#options
      // Memory first, because no task may be stored after the removal.
      this.#queues.delete(name)
      if (tombstoneMs > 0) writeBehind.names.add(name, tombstoneMs)
      this.#setDeleted(queue, true)
      try {
        await store.removeQueue(name, writeBehind.names.get(name))
      } catch (error) {
        this.#queues.set(name, queue)
        writeBehind.names.withdraw(name)
        queue.readmit(queue.tasks.values())
        this.#setDeleted(queue, false)
        throw statusErrors.notStored(error)
      }
      this.#options.observers.notify('emptied', name)
      this.#options.observers.notify('changed', name)
    })
  }

  async purge (name: string): Promise<StoredQueue> {
    const { clock, dispatchLoop, observers } = this.#options
    const queue = this.get(name)
    const purgedAt = clock.now()
    const removal = this.#purges.purge(queue)
    observers.notify('emptied', name)
    dispatchLoop.changed(queue)
    const change = this.#change(async () => await this.#replace(this.get(name), { purgedAt }))
    const [stored] = await Promise.all([change, removal])
    return stored
  }

  /** Removes a purged task from the store now, if its name is needed before its turn. */
  removePurged (queue: TaskQueue, name: string): void {
    this.#purges.removeNow(queue, name)
  }

  /** Resolves when no change is pending. */
  async settle (): Promise<void> {
    await this.#changes
  }

  #change<T> (change: () => Promise<T>): Promise<T> {
    const result = this.#changes.then(change)
    this.#changes = result.catch(() => {}) // The caller gets the error.
    return result
  }

  async #add (stored: StoredQueue): Promise<StoredQueue> {
    const { clock, writeBehind } = this.#options
    if (writeBehind.names.has(stored.name)) throw statusErrors.queueExistedRecently()
    await this.#put(stored)
    this.#queues.set(stored.name, new TaskQueue(stored, clock.monotonic()))
    this.#options.observers.notify('changed', stored.name)
    return stored
  }

  async #replace (queue: TaskQueue, change: Partial<StoredQueue>): Promise<StoredQueue> {
    const stored = { ...queue.stored, ...change }
    await this.#put(stored)
    queue.change(stored, this.#options.clock.monotonic())
    this.#options.dispatchLoop.changed(queue)
    this.#options.observers.notify('changed', queue.name)
    return stored
  }

  async #put (stored: StoredQueue): Promise<void> {
    try {
      await this.#options.store.putQueue(stored)
    } catch (error) {
      throw statusErrors.notStored(error)
    }
  }

  #setDeleted (queue: TaskQueue, deleted: boolean): void {
    queue.deleted = deleted
    this.#options.dispatchLoop.changed(queue)
  }
}

function checkName (name: string): void {
  if (parseQueueName(name) === undefined) throw statusErrors.queueName()
}

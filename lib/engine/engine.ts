import { AsyncResource } from 'node:async_hooks'
import { nextTurn, systemClock, type Clock } from '../clock/clock.js'
import { MAX_DISPATCHES_PER_SECOND } from '../cloud-tasks/limits.js'
import { queueNameOf } from '../cloud-tasks/names.js'
import { storedSize } from '../cloud-tasks/size.js'
import { statusErrors } from '../cloud-tasks/status.js'
import type { NewQueueSettings, NewTask, QueueState, Task } from '../cloud-tasks/task.js'
import type { LoadProgress, Store, StoredQueue } from '../store/store.js'
import { Attempts } from './attempts.js'
import type { Dispatcher } from './dispatcher.js'
import { DispatchLoop } from './dispatch-loop.js'
import { ExpiryReports, Retention, type ExpiryReport } from './expiry.js'
import { Observers, type Observer } from './observers.js'
import { Queues, type QueuePage, type QueueQuery, type SettingsChange } from './queues.js'
import type { TaskPageQuery } from './task-pages.js'
import { TaskEntry, type TaskQueue } from './task-queue.js'
import { Tasks, type TaskPage } from './tasks.js'
import { WriteBehind, type ErrorContext } from './write-behind.js'

export type { Answer, Attempt, Dispatcher } from './dispatcher.js'
export type { ErrorContext } from './write-behind.js'
export type { ExpiryReport } from './expiry.js'
export type { AttemptReport, EndOfTask, Observer } from './observers.js'
export type { TaskPageQuery } from './task-pages.js'
export type { TaskPage } from './tasks.js'
export type { QueuePage, QueueQuery, SettingsChange } from './queues.js'
export type { LoadProgress, StoredQueue } from '../store/store.js'

export interface EngineOptions {
  readonly store: Store
  readonly dispatch: Dispatcher
  /** @default systemClock */
  readonly clock?: Clock
  /**
   * The async context of everything that the engine starts: attempts, timers, observers and errors. Never that of the call that stored
   * a task or freed a slot, as one call can start attempts of many others. @default where the engine is created
   */
  readonly scope?: AsyncResource
  /** How long the name of a finished task cannot be reused, unless its queue has its own setting. 0: not at all. @default 1 hour */
  readonly taskTombstoneMs?: number
  /** How long the name of a deleted queue cannot be reused. 0: not at all. @default 7 days */
  readonly queueTombstoneMs?: number
  /**
   * Whether to remember generated ids too, as production does, so that GetTask distinguishes a finished task from one that never
   * existed. Uses memory for every task that has finished within `taskTombstoneMs`. @default false
   */
  readonly rememberGeneratedNames?: boolean
  /** Maximum rate of a queue, in dispatches a second. @default 500, as in Cloud Tasks */
  readonly maxDispatchesPerSecond?: number
  /** Called with errors that no caller receives. @default process.emitWarning */
  readonly onError?: (error: unknown, where: ErrorContext) => void
  /**
   * Called with the last state of each expired task (31 days), after its end is stored, and at most once per task. It occupies a slot of
   * the queue until the returned promise resolves. @default does nothing
   */
  readonly onExpired?: (task: Task) => unknown
  /** Called at most once a second with the tasks that have expired since the last call. @default process.emitWarning */
  readonly reportExpired?: (report: ExpiryReport) => void
}

export interface QueueCounts {
  /** Tasks that are due now or later. */
  readonly waiting: number
  /** Running attempts. */
  readonly running: number
}

/**
 * Implements Cloud Tasks' behaviour: queues, schedules, retries, rates, names. Its errors are those of the service, as
 * CloudTasksErrors. A task is either waiting (in its queue's heap) or has running attempts:
 *
 *   createTask -> stored -> waiting -> [due, slot, token] -> attempt -> 2xx, or out of retries: removed, name remembered
 *                              ^-------- backoff ------------ otherwise
 *
 * Reads are synchronous and throw; changes resolve when they are stored. Call `open` first; `start` and `stop` can be called any number
 * of times; after `close` all calls fail.
 */
export class Engine {
  readonly #store: Store
  readonly #clock: Clock
  readonly #taskTombstoneMs: number
  readonly #queueTombstoneMs: number
  readonly #onError: (error: unknown, where: ErrorContext) => void
  readonly #writeBehind: WriteBehind
  readonly #attempts: Attempts
  readonly #retention: Retention
  readonly #expiryReports: ExpiryReports
  readonly #dispatchLoop: DispatchLoop
  readonly #queues: Queues
  readonly #tasks: Tasks
  readonly #observers: Observers
  #isOpen = false
  #opening: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor (options: EngineOptions) {
    const { store, dispatch, clock = systemClock, scope = new AsyncResource('fastify-cloud-tasks'), onExpired = () => {} } = options
    const { onError: report = warn, reportExpired = warnOfExpired } = options
    const onError = (error: unknown, where: ErrorContext): void => { scope.runInAsyncScope(report, undefined, error, where) }
    this.#store = store
    this.#clock = clock
    this.#taskTombstoneMs = options.taskTombstoneMs ?? 3600 * 1000
    this.#queueTombstoneMs = options.queueTombstoneMs ?? 7 * 24 * 3600 * 1000
    this.#onError = onError
    const observers = this.#observers = new Observers(scope, onError)
    const writeBehind = this.#writeBehind = new WriteBehind({
      store,
      clock,
      onError,
      tombstoneMs: name => this.#tombstoneMs(name),
      rememberGeneratedNames: options.rememberGeneratedNames ?? false,
      find: name => this.#tasks.isChanging(name) ? null : this.#queues.find(queueNameOf(name))?.tasks.get(name)
    })
    const dispatchLoop = this.#dispatchLoop = new DispatchLoop(clock, scope, queue => {
      this.#attempts.start(queue, queue.due.first!, false)
    })
    const retention = this.#retention = new Retention(clock, error => { onError(error, { during: 'expire' }) })
    const expiryReports = (this.#expiryReports = new ExpiryReports(clock, expired => {
      scope.runInAsyncScope(reportExpired, undefined, expired)
    }))
    const attempts = (this.#attempts = new Attempts({
      clock,
      writeBehind,
      dispatch,
      observers,
      retention,
      expiryReports,
      onExpired,
      onError,
      onEnd: queue => {
        dispatchLoop.changed(queue)
      }
    }))
    const queues = (this.#queues = new Queues({
      store,
      clock,
      writeBehind,
      dispatchLoop,
      observers,
      tombstoneMs: this.#queueTombstoneMs,
      maxRate: options.maxDispatchesPerSecond ?? MAX_DISPATCHES_PER_SECOND
    }))
    this.#tasks = new Tasks({ store, clock, scope, writeBehind, queues, attempts, dispatchLoop, retention, observers })
  }

  get clock (): Clock {
    return this.#clock
  }

  /**
   * Loads the store. Rejects with the store's error, or with UNAVAILABLE when `close` is called in the meantime.
   * @param onProgress called repeatedly with the progress
   */
  open (onProgress: (progress: LoadProgress) => void = () => {}): Promise<void> {
    this.#opening = this.#load(onProgress)
    return this.#opening
  }

  /** Starts dispatching. Before that, tasks are only stored. */
  start (): void {
    this.#checkOpen()
    this.#dispatchLoop.start(this.#queues.all())
  }

  /** Starts no more attempts. Resolves when running ones have ended and their results are stored. */
  async stop (): Promise<void> {
    this.#dispatchLoop.stop()
    await this.#attempts.idle()
    this.#expiryReports.flush()
    await this.#writeBehind.settle()
  }

  /** Dispatches nothing automatically until `release`, even if it is started in the meantime. Tasks then only run by `runTask`. */
  hold (): void {
    this.#dispatchLoop.hold()
  }

  /** Resumes automatic dispatching, if it is started. */
  release (): void {
    this.#dispatchLoop.release(this.#queues.all())
  }

  /** Stops, then closes the store. Leaves no timer behind. */
  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Subscribes `observer`. Returns a function to unsubscribe. */
  observe (observer: Observer): () => void {
    return this.#observers.add(observer)
  }

  async createQueue (name: string, settings?: NewQueueSettings): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.create(name, settings)
  }

  /**
   * Replaces all settings of a queue, with immediate effect for waiting tasks; creates the queue if it is missing. A function is called
   * with the current settings, atomically.
   */
  async updateQueue (name: string, settings?: NewQueueSettings | SettingsChange): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.update(name, settings)
  }

  /** Like `updateQueue` for many queues. Unchanged queues are not written. */
  async updateQueues (settings: ReadonlyMap<string, NewQueueSettings>): Promise<void> {
    this.#checkOpen()
    await this.#queues.updateAll(settings)
  }

  getQueue (name: string): StoredQueue {
    return this.#queue(name).stored
  }

  /** Like `getQueue`, but returns undefined when it does not exist. */
  findQueue (name: string): StoredQueue | undefined {
    this.#checkOpen()
    return this.#queues.find(name)?.stored
  }

  /** The queues of `projects/P/locations/L`, in lexicographic order. */
  listQueues (parent: string, page: QueueQuery = {}): QueuePage {
    this.#checkOpen()
    return this.#queues.list(parent, page)
  }

  /**
   * Replaces the policy of a queue, any JSON, by the result of `change` for the former one. If `change` throws, nothing changes.
   */
  async setQueuePolicy (name: string, change: (policy: unknown) => unknown): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.setPolicy(name, change)
  }

  /** The queues of all projects and locations, in the order of their creation. */
  queues (): StoredQueue[] {
    this.#checkOpen()
    return Array.from(this.#queues.all(), queue => queue.stored)
  }

  /** Deletes a queue with all its tasks, and adds a tombstone for its name. */
  async deleteQueue (name: string): Promise<void> {
    this.#checkOpen()
    await this.#queues.delete(name)
  }

  /** Pauses a queue: it accepts tasks but dispatches none. Running attempts continue. */
  async pauseQueue (name: string): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.setState(name, 'PAUSED')
  }

  async resumeQueue (name: string): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.setState(name, 'RUNNING')
  }

  /** Deletes all tasks that were created before the call; they are invisible at once, and removed from the store when this resolves. */
  async purgeQueue (name: string): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.purge(name)
  }

  /** Resolves with the task as it is stored. */
  async createTask (queueName: string, newTask: NewTask): Promise<Task> {
    this.#checkOpen()
    return await this.#tasks.create(queueName, newTask)
  }

  /** Like `createTask` for many tasks, stored in one step. Results are in order; an invalid task does not affect the others. */
  async createTasks (queueName: string, newTasks: readonly NewTask[]): Promise<Array<PromiseSettledResult<Task>>> {
    this.#checkOpen()
    return await this.#tasks.createAll(queueName, newTasks)
  }

  getTask (name: string): Task {
    this.#checkOpen()
    return this.#tasks.get(name)
  }

  /**
   * A page of the queue's tasks, in no particular order. It is shorter than requested if the tasks have more than 3 MiB.
   * @param bytesOf the size of a task in its page
   */
  listTasks (queueName: string, page: TaskPageQuery = {}, bytesOf: (task: Task) => number = storedSize): TaskPage {
    this.#checkOpen()
    return this.#tasks.list(queueName, page, bytesOf)
  }

  /** The name of a task in the queue whose name matches. Searches memory only. */
  findTask (queueName: string, matches: (name: string) => boolean): string | undefined {
    for (const { name } of this.#queue(queueName).tasks.values()) if (matches(name)) return name
    return undefined
  }

  /** Number of running attempts of a task: 0 while it waits. */
  running (name: string): number {
    this.#checkOpen()
    return this.#tasks.running(name)
  }

  /** Deletes a task. The result of a running attempt is ignored. */
  async deleteTask (name: string): Promise<void> {
    this.#checkOpen()
    await this.#tasks.delete(name)
  }

  /**
   * Dispatches a task now, regardless of its schedule and of its queue's state and limits. Returns its state after dispatch.
   * @param forced whether it is RunTask's, after which the backoff starts at the call; otherwise at the attempt's end
   */
  async runTask (name: string, forced = true): Promise<Task> {
    this.#checkOpen()
    return await this.#tasks.run(name, forced)
  }

  /** Deletes all tasks and all tombstones of tasks. Tasks are invisible at once; names can be reused when it resolves. */
  async clear (): Promise<void> {
    this.#checkOpen()
    await Promise.all(Array.from(this.#queues.all(), async queue => await this.#queues.purge(queue.name)))
    await this.#writeBehind.settle()
    await this.#store.forget(this.#writeBehind.names.withdrawAll(name => name.includes('/tasks/')))
  }

  /** Works even after `close`, for the remaining tasks. */
  counts (queueName: string): QueueCounts {
    const queue = this.#queues.get(queueName)
    return { waiting: queue.due.size, running: queue.running }
  }

  /** Works even after `close`. */
  state (queueName: string): QueueState {
    return this.#queues.get(queueName).stored.state
  }

  /** Due time of the first waiting task. Works even after `close`. */
  firstDueAt (queueName: string): number | undefined {
    return this.#queues.get(queueName).due.first?.dueAt
  }

  /** Number of tasks in a queue, including running ones, and the due time of the first waiting one. */
  backlog (queueName: string): { tasks: number, firstDueAt: number | undefined } {
    const { tasks, due } = this.#queue(queueName)
    return { tasks: tasks.size, firstDueAt: due.first?.dueAt }
  }

  /** All locations that have queues: `projects/P/locations/L`, in order. */
  locations (): readonly string[] {
    this.#checkOpen()
    return [...new Set([...this.#queues.all()].map(({ name }) => name.slice(0, name.lastIndexOf('/queues/'))))].sort()
  }

  async #load (onProgress: (progress: LoadProgress) => void): Promise<void> {
    const { queues, tasks, taskCount, tombstones, lastKnownAt } = await this.#store.load(onProgress)
    this.#queues.load(queues)
    const now = this.#retention.begin(lastKnownAt)
    await this.#inSlices(tombstones, ({ name, until }) => {
      // Limited to the configured time, because the clock may have been set back since it was stored.
      this.#writeBehind.names.add(name, Math.min(until - now, this.#tombstoneMs(name)))
    })
    await this.#inSlices(tasks, task => {
      const queue = this.#queues.find(queueNameOf(task.name))
      if (queue !== undefined) queue.add(new TaskEntry(task))
      else this.#onError(new Error(`The store has no queue for task ${task.name}`), { during: 'load', name: task.name })
    }, done => { onProgress({ step: 'loading tasks', done, total: taskCount }) })
    this.#checkNotClosed()
    this.#isOpen = true
  }

  /** Yields to the event loop in between, so that a million items do not block it, and `close` can abort it. */
  async #inSlices<T> (items: Iterable<T>, load: (item: T) => void, onSlice: (done: number) => void = () => {}): Promise<void> {
    let loaded = 0
    this.#checkNotClosed()
    for (const item of items) {
      load(item)
      if (++loaded % SLICE !== 0) continue
      onSlice(loaded)
      await nextTurn()
      this.#checkNotClosed()
    }
  }

  async #close (): Promise<void> {
    if (!this.#isOpen) {
      await Promise.all([this.#store.close(), this.#opening?.catch(() => {})]) // The caller of `open` has the error.
      return
    }
    this.#isOpen = false
    await this.stop()
    await this.#queues.settle()
    await this.#writeBehind.settle()
    this.#writeBehind.close()
    await this.#store.close()
  }

  #queue (name: string): TaskQueue {
    this.#checkOpen()
    return this.#queues.get(name)
  }

  /** How long the name of a finished task or deleted queue cannot be reused. */
  #tombstoneMs (name: string): number {
    if (!name.includes('/tasks/')) return this.#queueTombstoneMs
    const seconds = this.#queues.find(queueNameOf(name))?.stored.settings.tombstoneTtlSeconds
    return seconds === undefined ? this.#taskTombstoneMs : seconds * 1000
  }

  #checkOpen (): void {
    if (!this.#isOpen) throw statusErrors.notOpen()
  }

  #checkNotClosed (): void {
    if (this.#closed !== undefined) throw statusErrors.notOpen()
  }
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

function warnOfExpired ({ count, names }: ExpiryReport): void {
  process.emitWarning(`${count} tasks were dropped because they were older than 31 days: ${names.join(', ')}`)
}

const SLICE = 1000

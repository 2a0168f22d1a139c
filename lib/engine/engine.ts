import { AsyncResource } from 'node:async_hooks'
import { MAX_DISPATCHES_PER_SECOND } from '../cloud-tasks/limits.js'
import { checkNewTask, withStoredDefaults } from '../cloud-tasks/new-task.js'
import { isTaskId, parseQueueName, parseTaskName, printQueueName, queueNameOf } from '../cloud-tasks/names.js'
import { MAX_TASK_BYTES, storedSize } from '../cloud-tasks/size.js'
import { statusErrors } from '../cloud-tasks/status.js'
import type { NewQueueSettings, NewTask, Task } from '../cloud-tasks/task.js'
import type { Dispatcher } from './dispatcher.js'
import { Attempts } from './attempts.js'
import { systemClock, type Clock } from '../clock/clock.js'
import { WriteBehind, type ErrorContext } from './write-behind.js'
import { Observers, type EndOfTask, type Observer } from './observers.js'
import { TaskPager, type TaskPageQuery } from './task-pages.js'
import { TaskEntry, type TaskQueue } from './task-queue.js'
import { Queues, type QueuePage, type QueueQuery, type SettingsChange } from './queues.js'
import { DispatchLoop } from './dispatch-loop.js'
import { ExpiryReports, type ExpiryReport } from './expiry-reports.js'
import { Retention } from './retention.js'
import type { Store, StoredQueue } from '../store/store.js'

export type { Answer, Attempt, Dispatcher } from './dispatcher.js'
export type { ErrorContext } from './write-behind.js'
export type { ExpiryReport } from './expiry-reports.js'
export type { AttemptReport, EndOfTask, Observer } from './observers.js'
export type { TaskPageQuery } from './task-pages.js'
export type { QueuePage, QueueQuery, SettingsChange } from './queues.js'
export type { StoredQueue } from '../store/store.js'

export interface EngineOptions {
  readonly store: Store
  readonly dispatch: Dispatcher
  /** @default systemClock */
  readonly clock?: Clock
  /**
   * The async context of all that the engine starts: attempts, timers, observers and errors. Never that of the call which happened
   * to store a task or to free a slot, as one call may start the attempts of many others. @default that in which the engine was made
   */
  readonly scope?: AsyncResource
  /** How long the name of a task that has ended is refused, unless its queue says. 0: not at all. @default 1 hour */
  readonly taskTombstoneMs?: number
  /** How long the name of a deleted queue is refused. 0: not at all. @default 7 days */
  readonly queueTombstoneMs?: number
  /**
   * Also remember ids that the service picked, as production does, so that GetTask tells a task that has ended from one that
   * never was. Costs memory for every task that ran within `taskTombstoneMs`. @default false
   */
  readonly rememberGeneratedNames?: boolean
  /** The largest rate that a queue may have, in dispatches a second. @default 500, the most that Cloud Tasks allows */
  readonly maxDispatchesPerSecond?: number
  /** Called with errors that no caller receives. @default process.emitWarning */
  readonly onError?: (error: unknown, where: ErrorContext) => void
  /**
   * Called for each task that has outlived its retention of 31 days, once its end is stored, with its last state. At most once a task;
   * its queue has one slot less until what it returns has resolved. @default does nothing
   */
  readonly onExpired?: (task: Task) => unknown
  /** Called at most once a second with the tasks that have expired since. @default process.emitWarning */
  readonly reportExpired?: (report: ExpiryReport) => void
}

export interface TaskPage {
  readonly tasks: readonly Task[]
  readonly nextPageToken?: string
}

export interface QueueCounts {
  /** Tasks that are due or will be. */
  readonly waiting: number
  /** Attempts under way. */
  readonly running: number
}

/**
 * Cloud Tasks' behaviour: queues, schedule, retry, rate, names. What it refuses, it refuses as the service does, with a
 * CloudTasksError. A task is either waiting (in its queue's heap) or has attempts under way:
 *
 *   createTask -> stored -> waiting -> [due, slot, token] -> attempt -> 2xx or given up: removed, name remembered
 *                              ^-------- backoff ------------ all else
 *
 * Reads answer at once and throw; changes resolve when the store has them. `open` comes first, then anything; `start` and
 * `stop` begin and end dispatching, as often as wanted; after `close` everything is refused.
 */
export class Engine {
  readonly #store: Store
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #taskTombstoneMs: number
  readonly #queueTombstoneMs: number
  readonly #onError: (error: unknown, where: ErrorContext) => void
  readonly #writeBehind: WriteBehind
  readonly #attempts: Attempts
  readonly #retention: Retention
  readonly #expiryReports: ExpiryReports
  readonly #dispatchLoop: DispatchLoop
  readonly #queues: Queues
  readonly #observers: Observers
  readonly #pages = new TaskPager()
  /** Named tasks that are being stored; resolves, whatever their fate. */
  readonly #creating = new Map<string, Promise<void>>()
  #isOpen = false
  #closed: Promise<void> | undefined

  constructor (options: EngineOptions) {
    const { store, dispatch, clock = systemClock, scope = new AsyncResource('fastify-cloud-tasks'), onExpired = () => {}, reportExpired = warnOfExpired } = options
    const report = options.onError ?? warn
    const onError = (error: unknown, where: ErrorContext): void => { scope.runInAsyncScope(report, undefined, error, where) }
    this.#store = store
    this.#clock = clock
    this.#scope = scope
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
      find: name => this.#creating.has(name) ? null : this.#queues.find(queueNameOf(name))?.tasks.get(name)
    })
    const dispatchLoop = this.#dispatchLoop = new DispatchLoop(clock, scope, queue => {
      this.#attempts.start(queue, queue.due.first!, false)
    })
    const retention = this.#retention = new Retention(clock, error => { onError(error, { during: 'expire' }) })
    const expiryReports = this.#expiryReports = new ExpiryReports(clock, reportExpired)
    this.#attempts = new Attempts({
      clock, writeBehind, dispatch, observers, retention, expiryReports, onExpired, onError, onEnd: queue => { dispatchLoop.changed(queue) }
    })
    this.#queues = new Queues({
      store, clock, writeBehind, dispatchLoop, observers, tombstoneMs: this.#queueTombstoneMs, maxRate: options.maxDispatchesPerSecond ?? MAX_DISPATCHES_PER_SECOND
    })
  }

  /** The clock that it was given. */
  get clock (): Clock {
    return this.#clock
  }

  /** Loads what the store has. Rejects with the store's error. */
  async open (): Promise<void> {
    const { queues, tasks, tombstones, lastKnownAt } = await this.#store.load()
    this.#queues.load(queues)
    const now = this.#retention.begin(lastKnownAt)
    await this.#inSlices(tombstones, ({ name, until }) => {
      // Never for longer than a name is refused at all: the clock may have been set back since it was stored.
      this.#writeBehind.names.add(name, Math.min(until - now, this.#tombstoneMs(name)))
    })
    await this.#inSlices(tasks, task => {
      const queue = this.#queues.find(queueNameOf(task.name))
      if (queue !== undefined) queue.add(new TaskEntry(task))
      else this.#onError(new Error(`The store has no queue for task ${task.name}`), { during: 'load', name: task.name })
    })
    this.#isOpen = true
  }

  /** Begins to dispatch. Before it, tasks are only stored. */
  start (): void {
    this.#checkOpen()
    this.#dispatchLoop.start(this.#queues.all())
  }

  /** Starts no more attempts. Resolves when those under way have ended and what they came to is stored. */
  async stop (): Promise<void> {
    this.#dispatchLoop.stop()
    await this.#attempts.idle()
    this.#expiryReports.flush()
    await this.#writeBehind.settle()
  }

  /** Stops, then closes the store. Leaves no timer behind. */
  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Has `observer` hear of all that happens from now on. Returns what ends that. */
  observe (observer: Observer): () => void {
    return this.#observers.add(observer)
  }

  async createQueue (name: string, settings?: NewQueueSettings): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.create(name, settings)
  }

  /**
   * Replaces all settings of a queue, at once also for tasks that wait; creates the queue if there is none. A function gets the
   * settings as they are then, so that nothing comes in between.
   */
  async updateQueue (name: string, settings?: NewQueueSettings | SettingsChange): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.update(name, settings)
  }

  getQueue (name: string): StoredQueue {
    return this.#queue(name).stored
  }

  /** As `getQueue`, but undefined when there is none. */
  findQueue (name: string): StoredQueue | undefined {
    this.#checkOpen()
    return this.#queues.find(name)?.stored
  }

  /** The queues of `projects/P/locations/L`, in lexicographic order. */
  listQueues (parent: string, page: QueueQuery = {}): QueuePage {
    this.#checkOpen()
    return this.#queues.list(parent, page)
  }

  /** Keeps with the queue what `change` makes of what was kept before: any JSON. What it throws changes nothing. */
  async setQueuePolicy (name: string, change: (policy: unknown) => unknown): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.setPolicy(name, change)
  }

  /** The queues of all projects and locations, in the order in which they came to be. */
  queues (): StoredQueue[] {
    this.#checkOpen()
    return Array.from(this.#queues.all(), queue => queue.stored)
  }

  /** Deletes a queue with all its tasks, and refuses its name for a while. */
  async deleteQueue (name: string): Promise<void> {
    this.#checkOpen()
    await this.#queues.delete(name)
  }

  /** From then on the queue takes tasks and dispatches none. Attempts under way go on. */
  async pauseQueue (name: string): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.setState(name, 'PAUSED')
  }

  async resumeQueue (name: string): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.setState(name, 'RUNNING')
  }

  /** Deletes all tasks that were created before the call; they are out of sight at once and gone when this resolves. */
  async purgeQueue (name: string): Promise<StoredQueue> {
    this.#checkOpen()
    return await this.#queues.purge(name)
  }

  /** Resolves with the task as it is stored. */
  async createTask (queueName: string, newTask: NewTask): Promise<Task> {
    this.#checkOpen()
    const now = this.#clock.now()
    if (this.#queues.find(queueName) === undefined && parseQueueName(queueName) === undefined) throw statusErrors.queueName()
    checkNewTask(queueName, newTask, now)
    this.#writeBehind.sweep()
    const { name } = newTask
    if (name === undefined) return await this.#add(this.#queue(queueName), newTask, now)

    // Whether the name is taken depends on whether the task before it comes to be stored.
    for (let first = this.#creating.get(name); first !== undefined; first = this.#creating.get(name)) await first
    const queue = this.#queue(queueName)
    if (this.#entry(queue, name) !== undefined) throw statusErrors.taskExists()
    if (this.#writeBehind.names.has(name)) throw statusErrors.taskExistedRecently()
    const creation = this.#add(queue, newTask, now)
    const forget = (): void => { this.#creating.delete(name) }
    this.#creating.set(name, creation.then(forget, forget))
    return await creation
  }

  getTask (name: string): Task {
    const task = this.#writeBehind.read(this.#find(name).entry)
    if (task === undefined) throw statusErrors.notFound()
    return task
  }

  /**
   * A page of the queue's tasks, in no particular order. It has fewer than asked for where those have more than 3 MiB.
   * @param bytesOf what a task adds to its page, in bytes
   */
  listTasks (queueName: string, page: TaskPageQuery = {}, bytesOf: (task: Task) => number = storedSize): TaskPage {
    const queue = this.#queue(queueName)
    const read = new Map<TaskEntry, Task | undefined>()
    const { entries, ...next } = this.#pages.page(queue, page, this.#clock.monotonic(), entry => {
      const task = this.#writeBehind.read(entry)
      read.set(entry, task)
      return task === undefined ? 0 : bytesOf(task)
    })
    const live = entries.filter(entry => this.#entry(queue, entry.name) === entry)
    return { tasks: live.map(entry => read.get(entry) ?? this.#writeBehind.read(entry)).filter(task => task !== undefined), ...next }
  }

  /** Attempts of a task under way: 0 while it waits. */
  running (name: string): number {
    return this.#find(name).entry.attempts
  }

  /** Deletes a task. The result of an attempt under way means nothing any more. */
  async deleteTask (name: string): Promise<void> {
    const { queue, entry } = this.#find(name)
    queue.remove(entry)
    const tombstone = this.#writeBehind.addTombstone(entry)
    this.#dispatchLoop.changed(queue)
    try {
      await this.#store.removeTask(name, tombstone)
    } catch (error) {
      this.#writeBehind.names.withdraw(name)
      queue.readmit([entry])
      this.#dispatchLoop.changed(queue)
      throw statusErrors.notStored(error)
    }
    this.#ended(name, 'deleted')
  }

  /** Dispatches a task now, whatever its schedule and its queue say. Returns its state after dispatch. */
  async runTask (name: string): Promise<Task> {
    const { queue, entry } = this.#find(name)
    if (!this.#dispatchLoop.started) throw statusErrors.notStarted()
    const task = this.#scope.runInAsyncScope(this.#attempts.start, this.#attempts, queue, entry, true)
    if (task === undefined) throw statusErrors.notFound()
    this.#dispatchLoop.changed(queue)
    return task
  }

  /** Answers also when closed, with what was left. */
  counts (queueName: string): QueueCounts {
    const queue = this.#queues.get(queueName)
    return { waiting: queue.due.size, running: queue.running }
  }

  /** How many tasks a queue has, those under way included, and when the first of the others is due, or was. */
  backlog (queueName: string): { tasks: number, firstDueAt: number | undefined } {
    const { tasks, due } = this.#queue(queueName)
    return { tasks: tasks.size, firstDueAt: due.first?.dueAt }
  }

  /** All locations that have queues: `projects/P/locations/L`, in order. */
  locations (): readonly string[] {
    this.#checkOpen()
    return [...new Set([...this.#queues.all()].map(({ name }) => name.slice(0, name.lastIndexOf('/queues/'))))].sort()
  }

  async #close (): Promise<void> {
    this.#isOpen = false
    await this.stop()
    await this.#queues.settle()
    await this.#writeBehind.settle()
    await this.#store.close()
  }

  async #add (queue: TaskQueue, newTask: NewTask, now: number): Promise<Task> {
    const task = withStoredDefaults(queue.name, newTask, now)
    if (storedSize(task) > MAX_TASK_BYTES) throw statusErrors.taskTooLarge()
    try {
      await this.#store.putTask(task)
    } catch (error) {
      throw statusErrors.notStored(error)
    }
    // Also when the queue was deleted meanwhile: should the store refuse that, it is still this queue.
    queue.add(new TaskEntry(task))
    if (!this.#observers.none) this.#observers.notify('added', task)
    this.#dispatchLoop.changed(queue)
    return task
  }

  /** With a turn of the event loop in between, so that a million items hold nothing up. */
  async #inSlices<T> (items: Iterable<T>, take: (item: T) => void): Promise<void> {
    let taken = 0
    for (const item of items) {
      take(item)
      if (++taken % SLICE === 0) await new Promise<void>(resolve => { this.#clock.setImmediate(resolve) })
    }
  }

  #queue (name: string): TaskQueue {
    this.#checkOpen()
    return this.#queues.get(name)
  }

  #find (name: string): { queue: TaskQueue, entry: TaskEntry } {
    this.#checkOpen()
    const parsed = parseTaskName(name)
    if (parsed === undefined) throw statusErrors.taskName()
    if (!isTaskId(parsed.task)) throw statusErrors.taskId(parsed.task)
    const queue = this.#queues.find(printQueueName(parsed))
    if (queue === undefined) throw statusErrors.notFound()
    const entry = this.#entry(queue, name)
    if (entry !== undefined) return { queue, entry }
    throw this.#writeBehind.names.has(name) ? statusErrors.taskGone() : statusErrors.notFound()
  }

  /** The task of that name, unless it has outlived its retention; then it ends here. */
  #entry (queue: TaskQueue, name: string): TaskEntry | undefined {
    this.#queues.removePurged(queue, name)
    const entry = queue.tasks.get(name)
    if (entry === undefined || entry.attempts > 0 || !this.#retention.hasExpired(entry, this.#clock.now())) return entry
    this.#scope.runInAsyncScope(this.#attempts.expire, this.#attempts, queue, entry)
    return undefined
  }

  /** How long the name of a task that has ended, or of a queue that was deleted, is refused. */
  #tombstoneMs (name: string): number {
    if (!name.includes('/tasks/')) return this.#queueTombstoneMs
    const seconds = this.#queues.find(queueNameOf(name))?.stored.settings.tombstoneTtlSeconds
    return seconds === undefined ? this.#taskTombstoneMs : seconds * 1000
  }

  #ended (name: string, why: EndOfTask): void {
    if (!this.#observers.none) this.#observers.notify('ended', name, why)
  }

  #checkOpen (): void {
    if (!this.#isOpen) throw statusErrors.notOpen()
  }
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

function warnOfExpired ({ count, names }: ExpiryReport): void {
  process.emitWarning(`${count} tasks were dropped because they were older than 31 days: ${names.join(', ')}`)
}

/** What is loaded in one go. */
const SLICE = 1000

import type { Clock } from '../clock/clock.js'
import { storedSize } from '../cloud-tasks/size.js'
import { statusErrors } from '../cloud-tasks/status.js'
import type { NewQueueSettings, NewTask, QueueState, Task } from '../cloud-tasks/task.js'
import type { LoadProgress, StoredQueue } from '../store/store.js'
import { assemble, type EngineOptions, type EngineParts } from './assembly.js'
import { load } from './loading.js'
import type { Observer } from './observers.js'
import type { QueuePage, QueueQuery } from './memory/queue-pages.js'
import type { SettingsChange } from './queues.js'
import type { TaskPageQuery } from './memory/task-pages.js'
import type { TaskPage } from './tasks.js'

export type { EngineOptions } from './assembly.js'
export type { Answer, Attempt, Dispatcher } from './dispatcher.js'
export type { ErrorContext } from './write-behind.js'
export type { ExpiryReport } from './expiry.js'
export type { AttemptReport, EndOfTask, Observer } from './observers.js'
export type { TaskPageQuery } from './memory/task-pages.js'
export type { TaskPage } from './tasks.js'
export type { QueuePage, QueueQuery } from './memory/queue-pages.js'
export type { SettingsChange } from './queues.js'
export type { LoadProgress, StoredQueue } from '../store/store.js'

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
  readonly #parts: EngineParts
  #isOpen = false
  #opening: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor (options: EngineOptions) {
    this.#parts = assemble(options)
  }

  get clock (): Clock {
    return this.#parts.clock
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
    const { dispatchLoop, queues } = this.#open
    dispatchLoop.start(queues.all())
  }

  /** Starts no more attempts. Resolves when running ones have ended and their results are stored. */
  async stop (): Promise<void> {
    const { attempts, dispatchLoop, expiryReports, writeBehind } = this.#parts
    dispatchLoop.stop()
    await attempts.idle()
    expiryReports.flush()
    await writeBehind.settle()
  }

  /** Dispatches nothing automatically until `release`, even if it is started in the meantime. Tasks then only run by `runTask`. */
  hold (): void {
    this.#parts.dispatchLoop.hold()
  }

  /** Resumes automatic dispatching, if it is started. */
  release (): void {
    const { dispatchLoop, queues } = this.#parts
    dispatchLoop.release(queues.all())
  }

  /** Stops, then closes the store. Leaves no timer behind. */
  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Subscribes `observer`. Returns a function to unsubscribe. */
  observe (observer: Observer): () => void {
    return this.#parts.observers.add(observer)
  }

  async createQueue (name: string, settings?: NewQueueSettings): Promise<StoredQueue> {
    return await this.#open.queues.create(name, settings)
  }

  /**
   * Replaces all settings of a queue, with immediate effect for waiting tasks; creates the queue if it is missing. A function is called
   * with the current settings, atomically.
   */
  async updateQueue (name: string, settings?: NewQueueSettings | SettingsChange): Promise<StoredQueue> {
    return await this.#open.queues.update(name, settings)
  }

  /** Like `updateQueue` for many queues. Unchanged queues are not written. */
  async updateQueues (settings: ReadonlyMap<string, NewQueueSettings>): Promise<void> {
    await this.#open.queues.updateAll(settings)
  }

  getQueue (name: string): StoredQueue {
    return this.#open.queues.get(name).stored
  }

  /** Like `getQueue`, but returns undefined when it does not exist. */
  findQueue (name: string): StoredQueue | undefined {
    return this.#open.queues.find(name)?.stored
  }

  /** The queues of `projects/P/locations/L`, in lexicographic order. */
  listQueues (parent: string, page: QueueQuery = {}): QueuePage {
    return this.#open.queues.list(parent, page)
  }

  /**
   * Replaces the policy of a queue, any JSON, by the result of `change` for the former one. If `change` throws, nothing changes.
   */
  async setQueuePolicy (name: string, change: (policy: unknown) => unknown): Promise<StoredQueue> {
    return await this.#open.queues.setPolicy(name, change)
  }

  /** The queues of all projects and locations, in the order of their creation. */
  queues (): StoredQueue[] {
    return Array.from(this.#open.queues.all(), queue => queue.stored)
  }

  /** Deletes a queue with all its tasks, and adds a tombstone for its name. */
  async deleteQueue (name: string): Promise<void> {
    await this.#open.queues.delete(name)
  }

  /** Pauses a queue: it accepts tasks but dispatches none. Running attempts continue. */
  async pauseQueue (name: string): Promise<StoredQueue> {
    return await this.#open.queues.setState(name, 'PAUSED')
  }

  async resumeQueue (name: string): Promise<StoredQueue> {
    return await this.#open.queues.setState(name, 'RUNNING')
  }

  /** Deletes all tasks that were created before the call; they are invisible at once, and removed from the store when this resolves. */
  async purgeQueue (name: string): Promise<StoredQueue> {
    return await this.#open.queues.purge(name)
  }

  /** Resolves with the task as it is stored. */
  async createTask (queueName: string, newTask: NewTask): Promise<Task> {
    return await this.#open.tasks.create(queueName, newTask)
  }

  /** Like `createTask` for many tasks, stored in one step. Results are in order; an invalid task does not affect the others. */
  async createTasks (queueName: string, newTasks: readonly NewTask[]): Promise<Array<PromiseSettledResult<Task>>> {
    return await this.#open.tasks.createAll(queueName, newTasks)
  }

  getTask (name: string): Task {
    return this.#open.tasks.get(name)
  }

  /**
   * A page of the queue's tasks, in no particular order. It is shorter than requested if the tasks have more than 3 MiB.
   * @param bytesOf the size of a task in its page
   */
  listTasks (queueName: string, page: TaskPageQuery = {}, bytesOf: (task: Task) => number = storedSize): TaskPage {
    return this.#open.tasks.list(queueName, page, bytesOf)
  }

  /** The name of a task in the queue whose name matches. Searches memory only. */
  findTask (queueName: string, matches: (name: string) => boolean): string | undefined {
    for (const { name } of this.#open.queues.get(queueName).tasks.values()) if (matches(name)) return name
    return undefined
  }

  /** Number of running attempts of a task: 0 while it waits. */
  running (name: string): number {
    return this.#open.tasks.running(name)
  }

  /** Deletes a task. The result of a running attempt is ignored. */
  async deleteTask (name: string): Promise<void> {
    await this.#open.tasks.delete(name)
  }

  /**
   * Dispatches a task now, regardless of its schedule and of its queue's state and limits. Returns its state after dispatch.
   * @param forced whether it is RunTask's, after which the backoff starts at the call; otherwise at the attempt's end
   */
  async runTask (name: string, forced = true): Promise<Task> {
    return await this.#open.tasks.run(name, forced)
  }

  /** Deletes all tasks and all tombstones of tasks. Tasks are invisible at once; names can be reused when it resolves. */
  async clear (): Promise<void> {
    const { queues, store, writeBehind } = this.#open
    await Promise.all(Array.from(queues.all(), async queue => await queues.purge(queue.name)))
    await writeBehind.settle()
    await store.forget(writeBehind.names.withdrawAll(name => name.includes('/tasks/')))
  }

  /** Works even after `close`, for the remaining tasks. */
  counts (queueName: string): QueueCounts {
    const queue = this.#parts.queues.get(queueName)
    return { waiting: queue.due.size, running: queue.running }
  }

  /** Works even after `close`. */
  state (queueName: string): QueueState {
    return this.#parts.queues.get(queueName).stored.state
  }

  /** Due time of the first waiting task. Works even after `close`. */
  firstDueAt (queueName: string): number | undefined {
    return this.#parts.queues.get(queueName).due.first?.dueAt
  }

  /** Number of tasks in a queue, including running ones, and the due time of the first waiting one. */
  backlog (queueName: string): { tasks: number, firstDueAt: number | undefined } {
    const { tasks, due } = this.#open.queues.get(queueName)
    return { tasks: tasks.size, firstDueAt: due.first?.dueAt }
  }

  /** All locations that have queues: `projects/P/locations/L`, in order. */
  locations (): readonly string[] {
    return [...new Set([...this.#open.queues.all()].map(({ name }) => name.slice(0, name.lastIndexOf('/queues/'))))].sort()
  }

  async #load (onProgress: (progress: LoadProgress) => void): Promise<void> {
    await load(this.#parts, onProgress, () => {
      if (this.#closed !== undefined) throw statusErrors.notOpen()
    })
    this.#isOpen = true
  }

  async #close (): Promise<void> {
    const { queues, store, writeBehind } = this.#parts
    if (!this.#isOpen) {
      await Promise.all([store.close(), this.#opening?.catch(() => {})]) // The caller of `open` has the error.
      return
    }
    this.#isOpen = false
    await this.stop()
    await queues.settle()
    await writeBehind.settle()
    writeBehind.close()
    await store.close()
  }

  /** The parts. Throws UNAVAILABLE before `open` has resolved and after `close`. */
  get #open (): EngineParts {
    if (!this.#isOpen) throw statusErrors.notOpen()
    return this.#parts
  }
}

import type { AsyncResource } from 'node:async_hooks'
import type { Clock } from '../clock/clock.js'
import { checkNewTask, withStoredDefaults } from '../cloud-tasks/new-task.js'
import { isTaskId, parseQueueName, parseTaskName, printQueueName } from '../cloud-tasks/names.js'
import { MAX_TASK_BYTES, storedSize } from '../cloud-tasks/size.js'
import { statusErrors } from '../cloud-tasks/status.js'
import type { NewTask, Task } from '../cloud-tasks/task.js'
import type { Store } from '../store/store.js'
import type { Attempts } from './attempts.js'
import type { DispatchLoop } from './dispatch-loop.js'
import type { Retention } from './expiry.js'
import type { Observers } from './observers.js'
import type { Queues } from './queues.js'
import { TaskPager, type TaskPageQuery } from './memory/task-pages.js'
import { TaskEntry, type TaskQueue } from './memory/task-queue.js'
import type { WriteBehind } from './write-behind.js'

export interface TasksOptions {
  readonly store: Store
  readonly clock: Clock
  readonly scope: AsyncResource
  readonly writeBehind: WriteBehind
  readonly queues: Queues
  readonly attempts: Attempts
  readonly dispatchLoop: DispatchLoop
  readonly retention: Retention
  readonly observers: Observers
}

export interface TaskPage {
  readonly tasks: readonly Task[]
  readonly nextPageToken?: string
}

/** The tasks of an engine. */
export class Tasks {
  readonly #options: TasksOptions
  readonly #pages = new TaskPager()
  /** Named tasks that are being stored or deleted. Each promise resolves in either case. */
  readonly #changing = new Map<string, Promise<void>>()

  constructor (options: TasksOptions) {
    this.#options = options
  }

  /** Whether a task of that name is being stored or deleted. */
  isChanging (name: string): boolean {
    return this.#changing.has(name)
  }

  async create (queueName: string, newTask: NewTask): Promise<Task> {
    const { clock, queues, writeBehind } = this.#options
    const now = clock.now()
    if (queues.find(queueName) === undefined && parseQueueName(queueName) === undefined) throw statusErrors.queueName()
    checkNewTask(queueName, newTask, now)
    writeBehind.sweep()
    const { name } = newTask
    if (name === undefined) return await this.#add(queues.get(queueName), newTask, now)

    // Whether the name is taken depends on whether the task before it is stored successfully.
    for (let first = this.#changing.get(name); first !== undefined; first = this.#changing.get(name)) await first
    const queue = queues.get(queueName)
    if (this.#entry(queue, name) !== undefined) throw statusErrors.taskExists()
    if (writeBehind.names.has(name)) throw statusErrors.taskExistedRecently()
    return await this.#hold(name, this.#add(queue, newTask, now))
  }

  /** Rejects only if the queue does not exist: an invalid task does not affect the others. */
  async createAll (queueName: string, newTasks: readonly NewTask[]): Promise<Array<PromiseSettledResult<Task>>> {
    const { clock, queues, writeBehind } = this.#options
    const now = clock.now()
    const queue = queues.get(queueName)
    writeBehind.sweep(newTasks.length)
    const results: Array<PromiseSettledResult<Task>> = new Array(newTasks.length)
    const added = new Map<number, Task>()
    const waiting: number[] = []
    let release!: () => void
    const released = new Promise<void>(resolve => { release = resolve })
    for (const [index, newTask] of newTasks.entries()) {
      const { name } = newTask
      try {
        checkNewTask(queueName, newTask, now)
        if (name !== undefined && this.#changing.has(name)) {
          waiting.push(index)
          continue
        }
        if (name !== undefined) this.#checkFree(queue, name)
        added.set(index, storable(queue, newTask, now))
        if (name !== undefined) this.#changing.set(name, released)
      } catch (reason) {
        results[index] = { status: 'rejected', reason }
      }
    }
    const reason = await this.#addAll(queue, added)
    for (const [index, task] of added) {
      results[index] = reason === undefined ? { status: 'fulfilled', value: task } : { status: 'rejected', reason }
      const { name } = newTasks[index]!
      if (name !== undefined) this.#changing.delete(name)
    }
    release()
    await Promise.all(waiting.map(async index => {
      [results[index]] = await Promise.allSettled([this.create(queueName, newTasks[index]!)])
    }))
    return results
  }

  get (name: string): Task {
    const task = this.#options.writeBehind.read(this.#find(name).entry)
    if (task === undefined) throw statusErrors.notFound()
    return task
  }

  /** @param bytesOf the size of a task in its page */
  list (queueName: string, page: TaskPageQuery, bytesOf: (task: Task) => number): TaskPage {
    const { clock, queues } = this.#options
    const queue = queues.get(queueName)
    const read = new Map<TaskEntry, Task | undefined>()
    const { entries, ...next } = this.#pages.page(queue, page, clock.monotonic(), entry => {
      const task = this.#readListed(entry)
      read.set(entry, task)
      return task === undefined ? 0 : bytesOf(task)
    })
    const live = entries.filter(entry => this.#entry(queue, entry.name) === entry)
    return { tasks: live.map(entry => read.get(entry) ?? this.#readListed(entry)).filter(task => task !== undefined), ...next }
  }

  /** Undefined where the record is damaged, which is reported: the other tasks can still be listed. */
  #readListed (entry: TaskEntry): Task | undefined {
    const { writeBehind } = this.#options
    try {
      return writeBehind.read(entry)
    } catch (error) {
      if ((error as { readonly problem?: unknown }).problem !== 'damaged') throw error
      writeBehind.report(error, entry.name)
      return undefined
    }
  }

  running (name: string): number {
    return this.#find(name).entry.attempts
  }

  async delete (name: string): Promise<void> {
    const { dispatchLoop, observers, store, writeBehind } = this.#options
    const { queue, entry } = this.#find(name)
    queue.remove(entry)
    const tombstone = writeBehind.addTombstone(entry)
    dispatchLoop.changed(queue)
    try {
      await this.#hold(name, store.removeTask(name, tombstone))
    } catch (error) {
      writeBehind.names.withdraw(name)
      queue.readmit([entry])
      dispatchLoop.changed(queue)
      throw statusErrors.notStored(error)
    }
    if (!observers.none) observers.notify('ended', name, 'deleted')
  }

  async run (name: string, forced: boolean): Promise<Task> {
    const { attempts, dispatchLoop, scope } = this.#options
    const { queue, entry } = this.#find(name)
    if (!dispatchLoop.started && !dispatchLoop.held) throw statusErrors.notStarted()
    const task = scope.runInAsyncScope(attempts.start, attempts, queue, entry, forced)
    if (task === undefined) throw statusErrors.notFound()
    dispatchLoop.changed(queue)
    return task
  }

  /** Has the next task of that name wait for the end of a change. */
  #hold<T> (name: string, change: Promise<T>): Promise<T> {
    const forget = (): void => { this.#changing.delete(name) }
    this.#changing.set(name, change.then(forget, forget))
    return change
  }

  async #add (queue: TaskQueue, newTask: NewTask, now: number): Promise<Task> {
    const task = storable(queue, newTask, now)
    try {
      await this.#options.store.putTask(task)
    } catch (error) {
      throw statusErrors.notStored(error)
    }
    this.#admit(queue, task)
    this.#options.dispatchLoop.changed(queue)
    return task
  }

  /** Stores tasks in one step, and wakes the queue once. Never rejects: resolves with the error. */
  async #addAll (queue: TaskQueue, tasks: ReadonlyMap<number, Task>): Promise<Error | undefined> {
    if (tasks.size === 0) return undefined
    try {
      await this.#options.store.putTasks([...tasks.values()])
    } catch (error) {
      return statusErrors.notStored(error)
    }
    for (const task of tasks.values()) this.#admit(queue, task)
    this.#options.dispatchLoop.changed(queue)
    return undefined
  }

  /** Adds a stored task, even if its queue was deleted in the meantime: the queue is restored if the store fails to delete it. */
  #admit (queue: TaskQueue, task: Task): void {
    const { observers } = this.#options
    queue.add(new TaskEntry(task))
    if (!observers.none) observers.notify('added', task)
  }

  #checkFree (queue: TaskQueue, name: string): void {
    if (this.#entry(queue, name) !== undefined) throw statusErrors.taskExists()
    if (this.#options.writeBehind.names.has(name)) throw statusErrors.taskExistedRecently()
  }

  #find (name: string): { queue: TaskQueue, entry: TaskEntry } {
    const parsed = parseTaskName(name)
    if (parsed === undefined) throw statusErrors.taskName()
    if (!isTaskId(parsed.task)) throw statusErrors.taskId(parsed.task)
    const queue = this.#options.queues.find(printQueueName(parsed))
    if (queue === undefined) throw statusErrors.notFound()
    const entry = this.#entry(queue, name)
    if (entry !== undefined) return { queue, entry }
    throw this.#options.writeBehind.names.has(name) ? statusErrors.taskGone() : statusErrors.notFound()
  }

  /** Finds a task by its name. Ends it if it has expired. */
  #entry (queue: TaskQueue, name: string): TaskEntry | undefined {
    const { attempts, clock, queues, retention, scope } = this.#options
    queues.removePurged(queue, name)
    const entry = queue.tasks.get(name)
    if (entry === undefined || entry.attempts > 0 || !retention.hasExpired(entry, clock.now())) return entry
    scope.runInAsyncScope(attempts.expire, attempts, queue, entry)
    return undefined
  }
}

/** The stored task. */
function storable (queue: TaskQueue, newTask: NewTask, now: number): Task {
  const task = withStoredDefaults(queue.name, newTask, now)
  if (storedSize(task) > MAX_TASK_BYTES) throw statusErrors.taskTooLarge()
  return task
}

import type { AsyncResource } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { DEFAULT_DISPATCH_DEADLINE_MS, DEFAULT_QUEUE_SETTINGS } from '../cloud-tasks/limits.js'
import { dispatchHeaders } from '../cloud-tasks/headers.js'
import { shortId } from '../cloud-tasks/names.js'
import { withStoredDefaults } from '../cloud-tasks/new-task.js'
import { COPY_RESERVE_BYTES, MAX_TASK_BYTES, storedSize } from '../cloud-tasks/size.js'
import { CloudTasksError, statusErrors } from '../cloud-tasks/status.js'
import type { NewTask, Task } from '../cloud-tasks/task.js'
import type { Config } from '../options/config.js'
import { LOCAL_MAX_DISPATCHES_PER_SECOND } from '../options/queues.js'
import { Engine, type Answer, type ExpiryReport } from '../engine/engine.js'
import { createStore } from '../store/create-store.js'
import { expiredChannel, type ExpiredEvent } from '../events.js'
import { FST_TASKS_STORE_UNAVAILABLE } from '../errors.js'
import { explain } from '../server-error.js'
import type { OneTimeSecrets } from '../delivery/one-time-secrets.js'
import { routePath } from '../delivery/path.js'
import { Delivery, pathOf } from './local/delivery.js'
import { countsOf, pendingPage, setQueueState, type Inspected } from './local-inspection.js'
import { Opening } from './local/opening.js'
import { queueHint, storeUnavailable } from './local/problems.js'
import { newTask } from './new-task.js'
import type {
  Deleted, Failure, Found, Inspection, Listed, OutgoingTask, Sent, TaskContent, TaskReading, Transport
} from './transport.js'

export interface LocalTransportOptions {
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  /** The async context in which attempts start. */
  readonly scope: AsyncResource
  readonly secrets: OneTimeSecrets
  /** Called once for each task that was dropped because it was older than 31 days, with the URL path of its route. */
  readonly onExpired: (task: Task, path: string) => Promise<void>
  /** Queues in the registry, in addition to those of `config.queues`. */
  readonly queueIds: Iterable<string>
  /** Whether to create other queues on demand, instead of rejecting their tasks. @default false */
  readonly createsQueues?: boolean
}

/** The embedded queue: the engine in this process, whose attempts reach the task routes without a network. */
export class LocalTransport implements Transport {
  readonly #app: FastifyInstance
  readonly #config: Config
  readonly #clock: Clock
  readonly #scope: AsyncResource
  readonly #delivery: Delivery
  readonly #onExpired: LocalTransportOptions['onExpired']
  readonly #parent: string
  readonly #queueIds: Set<string>
  readonly #createsQueues: boolean
  #engine!: Engine
  readonly #opening: Opening
  #refusing = false
  #closing = false
  readonly retrySettings = undefined
  readonly inspection: Inspection

  constructor ({ app, config, clock, scope, secrets, onExpired, queueIds, createsQueues = false }: LocalTransportOptions) {
    const isReady = (): boolean => this.#opening.isOpen
    this.inspection = {
      get ready () { return isReady() },
      counts: () => this.#counts(),
      page: (queue, page) => pendingPage(this.#inspected(), queue, page),
      setState: async (queue, state) => {
        if (!this.#opening.isOpen) await this.#opening.result
        await setQueueState(this.#inspected(), queue, state)
      }
    }
    this.#app = app
    this.#config = config
    this.#clock = clock
    this.#scope = scope
    this.#delivery = new Delivery({ app, config, clock, secrets })
    this.#onExpired = onExpired
    this.#parent = `projects/${config.project ?? 'local'}/locations/${config.location}`
    this.#queueIds = new Set([config.queue, ...config.queues.keys(), ...queueIds])
    if (config.deadLetterQueue !== undefined) this.#queueIds.add(config.deadLetterQueue)
    this.#createsQueues = createsQueues
    this.#opening = new Opening({ app, config, queueIds: this.#queueIds, queueName: id => this.queueName(id) })
  }

  async open (): Promise<void> {
    this.#engine = new Engine({
      store: await createStore(this.#config.directory).catch(error => { throw storeUnavailable(error) ?? error }),
      clock: this.#clock,
      scope: this.#scope,
      dispatch: attempt => this.#delivery.deliver(attempt),
      taskTombstoneMs: this.#config.taskTombstoneMs,
      maxDispatchesPerSecond: LOCAL_MAX_DISPATCHES_PER_SECOND,
      onExpired: task => this.#onExpired(task, pathOf(task)),
      reportExpired: report => { this.#reportExpired(report) },
      onError: (err, { count }) => { this.#app.log.error({ err, ...(count === undefined ? {} : { count }) }, 'embedded queue error') }
    })
    await this.#opening.begin(this.#engine)
  }

  /** @throws FST_TASKS_STORE_UNAVAILABLE */
  async opened (): Promise<void> {
    await this.#opening.finish(() => this.#closing)
  }

  /** Undefined when it is open; rejects if it failed to open. */
  get opening (): Promise<void> | undefined {
    return this.#opening.isOpen ? undefined : this.#opening.result
  }

  /** Available from `open` on. */
  get engine (): Engine {
    return this.#engine
  }

  queueName (id: string): string {
    return `${this.#parent}/queues/${id}`
  }

  start (): void {
    if (this.#opening.isOpen) this.#engine.start()
    else this.#opening.result.then(() => { if (!this.#closing) this.#engine.start() }, () => {}) // Reported by `opened`.
  }

  warmUp (): void {}

  async createTask (queue: string, task: OutgoingTask): Promise<Sent> {
    const created = this.#newTask(queue, task)
    return this.#tooLarge(queue, created, task) ?? await this.#create(queue, created)
  }

  readonly createTasks = async (queue: string, tasks: readonly OutgoingTask[]): Promise<readonly Sent[]> => {
    const created = tasks.map(task => this.#newTask(queue, task))
    const answers = created.map((task, index) => this.#tooLarge(queue, task, tasks[index]!))
    const stored = await this.#createAll(queue, created.filter((_, index) => answers[index] === undefined))
    let next = 0
    return answers.map(refused => refused ?? stored[next++]!)
  }

  async putTask (queue: string, id: string, task: TaskContent, scheduleAt?: number): Promise<Sent> {
    const name = `${this.queueName(queue)}/tasks/${id}`
    return await this.#create(queue, { ...task, name, ...(scheduleAt === undefined ? undefined : { scheduleAt }) })
  }

  async readTask (queue: string, id: string): Promise<TaskReading> {
    try {
      if (!this.#opening.isOpen) await this.#opening.result
      return { outcome: 'read', task: this.#engine.getTask(`${this.queueName(queue)}/tasks/${id}`) }
    } catch (error) {
      // No other process has tasks of these queues, so a missing one was deleted.
      return error instanceof CloudTasksError && error.code === 'NOT_FOUND' ? { outcome: 'gone' } : this.#failure(queue, error)
    }
  }

  async listTasks (queue: string, pageSize: number, pageToken?: string): Promise<Listed> {
    try {
      if (!this.#opening.isOpen) await this.#opening.result
      const page = { pageSize, ...(pageToken === undefined ? {} : { pageToken }) }
      const { tasks, nextPageToken } = this.#engine.listTasks(this.queueName(queue), page)
      return { outcome: 'listed', tasks: tasks.map(task => ({ id: shortId(task.name), ...task })), nextPageToken }
    } catch (error) {
      return this.#failure(queue, error)
    }
  }

  async findTask (queue: string, suffixes: readonly string[]): Promise<Found> {
    if (!this.#queueIds.has(queue) || !this.#opening.isOpen) return { outcome: 'notFound' }
    const name = this.#engine.findTask(this.queueName(queue), name => suffixes.some(suffix => name.endsWith(suffix)))
    return name === undefined ? { outcome: 'notFound' } : { outcome: 'found', id: shortId(name) }
  }

  async deleteTask (queue: string, id: string): Promise<Deleted> {
    try {
      if (!this.#opening.isOpen) await this.#opening.result
      await this.#engine.deleteTask(`${this.queueName(queue)}/tasks/${id}`)
      return { outcome: 'deleted' }
    } catch (error) {
      return error instanceof CloudTasksError && error.code === 'NOT_FOUND' && this.#queueIds.has(queue)
        ? { outcome: 'notFound' }
        : this.#failure(queue, error)
    }
  }

  async stop (): Promise<void> {
    this.#closing = true
    this.#delivery.close()
    // From now on, a task in memory would never run; one in a directory runs on the next start.
    this.#refusing = this.#config.directory === undefined
    if (this.#opening.isOpen) await this.#engine.stop()
    else await this.#engine.close()
  }

  async close (): Promise<void> {
    this.#refusing = true
    let waiting = 0
    if (this.#opening.isOpen) for (const { waiting: more } of Object.values(this.#counts())) waiting += more
    if (waiting > 0 && this.#config.directory === undefined) {
      this.#app.log.warn({ waiting }, 'tasks were still waiting in the embedded queue and are lost, because it is in memory')
    }
    await this.#engine.close()
  }

  /** Of a queue that is not in the options. */
  async #createQueue (id: string): Promise<void> {
    await this.#engine.updateQueue(this.queueName(id), DEFAULT_QUEUE_SETTINGS)
    this.#queueIds.add(id)
  }

  async #create (queue: string, task: NewTask): Promise<Sent> {
    try {
      const refused = this.#isReady(queue) ? undefined : await this.#admits(queue)
      if (refused !== undefined) return refused
      return created(await this.#engine.createTask(this.queueName(queue), task))
    } catch (error) {
      return this.#refusal(queue, error, task)
    }
  }

  async #createAll (queue: string, tasks: readonly NewTask[]): Promise<readonly Sent[]> {
    try {
      const refused = this.#isReady(queue) ? undefined : await this.#admits(queue)
      if (refused !== undefined) return tasks.map(() => refused)
      const results = await this.#engine.createTasks(this.queueName(queue), tasks)
      return results.map((result, index) => {
        return result.status === 'fulfilled' ? created(result.value) : this.#refusal(queue, result.reason, tasks[index]!)
      })
    } catch (error) {
      return tasks.map(task => this.#refusal(queue, error, task))
    }
  }

  /** Whether tasks can be stored there without a further look, as almost always. */
  #isReady (queue: string): boolean {
    return this.#opening.isOpen && !this.#refusing && this.#queueIds.has(queue)
  }

  /** Resolves with why the queue accepts no task, once it could. */
  async #admits (queue: string): Promise<Failure | undefined> {
    if (this.#refusing) return { outcome: 'closing' }
    // A directory can contain queues that are no longer in the options.
    if (!this.#queueIds.has(queue) && !this.#createsQueues) return this.#failure(queue, statusErrors.queueNotFound())
    if (!this.#opening.isOpen) await this.#opening.result
    if (!this.#queueIds.has(queue)) await this.#createQueue(queue)
    return undefined
  }

  /** The rest of a task is far smaller than the difference, so only large ones are measured. */
  #tooLarge (queue: string, task: NewTask, { body }: OutgoingTask): Failure | undefined {
    if (body.length <= MAX_TASK_BYTES / 2) return undefined
    const [bytes, limit] = [this.#bytes(queue, task), MAX_TASK_BYTES - COPY_RESERVE_BYTES]
    return bytes > limit ? { outcome: 'tooLarge', bytes, limit } : undefined
  }

  #refusal (queue: string, error: unknown, task: NewTask): Sent {
    return task.name !== undefined && error instanceof CloudTasksError && error.code === 'ALREADY_EXISTS'
      ? { outcome: 'duplicate' }
      : this.#failure(queue, error, task)
  }

  #bytes (queue: string, task: NewTask): number {
    return storedSize(withStoredDefaults(this.queueName(queue), task, this.#clock.now()))
  }

  #newTask (queue: string, task: OutgoingTask): NewTask {
    const { target, prefix } = this.#config
    return newTask(this.queueName(queue), target, routePath(this.#app, prefix, task.path), task)
  }

  /** Counts of all queues, including those that are only in the directory. */
  #counts (): ReturnType<Inspection['counts']> {
    if (!this.#opening.isOpen) throw new FST_TASKS_STORE_UNAVAILABLE('it is still being opened; wait until the app is ready')
    const ids = new Set(this.#queueIds)
    if (!this.#refusing) for (const { name } of this.#engine.queues()) if (name.startsWith(`${this.#parent}/`)) ids.add(shortId(name))
    return countsOf(this.#inspected(), ids)
  }

  #inspected (): Inspected {
    return { engine: this.#engine, clock: this.#clock, queueName: id => this.queueName(id) }
  }

  /** Delivers an attempt of a task that is not in a queue. */
  async deliverOnce (queue: string, outgoing: OutgoingTask, number: number): Promise<Answer | 'undelivered'> {
    const now = this.#clock.now()
    const stored = withStoredDefaults(this.queueName(queue), this.#newTask(queue, outgoing), now)
    // A later attempt has the headers of a retry after a handler's error.
    const task = { ...stored, dispatchCount: number, previousResponse: 500 }
    const deadlineMs = task.dispatchDeadlineMs ?? DEFAULT_DISPATCH_DEADLINE_MS
    const attempt = { task, queue, headers: dispatchHeaders(task), deadlineMs, deadlineAt: now + deadlineMs }
    return await this.#scope.runInAsyncScope(() => this.#delivery.deliver(attempt))
  }

  #reportExpired ({ count, names }: ExpiryReport): void {
    const event: ExpiredEvent = { count, ids: names.map(shortId) }
    this.#app.log.error(event, 'tasks were dropped because they were older than 31 days')
    if (expiredChannel.hasSubscribers) expiredChannel.publish(event)
  }

  #failure (queue: string, error: unknown, task?: NewTask): Failure {
    const unavailable = error instanceof FST_TASKS_STORE_UNAVAILABLE ? error : storeUnavailable(error)
    if (unavailable !== undefined) return { outcome: 'failed', problem: explain(unavailable), cause: unavailable }
    if (!(error instanceof CloudTasksError)) return { outcome: 'failed', problem: 'the embedded queue failed', cause: error }
    if (error.code === 'NOT_FOUND') {
      return { outcome: 'queueNotFound', hint: queueHint(queue) }
    }
    if (task !== undefined && error.message === statusErrors.taskTooLarge().message) {
      return { outcome: 'tooLarge', bytes: this.#bytes(queue, task), limit: MAX_TASK_BYTES }
    }
    return { outcome: 'failed', problem: explain(error), cause: error }
  }
}

function created ({ name, scheduleAt }: Task): Sent {
  return { outcome: 'created', id: shortId(name), scheduleAt }
}

import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../clock/clock.js'
import { printQueueName, shortId } from '../../cloud-tasks/names.js'
import { withStoredDefaults } from '../../cloud-tasks/new-task.js'
import { COPY_RESERVE_BYTES, MAX_TASK_BYTES, storedSize } from '../../cloud-tasks/size.js'
import type { NewTask } from '../../cloud-tasks/task.js'
import type { Config } from '../../options/config.js'
import { RETRY_BY_QUEUE, RETRY_HEADER } from '../../delivery/headers.js'
import { routePath } from '../../delivery/path.js'
import { failureOf, type CallContext } from './advice.js'
import { ClientSource, type ReadyClient } from './client.js'
import { classifyError, type CloudFault } from './fault.js'
import { checkLetterQueue } from './letter-queue.js'
import { CloudQueues } from './queues.js'
import { parseTask, parseTime, printTask } from './task.js'
import { TaskSearch } from './task-search.js'
import { CloudRetrySettings } from './retry-settings.js'
import { withRetries, type CallResult } from './call-retry.js'
import { newTask } from '../new-task.js'
import type { Deleted, Failure, Found, Listed, OutgoingTask, Sent, TaskContent, TaskReading, Transport } from '../transport.js'

/** Google Cloud Tasks or an emulator, through the official client. */
export class CloudTransport implements Transport {
  readonly #app: FastifyInstance
  readonly #config: Config
  readonly #clients: ClientSource
  readonly #clock: Clock
  readonly #random: (() => number) | undefined
  readonly #closing = new AbortController()
  readonly #search = new TaskSearch(async (queue, pageToken) => await this.listTasks(queue, 1000, pageToken))

  /** Cloud Tasks allows 600 list calls a minute for a region, and its v2 has no counts. */
  readonly inspection = undefined

  readonly createTasks = undefined
  readonly retrySettings: CloudRetrySettings

  /** @param random jitter of the backoff, from 0 to 1. @default Math.random */
  constructor (app: FastifyInstance, config: Config, clock: Clock, random?: () => number) {
    this.#app = app
    this.#config = config
    this.#clients = new ClientSource(config)
    this.retrySettings = new CloudRetrySettings(config, this.#clients)
    this.#clock = clock
    this.#random = random
  }

  /** Loads the library early, so that the app fails to start when it cannot be loaded, instead of every `enqueue`. */
  async open (): Promise<void> {
    await this.#clients.load()
  }

  async opened (): Promise<void> {}

  /** Nothing to do: connections are made when the server listens. */
  start (): void {}

  warmUp (): void {
    this.#clients.warmUp()
  }

  async checkLetterQueue (): Promise<void> {
    const { signal } = this.#closing
    await checkLetterQueue(new CloudQueues(this.#config, signal, this.#clients), this.#config, this.#app.log, signal)
  }

  async createTask (queue: string, outgoing: OutgoingTask): Promise<Sent> {
    const large = this.#tooLarge(queue, outgoing)
    if (large !== undefined) return large
    const { id, scheduleAt } = outgoing
    return await this.#create(queue, parent => this.#newTask(parent, outgoing), id, scheduleAt)
  }

  async putTask (queue: string, id: string, content: TaskContent, scheduleAt?: number): Promise<Sent> {
    const task = (parent: string): NewTask => ({
      ...content, name: `${parent}/tasks/${id}`, ...(scheduleAt === undefined ? undefined : { scheduleAt })
    })
    return await this.#create(queue, task, id, scheduleAt)
  }

  async readTask (queue: string, id: string): Promise<TaskReading> {
    const tried = await this.#call(async ({ client, project }, timeout) => {
      // A client in the options may lack methods of the official one.
      if (client.getTask === undefined) return undefined
      const name = `${this.#queueName(project, queue)}/tasks/${id}`
      return await client.getTask({ name, responseView: 'FULL' }, { timeout, retry: null })
    })
    if (tried === undefined) return { outcome: 'closing' }
    if (tried.ok) {
      if (tried.value === undefined) return { outcome: 'denied', problem: 'the given client has no getTask' }
      return { outcome: 'read', task: parseTask(tried.value[0]) }
    }
    const { fault } = tried
    if (fault.code === 'NOT_FOUND') return { outcome: /existed recently/i.test(fault.details) ? 'gone' : 'notFound' }
    const failure = this.#failure('viewTask', queue, tried)
    return fault.code === 'PERMISSION_DENIED' && failure.outcome === 'failed' ? { outcome: 'denied', problem: failure.problem } : failure
  }

  async listTasks (queue: string, pageSize: number, pageToken?: string): Promise<Listed> {
    const tried = await this.#call(async ({ client, project }, timeout) => {
      if (client.listTasks === undefined) return undefined
      const request = { parent: this.#queueName(project, queue), pageSize, ...(pageToken === undefined ? undefined : { pageToken }) }
      return await client.listTasks(request, { timeout, retry: null, autoPaginate: false })
    })
    if (tried === undefined) return { outcome: 'closing' }
    if (!tried.ok) return this.#failure('viewTask', queue, tried)
    if (tried.value === undefined) return { outcome: 'failed', problem: 'the given client has no listTasks', cause: undefined }
    const [tasks, , response] = tried.value
    return {
      outcome: 'listed',
      tasks: tasks.map(task => ({ id: shortId(task.name ?? ''), ...parseTask(task) })),
      nextPageToken: response?.nextPageToken || undefined
    }
  }

  async findTask (queue: string, suffixes: readonly string[]): Promise<Found> {
    return await this.#search.find(queue, suffixes)
  }

  /** @param id undefined to let the service generate one */
  async #create (queue: string, task: (parent: string) => NewTask, id: string | undefined, givenAt: number | undefined): Promise<Sent> {
    const tried = await this.#call(({ client, project }, timeout) => {
      const parent = this.#queueName(project, queue)
      return client.createTask({ parent, task: printTask(task(parent)) }, { timeout })
    })
    if (tried === undefined) return { outcome: 'closing' }
    const scheduleAt = givenAt ?? this.#clock.now()
    if (tried.ok) {
      const [{ name, scheduleTime }] = tried.value
      return { outcome: 'created', id: id ?? shortId(name ?? ''), scheduleAt: scheduleTime ? parseTime(scheduleTime) : scheduleAt }
    }
    if (tried.fault.code === 'ALREADY_EXISTS') {
      // After an ambiguous try, the existing task is most likely the one that it created.
      return tried.ambiguous && id !== undefined ? { outcome: 'created', id, scheduleAt } : { outcome: 'duplicate' }
    }
    return this.#failure('create', queue, tried, () => this.#bytes(queue, task))
  }

  async deleteTask (queue: string, id: string): Promise<Deleted> {
    const tried = await this.#call(({ client, project }, timeout) => {
      // The client would retry this call itself, regardless of the time budget.
      return client.deleteTask({ name: `${this.#queueName(project, queue)}/tasks/${id}` }, { timeout, retry: null })
    })
    if (tried === undefined) return { outcome: 'closing' }
    if (tried.ok) return { outcome: 'deleted' }
    const failure = this.#failure('delete', queue, tried)
    if (tried.fault.code !== 'NOT_FOUND' || failure.outcome === 'queueNotFound') return failure
    return { outcome: tried.ambiguous ? 'deleted' : 'notFound' }
  }

  /** Still accepts tasks: requests in flight may enqueue, and tasks in Cloud Tasks outlive this process. */
  async stop (): Promise<void> {}

  async close (): Promise<void> {
    this.#closing.abort()
    await this.#clients.close()
  }

  /** Undefined when closed. */
  #call<T> (call: (ready: ReadyClient, timeoutMs: number) => Promise<T>): Promise<CallResult<T, CloudFault>> | undefined {
    const { signal } = this.#closing
    if (signal.aborted) return undefined
    const options = { classifyError, budgetMs: this.#config.sendTimeoutMs, signal, clock: this.#clock, random: this.#random }
    return withRetries(timeoutMs => {
      const { ready } = this.#clients
      return ready === undefined ? this.#clients.open().then(ready => call(ready, timeoutMs)) : call(ready, timeoutMs)
    }, options)
  }

  #queueName (project: string, queue: string): string {
    return printQueueName({ project, location: this.#config.location, queue })
  }

  #newTask (parent: string, outgoing: OutgoingTask): NewTask {
    const { target, prefix } = this.#config
    // The v2 client of Node.js cannot set a task's retryConfig, so the worker need not look for one.
    const headers = { ...outgoing.headers, [RETRY_HEADER]: RETRY_BY_QUEUE }
    return newTask(parent, target, routePath(this.#app, prefix, outgoing.path), { ...outgoing, headers })
  }

  #tooLarge (queue: string, outgoing: OutgoingTask): Failure | undefined {
    // The rest of a task is far smaller than the difference, so only large bodies have to be measured.
    if (outgoing.body.length < MAX_TASK_BYTES / 2) return undefined
    const bytes = this.#bytes(queue, parent => this.#newTask(parent, outgoing))
    const limit = MAX_TASK_BYTES - COPY_RESERVE_BYTES
    return bytes > limit ? { outcome: 'tooLarge', bytes, limit } : undefined
  }

  /** Size of the stored task. A few bytes too small while the project is not yet known from the credentials. */
  #bytes (queue: string, task: (parent: string) => NewTask): number {
    const parent = this.#queueName(this.#config.project ?? this.#clients.ready?.project ?? '', queue)
    return storedSize(withStoredDefaults(parent, task(parent), this.#clock.now()))
  }

  #failure (
    action: CallContext['action'], queue: string, failed: { fault: CloudFault, tries: number }, bytes: () => number = () => 0
  ): Failure {
    const { fault, tries } = failed
    const { project, location, emulatorHost, target, sendTimeoutMs } = this.#config
    return failureOf(fault, {
      action,
      project: project ?? this.#clients.ready?.project,
      location,
      queue,
      emulatorHost,
      serviceAccountEmail: target.type === 'http' ? target.serviceAccountEmail : undefined,
      tries,
      budgetMs: sendTimeoutMs,
      bytes
    })
  }
}

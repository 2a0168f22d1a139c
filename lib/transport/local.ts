import type { FastifyInstance, InjectOptions } from 'fastify'
import { DEFAULT_QUEUE_SETTINGS } from '../cloud-tasks/limits.js'
import { withStoredDefaults } from '../cloud-tasks/new-task.js'
import { MAX_TASK_BYTES, storedSize } from '../cloud-tasks/size.js'
import { CloudTasksError, refusals } from '../cloud-tasks/status.js'
import type { NewTask } from '../cloud-tasks/task.js'
import type { Config } from '../config.js'
import { LOCAL_MAX_DISPATCHES_PER_SECOND } from '../queue-options.js'
import { Engine, type Answer, type Attempt } from '../engine/engine.js'
import { MemoryStore } from '../engine/memory-store.js'
import { SECRET_HEADER } from '../route-headers.js'
import { routePath } from '../route-path.js'
import type { Deleted, Failure, OutgoingTask, Sent, Transport } from './transport.js'

/** The embedded queue: the engine in this process, whose attempts reach the task routes by `app.inject`. */
export class LocalTransport implements Transport {
  readonly #app: FastifyInstance
  readonly #config: Config
  readonly #secret: string
  readonly #engine: Engine
  readonly #parent: string
  readonly #queueIds: readonly string[]
  #stopping = false

  /** @param queueIds queues that the registry names; they exist besides those of `config.queues` */
  constructor (app: FastifyInstance, config: Config, secret: string, queueIds: Iterable<string>) {
    this.#app = app
    this.#config = config
    this.#secret = secret
    this.#parent = `projects/${config.project ?? 'local'}/locations/${config.location}`
    this.#queueIds = [...new Set([config.queue, ...config.queues.keys(), ...queueIds])]
    this.#engine = new Engine({
      store: new MemoryStore(),
      dispatch: attempt => this.#dispatch(attempt),
      taskTombstoneMs: config.taskTombstoneMs,
      maxDispatchesPerSecond: LOCAL_MAX_DISPATCHES_PER_SECOND,
      onError: err => { app.log.error({ err }, 'the embedded queue met an error') }
    })
  }

  async open (): Promise<void> {
    await this.#engine.open()
    for (const id of this.#queueIds) {
      await this.#engine.updateQueue(this.#queueName(id), this.#config.queues.get(id) ?? DEFAULT_QUEUE_SETTINGS)
    }
  }

  start (): void {
    this.#engine.start()
  }

  async createTask (queue: string, task: OutgoingTask): Promise<Sent> {
    // What is kept in memory now would never run.
    if (this.#stopping) return { outcome: 'closing' }
    try {
      const created = await this.#engine.createTask(this.#queueName(queue), this.#newTask(queue, task))
      return { outcome: 'created', id: created.name.slice(created.name.lastIndexOf('/') + 1), scheduleAt: created.scheduleAt }
    } catch (error) {
      return task.id !== undefined && error instanceof CloudTasksError && error.code === 'ALREADY_EXISTS'
        ? { outcome: 'duplicate' }
        : this.#failure(queue, error, task)
    }
  }

  async deleteTask (queue: string, id: string): Promise<Deleted> {
    try {
      await this.#engine.deleteTask(`${this.#queueName(queue)}/tasks/${id}`)
      return { outcome: 'deleted' }
    } catch (error) {
      return error instanceof CloudTasksError && error.code === 'NOT_FOUND' && this.#queueIds.includes(queue)
        ? { outcome: 'notFound' }
        : this.#failure(queue, error)
    }
  }

  async stop (): Promise<void> {
    this.#stopping = true
    await this.#engine.stop()
  }

  async close (): Promise<void> {
    let waiting = 0
    for (const id of this.#queueIds) waiting += this.#engine.counts(this.#queueName(id)).waiting
    if (waiting > 0) {
      this.#app.log.warn({ waiting }, 'tasks were still waiting in the embedded queue; it keeps them in memory, so they are lost')
    }
    await this.#engine.close()
  }

  #queueName (id: string): string {
    return `${this.#parent}/queues/${id}`
  }

  #newTask (queue: string, task: OutgoingTask): NewTask {
    const { method: httpMethod, headers, body, path } = task
    const route = routePath(this.#app, this.#config.prefix, path)
    return {
      ...(task.id === undefined ? {} : { name: `${this.#queueName(queue)}/tasks/${task.id}` }),
      ...(this.#config.target.type === 'http'
        ? { httpRequest: { url: LOCAL_ORIGIN + route, httpMethod, headers, body } }
        : { appEngineHttpRequest: { relativeUri: route, httpMethod, headers, body } }),
      ...(task.scheduleAt === undefined ? {} : { scheduleAt: task.scheduleAt }),
      ...(task.dispatchDeadlineMs === undefined ? {} : { dispatchDeadlineMs: task.dispatchDeadlineMs })
    }
  }

  async #dispatch ({ task, headers }: Attempt): Promise<Answer> {
    const request = task.httpRequest ?? task.appEngineHttpRequest
    const options: InjectOptions = {
      method: request?.httpMethod as 'POST',
      url: task.httpRequest?.url.slice(LOCAL_ORIGIN.length) ?? task.appEngineHttpRequest?.relativeUri ?? '/',
      headers: { ...headers, [SECRET_HEADER]: this.#secret },
      payload: request?.body as Buffer
    }
    const response = await this.#app.inject(options)
    return { status: response.statusCode }
  }

  #failure (queue: string, error: unknown, task?: OutgoingTask): Failure {
    if (!(error instanceof CloudTasksError)) return { outcome: 'failed', problem: 'the embedded queue could not store it', cause: error }
    if (error.code === 'NOT_FOUND') {
      return { outcome: 'queueNotFound', mend: `add it to the option 'queues', as in queues: { '${queue}': {} }` }
    }
    if (task !== undefined && error.message === refusals.taskTooLarge().message) {
      const stored = withStoredDefaults(this.#queueName(queue), this.#newTask(queue, task), Date.now())
      return { outcome: 'tooLarge', bytes: storedSize(stored), limit: MAX_TASK_BYTES }
    }
    return { outcome: 'failed', problem: error.message, cause: error }
  }
}

const LOCAL_ORIGIN = 'http://localhost'

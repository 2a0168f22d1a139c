import { parseLocationName, parseQueueName } from '../cloud-tasks/names.js'
import { CloudTasksError, refusals } from '../cloud-tasks/status.js'
import type { NewTask } from '../cloud-tasks/task.js'
import { systemClock, type Clock } from '../engine/clock.js'
import type { Engine } from '../engine/engine.js'
import { masked, picked } from './field-mask.js'
import type { QueueMessage, TaskMessage, View } from './messages.js'
import { queueMessage, readQueue, settingsMessage } from './queue-message.js'
import { readTask, taskMessage } from './task-message.js'

export interface ServiceOptions {
  /** @default systemClock */
  readonly clock?: Clock
  /** CreateTask creates a queue that is missing, with default settings. @default false */
  readonly autoCreateQueues?: boolean
  /** Hears of faults that the caller is only told of as INTERNAL. @default process.emitWarning */
  readonly onError?: (error: unknown) => void
}

/**
 * Cloud Tasks' verbs over an engine, each once. Requests and answers are plain messages; gRPC and REST only translate. What it
 * refuses, it refuses with a CloudTasksError.
 */
export class Service {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #autoCreateQueues: boolean
  /** Makes of anything thrown what the caller is told. */
  readonly refusal: (error: unknown) => CloudTasksError

  constructor (engine: Engine, options: ServiceOptions = {}) {
    this.#engine = engine
    this.#clock = options.clock ?? systemClock
    this.#autoCreateQueues = options.autoCreateQueues ?? false
    const { onError = warn } = options
    this.refusal = error => {
      if (error instanceof CloudTasksError) return error
      onError(error)
      return refusals.internal(error)
    }
  }

  listQueues ({ parent = '', readMask = [], ...page }: ListQueuesRequest): { queues: QueueMessage[], nextPageToken?: string } {
    checkParent(parent)
    const { queues, ...next } = this.#engine.listQueues(parent, checkPage(page))
    return { queues: queues.map(stored => picked(queueMessage(stored), readMask)), ...next }
  }

  getQueue ({ name = '', readMask = [] }: GetQueueRequest): QueueMessage {
    checkLocation(name)
    return picked(queueMessage(this.#engine.getQueue(name)), readMask)
  }

  async createQueue ({ parent = '', queue = {} }: { parent?: string, queue?: QueueMessage }): Promise<QueueMessage> {
    checkParent(parent)
    const { name = '' } = queue
    if (parseQueueName(name) === undefined) throw refusals.queueName()
    if (!name.startsWith(`${parent}/queues/`)) throw refusals.queueElsewhere(parent, name)
    return queueMessage(await this.#engine.createQueue(name, readQueue(queue)))
  }

  async updateQueue ({ queue = {}, updateMask = [] }: { queue?: QueueMessage, updateMask?: string[][] }): Promise<QueueMessage> {
    const { name = '' } = queue
    checkLocation(name)
    return queueMessage(await this.#engine.updateQueue(name, settings =>
      readQueue(masked(settings === undefined ? {} : settingsMessage(settings), queue, updateMask))))
  }

  async deleteQueue ({ name = '' }: Named): Promise<object> {
    checkLocation(name)
    await this.#engine.deleteQueue(name)
    return {}
  }

  async purgeQueue ({ name = '' }: Named): Promise<QueueMessage> {
    checkLocation(name)
    return queueMessage(await this.#engine.purgeQueue(name))
  }

  async pauseQueue ({ name = '' }: Named): Promise<QueueMessage> {
    checkLocation(name)
    return queueMessage(await this.#engine.pauseQueue(name))
  }

  async resumeQueue ({ name = '' }: Named): Promise<QueueMessage> {
    checkLocation(name)
    return queueMessage(await this.#engine.resumeQueue(name))
  }

  listTasks ({ parent = '', responseView, ...page }: ListTasksRequest): { tasks: TaskMessage[], nextPageToken?: string } {
    checkLocation(parent)
    const view = readView(responseView)
    const { tasks, ...next } = this.#engine.listTasks(parent, checkPage(page))
    return { tasks: tasks.map(task => taskMessage(task, view)), ...next }
  }

  getTask ({ name = '', responseView }: TaskRequest): TaskMessage {
    checkLocation(name)
    return taskMessage(this.#engine.getTask(name), readView(responseView))
  }

  async createTask ({ parent = '', task = {}, responseView }: CreateTaskRequest): Promise<TaskMessage> {
    checkLocation(parent)
    const view = readView(responseView)
    return taskMessage(await this.#createTask(parent, readTask(task)), view)
  }

  async deleteTask ({ name = '' }: Named): Promise<object> {
    checkLocation(name)
    await this.#engine.deleteTask(name)
    return {}
  }

  async runTask ({ name = '', responseView }: TaskRequest): Promise<TaskMessage> {
    checkLocation(name)
    const view = readView(responseView)
    return taskMessage(await this.#engine.runTask(name), view)
  }

  async #createTask (queue: string, task: NewTask): ReturnType<Engine['createTask']> {
    if (!this.#autoCreateQueues) return await this.#engine.createTask(queue, task)
    try {
      return await this.#engine.createTask(queue, task)
    } catch (error) {
      if (!isRefusal(error, 'NOT_FOUND')) throw error
      await this.#engine.createQueue(queue).catch((fault: unknown) => {
        // Somebody else may have been faster. A queue that was deleted recently stays missing.
        if (!isRefusal(fault, 'ALREADY_EXISTS')) throw isRefusal(fault, 'FAILED_PRECONDITION') ? error : fault
      })
      return await this.#engine.createTask(queue, task)
    }
  }
}

interface Named {
  readonly name?: string
}

interface PageFields {
  readonly pageSize?: number
  readonly pageToken?: string
}

export interface ListQueuesRequest extends PageFields {
  readonly parent?: string
  readonly filter?: string
  readonly readMask?: string[][]
}

export interface GetQueueRequest extends Named {
  readonly readMask?: string[][]
}

export interface ListTasksRequest extends PageFields {
  readonly parent?: string
  readonly responseView?: string | number
}

export interface TaskRequest extends Named {
  readonly responseView?: string | number
}

export interface CreateTaskRequest {
  readonly parent?: string
  readonly task?: TaskMessage
  readonly responseView?: string | number
}

function checkParent (parent: string): void {
  if (parseLocationName(parent) === undefined) throw refusals.locationName()
  checkLocation(parent)
}

/** Any well-formed location will do, as there is no list of them here; `-`, which elsewhere stands for all, is none. */
function checkLocation (name: string): void {
  const location = /^projects\/[^/]+\/locations\/([^/]*)/.exec(name)?.[1]
  if (location === '-') throw refusals.unknownLocation(location)
}

function checkPage ({ pageSize, pageToken }: PageFields): PageFields {
  if (pageSize !== undefined && pageSize < 0) throw refusals.negative('pageSize')
  return { ...(pageSize === undefined ? undefined : { pageSize }), ...(pageToken === undefined ? undefined : { pageToken }) }
}

function readView (view: string | number | undefined): View {
  if (view === undefined || view === 'VIEW_UNSPECIFIED') return 'BASIC'
  if (view !== 'BASIC' && view !== 'FULL') throw refusals.unknownEnum('responseView', view)
  return view
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

function isRefusal (error: unknown, code: CloudTasksError['code']): boolean {
  return error instanceof CloudTasksError && error.code === code
}

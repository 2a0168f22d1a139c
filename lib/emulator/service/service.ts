import { queueNameOf } from '../../cloud-tasks/names.js'
import { CloudTasksError, statusErrors } from '../../cloud-tasks/status.js'
import { storedSize } from '../../cloud-tasks/size.js'
import type { Task } from '../../cloud-tasks/task.js'
import type { Clock } from '../../clock/clock.js'
import type { Engine } from '../../engine/engine.js'
import { creationOf, deletionOf, type BatchDuplicates } from './batches.js'
import { bufferedTask, type HttpBodyMessage } from './buffer.js'
import { CmekConfigs, type CmekConfigMessage } from './cmek-configs.js'
import { Iam, type PolicyMessage } from './iam.js'
import { Locations, type LocationMessage } from './locations.js'
import type { QueueMessage, TaskMessage } from '../messages/messages.js'
import { Operations, type OperationMessage } from './operations.js'
import { Queues, type QueuePage } from './queues.js'
import { checkLocation, checkPage, readView } from './request-checks.js'
import type {
  BatchCreateRequest,
  BatchDeleteRequest,
  CreateQueueRequest,
  CreateTaskRequest,
  GetQueueRequest,
  ListLocationsRequest,
  ListQueuesRequest,
  ListTasksRequest,
  Named,
  SetIamPolicyRequest,
  TaskRequest,
  TestIamPermissionsRequest,
  UpdateCmekConfigRequest,
  UpdateQueueRequest
} from './requests.js'
import { readTask, taskMessage } from '../messages/task.js'
import { TaskCreation, type TaskCreationOptions } from './task-creation.js'

export interface ServiceOptions extends TaskCreationOptions {
  readonly clock: Clock
  readonly batchDuplicates: BatchDuplicates
  /** Receives errors that the caller only sees as INTERNAL. */
  readonly onError: (error: unknown) => void
}

/**
 * The methods of Cloud Tasks, implemented on an engine. gRPC and REST only translate to and from it. Requests and responses are
 * plain messages; errors are CloudTasksErrors.
 */
export class Service {
  readonly #engine: Engine
  readonly #options: ServiceOptions
  readonly #queues: Queues
  readonly #iam: Iam
  readonly #locations: Locations
  readonly #cmekConfigs = new CmekConfigs()
  readonly #operations: Operations
  readonly #creation: TaskCreation

  constructor (engine: Engine, options: ServiceOptions) {
    const { clock } = options
    const now = (): number => clock.now()
    this.#engine = engine
    this.#options = options
    this.#queues = new Queues(engine, now)
    this.#iam = new Iam(engine)
    this.#locations = new Locations(engine, now)
    this.#operations = new Operations(now, this.toStatusError)
    this.#creation = new TaskCreation(engine, options)
  }

  /** Converts anything thrown to the error that the caller gets. */
  readonly toStatusError = (error: unknown): CloudTasksError => {
    if (error instanceof CloudTasksError) return error
    this.#options.onError(error)
    return statusErrors.internal(error)
  }

  listQueues (request: ListQueuesRequest): QueuePage {
    return this.#queues.list(request)
  }

  getQueue (request: GetQueueRequest): QueueMessage {
    return this.#queues.get(request)
  }

  async createQueue (request: CreateQueueRequest): Promise<QueueMessage> {
    return await this.#queues.create(request)
  }

  async updateQueue (request: UpdateQueueRequest): Promise<QueueMessage> {
    return await this.#queues.update(request)
  }

  async deleteQueue ({ name = '' }: Named): Promise<object> {
    return await this.#queues.delete(name)
  }

  async purgeQueue ({ name = '' }: Named): Promise<QueueMessage> {
    return await this.#queues.purge(name)
  }

  async pauseQueue ({ name = '' }: Named): Promise<QueueMessage> {
    return await this.#queues.pause(name)
  }

  async resumeQueue ({ name = '' }: Named): Promise<QueueMessage> {
    return await this.#queues.resume(name)
  }

  getIamPolicy ({ resource = '' }: { resource?: string }): PolicyMessage {
    checkLocation(resource)
    return this.#iam.get(resource)
  }

  async setIamPolicy ({ resource = '', policy = {}, updateMask = [] }: SetIamPolicyRequest): Promise<PolicyMessage> {
    checkLocation(resource)
    return await this.#iam.set(resource, policy, updateMask)
  }

  testIamPermissions ({ resource = '', permissions = [] }: TestIamPermissionsRequest): { permissions: readonly string[] } {
    checkLocation(resource)
    return this.#iam.test(resource, permissions)
  }

  listTasks ({ parent = '', responseView, ...page }: ListTasksRequest): { tasks: TaskMessage[], nextPageToken?: string } {
    checkLocation(parent)
    const view = readView(responseView)
    const { tasks, ...next } = this.#engine.listTasks(parent, checkPage(page), view === 'FULL' ? storedSize : sizeWithoutBody)
    return { tasks: tasks.map(task => taskMessage(task, view)), ...next }
  }

  getTask ({ name = '', responseView }: TaskRequest): TaskMessage {
    checkLocation(name)
    const view = readView(responseView)
    return taskMessage(this.#engine.getTask(name), view)
  }

  async createTask ({ parent = '', task = {}, responseView, unprefixed }: CreateTaskRequest): Promise<TaskMessage> {
    checkLocation(parent)
    const view = readView(responseView)
    return taskMessage(await this.#creation.create(parent, readTask(task), unprefixed === true), view)
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

  /** @param request has the task's `name`, whose id may be empty, or the `queue` */
  async bufferTask ({
    queue = '',
    name = '',
    body = {}
  }: {
    queue?: string
    name?: string
    body?: HttpBodyMessage
  }): Promise<{ task: TaskMessage }> {
    const parent = name === '' ? queue : queueNameOf(name)
    checkLocation(parent)
    const { settings } = this.#engine.getQueue(parent)
    const task = bufferedTask(settings.httpTarget, name === '' || name.endsWith('/tasks/') ? undefined : name, body)
    return { task: taskMessage(await this.#engine.createTask(parent, task), 'BASIC') }
  }

  async batchCreateTasks (request: BatchCreateRequest): Promise<OperationMessage> {
    this.#checkQueue(request.parent ?? '')
    return await this.#operations.run(
      creationOf(request, {
        duplicates: this.#options.batchDuplicates,
        create: async one => await this.createTask(one)
      })
    )
  }

  async batchDeleteTasks (request: BatchDeleteRequest): Promise<OperationMessage> {
    this.#checkQueue(request.parent ?? '')
    return await this.#operations.run(
      deletionOf(request, async name => {
        await this.#engine.deleteTask(name)
      })
    )
  }

  async getOperation ({ name = '' }: Named): Promise<OperationMessage> {
    return await this.#operations.get(name)
  }

  getLocation ({ name = '' }: Named): LocationMessage {
    return this.#locations.get(name)
  }

  listLocations ({ name = '', filter = '', matches, ...page }: ListLocationsRequest): {
    locations: LocationMessage[]
    nextPageToken?: string
  } {
    return this.#locations.list(name, filter, matches, page)
  }

  /** App Engine's method, for gcloud. */
  getApplication ({ name = '' }: Named): object {
    return this.#locations.application(name)
  }

  getCmekConfig ({ name = '' }: Named): CmekConfigMessage {
    return this.#cmekConfigs.get(name)
  }

  updateCmekConfig ({ cmekConfig = {}, updateMask = [] }: UpdateCmekConfigRequest): CmekConfigMessage {
    return this.#cmekConfigs.update(cmekConfig, updateMask)
  }

  #checkQueue (name: string): void {
    checkLocation(name)
    this.#engine.getQueue(name)
  }
}

function sizeWithoutBody (task: Task): number {
  return storedSize(task) - ((task.httpRequest ?? task.appEngineHttpRequest)?.body?.length ?? 0)
}

/** Finds a method by its name in the protos: `CreateTask` is `createTask`. */
export function methodOf (service: Service, method: string): { key: string, call: ((request: object) => Promise<object>) | undefined } {
  const key = method[0]!.toLowerCase() + method.slice(1)
  const call = (service as unknown as Readonly<Record<string, unknown>>)[key]
  return { key, call: typeof call === 'function' ? async request => await (call.call(service, request) as object) : undefined }
}

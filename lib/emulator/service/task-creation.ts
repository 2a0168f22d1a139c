import { targetUrl } from '../../cloud-tasks/http-target.js'
import { CloudTasksError } from '../../cloud-tasks/status.js'
import type { NewTask } from '../../cloud-tasks/task.js'
import type { Engine } from '../../engine/engine.js'
import { defaultUrlOf } from './default-url.js'

export interface TaskCreationOptions {
  /** Whether CreateTask creates a missing queue, with default settings. */
  readonly autoCreateQueues: boolean
  /** URL for tasks that firebase-admin creates without one, see `defaultUrlOf`. */
  readonly defaultUrl: string
}

/** CreateTask: completes a task without a URL, and creates its queue where that is asked for. */
export class TaskCreation {
  readonly #engine: Engine
  readonly #options: TaskCreationOptions

  constructor (engine: Engine, options: TaskCreationOptions) {
    this.#engine = engine
    this.#options = options
  }

  /** @param unprefixed whether it was called on the unversioned path that firebase-admin uses */
  async create (queue: string, given: NewTask, unprefixed: boolean): ReturnType<Engine['createTask']> {
    const task = this.#withUrl(queue, given, unprefixed)
    try {
      return await this.#engine.createTask(queue, task)
    } catch (error) {
      if (!this.#options.autoCreateQueues || !isStatusError(error, 'NOT_FOUND')) throw error
      await this.#engine.createQueue(queue).catch((creationError: unknown) => {
        // A concurrent call may have created it. A queue that was deleted recently stays missing.
        if (isStatusError(creationError, 'ALREADY_EXISTS')) return
        throw isStatusError(creationError, 'FAILED_PRECONDITION') ? error : creationError
      })
      return await this.#engine.createTask(queue, task)
    }
  }

  /** A task without a URL gets one from its queue's target, or `defaultUrl` where firebase-admin created it. */
  #withUrl (queue: string, task: NewTask, unprefixed: boolean): NewTask {
    if (task.httpRequest?.url !== '') return task
    if (unprefixed) return { ...task, httpRequest: { ...task.httpRequest, url: defaultUrlOf(this.#options.defaultUrl, queue) } }
    const httpTarget = this.#engine.findQueue(queue)?.settings.httpTarget
    const url = httpTarget === undefined ? undefined : targetUrl(httpTarget)
    return url === undefined ? task : { ...task, httpRequest: { ...task.httpRequest, url } }
  }
}

function isStatusError (error: unknown, code: CloudTasksError['code']): boolean {
  return error instanceof CloudTasksError && error.code === code
}

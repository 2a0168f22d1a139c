import type { protos } from '@google-cloud/tasks'
import { completeRetryConfig } from '../../cloud-tasks/limits.js'
import { printQueueName, printTaskName } from '../../cloud-tasks/names.js'
import type { RetryConfig } from '../../cloud-tasks/task.js'
import type { Config } from '../../options/config.js'
import type { RetryReading, RetrySettings } from '../transport.js'
import { failureOf, type CallContext } from './advice.js'
import type { ClientSource } from './client.js'
import { classifyError, type CloudFault } from './fault.js'

type IRetryConfig = protos.google.cloud.tasks.v2.IRetryConfig | protos.google.cloud.tasks.v2beta3.IRetryConfig

/** Timeout of a call. Calls are not retried here: a later attempt of the queue calls again. */
const TIMEOUT_MS = 10_000

/** Reads retry settings. Needs `cloudtasks.queues.get`, and `cloudtasks.tasks.get` for tasks of other clients. */
export class CloudRetrySettings implements RetrySettings {
  readonly #config: Config
  readonly #clients: ClientSource
  /** Undefined with a client from the options: it uses v2, whose messages in Node.js do not have this field yet. */
  readonly ofTask: RetrySettings['ofTask']

  constructor (config: Config, clients: ClientSource) {
    this.#config = config
    this.#clients = clients
    this.ofTask = config.client === undefined ? (queue, id) => this.#ofTask(queue, id) : undefined
  }

  ofQueue (queue: string): Promise<RetryReading> {
    return this.#read('viewQueue', queue, async () => {
      const { client, project } = await this.#clients.open()
      const name = printQueueName({ ...this.#place(project), queue })
      const [{ retryConfig }] = await client.getQueue({ name }, { timeout: TIMEOUT_MS, retry: null })
      return retryConfig ?? {}
    })
  }

  /** Uses v2beta3, whose messages in Node.js have the field. The BASIC view leaves out the payload. */
  #ofTask (queue: string, task: string): Promise<RetryReading> {
    return this.#read('viewTask', queue, async () => {
      const { client, project } = await this.#clients.openBeta()
      const name = printTaskName({ ...this.#place(project), queue, task })
      const [{ retryConfig }] = await client.getTask({ name }, { timeout: TIMEOUT_MS, retry: null })
      return retryConfig ?? undefined
    })
  }

  #place (project: string) {
    return { project, location: this.#config.location }
  }

  async #read (action: CallContext['action'], queue: string, call: () => Promise<IRetryConfig | undefined>): Promise<RetryReading> {
    try {
      const retryConfig = await call()
      return retryConfig === undefined ? { outcome: 'missing' } : { outcome: 'read', retryConfig: parseRetryConfig(retryConfig) }
    } catch (error) {
      const fault = classifyError(error)
      if (fault.code === 'NOT_FOUND') return { outcome: 'missing' }
      return { outcome: DENIED.has(fault.code) ? 'denied' : 'failed', problem: this.#problem(action, queue, fault), cause: error }
    }
  }

  #problem (action: CallContext['action'], queue: string, fault: CloudFault): string {
    const { location, emulatorHost } = this.#config
    const project = this.#config.project ?? this.#clients.ready?.project
    const failure = failureOf(fault, {
      action, queue, project, location, emulatorHost, serviceAccountEmail: undefined, tries: 1, budgetMs: undefined, bytes: () => 0
    })
    return failure.outcome === 'failed' ? failure.problem : fault.details
  }
}

const DENIED: ReadonlySet<string> = new Set<CloudFault['code']>(['PERMISSION_DENIED', 'UNAUTHENTICATED', 'NO_PROJECT'])

/** Fields that are 0 or absent mean the service's defaults. */
function parseRetryConfig ({ maxAttempts, maxRetryDuration }: IRetryConfig): RetryConfig {
  const maxRetrySeconds = Number(maxRetryDuration?.seconds ?? 0) + (maxRetryDuration?.nanos ?? 0) / 1e9
  return completeRetryConfig({ maxRetrySeconds, ...(maxAttempts ? { maxAttempts } : {}) })
}

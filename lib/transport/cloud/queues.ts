import type { CloudTasksClient, protos } from '@google-cloud/tasks'
import { systemClock } from '../../clock/clock.js'
import { printQueueName } from '../../cloud-tasks/names.js'
import type { QueueState } from '../../cloud-tasks/task.js'
import type { Config } from '../../options/config.js'
import { failureOf, type CallContext } from './advice.js'
import { ClientSource } from './client.js'
import { classifyError, type CloudFault } from './fault.js'
import { withRetries, type CallResult } from './call-retry.js'

type IQueue = protos.google.cloud.tasks.v2.IQueue
type IDuration = protos.google.protobuf.IDuration

/** Settings of a queue by their names in the option `queues`, as in `rateLimits.maxDispatchesPerSecond`, and its `state`. */
export type QueueFields = ReadonlyMap<string, number | string>

interface Field {
  readonly mask: string
  readonly read: (queue: IQueue) => number
  readonly write: (queue: WritableQueue, value: number) => void
}

/** Each setting, with its name in the service. */
const FIELDS: Readonly<Record<string, Field>> = {
  'rateLimits.maxDispatchesPerSecond': rate('maxDispatchesPerSecond', 'max_dispatches_per_second'),
  'rateLimits.maxConcurrentDispatches': rate('maxConcurrentDispatches', 'max_concurrent_dispatches'),
  'retryConfig.maxAttempts': retry('maxAttempts', 'max_attempts'),
  'retryConfig.maxRetrySeconds': duration('maxRetryDuration', 'max_retry_duration'),
  'retryConfig.minBackoffSeconds': duration('minBackoff', 'min_backoff'),
  'retryConfig.maxBackoffSeconds': duration('maxBackoff', 'max_backoff'),
  'retryConfig.maxDoublings': retry('maxDoublings', 'max_doublings')
}

interface WritableQueue {
  name: string
  rateLimits?: Record<string, number>
  retryConfig?: Record<string, number | IDuration>
}

/** The queues of an app in Cloud Tasks or an emulator. */
export class CloudQueues {
  readonly #config: Config
  readonly #signal: AbortSignal
  readonly #clients: ClientSource

  /**
   * @param signal ends waiting for a service that does not answer
   * @param clients default: one of its own
   */
  constructor (config: Config, signal: AbortSignal, clients: ClientSource = new ClientSource(config)) {
    this.#config = config
    this.#signal = signal
    this.#clients = clients
  }

  /** All settings of a queue; undefined when it does not exist. Rejects with a message that says how to fix the problem. */
  async read (id: string): Promise<QueueFields | undefined> {
    const tried = await this.#call(id, (client, name, timeout) => client.getQueue({ name }, { timeout, retry: null }))
    if (tried.ok) return fieldsOf(tried.value[0])
    if (tried.fault.code === 'NOT_FOUND') return undefined
    throw this.#problem('viewQueue', id, tried)
  }

  /**
   * Creates a queue. Absent settings get the service's defaults, and so can a 0, which the wire format cannot distinguish from an
   * absent value. Resolves with all settings of the new queue.
   */
  async create (id: string, fields: QueueFields): Promise<QueueFields> {
    const tried = await this.#call(id, (client, name, timeout) => {
      return client.createQueue({ parent: name.slice(0, name.lastIndexOf('/queues/')), queue: write(name, fields) }, { timeout })
    })
    // An earlier try, whose response was lost, has created it.
    const made = tried.ok
      ? fieldsOf(tried.value[0])
      : tried.fault.code === 'ALREADY_EXISTS' && tried.ambiguous ? await this.read(id) : undefined
    if (made === undefined) throw this.#problem('changeQueue', id, tried as { fault: CloudFault, tries: number })
    // A new queue runs, whatever it was created with.
    return fields.get('state') === 'PAUSED' ? await this.setState(id, 'PAUSED') : made
  }

  /** Updates `fields` only. Resolves with all settings of the updated queue. */
  async update (id: string, fields: QueueFields): Promise<QueueFields> {
    const paths = settingsOf(fields).map(([field]) => FIELDS[field]!.mask)
    const state = fields.get('state') as QueueState | undefined
    if (paths.length === 0 && state !== undefined) return await this.setState(id, state)
    const tried = await this.#call(id, (client, name, timeout) => {
      return client.updateQueue({ queue: write(name, fields), updateMask: { paths } }, { timeout })
    })
    if (!tried.ok) throw this.#problem('changeQueue', id, tried)
    return state === undefined ? fieldsOf(tried.value[0]) : await this.setState(id, state)
  }

  /** Pauses or resumes a queue. Nothing changes where it is in that state already. Resolves with all settings as they now are. */
  async setState (id: string, state: QueueState): Promise<QueueFields> {
    const tried = await this.#call(id, (client, name, timeout) => {
      return state === 'PAUSED' ? client.pauseQueue({ name }, { timeout }) : client.resumeQueue({ name }, { timeout })
    })
    if (!tried.ok) throw this.#problem('changeQueue', id, tried)
    return fieldsOf(tried.value[0])
  }

  /**
   * Which of these permissions the account that calls lacks on a queue; none where that cannot be known: for a queue that is missing,
   * and with a service or a client that cannot be asked.
   */
  async lackingPermissions (id: string, permissions: readonly string[]): Promise<string[]> {
    const tried = await this.#call(id, async (client, resource, timeout) => {
      if (client.testIamPermissions === undefined) return undefined
      return await client.testIamPermissions({ resource, permissions: [...permissions] }, { timeout, retry: null })
    })
    const granted = tried.ok ? tried.value?.[0].permissions : undefined
    return granted == null ? [] : permissions.filter(permission => !granted.includes(permission))
  }

  async close (): Promise<void> {
    await this.#clients.close()
  }

  async #call<T> (
    id: string, call: (client: CloudTasksClient, name: string, timeoutMs: number) => Promise<T>
  ): Promise<CallResult<T, CloudFault>> {
    return await withRetries(async timeoutMs => {
      const { client, project } = await this.#clients.open()
      return await call(client, printQueueName({ project, location: this.#config.location, queue: id }), timeoutMs)
    }, { classifyError, budgetMs: this.#config.sendTimeoutMs, signal: this.#signal, clock: systemClock })
  }

  #problem (action: CallContext['action'], queue: string, { fault, tries }: { fault: CloudFault, tries: number }): Error {
    const { project, location, emulatorHost, sendTimeoutMs } = this.#config
    const failure = failureOf(fault, {
      action,
      queue,
      project: project ?? this.#clients.ready?.project,
      location,
      emulatorHost,
      serviceAccountEmail: undefined,
      tries,
      budgetMs: sendTimeoutMs,
      bytes: () => 0
    })
    const problem = failure.outcome === 'failed' ? failure.problem : fault.details
    return new Error(`queue '${queue}': ${problem}`, { cause: fault.error })
  }
}

function fieldsOf (queue: IQueue): QueueFields {
  const settings = Object.entries(FIELDS).map(([field, { read }]) => [field, read(queue)] as const)
  return new Map<string, number | string>([...settings, ['state', String(queue.state ?? 'STATE_UNSPECIFIED')]])
}

/** Without the state, which calls of its own set. */
function settingsOf (fields: QueueFields): Array<[field: string, value: number]> {
  return [...fields].filter((entry): entry is [string, number] => entry[0] !== 'state')
}

function write (name: string, fields: QueueFields): WritableQueue {
  const queue: WritableQueue = { name }
  for (const [field, value] of settingsOf(fields)) FIELDS[field]!.write(queue, value)
  return queue
}

function rate (key: 'maxDispatchesPerSecond' | 'maxConcurrentDispatches', mask: string) {
  return {
    mask: `rate_limits.${mask}`,
    read: (queue: IQueue) => queue.rateLimits?.[key] ?? 0,
    write: (queue: WritableQueue, value: number) => { (queue.rateLimits ??= {})[key] = value }
  }
}

function retry (key: 'maxAttempts' | 'maxDoublings', mask: string) {
  return {
    mask: `retry_config.${mask}`,
    read: (queue: IQueue) => queue.retryConfig?.[key] ?? 0,
    write: (queue: WritableQueue, value: number) => { (queue.retryConfig ??= {})[key] = value }
  }
}

function duration (key: 'maxRetryDuration' | 'minBackoff' | 'maxBackoff', mask: string) {
  return {
    mask: `retry_config.${mask}`,
    read: (queue: IQueue) => secondsOf(queue.retryConfig?.[key]),
    write: (queue: WritableQueue, value: number) => { (queue.retryConfig ??= {})[key] = durationOf(value) }
  }
}

function secondsOf (duration: IDuration | null | undefined): number {
  return Number(duration?.seconds ?? 0) + Math.round((duration?.nanos ?? 0) / 1000) / 1_000_000
}

function durationOf (value: number): IDuration {
  const micros = Math.round(value * 1_000_000)
  return { seconds: Math.floor(micros / 1_000_000), nanos: micros % 1_000_000 * 1000 }
}

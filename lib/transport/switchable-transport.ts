import type { LocalTransport } from './local.js'
import type {
  Deleted, Found, Inspection, Listed, OutgoingTask, RetrySettings, Sent, TaskContent, TaskReading, Transport
} from './transport.js'

/**
 * The transport of a registration, which a test kit can hold: the embedded queue then dispatches nothing automatically, and any other
 * transport is replaced by an embedded queue in memory, so that nothing leaves this process. Must not be used before `open` and after
 * `close`.
 */
export class SwitchableTransport implements Transport {
  readonly #own: Transport
  readonly #local: LocalTransport | undefined
  readonly #createSubstitute: () => LocalTransport
  #substitute: Promise<LocalTransport> | undefined
  #onStop: (() => void) | undefined
  readonly inspection: Inspection | undefined
  readonly retrySettings: RetrySettings | undefined

  /**
   * @param own the registration's transport
   * @param local the same, if it is the embedded queue
   * @param createSubstitute creates an embedded queue to replace another transport
   */
  constructor (own: Transport, local: LocalTransport | undefined, createSubstitute: () => LocalTransport) {
    this.#own = own
    this.#local = local
    this.#createSubstitute = createSubstitute
    this.inspection = own.inspection
    this.retrySettings = own.retrySettings === undefined ? undefined : this.#switchable(own.retrySettings)
  }

  /** Whether an embedded queue replaces the registration's own transport. */
  get isSubstituted (): boolean {
    return this.#substitute !== undefined
  }

  /**
   * Holds new and waiting tasks.
   * @param onStop called when the server closes, before waiting for attempts
   * @returns the queue with the tasks: at once, or when it can accept tasks
   */
  hold (onStop: () => void): LocalTransport | Promise<LocalTransport> {
    this.#onStop = onStop
    const local = this.#local
    if (local !== undefined) {
      local.engine.hold()
      return local.opening?.then(() => local) ?? local
    }
    this.#substitute = openHeld(this.#createSubstitute())
    return this.#substitute
  }

  /** Continues as before `hold`. Tasks in an embedded queue that replaced another transport are discarded. */
  async release (): Promise<void> {
    this.#onStop = undefined
    this.#local?.engine.release()
    const substitute = await this.#takeSubstitute()
    await substitute?.engine.close()
  }

  async open (): Promise<void> {
    await this.#own.open()
  }

  async opened (): Promise<void> {
    await this.#own.opened()
  }

  start (): void {
    this.#own.start()
  }

  warmUp (): void {
    if (!this.isSubstituted) this.#own.warmUp()
  }

  async checkLetterQueue (): Promise<void> {
    if (!this.isSubstituted) await this.#own.checkLetterQueue?.()
  }

  createTask (queue: string, task: OutgoingTask): Promise<Sent> {
    return this.#call(transport => transport.createTask(queue, task))
  }

  get createTasks (): Transport['createTasks'] {
    const substitute = this.#substitute
    if (substitute !== undefined) return async (queue, tasks) => await (await substitute).createTasks(queue, tasks)
    const own = this.#own
    return own.createTasks === undefined ? undefined : (queue, tasks) => own.createTasks!(queue, tasks)
  }

  deleteTask (queue: string, id: string): Promise<Deleted> {
    return this.#call(transport => transport.deleteTask(queue, id))
  }

  readTask (queue: string, id: string): Promise<TaskReading> {
    return this.#call(transport => transport.readTask(queue, id))
  }

  putTask (queue: string, id: string, task: TaskContent, scheduleAt?: number): Promise<Sent> {
    return this.#call(transport => transport.putTask(queue, id, task, scheduleAt))
  }

  listTasks (queue: string, pageSize: number, pageToken?: string): Promise<Listed> {
    return this.#call(transport => transport.listTasks(queue, pageSize, pageToken))
  }

  findTask (queue: string, suffixes: readonly string[]): Promise<Found> {
    return this.#call(transport => transport.findTask(queue, suffixes))
  }

  async stop (): Promise<void> {
    this.#onStop?.()
    await Promise.all([this.#own.stop(), this.#substitute?.then(async substitute => { await substitute.stop() })])
  }

  async close (): Promise<void> {
    this.#onStop?.()
    const substitute = this.#takeSubstitute()
    await Promise.all([this.#own.close(), substitute.then(async substitute => { await substitute?.engine.close() })])
  }

  /** Hot path: calls the registration's own transport without an additional promise. */
  #call<T> (call: (transport: Transport) => Promise<T>): Promise<T> {
    return this.#substitute === undefined ? call(this.#own) : this.#substitute.then(call)
  }

  async #takeSubstitute (): Promise<LocalTransport | undefined> {
    const substitute = this.#substitute
    this.#substitute = undefined
    return await substitute
  }

  #switchable (own: RetrySettings): RetrySettings {
    return {
      ofQueue: async queue => {
        if (this.#substitute === undefined) return await own.ofQueue(queue)
        const substitute = await this.#substitute
        const stored = substitute.engine.findQueue(substitute.queueName(queue))
        return stored === undefined ? { outcome: 'missing' } : { outcome: 'read', retryConfig: stored.settings.retryConfig }
      },
      // Tasks of this package have no settings of their own.
      ofTask: own.ofTask === undefined
        ? undefined
        : async (queue, id) => this.isSubstituted ? { outcome: 'missing' } : await own.ofTask!(queue, id)
    }
  }
}

async function openHeld (transport: LocalTransport): Promise<LocalTransport> {
  await transport.open()
  await transport.opening
  transport.engine.hold()
  return transport
}

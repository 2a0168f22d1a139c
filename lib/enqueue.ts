import { hash, randomUUID } from 'node:crypto'
import { checkOptions, nearest } from './checks.js'
import type { Clock } from './clock/clock.js'
import type { FastifyBaseLogger } from 'fastify'
import { copySuffix } from './copies/names.js'
import { DEADLINE_HEADER, LIFE_HEADER } from './delivery/headers.js'
import { isQueueId, isTaskId } from './cloud-tasks/names.js'
import { enqueueOptions, type DeleteOptions, type EnqueueOptions } from './enqueue-options.js'
import type { Config } from './options/config.js'
import {
  FST_TASKS_CLOSING,
  FST_TASKS_INVALID_ENQUEUE_OPTION,
  FST_TASKS_NOT_REGISTERED,
  FST_TASKS_QUEUE_NOT_FOUND,
  FST_TASKS_SEND_FAILED,
  FST_TASKS_TOO_LARGE
} from './errors.js'
import { enqueueChannel, newEnqueueEvent, type EnqueueEvent, type Filled } from './events.js'
import type { PayloadCodec } from './registry/payload.js'
import type { RegisteredTypeProvider, TaskPayload } from './registry/definitions.js'
import type { RegisteredTask, Registry } from './registry/registry.js'
import type { Failure, OutgoingTask, Sent, Transport } from './transport/transport.js'

export interface EnqueueResult {
  /** Last segment of the task's name in Cloud Tasks; `task.id` in the handler. */
  readonly id: string
  /** Name in the registry. */
  readonly name: string
  readonly queue: string
  /** When the first attempt is due; for a duplicate, the time that this call requested. */
  readonly scheduleTime: Date
  /** A task with this id exists, or has finished recently: this call added nothing. */
  readonly duplicate: boolean
}

export interface Enqueue<M, F = RegisteredTypeProvider> {
  /**
   * Enqueues a task. Resolves when it is stored in Cloud Tasks or in the embedded queue.
   * @throws FST_TASKS_NOT_REGISTERED, FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_PAYLOAD, FST_TASKS_TOO_LARGE,
   * FST_TASKS_INVALID_ENQUEUE_OPTION, FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_SEND_FAILED, FST_TASKS_CLOSING
   */
  <N extends keyof M & string>(name: N, payload: TaskPayload<M, N, F>, options?: EnqueueOptions): Promise<EnqueueResult>
}

/** A checked task, ready to be sent. */
export interface Prepared {
  readonly task: RegisteredTask
  readonly queue: string
  readonly outgoing: OutgoingTask
}

/** The event of `enqueueMany`. */
export type BatchEvent = Filled<EnqueueEvent> & { readonly failures: unknown[] }

/** Name + payload + options -> checked task -> transport. */
export class Producer {
  readonly #registry: Registry
  readonly #config: Config
  readonly #payloads: PayloadCodec
  readonly #transport: Transport
  readonly #options: ReturnType<typeof enqueueOptions>
  readonly #clock: Clock
  readonly #log: FastifyBaseLogger

  constructor (registry: Registry, config: Config, payloads: PayloadCodec, transport: Transport, clock: Clock, log: FastifyBaseLogger) {
    this.#registry = registry
    this.#config = config
    this.#payloads = payloads
    this.#transport = transport
    this.#options = enqueueOptions(config.target.type, clock)
    this.#clock = clock
    this.#log = log
  }

  /** Not async: a promise of its own would be a measurable part of what a call costs. */
  readonly enqueue = (name: string, payload: unknown, options: EnqueueOptions = {}): Promise<EnqueueResult> => {
    if (!enqueueChannel.hasSubscribers) return this.#add(name, payload, options)
    const event = newEnqueueEvent(name, this.#queueOf(name, options), false)
    return traced(event, () => this.#add(name, payload, options, event))
  }

  /**
   * Enqueues many tasks of one kind, which are one event.
   * @param work prepares and sends the tasks; its event is undefined without subscribers
   */
  async batch<T> (name: string, work: (event: BatchEvent | undefined) => Promise<T>): Promise<T> {
    if (!enqueueChannel.hasSubscribers) return await work(undefined)
    const event: BatchEvent = { ...newEnqueueEvent(name, this.#queueOf(name, {}), true), failures: [] }
    return await traced(event, async () => await work(event))
  }

  /** Removes a task that is still queued. `id` is what `enqueue` took or returned. True if it was still there. */
  readonly delete = async (name: string, id: string, { copies = true, ...options }: DeleteOptions = {}): Promise<boolean> => {
    const task = lookUp(this.#registry, name)
    if (typeof id !== 'string') throw new FST_TASKS_INVALID_ENQUEUE_OPTION(name, "'id' must be a string")
    this.#check(task, { ...options, id })
    const queue = options.queue ?? task.queue ?? this.#config.queue
    const candidates = isTaskId(id) ? [taskId(name, id), id] : [taskId(name, id)]
    for (const candidate of candidates) {
      const deleted = await this.#transport.deleteTask(queue, candidate)
      if (deleted.outcome === 'deleted') return true
      if (deleted.outcome !== 'notFound') throw failure(name, queue, deleted)
    }
    return copies && await this.#deleteCopy(name, queue, candidates)
  }

  /** At most one copy of a task, postponed or replayed, is waiting. */
  async #deleteCopy (name: string, queue: string, roots: readonly string[]): Promise<boolean> {
    const suffixes = roots.map(copySuffix)
    // Meanwhile it may run and be postponed again.
    for (let tries = 0; tries < 3; tries++) {
      const found = await this.#transport.findTask(queue, suffixes)
      if (found.outcome === 'unknown') {
        const { problem } = found
        this.#log.warn({ task: name, queue, problem }, 'the queue could not be searched completely for a postponed copy to delete')
      }
      if (found.outcome !== 'found') return false
      const deleted = await this.#transport.deleteTask(queue, found.id)
      if (deleted.outcome === 'deleted') return true
      if (deleted.outcome !== 'notFound') throw failure(name, queue, deleted)
    }
    return false
  }

  /**
   * Checks a task before it is sent; returns a promise if its validator is asynchronous.
   * @throws as `enqueue`
   */
  prepare (task: RegisteredTask, payload: unknown, options: EnqueueOptions, event?: Filled<EnqueueEvent>): Prepared | Promise<Prepared> {
    const text = this.#payloads.print(task, payload)
    const read = this.#payloads.read(task, text)
    return read instanceof Promise
      ? read.then(() => this.#prepared(task, text, options, event))
      : this.#prepared(task, text, options, event)
  }

  /** Converts the transport's outcome. @throws as `enqueue` */
  resultOf ({ task: { name }, queue, outgoing }: Prepared, sent: Sent): EnqueueResult {
    if (sent.outcome === 'created') return { id: sent.id, name, queue, scheduleTime: new Date(sent.scheduleAt), duplicate: false }
    if (sent.outcome === 'duplicate' && outgoing.id !== undefined) {
      return { id: outgoing.id, name, queue, scheduleTime: new Date(outgoing.scheduleAt ?? this.#clock.now()), duplicate: true }
    }
    if (sent.outcome === 'duplicate') throw new FST_TASKS_SEND_FAILED(name, 'the queue reported a task without an id as a duplicate')
    throw failure(name, queue, sent)
  }

  async #add (name: string, payload: unknown, options: EnqueueOptions, event?: Filled<EnqueueEvent>): Promise<EnqueueResult> {
    const checked = this.prepare(lookUp(this.#registry, name), payload, options, event)
    const prepared = checked instanceof Promise ? await checked : checked
    const result = this.resultOf(prepared, await this.#transport.createTask(prepared.queue, prepared.outgoing))
    if (event === undefined) return result
    event.id = result.id
    event.scheduleTime = result.scheduleTime
    event.duplicate = result.duplicate
    return result
  }

  #prepared (task: RegisteredTask, text: string, options: EnqueueOptions, event: Filled<EnqueueEvent> | undefined): Prepared {
    this.#check(task, options)
    const queue = options.queue ?? task.queue ?? this.#config.queue
    const outgoing = outgoingTask(task, text, options, this.#clock.now())
    if (event !== undefined) announce(event, queue, outgoing)
    return { task, queue, outgoing }
  }

  /** The queue of a call, before its options are checked. */
  #queueOf (name: string, options: EnqueueOptions | null): string {
    const queue: unknown = options?.queue
    return typeof queue === 'string' && isQueueId(queue) ? queue : this.#registry.get(name)?.queue ?? this.#config.queue
  }

  #check ({ name }: RegisteredTask, options: EnqueueOptions): void {
    const refuse = (problem: string) => new FST_TASKS_INVALID_ENQUEUE_OPTION(name, problem)
    checkOptions(this.#options, options, { refuse })
    if (options.scheduleTime !== undefined && options.scheduleDelaySeconds !== undefined) {
      throw refuse("'scheduleTime' and 'scheduleDelaySeconds' are mutually exclusive")
    }
    if (options.queue !== undefined && options.queue === this.#config.deadLetterQueue) {
      throw refuse(`'queue' is the dead-letter queue '${options.queue}', which is paused and would never run it`)
    }
  }
}

/** @throws FST_TASKS_NOT_REGISTERED with the most similar name */
export function lookUp (registry: Registry, name: string): RegisteredTask {
  const task = registry.get(name)
  if (task === undefined) {
    throw new FST_TASKS_NOT_REGISTERED(String(name), nearest(String(name), [...registry.keys()]) || '; define it with defineTasks')
  }
  return task
}

/**
 * The task id in Cloud Tasks for de-duplication key `id` of task `name`: a hash, because ids with a common prefix slow the service
 * down, then the readable part of the key.
 */
export function taskId (name: string, id: string): string {
  const readable = id.replaceAll(/[^A-Za-z0-9_-]+/g, '-').slice(0, 400)
  return `${hash('sha256', `${name}\n${id}`, 'hex').slice(0, 32)}-${readable}`
}

/** A task as its transport accepts it. @param text the payload's JSON */
export function outgoingTask (task: RegisteredTask, text: string, options: EnqueueOptions, now: number): OutgoingTask {
  const deadlineSeconds = options.dispatchDeadlineSeconds ?? task.dispatchDeadlineSeconds
  const headers: Record<string, string> = { ...options.headers, 'content-type': 'application/json' }
  // Cloud Tasks does not send the deadline to the worker.
  if (deadlineSeconds !== undefined) headers[DEADLINE_HEADER] = String(deadlineSeconds)
  if (options.id !== undefined) headers[LIFE_HEADER] = randomUUID()
  return {
    id: options.id === undefined ? undefined : taskId(task.name, options.id),
    method: task.method,
    path: task.path,
    headers,
    body: Buffer.from(text),
    scheduleAt: options.scheduleTime?.getTime() ??
      (options.scheduleDelaySeconds === undefined ? undefined : now + options.scheduleDelaySeconds * 1000),
    dispatchDeadlineMs: deadlineSeconds === undefined ? undefined : deadlineSeconds * 1000
  }
}

function failure (name: string, queue: string, sent: Failure): Error {
  switch (sent.outcome) {
    case 'queueNotFound': return new FST_TASKS_QUEUE_NOT_FOUND(queue, sent.hint, { cause: sent.cause })
    case 'tooLarge': return new FST_TASKS_TOO_LARGE(name, sent.bytes, sent.limit)
    case 'closing': return new FST_TASKS_CLOSING()
    case 'failed': return new FST_TASKS_SEND_FAILED(name, sent.problem, { cause: sent.cause })
  }
}

/** Runs a call and publishes its events. Subscribers of `start` set `around`. */
function traced<T> (event: EnqueueEvent, work: () => Promise<T>): Promise<T> {
  return enqueueChannel.tracePromise(() => event.around === undefined ? work() : event.around(work), event)
}

/** Call it right before a task is sent. */
function announce (
  event: Filled<EnqueueEvent>, queue: string, { id, body, headers }: OutgoingTask & { readonly headers: Record<string, string> }
): void {
  if (!event.batch) event.id = id
  event.sent++
  const added = event.headersOf?.({ queue, id, bodySize: body.length })
  if (added === undefined) return
  const chosen = Object.keys(headers)
  for (const name of Object.keys(added)) if (!chosen.some(other => sameHeader(other, name))) headers[name] = added[name]!
}

function sameHeader (one: string, other: string): boolean {
  return one.length === other.length && one.toLowerCase() === other.toLowerCase()
}

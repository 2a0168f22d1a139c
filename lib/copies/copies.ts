import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { NewTask } from '../cloud-tasks/task.js'
import { DEADLINE_HEADER, LIFE_HEADER, ORIGIN_HEADER } from '../delivery/headers.js'
import { routePath } from '../delivery/path.js'
import type { Config } from '../options/config.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { Failure, Sent, TaskContent, TaskReading } from '../transport/transport.js'
import { printOrigin, type Origin } from './facts.js'
import { copyId } from './names.js'
import { contentOf, headersOf, ownHeaders, withHeaders } from './source.js'

/** An attempt whose task is copied. */
export interface CopiedAttempt {
  /** Short id of the queue that the copied task is in. */
  readonly sourceQueue: string
  /** Short id of the copied task. */
  readonly sourceId: string
  /** Short id of the original task. */
  readonly originalId: string
  readonly scheduledTime: Date
  /** Whether it was delivered by a queue. */
  readonly delivered: boolean
  /** Whether the task may have been created by another client. */
  readonly mayHaveOwnRetry: boolean
  readonly request: FastifyRequest | undefined
}

/** The route of a task, below the prefix. */
export type CopiedRoute = Pick<RegisteredTask, 'method' | 'path'>

export interface NewCopy {
  /** Short id of the copy's queue. */
  readonly queue: string
  readonly origin: Origin
  readonly scheduleAt?: number
  /**
   * Whether the service may have ended the task before the attempt was settled, so that a missing task need not be deleted. @default false
   */
  readonly mayHaveEnded?: boolean
}

/** Reads and stores tasks. A transport is one. */
export interface CopyStore {
  readTask (queue: string, id: string): Promise<TaskReading>
  putTask (queue: string, id: string, task: TaskContent, scheduleAt?: number): Promise<Sent>
}

export interface CopiesOptions {
  readonly app: FastifyInstance
  readonly config: Config
  readonly store: CopyStore
  /** Creates a task of this app, as CreateTask accepts it. */
  readonly newTask: (route: string, request: TaskRequest) => NewTask
}

export interface TaskRequest {
  readonly method: RegisteredTask['method']
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export type Copied =
  | { readonly outcome: 'created' }
  /** The copy exists already. */
  | { readonly outcome: 'duplicate' }
  /** The task has ended or was deleted, so there is nothing to copy. */
  | { readonly outcome: 'gone' }
  | Failure

/**
 * Copies tasks: exactly where the task can be read (`cloudtasks.tasks.get` and `fullView`), even if it was created by another client;
 * otherwise from the request of the attempt.
 */
export class Copies {
  readonly #options: CopiesOptions
  readonly #bodies = new WeakMap<FastifyRequest, Buffer>()
  /** Whether request bodies must be kept: not for tasks of the embedded queue, which can be read until they end. */
  readonly keepsBodies: boolean

  constructor (options: CopiesOptions) {
    const { embedded, callers, deadLetterQueue } = options.config
    this.#options = options
    this.keepsBodies = !embedded || callers.verify === 'none' || deadLetterQueue !== undefined
  }

  /** Called when a body was read. */
  received (request: FastifyRequest, body: Buffer): void {
    this.#bodies.set(request, body)
  }

  /**
   * Copies the task of an attempt. Its name is the same whenever the same task is copied again, over all its attempts, and another for a
   * later task with the same id. Never rejects.
   */
  async copy (route: CopiedRoute, attempt: CopiedAttempt, { queue, origin, scheduleAt, mayHaveEnded = false }: NewCopy): Promise<Copied> {
    const { store } = this.#options
    const { sourceQueue, sourceId, request } = attempt
    const reading: TaskReading = attempt.delivered ? await store.readTask(sourceQueue, sourceId) : { outcome: 'notFound' }
    let content: TaskContent
    switch (reading.outcome) {
      case 'read': content = contentOf(reading.task); break
      case 'gone':
      case 'notFound':
      case 'denied':
        if (request === undefined || (reading.outcome === 'gone' && !mayHaveEnded)) return { outcome: 'gone' }
        content = this.#requested(route, request)
        break
      default: return reading
    }
    const life = this.#life(attempt, reading)
    const id = copyId([sourceQueue, sourceId, life], attempt.originalId)
    const sent = await store.putTask(queue, id, withHeaders(content, { [ORIGIN_HEADER]: printOrigin(origin) }), scheduleAt)
    return sent.outcome === 'created' ? { outcome: 'created' } : sent
  }

  /** Distinguishes a task from others with the same id. Ids that the service has generated are never reused. */
  #life ({ delivered, mayHaveOwnRetry, request, scheduledTime }: CopiedAttempt, reading: TaskReading): string {
    if (!delivered) return randomUUID()
    const chosen = reading.outcome === 'read' ? headersOf(reading.task)[LIFE_HEADER] : request?.headers[LIFE_HEADER]
    if (typeof chosen === 'string') return chosen
    if (this.#options.config.embedded || !mayHaveOwnRetry) return ''
    // For another client's task that cannot be read, only the attempt is known.
    return reading.outcome === 'read' ? `created ${reading.task.createdAt}` : `due ${scheduledTime.getTime()}`
  }

  /** A task with the same request. */
  #requested ({ method, path }: CopiedRoute, request: FastifyRequest): TaskContent {
    const { app, config, newTask } = this.#options
    const url = request.originalUrl
    const query = url.includes('?') ? url.slice(url.indexOf('?')) : ''
    const headers = ownHeaders(request)
    const body = this.#bodies.get(request) ?? Buffer.alloc(0)
    const seconds = Number(headers[DEADLINE_HEADER])
    const made = newTask(routePath(app, config.prefix, path) + query, { method, headers, body })
    return { ...made, ...(seconds >= 15 && seconds <= 86_415 ? { dispatchDeadlineMs: seconds * 1000 } : undefined) }
  }
}

/** The problem and how to fix it. */
export function problemOf (failure: Failure): string {
  switch (failure.outcome) {
    case 'queueNotFound': return `its queue does not exist; ${failure.hint}`
    case 'tooLarge': return `the copy has ${failure.bytes} bytes, more than the ${failure.limit} that Cloud Tasks stores`
    case 'closing': return 'the server is closing'
    case 'failed': return failure.problem
  }
}

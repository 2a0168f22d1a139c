import type { AsyncResource } from 'node:async_hooks'
import type { FastifyInstance } from 'fastify'
import { integer, readOptions, string, type Declared } from './checks.js'
import type { Clock } from './clock/clock.js'
import type { DeadLetters } from './dead-letters/dead-letters.js'
import type { Config } from './options/config.js'
import { lookUp, type Enqueue, type EnqueueResult, type Producer } from './enqueue.js'
import { enqueueMany, type EnqueueItem } from './enqueue-many.js'
import type { DeleteOptions } from './enqueue-options.js'
import {
  FST_TASKS_INVALID_ENQUEUE_OPTION,
  FST_TASKS_INVALID_PAGE,
  FST_TASKS_LOCAL_ONLY,
  FST_TASKS_NO_HANDLER,
  FST_TASKS_NOT_REGISTERED
} from './errors.js'
import { jsonSchemaOf } from './registry/json-schema.js'
import type { PayloadCodec } from './registry/payload.js'
import type { RegisteredTasks, RegisteredTypeProvider, TaskDefinitions, TaskPayload } from './registry/definitions.js'
import type { Registry } from './registry/registry.js'
import { MAX_ATTEMPT } from './cloud-tasks/headers.js'
import { routePath } from './delivery/path.js'
import type { Inspection, PendingQuery, PendingTask, TransportCounts, Transport } from './transport/transport.js'
import type { OutcomeCounts, Settlement } from './worker/settlement.js'
import type { RetryLimitSource } from './worker/limits/retry-limits.js'
import type { Runs } from './worker/run.js'
import { runHandler } from './worker/run-once.js'

export type { EnqueueItem, PendingQuery, PendingTask, TransportCounts }

/** `app.tasks`: operations on the tasks of an app. */
export interface Tasks<M = RegisteredTasks, F = RegisteredTypeProvider> {
  /** All tasks of the registry, in the order of their definition. */
  list(): TaskListing[]
  /**
   * Runs the handler now, in this process, without queue and HTTP; payload and `this` are as in an attempt. Resolves and rejects with
   * the handler's result. Suitable for a debugger, as there is no deadline. As in an attempt, the async context is that of the plugin's
   * registration, not the caller's.
   * @throws FST_TASKS_NOT_REGISTERED, FST_TASKS_NO_HANDLER, FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_PAYLOAD,
   * FST_TASKS_INVALID_ENQUEUE_OPTION, FST_TASKS_DROPPED, FST_TASKS_POSTPONED, FST_TASKS_ABORTED
   */
  run<N extends keyof M & string>(name: N, payload: TaskPayload<M, N, F>, options?: RunOptions): Promise<unknown>
  /**
   * Enqueues many tasks: in the embedded queue with one write for up to 500 tasks, in Cloud Tasks with limited concurrency
   * (`enqueueConcurrency`). Results are in the order of `items`, in the form of `Promise.allSettled`: an invalid item does not affect the
   * others. Reads `items` no faster than it enqueues. If the iterator throws, rejects with its error after previous items are enqueued.
   * @throws FST_TASKS_NOT_REGISTERED, FST_TASKS_INVALID_ENQUEUE_OPTION when `items` is no list
   */
  enqueueMany<N extends keyof M & string>(
    name: N,
    items: Iterable<EnqueueItem<TaskPayload<M, N, F>>>
  ): Promise<Array<PromiseSettledResult<EnqueueResult>>>
  /**
   * Deletes a task from its queue. `id` is the one passed to `enqueue`, or returned by it. Resolves with true if the task was still
   * queued. Otherwise its postponed or replayed copy is searched for and deleted; in Cloud Tasks this lists up to 10,000 tasks of the
   * queue, and needs `cloudtasks.tasks.list`. An incomplete search is logged.
   * @throws as `enqueue`
   */
  delete<N extends keyof M & string>(name: N, id: string, options?: DeleteOptions): Promise<boolean>
  /** Exhausted tasks, kept by the option `deadLetterQueue`. */
  readonly deadLetters: DeadLetters<keyof M & string>
  /**
   * Waiting tasks, running attempts, how long the oldest task has been due, and the state of each queue, by queue id. Takes constant
   * time per queue. For the embedded queue only.
   * @throws FST_TASKS_LOCAL_ONLY, FST_TASKS_STORE_UNAVAILABLE before the app is ready, where a directory is still being opened
   */
  counts(): Record<string, TransportCounts>
  /**
   * Pauses a queue: it accepts tasks but runs none until `resumeQueue`, even after a restart if there is a directory. Running attempts
   * continue. For the embedded queue only; for Cloud Tasks, use `gcloud tasks queues pause`.
   * @param queue default: the plugin's `queue`
   * @throws FST_TASKS_LOCAL_ONLY, FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_STORE_UNAVAILABLE
   */
  pauseQueue (queue?: string): Promise<void>
  /**
   * Resumes a paused queue. Idempotent.
   * @param queue default: the plugin's `queue`
   * @throws as `pauseQueue`
   */
  resumeQueue (queue?: string): Promise<void>
  /**
   * A page of the pending tasks of a queue, in no particular order. It is the last one only if it has no `nextPageToken`: pages of
   * large tasks are shorter. For the embedded queue only.
   * @param queue default: the plugin's `queue`
   * @throws FST_TASKS_LOCAL_ONLY, FST_TASKS_QUEUE_NOT_FOUND, FST_TASKS_INVALID_PAGE
   */
  pending(queue?: string, page?: PendingQuery): PendingPage
}

export interface RunOptions {
  /** The attempt number in the handler's context, from 1. @default 1 */
  readonly attempt?: number
}

export interface PendingPage {
  /** `name` is the name in the registry; undefined when no task has this path any more. */
  readonly tasks: ReadonlyArray<PendingTask & { readonly name: string | undefined }>
  readonly nextPageToken: string | undefined
}

export interface TaskListing {
  readonly name: string
  readonly method: string
  /** URL path of its route in this server, prefixes included. */
  readonly path: string
  readonly queue: string
  /** JSON Schema of the payload that `enqueue` accepts; undefined where the schema's library provides none. */
  readonly schema: object | undefined
  /** Whether this process has its handler. */
  readonly handler: boolean
  /** Number of attempts in this process, by outcome. */
  readonly counts: Readonly<OutcomeCounts>
}

/** `enqueue` and `app.tasks`, typed by an explicit registry. */
export interface TaskClient<M, F = RegisteredTypeProvider> extends Tasks<M, F> {
  readonly enqueue: Enqueue<M, F>
}

/**
 * A client that is typed by `tasks` instead of `Register`, for programs with several registries.
 * @throws FST_TASKS_NOT_REGISTERED when `app` does not have one of these tasks
 */
export function tasksOf<M extends TaskDefinitions, F = RegisteredTypeProvider> (
  app: Pick<FastifyInstance, 'enqueue' | 'tasks'>,
  tasks: M
): TaskClient<M, F> {
  const registry = app.tasks === undefined ? undefined : registries.get(app.tasks)
  for (const [name, definition] of Object.entries(tasks)) {
    if (registry?.get(name)?.payload !== definition.payload) {
      throw new FST_TASKS_NOT_REGISTERED(
        name,
        ' on this instance with this definition; register the plugin with it, or pass the instance that it is registered on'
      )
    }
  }
  return { ...(app.tasks as unknown as Tasks<M, F>), enqueue: app.enqueue as unknown as Enqueue<M, F> }
}

/** Registries by `app.tasks`. */
const registries = new WeakMap<object, Registry>()

export interface TasksParts {
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  /** The async context in which handlers run. */
  readonly scope: AsyncResource
  readonly registry: Registry
  readonly payloads: PayloadCodec
  readonly producer: Producer
  readonly runs: Runs
  readonly settlement: Settlement
  readonly limits: RetryLimitSource
  readonly transport: Transport
  readonly deadLetters: DeadLetters
  /** Aborts the signals of handlers that run without a queue. */
  readonly signal: AbortSignal | undefined
}

export function createTasks ({
  app,
  config,
  clock,
  scope,
  registry,
  payloads,
  producer,
  runs,
  settlement,
  limits,
  transport,
  deadLetters,
  signal
}: TasksParts): Tasks<any> {
  const byPath = new Map([...registry.values()].map(task => [routePath(app, config.prefix, task.path), task.name]))
  const inspection = (call: string): Inspection => {
    if (transport.inspection === undefined) throw new FST_TASKS_LOCAL_ONLY(call)
    return transport.inspection
  }
  const tasks: Tasks<any> = {
    list () {
      return [...registry.values()].map(task => ({
        name: task.name,
        method: task.method,
        path: routePath(app, config.prefix, task.path),
        queue: task.queue ?? config.queue,
        schema: jsonSchemaOf(task.payload),
        handler: task.handler !== undefined,
        counts: settlement.countsOf(task.name)
      }))
    },

    async run (name, payload, options = {}) {
      const task = lookUp(registry, name)
      const { attempt } = readOptions(runOptions, options, { refuse: problem => new FST_TASKS_INVALID_ENQUEUE_OPTION(name, problem) })
      if (task.handler === undefined) throw new FST_TASKS_NO_HANDLER(name)
      const value = await payloads.read(task, payloads.print(task, payload))
      const run = await runHandler({ app, config, clock, scope, runs, limits, signal }, task, value, app.log, attempt)
      if (run.result === 'done') return run.value
      throw run.error
    },

    async enqueueMany (name, items) {
      return await enqueueMany({ producer, transport, concurrency: config.enqueueConcurrency }, lookUp(registry, name), items)
    },

    delete: producer.delete,
    deadLetters,

    counts () {
      return inspection('counts').counts()
    },

    async pauseQueue (queue = config.queue) {
      await inspection('pauseQueue').setState(queue, 'PAUSED')
    },

    async resumeQueue (queue = config.queue) {
      await inspection('resumeQueue').setState(queue, 'RUNNING')
    },

    pending (queue = config.queue, page = {}) {
      const { tasks, nextPageToken } = inspection('pending').page(queue, readPage(page))
      return { tasks: tasks.map(task => ({ ...task, name: byPath.get(task.path) })), nextPageToken }
    }
  }
  registries.set(tasks, registry)
  return tasks
}

const runOptions = {
  attempt: integer(1, MAX_ATTEMPT, { default: 1 })
} satisfies Declared<RunOptions>

const pageOptions = {
  pageSize: integer(1, 1000, { default: 1000 }),
  pageToken: string()
} satisfies Declared<PendingQuery>

function readPage (page: unknown): PendingQuery {
  return readOptions(pageOptions, page, { refuse: problem => new FST_TASKS_INVALID_PAGE(problem) })
}

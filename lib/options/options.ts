import { anything, boolean, callable, instance, integer, number, oneOf, section, string, type Declared, type Option } from '../checks.js'
import { isLocationId, isProjectId, isQueueId } from '../cloud-tasks/names.js'
import type { RegisteredTypeProvider, TaskContext, TaskDefinitions, TaskHandlers } from '../registry/definitions.js'
import { authOption, type AuthOptions } from './auth.js'
import { queuesOption, type QueueOptions } from './queues.js'
import { targetOption, type AppEngineTarget, type HttpTarget } from './target.js'

/** Options of `app.register(cloudTasks, options)`. Checked at registration; unknown keys and invalid values are rejected. */
export interface CloudTasksOptions<M extends TaskDefinitions = TaskDefinitions, F = RegisteredTypeProvider> {
  /** The registry, from `defineTasks`. */
  readonly tasks: M
  /** Handlers of the tasks. Partial: this process runs only some tasks. Absent: it only enqueues, and mounts no routes. */
  readonly handlers?: Partial<TaskHandlers<M, F>>
  /** Path prefix of the task routes, below the prefix of the instance. `''` mounts them at its root. @default '/tasks' */
  readonly prefix?: string
  /**
   * Where tasks are enqueued: in Google Cloud Tasks, or in the embedded queue in this process.
   * Environment: `CLOUD_TASKS_TRANSPORT`.
   * @default 'cloud' if `CLOUD_TASKS_EMULATOR_HOST`, `K_SERVICE` or `GAE_SERVICE` is set, else 'local'
   */
  readonly transport?: 'cloud' | 'local'
  /** Project of the queues. Environment: `GOOGLE_CLOUD_PROJECT`. @default the project of the credentials */
  readonly project?: string
  /**
   * Region of the queues, such as `us-central1`. It has no default because it can differ from the app's region.
   * Environment: `CLOUD_TASKS_LOCATION`.
   */
  readonly location?: string
  /** Queue of all tasks whose definition has no `queue`. Environment: `CLOUD_TASKS_QUEUE`. @default 'default' */
  readonly queue?: string
  /**
   * Settings of the queues, by id. They apply to the embedded queue; absent ones have Cloud Tasks' defaults. Queues in Cloud Tasks have
   * their own settings, which `queues sync` updates from these, and which the worker reads to know the last attempt.
   */
  readonly queues?: Readonly<Record<string, QueueOptions>>
  /**
   * Id of the queue for dead letters: tasks whose last attempt has failed, see `app.tasks.deadLetters`. It must be paused, have unlimited
   * attempts, and no other use; `queues sync` creates it. Tasks are kept for 31 days. Environment: `CLOUD_TASKS_DEAD_LETTER_QUEUE`.
   * @default none: such tasks are not kept
   */
  readonly deadLetterQueue?: string
  /** How Cloud Tasks reaches the task routes. @default App Engine if `GAE_SERVICE` is set, else HTTP from the environment */
  readonly target?: AppEngineTarget | HttpTarget
  /** Settings of the embedded queue. */
  readonly local?: LocalOptions
  /** Your own client, which the plugin never closes. @default one that is created while the app starts, for transport `cloud` only */
  readonly client?: CloudTasksClientLike
  /**
   * Who may call the task routes. `emulator` accepts the tokens of the emulator at `CLOUD_TASKS_EMULATOR_HOST`, which must be set.
   * `false` lets every caller that reaches the server run any task, and logs a warning.
   * @default verify according to the target
   */
  readonly auth?: false | 'emulator' | AuthOptions
  /**
   * Seconds for which `enqueue` retries while Cloud Tasks is unavailable, overloaded or unreachable, 0.1 to 600. A task
   * without an `id` can then be enqueued twice, when the response to a successful try was lost. @default 10
   */
  readonly sendTimeoutSeconds?: number
  /** Maximum number of concurrent calls of `enqueueMany` to Cloud Tasks, and to an asynchronous validator, 1 to 1000. @default 64 */
  readonly enqueueConcurrency?: number
  /**
   * Grace period for running attempts when the server closes, in seconds, before their signal aborts, 0 to 86400. Cloud Run kills a
   * container 10 s after SIGTERM; the default leaves two seconds for the last responses and the app's `onClose` hooks. @default 8
   */
  readonly closeGraceSeconds?: number
  /**
   * What happens to a task whose payload does not match the schema: `retry` keeps it, so that a rollback can fix it, `drop` drops it.
   * @default 'retry'
   */
  readonly invalidPayload?: 'retry' | 'drop'
  /** Whether OpenAPI documents list the task routes. @default false */
  readonly exposeRoutes?: boolean
  /**
   * Log level of the task routes, including `task.log`. `warn` silences Fastify's two lines for each request.
   * @default the server's
   */
  readonly logLevel?: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
  /**
   * Called when the last attempt has failed, before the response is sent; also when the embedded queue drops a task that is older than
   * 31 days, with FST_TASKS_EXPIRED. Once per task, as far as this process can know. Errors that it throws are logged.
   * @default logged at level error
   */
  readonly onExhausted?: (payload: unknown, error: unknown, task: TaskContext) => unknown
  /** Called when a task was dropped, before the response is sent. Errors that it throws are logged. @default logged at level warn */
  readonly onDropped?: (payload: unknown, reason: string, task: TaskContext) => unknown
}

/**
 * The methods of a `CloudTasksClient` of `@google-cloud/tasks`, of any major version, that the plugin calls. Its own type would make
 * every app compile the declarations of Google's client, which do not compile with all compiler settings.
 */
export interface CloudTasksClientLike {
  createTask (...args: any[]): Promise<any>
  deleteTask (...args: any[]): Promise<any>
  getQueue (...args: any[]): Promise<any>
  getProjectId (): Promise<string>
  /** Without it, a task is copied from the request of its attempt. */
  getTask? (...args: any[]): Promise<any>
  /** Without it, `app.tasks.delete` does not find postponed tasks. */
  listTasks? (...args: any[]): Promise<any>
}

export interface LocalOptions {
  /**
   * Directory in which the embedded queue stores its tasks. It is created if missing, and used by one process at a time. `enqueue`
   * then resolves when the task would survive a power failure. Environment: `CLOUD_TASKS_DIRECTORY`.
   * @default in memory, until the process ends
   */
  readonly directory?: string
  /** Seconds for which the `id` of a finished task cannot be reused. @default 3600, as in the v2 API's documentation */
  readonly taskTombstoneSeconds?: number
  /**
   * How attempts of the embedded queue reach the task routes. `loopback`: through the server's routing with Node's own request and
   * response objects, as over HTTP. `inject`: through `app.inject`, at several times the cost, for apps whose plugins need it.
   * @default 'loopback'
   */
  readonly delivery?: 'loopback' | 'inject'
}

const localOptions = {
  directory: string({ valid: path => path !== '', must: 'must be the path of a directory', variable: 'CLOUD_TASKS_DIRECTORY' }),
  taskTombstoneSeconds: number(0, 9 * 86_400, { default: 3600 }),
  delivery: oneOf(['loopback', 'inject'], { default: 'loopback' })
} satisfies Declared<LocalOptions>

/** Check, default and environment variable of each option. `resolveConfig` resolves those that depend on other options. */
export const pluginOptions = {
  // The registry checks these two.
  tasks: anything<TaskDefinitions>(),
  handlers: anything<Partial<TaskHandlers<TaskDefinitions>>>(),
  prefix: string({
    valid: prefix => prefix === '' || /^(?:\/[A-Za-z0-9._~-]+)+$/.test(prefix),
    must: "must start with '/', not end with one, and contain only letters, digits, '-', '.', '_', '~' and '/'; " +
      "'' mounts the tasks at the root",
    default: '/tasks'
  }),
  transport: oneOf(['cloud', 'local'], { variable: 'CLOUD_TASKS_TRANSPORT' }),
  project: string({
    valid: isProjectId,
    must: 'must be a project id: letters, digits, hyphens, colons and periods',
    variable: 'GOOGLE_CLOUD_PROJECT'
  }),
  location: string({ valid: isLocationId, must: "must be a region such as 'us-central1'", variable: 'CLOUD_TASKS_LOCATION' }),
  queue: string({
    valid: isQueueId,
    must: 'must be a queue id: 1 to 100 letters, digits or hyphens',
    variable: 'CLOUD_TASKS_QUEUE',
    default: 'default'
  }),
  deadLetterQueue: string({
    valid: isQueueId,
    must: 'must be a queue id: 1 to 100 letters, digits or hyphens',
    variable: 'CLOUD_TASKS_DEAD_LETTER_QUEUE'
  }),
  queues: queuesOption,
  target: targetOption,
  local: section(localOptions),
  client: instance<NonNullable<CloudTasksOptions['client']>>('createTask') as Option<CloudTasksOptions['client']>,
  auth: authOption,
  sendTimeoutSeconds: number(0.1, 600, { default: 10 }),
  enqueueConcurrency: integer(1, 1000, { default: 64 }),
  closeGraceSeconds: number(0, 86_400, { default: 8 }),
  invalidPayload: oneOf(['retry', 'drop'], { default: 'retry' }),
  exposeRoutes: boolean({ default: false }),
  logLevel: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  onExhausted: callable<NonNullable<CloudTasksOptions['onExhausted']>>(),
  onDropped: callable<NonNullable<CloudTasksOptions['onDropped']>>()
} satisfies Declared<CloudTasksOptions>

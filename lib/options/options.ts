import { anything, boolean, callable, instance, integer, number, oneOf, section, string, type Declared, type Option } from '../checks.js'
import { isLocationId, isProjectId, isQueueId } from '../cloud-tasks/names.js'
import type { RegisteredTypeProvider, TaskContext, TaskDefinitions, TaskHandlers } from '../registry/definitions.js'
import { authOption, type AuthOptions } from './auth.js'
import { queuesOption, type QueueOptions } from './queues.js'
import { targetOption, type AppEngineTarget, type HttpTarget } from './target.js'

/** Options of `app.register(cloudTasks, options)`. Checked once, at registration; unknown keys and bad values are refused. */
export interface CloudTasksOptions<M extends TaskDefinitions = TaskDefinitions, F = RegisteredTypeProvider> {
  /** The registry, from `defineTasks`. */
  readonly tasks: M
  /** What runs here. Partial: this process runs only some tasks. Absent: it only enqueues, and mounts no route. */
  readonly handlers?: Partial<TaskHandlers<M, F>>
  /** Where the task routes are mounted, below the prefix of the instance. `''` mounts them at its root. @default '/tasks' */
  readonly prefix?: string
  /**
   * Where tasks go: to Google Cloud Tasks, or to the embedded queue in this process.
   * Environment: `CLOUD_TASKS_TRANSPORT`.
   * @default 'cloud' if `CLOUD_TASKS_EMULATOR_HOST`, `K_SERVICE` or `GAE_SERVICE` is set, else 'local'
   */
  readonly transport?: 'cloud' | 'local'
  /** Project of the queues. Environment: `GOOGLE_CLOUD_PROJECT`. @default the project of the credentials */
  readonly project?: string
  /**
   * Region of the queues, such as `us-central1`. It may differ from the app's, so it is never guessed.
   * Environment: `CLOUD_TASKS_LOCATION`.
   */
  readonly location?: string
  /** Queue of every task whose definition names none. Environment: `CLOUD_TASKS_QUEUE`. @default 'default' */
  readonly queue?: string
  /**
   * Settings of the queues, by id. The embedded queue obeys them, with Cloud Tasks' defaults for what is left out. In Cloud Tasks the
   * queues have settings of their own: `queues sync` writes these there, and handlers learn from the queue which attempt is the last.
   */
  readonly queues?: Readonly<Record<string, QueueOptions>>
  /**
   * Id of the queue that keeps tasks whose last attempt has failed, for `app.tasks.deadLetters`: paused, with unlimited attempts, and no
   * task's own. Cloud Tasks keeps tasks for 31 days; `queues sync` creates the queue. Environment: `CLOUD_TASKS_DEAD_LETTER_QUEUE`.
   * @default none: such tasks end
   */
  readonly deadLetterQueue?: string
  /** How Cloud Tasks reaches the task routes. @default App Engine if `GAE_SERVICE` is set, else HTTP from the environment */
  readonly target?: AppEngineTarget | HttpTarget
  /** Settings of the embedded queue. */
  readonly local?: LocalOptions
  /** A client of your own: used as it is and never closed. @default one is made while the app starts, for the transport `cloud` only */
  readonly client?: CloudTasksClientLike
  /**
   * Who may call a task route. `emulator` accepts the tokens of the emulator that `CLOUD_TASKS_EMULATOR_HOST` names, and is refused
   * where that is not set. `false` lets every caller that reaches the server run any task, and logs a warning.
   * @default verify, by the target's rules
   */
  readonly auth?: false | 'emulator' | AuthOptions
  /**
   * Seconds that `enqueue` keeps trying while Cloud Tasks is unavailable, overloaded or out of reach, 0.1 to 600. A task
   * without an `id` may then be enqueued twice, when a try arrived and its answer did not. @default 10
   */
  readonly sendTimeoutSeconds?: number
  /** Calls to Cloud Tasks, and of an asynchronous validator, that `enqueueMany` has under way at once, 1 to 1000. @default 64 */
  readonly enqueueConcurrency?: number
  /**
   * Seconds that running attempts get at close before their signal aborts, 0 to 86400. Cloud Run kills a container 10 s after
   * SIGTERM; the default leaves two seconds for the last answers and for the `onClose` hooks of the host. @default 8
   */
  readonly closeGraceSeconds?: number
  /**
   * What happens to a task whose payload does not fit the schema: `retry` keeps it, so that a rollback can fix it, `drop` ends it.
   * @default 'retry'
   */
  readonly invalidPayload?: 'retry' | 'drop'
  /** Whether OpenAPI documents list the task routes. @default false */
  readonly exposeRoutes?: boolean
  /**
   * Level of the log of the task routes, `task.log` included: `warn` silences Fastify's two lines for each request.
   * @default the server's
   */
  readonly logLevel?: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
  /**
   * Runs when the last attempt has failed, before it is answered; also when the embedded queue drops a task that is older than 31 days,
   * with FST_TASKS_EXPIRED. Once a task, as far as this process can know. What it throws is logged. @default logged at error
   */
  readonly onExhausted?: (payload: unknown, error: unknown, task: TaskContext) => unknown
  /** Runs when a task was dropped, before that is answered. What it throws is logged. @default logged at warn */
  readonly onDropped?: (payload: unknown, reason: string, task: TaskContext) => unknown
}

/**
 * What the plugin calls of a `CloudTasksClient` of `@google-cloud/tasks`, of any major. Its own type would have every app compile the
 * declarations of Google's client, which do not compile under all settings.
 */
export interface CloudTasksClientLike {
  createTask (...args: any[]): Promise<any>
  deleteTask (...args: any[]): Promise<any>
  getQueue (...args: any[]): Promise<any>
  getProjectId (): Promise<string>
  /** Without it a copy of a task is made of the request of its attempt. */
  getTask? (...args: any[]): Promise<any>
  /** Without it `app.tasks.delete` does not find postponed tasks. */
  listTasks? (...args: any[]): Promise<any>
}

export interface LocalOptions {
  /**
   * Where the embedded queue keeps its tasks: a directory of its own, created if missing, for one process at a time.
   * `enqueue` then resolves when the task would survive a power cut. Environment: `CLOUD_TASKS_DIRECTORY`.
   * @default in memory, for as long as the process lives
   */
  readonly directory?: string
  /** Seconds for which the `id` of an ended task refuses to be used again. @default 3600, as in the v2 API's description */
  readonly taskTombstoneSeconds?: number
  /**
   * How attempts of the embedded queue reach the task routes. `loopback`: through the server's own routing with Node's own request
   * and response, as over HTTP. `inject`: by `app.inject`, at several times the cost, for a host whose plugins need it.
   * @default 'loopback'
   */
  readonly delivery?: 'loopback' | 'inject'
}

const localOptions = {
  directory: string({ valid: path => path !== '', must: 'must be the path of a directory', variable: 'CLOUD_TASKS_DIRECTORY' }),
  taskTombstoneSeconds: number(0, 9 * 86_400, { default: 3600 }),
  delivery: oneOf(['loopback', 'inject'], { default: 'loopback' })
} satisfies Declared<LocalOptions>

/** How each option is checked, its default, and its environment variable. What depends on other options, `resolveConfig` decides. */
export const pluginOptions = {
  // The registry checks these two.
  tasks: anything<TaskDefinitions>(),
  handlers: anything<Partial<TaskHandlers<TaskDefinitions>>>(),
  prefix: string({
    valid: prefix => prefix === '' || /^(?:\/[A-Za-z0-9._~-]+)+$/.test(prefix),
    must: "must start with '/', end without one, and have only letters, digits, '-', '.', '_', '~' and '/' in it; " +
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

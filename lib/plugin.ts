import type { AsyncResource } from 'node:async_hooks'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { DEFAULT_QUEUE_SETTINGS, deadlineProblem } from './cloud-tasks/limits.js'
import type { Clock } from './clock/clock.js'
import { SwitchableClock } from './clock/switchable-clock.js'
import { resolveConfig, type Config } from './options/config.js'
import { checkDeadLetterQueue, keepsDeadLetters } from './options/dead-letter-queue.js'
import { Producer, type Enqueue } from './enqueue.js'
import { FST_TASKS_ALREADY_REGISTERED, FST_TASKS_INVALID_DEFINITION } from './errors.js'
import { countsChannel, type QueueCountsEvent } from './events.js'
import { rootOf } from './fastify-internals.js'
import { expose, loaderOf, type Loader } from './plugin-handle.js'
import type { NewTask, Task } from './cloud-tasks/task.js'
import type { CloudTasksOptions } from './options/options.js'
import { embeddedTarget } from './options/target.js'
import { OneTimeSecrets } from './delivery/one-time-secrets.js'
import { Copies, type TaskRequest } from './copies/copies.js'
import { createDeadLetters } from './dead-letters/dead-letters.js'
import { routePath } from './delivery/path.js'
import { PayloadCodec } from './registry/payload.js'
import type { KnownKeys, RegisteredTasks, RegisteredTypeProvider, TaskDefinitions } from './registry/definitions.js'
import { createRegistry, type Registry } from './registry/registry.js'
import { createTasks, type Tasks } from './tasks.js'
import { LocalTransport, type LocalTransportOptions } from './transport/local.js'
import { newTask } from './transport/new-task.js'
import { SwitchableTransport } from './transport/switchable-transport.js'
import type { Transport } from './transport/transport.js'
import { AttemptScope } from './delivery/attempt-scope.js'
import { settleExpired } from './worker/expired.js'
import { createAuthenticator, warnAboutCallers } from './worker/auth/authenticator.js'
import { RemoteLimits } from './worker/limits/remote-limits.js'
import { EmbeddedLimits, type RetryLimitSource } from './worker/limits/retry-limits.js'
import { Settlement } from './worker/settlement.js'
import { logRequestTimeout } from './worker/platform.js'
import { mountRoutes } from './worker/route.js'
import { Runs } from './worker/run.js'
import { runHandler } from './worker/run-once.js'
import { AttemptWatchers } from './worker/watchers.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** Enqueues a task. Typed by `Register`. */
    readonly enqueue: Enqueue<RegisteredTasks>
    /** Further operations on tasks. */
    readonly tasks: Tasks<RegisteredTasks>
  }
  // Fastify's own signatures would widen 'local' to string, and cannot relate handlers to their payloads.
  interface FastifyRegister<T> {
    <const M extends TaskDefinitions, F = RegisteredTypeProvider>(
      plugin: CloudTasksPlugin | Promise<{ readonly default: CloudTasksPlugin }>,
      options: CloudTasksOptions<M, F> & { readonly tasks: KnownKeys<M> }
    ): T
  }
}

/** Only accepted by `app.register`, whose overload checks the handlers against the tasks. */
export interface CloudTasksPlugin {
  (app: FastifyInstance, options: CloudTasksOptions & { readonly [everyHandlerHasItsTask]: never }): Promise<void>
}

/** Makes Fastify's own signatures of `register` inapplicable, because they would accept handlers without a task. */
declare const everyHandlerHasItsTask: unique symbol

async function cloudTasks (app: FastifyInstance, options: CloudTasksOptions): Promise<void> {
  if (app.hasDecorator('enqueue') && app.hasDecorator('tasks')) throw new FST_TASKS_ALREADY_REGISTERED()
  const loader = loaderOf(app)
  const registry = createRegistry(options.tasks, options.handlers)
  const hasHandlers = [...registry.values()].some(task => task.handler !== undefined)
  const config = resolveConfig(options, process.env, hasHandlers)
  checkTarget(registry, config)
  checkDeadLetterQueue(registry, config)

  const clock = new SwitchableClock()
  const scope = new AttemptScope()
  const secrets = new OneTimeSecrets()
  const payloads = new PayloadCodec(app, clock)
  const onExpired = async (task: Task, path: string): Promise<void> =>
    await settleExpired({ app, config, clock, registry, payloads, runs, settlement, limits }, task, path)
  const parts = { app, config, clock, scope, registry, secrets, onExpired, loader }
  const own = await createTransport(parts)
  const local = own instanceof LocalTransport ? own : undefined
  const transport = new SwitchableTransport(own, local, () => new LocalTransport(substituteOptions(parts)))
  const producer = new Producer(registry, config, payloads, transport, clock, app.log)
  const runs = new Runs(clock, scope)
  const watchers = new AttemptWatchers()
  const newTaskOf = (route: string, request: TaskRequest): NewTask => {
    const unset = { id: undefined, path: '', scheduleAt: undefined, dispatchDeadlineMs: undefined }
    return newTask('', config.target, route, { ...unset, ...request })
  }
  const copies = new Copies({ app, config, store: transport, newTask: newTaskOf })
  const limits = createLimits({ app, options, config, clock, scope, transport, registry })
  const settlement = new Settlement(config, runs, watchers, limits, copies, () => clock.now())

  if (hasHandlers && loader === undefined) {
    warnAboutCallers(app.log, config)
    logRequestTimeout(app.log, registry, config, process.env)
  }
  if (hasHandlers) {
    const isSubstituted = (): boolean => transport.isSubstituted
    const authenticate = await createAuthenticator({ app, callers: config.callers, secrets, clock, isSubstituted })
    if (limits instanceof RemoteLimits && loader === undefined) {
      const queues = new Set([...registry.values()].filter(task => task.handler !== undefined).map(task => task.queue ?? config.queue))
      app.addHook('onListen', () => {
        limits.prepare(queues)
        transport.checkLetterQueue()
      })
    }
    app.addHook('onListen', () => { scope.listened() })
    mountRoutes({ app, config, clock, scope, registry, payloads, authenticate, runs, settlement, limits, watchers, copies })
  }
  app.decorate('enqueue', producer.enqueue as Enqueue<any>)
  const deadLetters = createDeadLetters({
    queue: config.deadLetterQueue,
    transport,
    newTask: newTaskOf,
    targets: [...registry.values()].map(task => ({
      name: task.name, method: task.method, route: routePath(app, config.prefix, task.path), queue: task.queue ?? config.queue
    }))
  })
  app.decorate(
    'tasks',
    createTasks({
      app, config, clock, scope, registry, payloads, producer, runs, settlement, limits, transport, deadLetters, signal: loader?.signal
    })
  )

  const stopCounting = answerCounts(transport)
  await transport.open()
  app.addHook('onListen', () => { transport.warmUp() })
  expose({
    app,
    config,
    clock,
    queues: options.queues ?? {},
    registry,
    payloads,
    watchers,
    transport,
    local,
    run: async (task, value, log) =>
      await runHandler({ app, config, clock, scope, runs, limits, signal: loader?.signal }, task, value, log)
  })
  // In a hook of its own, which has its own `pluginTimeout`, because a large directory can take long to open.
  app.addHook('onReady', async () => { await transport.opened() })
  app.addHook('onReady', async () => {
    for (const task of registry.values()) payloads.compile(task)
    if (config.embedded && loader === undefined) logLocalQueue(app, config, registry)
    // Added last, so that it runs first: before Fastify rejects requests, and before preClose hooks, which are limited by `pluginTimeout`.
    app.addHook('onClose', async () => { await Promise.all([transport.stop(), runs.drain(config.closeGraceMs, !config.embedded)]) })
    // Started after all onReady hooks, so that no task runs, or loses an attempt, in a server that fails to start. Not started without
    // any handler, because the app might respond with 200 to unknown paths.
    if (loader === undefined && hasHandlers) rootOf(app).ready(error => { if (!error) transport.start() })
  })
  app.addHook('onClose', async () => {
    payloads.close()
    limits.close()
    stopCounting()
    await transport.close()
  })
}

export default fp(cloudTasks as unknown as FastifyPluginAsync<CloudTasksOptions>, {
  name: 'fastify-cloud-tasks',
  fastify: '5.x'
}) as CloudTasksPlugin

/** Responds to `countsChannel`. Returns a function to stop. */
function answerCounts ({ inspection }: Transport): () => void {
  if (inspection === undefined) return () => {}
  const answer = (question: unknown): void => {
    if (!inspection.ready) return
    for (const [queue, counts] of Object.entries(inspection.counts())) (question as QueueCountsEvent).add(queue, counts)
  }
  countsChannel.subscribe(answer)
  return () => { countsChannel.unsubscribe(answer) }
}

interface TransportParts {
  readonly app: FastifyInstance
  readonly config: Config
  readonly clock: Clock
  readonly scope: AsyncResource
  readonly registry: Registry
  readonly secrets: OneTimeSecrets
  readonly onExpired: LocalTransportOptions['onExpired']
  readonly loader: Loader | undefined
}

async function createTransport ({ app, config, clock, scope, registry, secrets, onExpired, loader }: TransportParts): Promise<Transport> {
  if (!config.embedded) {
    const { CloudTransport } = await import('./transport/cloud/cloud.js')
    return new CloudTransport(app, config, clock)
  }
  if (loader?.embeddedQueue === 'closed') {
    const { ClosedTransport } = await import('./transport/closed.js')
    return new ClosedTransport()
  }
  return new LocalTransport({ app, config, clock, scope, secrets, onExpired, queueIds: queuesOf(registry) })
}

/** Options of an embedded queue in memory that replaces Cloud Tasks, which can have queues that are not in the options. */
function substituteOptions ({ config, registry, ...parts }: TransportParts): LocalTransportOptions {
  const embedded = { ...config, directory: undefined, target: embeddedTarget(config.target) }
  return { ...parts, config: embedded, queueIds: queuesOf(registry), createsQueues: true }
}

function queuesOf (registry: Registry): string[] {
  return [...registry.values()].flatMap(task => task.queue ?? [])
}

interface LimitsParts {
  readonly app: FastifyInstance
  readonly options: CloudTasksOptions
  readonly config: Config
  readonly clock: Clock
  readonly scope: AsyncResource
  readonly transport: Transport
  readonly registry: Registry
}

/** Retry limits come from the options only where these create the queues. */
function createLimits ({ app, options, config, clock, scope, transport, registry }: LimitsParts): RetryLimitSource {
  const { queues = {} } = options
  if (transport.retrySettings === undefined) return new EmbeddedLimits(config.queues, DEFAULT_QUEUE_SETTINGS)
  const named = (queue: string) => queues[queue]?.retryConfig ?? {}
  const keepsLetters = (queue: string): boolean => keepsDeadLetters(queue, registry, config)
  return new RemoteLimits({ settings: transport.retrySettings, named, keepsLetters, clock, scope, log: app.log })
}

/** Logged because the embedded queue can be mistaken for a shared one. */
function logLocalQueue (app: FastifyInstance, { directory }: Config, registry: Registry): void {
  app.log.info(`tasks run on the embedded queue of this process, ${directory === undefined ? 'in memory' : `stored in ${directory}`}`)
  const tasks = [...registry.values()].filter(task => task.handler === undefined).map(task => task.name)
  if (tasks.length > 0) {
    app.log.warn({ tasks }, "these tasks have no handler in this process, and transport 'local' does not reach other processes")
  }
}

/** Checks limits that depend on the type of the target, which is unknown when tasks are defined. */
function checkTarget (registry: Registry, { target }: Config): void {
  for (const { name, method, dispatchDeadlineSeconds } of registry.values()) {
    const problem = dispatchDeadlineSeconds === undefined ? undefined : deadlineProblem(dispatchDeadlineSeconds, target.type)
    if (problem !== undefined) throw new FST_TASKS_INVALID_DEFINITION(`Task '${name}': 'dispatchDeadlineSeconds' ${problem}`)
    if (target.type === 'appEngine' && method === 'PATCH') {
      throw new FST_TASKS_INVALID_DEFINITION(
        `Task '${name}': 'method' must be 'POST' or 'PUT', the methods with a body on App Engine`
      )
    }
  }
}

import type { AddressInfo } from 'node:net'
import { ServerCredentials, type Server as GrpcServer } from '@grpc/grpc-js'
import Fastify, { type FastifyInstance } from 'fastify'
import { systemClock } from '../clock/clock.js'
import { Engine, type Answer, type Attempt, type ErrorContext } from '../engine/engine.js'
import { isSuccess } from '../engine/transitions.js'
import { createStore } from '../store/create-store.js'
import type { Store } from '../store/store.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import { AttemptLog } from './dispatch/attempt-log.js'
import { HttpDispatcher } from './dispatch/dispatcher.js'
import { createGrpcServer } from './grpc.js'
import { TokenIssuer } from './tokens/token-issuer.js'
import { emulatorConfig, type EmulatorConfig, type EmulatorOptions } from './options.js'
import { Port } from './port.js'
import { rest, restServerOptions } from './rest/rest.js'
import { Service } from './service/service.js'
import { SigningKey } from './tokens/signing-key.js'
import { tokenRoutes } from './tokens/token-routes.js'
import { Unreachable } from './dispatch/unreachable.js'

/**
 * An emulator of Cloud Tasks on one port: gRPC, REST and the tokens' public keys. Tasks are dispatched over HTTP.
 * @throws FST_TASKS_INVALID_OPTION
 */
export function createEmulator (options: EmulatorOptions = {}): Emulator {
  return new Emulator(emulatorConfig(options))
}

export class Emulator {
  readonly #config: EmulatorConfig
  #running: Running | undefined
  #listening: Promise<string> | undefined
  #closed: Promise<void> | undefined

  constructor (config: EmulatorConfig) {
    this.#config = config
  }

  /** The engine with its queues and tasks, for tests that inspect them. Available after `listen`. */
  get engine (): Engine {
    return this.#current().engine
  }

  /** `http://HOST:PORT`: the base URL of REST, and the issuer of tokens. */
  get url (): string {
    return `http://${this.address}`
  }

  /** `HOST:PORT`, as gRPC clients and CLOUD_TASKS_EMULATOR_HOST expect it. HOST is 127.0.0.1 when listening on all addresses. */
  get address (): string {
    return `${this.host}:${this.port}`
  }

  get host (): string {
    const { address, family } = this.#current().address
    if (address === '0.0.0.0' || address === '::') return '127.0.0.1'
    return family === 'IPv6' ? `[${address}]` : address
  }

  get port (): number {
    return this.#current().address.port
  }

  /** Opens the store, creates the configured queues, listens, and starts dispatching. Resolves with the URL. */
  listen (): Promise<string> {
    this.#listening ??= this.#listen()
    return this.#listening
  }

  /**
   * Graceful shutdown: rejects new calls and completes accepted ones. With `data`, running attempts have five seconds to finish.
   * Attempts that are still running then are aborted and count as failed.
   */
  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #listen (): Promise<string> {
    const { host, port, queues } = this.#config
    if (this.#closed !== undefined) throw new Error('The emulator is closed; create another one')
    const running = await start(this.#config, () => this.url)
    try {
      // Before it listens, so that no call finds them missing.
      for (const name of queues) await createMissingQueue(running.engine, name)
      await running.app.listen({ host, port, listenTextResolver: () => '' })
      this.#running = { ...running, address: running.app.server.address() as AddressInfo }
      running.engine.start()
      return this.url
    } catch (error) {
      this.#running = undefined
      await stop(running, 0)
      throw error
    }
  }

  async #close (): Promise<void> {
    await this.#listening?.catch(() => {}) // The caller of `listen` receives the error, and `listen` has cleaned up.
    const running = this.#running
    if (running !== undefined) await stop(running, this.#config.data === undefined ? 0 : ATTEMPT_GRACE_MS)
  }

  #current (): Running {
    if (this.#running === undefined) throw new Error('The emulator is not listening; await listen() first')
    return this.#running
  }
}

/** Everything that an emulator has opened and must close. */
interface Parts {
  readonly engine: Engine
  readonly dispatcher: HttpDispatcher
  readonly grpcServer: GrpcServer
  readonly port: Port
  readonly app: FastifyInstance
}

interface Running extends Parts {
  readonly address: AddressInfo
}

async function start (config: EmulatorConfig, url: () => string): Promise<Parts> {
  const { host, allowedHosts, data, clock, appEngineUrl, appEngineHost, logger, plugin } = config
  const key = new SigningKey(data)
  const tokens = new TokenIssuer({ clock, key, issuer: url })
  const dispatcher = new HttpDispatcher({ clock, tokens, appEngine: { url: appEngineUrl, host: appEngineHost } })
  const engine = createEngine(config, await createStore(data), dispatcher)
  try {
    await engine.open()
    // The open store has locked the directory.
    await key.load()
    const service = new Service(engine, config)
    const grpcServer = await createGrpcServer({ service, logger })
    const injector = grpcServer.createConnectionInjector(ServerCredentials.createInsecure())
    let port: Port | undefined
    const app = Fastify({
      ...restServerOptions,
      serverFactory: handler => {
        port = new Port(handler, { onHttp2: socket => { injector.injectConnection(socket) } })
        return port.server
      }
    })
    await app.register(tokenRoutes, { tokens })
    await app.register(rest, { service, host, allowedHosts })
    if (plugin !== undefined) await app.register(plugin(engine))
    return { engine, dispatcher, grpcServer, port: port!, app }
  } catch (error) {
    await engine.close()
    await dispatcher.close()
    throw error
  }
}

function createEngine (config: EmulatorConfig, store: Store, dispatcher: HttpDispatcher): Engine {
  const { clock, taskTombstoneMs, queueTombstoneMs, appEngineHost, logger, onError } = config
  const log = new AttemptLog(logger, appEngineHost)
  return new Engine({
    store,
    clock,
    taskTombstoneMs,
    queueTombstoneMs,
    rememberGeneratedNames: true,
    reportExpired: ({ count, names }) => {
      logger.error({ count, tasks: names }, 'tasks were dropped because they were older than 31 days')
    },
    dispatch: async attempt => logged(attempt, await dispatcher.dispatch(attempt), log),
    onError: (error: unknown, { during, name = '' }: ErrorContext) => {
      if (during === 'dispatch' && error instanceof Unreachable) log.unreachable(name, error)
      else onError(error)
    }
  })
}

function logged ({ task, deadlineMs }: Attempt, answer: Answer, log: AttemptLog): Answer {
  if (answer.status === 0) log.late(task.name, deadlineMs)
  else if (!isSuccess(answer.status)) log.refused(task, answer.status)
  return answer
}

async function createMissingQueue (engine: Engine, name: string): Promise<void> {
  try {
    await engine.createQueue(name)
  } catch (error) {
    if (!(error instanceof CloudTasksError && error.code === 'ALREADY_EXISTS')) throw error
  }
}

async function stop ({ engine, dispatcher, grpcServer, port, app }: Parts, attemptGraceMs: number): Promise<void> {
  // The system's clock, because closing must end even in a test whose clock stands still.
  const { setTimeout, clearTimeout } = systemClock
  const forceCloseTimer = setTimeout(() => { port.destroyConnections() }, CALL_GRACE_MS)
  // Closed concurrently: they share the port, so each waits for the other's connections.
  const grpcClosed = new Promise<void>(resolve => { grpcServer.tryShutdown(() => { resolve() }) })
  await Promise.all([grpcClosed, app.close()])
  clearTimeout(forceCloseTimer)

  const closed = engine.close()
  const abortTimer = setTimeout(() => { dispatcher.close() }, attemptGraceMs)
  await closed
  clearTimeout(abortTimer)
  await dispatcher.close()
}

/** Grace period for calls and idle connections while the emulator closes. */
const CALL_GRACE_MS = 1000
const ATTEMPT_GRACE_MS = 5000

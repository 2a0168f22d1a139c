import { createServer, type Server as HttpServer } from 'node:http'
import { join } from 'node:path'
import { ServerCredentials, type Server as GrpcServer } from '@grpc/grpc-js'
import Fastify, { type FastifyInstance } from 'fastify'
import { parseQueueName } from '../cloud-tasks/names.js'
import { CloudTasksError } from '../cloud-tasks/status.js'
import { Engine } from '../engine/engine.js'
import { LmdbStore } from '../engine/lmdb-store.js'
import { MemoryStore } from '../engine/memory-store.js'
import { HttpDispatcher } from './dispatcher.js'
import { createGrpcServer } from './grpc.js'
import { Port } from './port.js'
import { rest, restServerOptions } from './rest.js'
import { Service } from './service.js'
import { Tokens } from './tokens.js'

export interface EmulatorOptions {
  /** @default '127.0.0.1' */
  readonly host?: string
  /** 0: any free port. @default 8123 */
  readonly port?: number
  /** Directory that keeps queues, tasks, names and the signing key. @default in memory */
  readonly data?: string
  /** Queues to create at the start, by full name. Those that are there stay as they are. */
  readonly queues?: readonly string[]
  /** CreateTask creates a queue that is missing. @default false */
  readonly autoCreateQueues?: boolean
  /** Origin of the app that App Engine tasks go to. */
  readonly appEngineUrl?: string
  /** How long the name of an ended task is refused. @default 3600 */
  readonly taskTombstoneSeconds?: number
  /** How long the name of a deleted queue is refused. @default 604800, 7 days */
  readonly queueTombstoneSeconds?: number
  /** Hears of errors that no caller is told of. @default process.emitWarning */
  readonly onError?: (error: unknown) => void
}

/** Google Cloud Tasks on one port: gRPC, REST and the keys of its tokens. */
export interface Emulator {
  readonly engine: Engine
  /** `http://HOST:PORT` once it listens. */
  readonly url: string
  /** Opens the store and begins to serve and to dispatch. Rejects when the port or the directory cannot be had. */
  listen (): Promise<string>
  /** Attempts under way have five seconds to end. May be called at any time, and again. */
  close (): Promise<void>
}

/** Throws when an option makes no sense. */
export function createEmulator (options: EmulatorOptions = {}): Emulator {
  for (const name of options.queues ?? []) {
    if (parseQueueName(name) === undefined) throw new Error(`'${name}' is no queue; it must be projects/PROJECT/locations/LOCATION/queues/QUEUE`)
  }
  if (options.appEngineUrl !== undefined && !/^https?:$/.test(protocolOf(options.appEngineUrl))) {
    throw new Error(`'${options.appEngineUrl}' is no URL of an app; it must begin with http:// or https://`)
  }
  return new OnePortEmulator(options)
}

class OnePortEmulator implements Emulator {
  readonly engine: Engine
  readonly #options: EmulatorOptions
  readonly #onError: (error: unknown) => void
  readonly #opened: Array<() => Promise<void>> = []
  #dispatcher: HttpDispatcher | undefined
  #url = ''
  #closed: Promise<void> | undefined

  constructor (options: EmulatorOptions) {
    const { taskTombstoneSeconds = 3600, queueTombstoneSeconds = 7 * 86_400, data, onError = warn } = options
    this.#options = options
    this.#onError = onError
    this.engine = new Engine({
      store: data === undefined ? new MemoryStore() : new LmdbStore({ directory: data }),
      dispatch: async attempt => await this.#dispatcher!.dispatch(attempt),
      taskTombstoneMs: taskTombstoneSeconds * 1000,
      queueTombstoneMs: queueTombstoneSeconds * 1000,
      rememberGeneratedNames: true,
      onError
    })
  }

  get url (): string {
    return this.#url
  }

  async listen (): Promise<string> {
    try {
      return await this.#listen()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #listen (): Promise<string> {
    const { host = '127.0.0.1', port = 8123, data, queues = [], autoCreateQueues = false, appEngineUrl } = this.#options
    this.#opened.push(async () => { await this.engine.close() })
    await this.engine.open()
    for (const name of queues) await this.#createQueue(name)
    const tokens = await Tokens.open(data === undefined ? undefined : join(data, 'oidc-key.json'), () => this.#url)
    const dispatcher = this.#dispatcher = new HttpDispatcher({ tokens, appEngineUrl })
    this.#opened.push(async () => {
      await within(CLOSE_GRACE_MS, this.engine.stop())
      await dispatcher.close()
    })

    const service = new Service(this.engine, { autoCreateQueues, onError: this.#onError })
    const grpc = await createGrpcServer(service)
    const app = await createHttp(service, tokens)
    this.#opened.push(async () => {
      grpc.forceShutdown()
      await app.close()
    })
    const listener = new Port({ http: app.server as HttpServer, http2: connectionsOf(grpc) })
    this.#opened.push(async () => { await listener.close() })
    const address = await listener.listen(port, host)
    this.#url = `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`
    this.engine.start()
    return this.#url
  }

  async #createQueue (name: string): Promise<void> {
    try {
      await this.engine.createQueue(name)
    } catch (error) {
      if (!(error instanceof CloudTasksError) || error.code !== 'ALREADY_EXISTS') throw error
    }
  }

  async #close (): Promise<void> {
    for (const close of this.#opened.reverse()) await close()
  }
}

async function createHttp (service: Service, tokens: Tokens): Promise<FastifyInstance> {
  const app = Fastify({ ...restServerOptions, serverFactory: (handler, _options) => createServer(handler) }) as unknown as FastifyInstance
  app.get('/.well-known/openid-configuration', async () => tokens.discovery)
  for (const path of ['/jwks', '/certs']) app.get(path, async () => tokens.keys)
  await app.register(rest, { service })
  await app.ready()
  return app
}

function connectionsOf (grpc: GrpcServer): ConstructorParameters<typeof Port>[0]['http2'] {
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure())
  return socket => { injector.injectConnection(socket) }
}

function protocolOf (url: string): string {
  return URL.canParse(url) ? new URL(url).protocol : ''
}

async function within (ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([work, new Promise<void>(resolve => { timer = setTimeout(resolve, ms) })])
  clearTimeout(timer)
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

const CLOSE_GRACE_MS = 5000

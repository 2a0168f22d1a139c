import { createRequire } from 'node:module'
import type { CloudTasksClient, v2beta3 } from '@google-cloud/tasks'
import { systemClock } from '../../clock/clock.js'
import type { Config } from '../../options/config.js'
import { FST_TASKS_CLIENT_UNAVAILABLE } from '../../errors.js'

/** Credentials or project were not found; the call was not sent. */
export class ClientError extends Error {
  readonly lacks: 'credentials' | 'project'

  constructor (lacks: ClientError['lacks'], cause: unknown) {
    super(`the Cloud Tasks client has no ${lacks}`, { cause })
    this.lacks = lacks
  }
}

/** An initialized client, and the project of the queues. */
export interface ReadyClient<C = CloudTasksClient> {
  readonly client: C
  readonly project: string
}

/** The official client: the one in the options, or one that is created, and closed, here. */
export class ClientSource {
  readonly #config: Config
  #made: CloudTasksClient | undefined
  #ready: ReadyClient | undefined
  #opening: Promise<ReadyClient> | undefined
  #openingBeta: Promise<v2beta3.CloudTasksClient> | undefined

  constructor (config: Config) {
    this.#config = config
  }

  /** Set after `open` has succeeded: the fast path of every call after the first. */
  get ready (): ReadyClient | undefined {
    return this.#ready
  }

  /**
   * Loads the library (35 MB, 100 ms) and creates the client, which then loads nothing else. Does not connect.
   * @throws FST_TASKS_CLIENT_UNAVAILABLE
   */
  async load (): Promise<void> {
    if (this.#config.client === undefined) this.#made ??= await makeClient(this.#config)
  }

  /** Concurrent callers share one attempt. A failure is not cached. */
  async open (): Promise<ReadyClient> {
    return await (this.#opening ??= this.#open().finally(() => { this.#opening = undefined }))
  }

  /** A client of v2beta3, for fields that v2 lacks in Node.js. It has its own connection, so it is created lazily. */
  async openBeta (): Promise<ReadyClient<v2beta3.CloudTasksClient>> {
    const { project } = this.#ready ?? await this.open()
    this.#openingBeta ??= makeBetaClient(this.#config).catch((error: unknown) => {
      this.#openingBeta = undefined
      throw error
    })
    return { client: await this.#openingBeta, project }
  }

  /** Opens and connects in advance, so that the first call need not wait. Never rejects. */
  async warmUp (): Promise<void> {
    try {
      const { client } = await this.open()
      const stub = await client.initialize() as { waitForReady?: (deadline: number, callback: () => void) => void }
      await new Promise<void>(resolve => {
        if (stub.waitForReady === undefined) resolve()
        else stub.waitForReady(systemClock.now() + 5000, resolve) // gRPC uses the system's clock.
      })
    } catch {
      // The first call will get the error.
    }
  }

  async close (): Promise<void> {
    await this.#opening?.catch(() => {})
    this.#ready = undefined
    await this.#made?.close()
    this.#made = undefined
    const beta = await this.#openingBeta?.catch(() => undefined)
    this.#openingBeta = undefined
    await beta?.close()
  }

  async #open (): Promise<ReadyClient> {
    const client = this.#config.client as CloudTasksClient | undefined ?? (this.#made ??= await makeClient(this.#config))
    // Before any call, which would leave a failed initialization as an unhandled rejection and crash the process.
    await client.initialize?.().catch(async (error: unknown) => {
      // The client would cache the failure forever.
      await this.#discard()
      throw new ClientError('credentials', error)
    })
    const project = this.#config.project ?? await client.getProjectId().catch((error: unknown) => {
      throw new ClientError('project', error)
    })
    return (this.#ready = { client, project })
  }

  async #discard (): Promise<void> {
    const made = this.#made
    this.#made = undefined
    await made?.close().catch(() => {})
  }
}

async function makeClient (config: Config): Promise<CloudTasksClient> {
  return await withLibrary(({ CloudTasksClient }) => new CloudTasksClient(clientOptions(config)))
}

async function makeBetaClient (config: Config): Promise<v2beta3.CloudTasksClient> {
  const client = await withLibrary(({ v2beta3: { CloudTasksClient } }) => new CloudTasksClient(clientOptions(config)))
  await client.initialize().catch(async (error: unknown) => {
    await client.close().catch(() => {})
    throw new ClientError('credentials', error)
  })
  return client
}

/** @throws FST_TASKS_CLIENT_UNAVAILABLE */
async function withLibrary<C> (make: (library: typeof import('@google-cloud/tasks')) => C): Promise<C> {
  try {
    return make(await import('@google-cloud/tasks'))
  } catch (error) {
    throw new FST_TASKS_CLIENT_UNAVAILABLE((error as Error).message.split('\n', 1)[0]!, { cause: error })
  }
}

/**
 * With a project, for which the library would otherwise ask the metadata server, or run gcloud, while the app starts. For an emulator: no
 * TLS, no credentials, and no proxy, which could not reach localhost or a container network.
 */
function clientOptions ({ emulatorHost, project }: Config) {
  if (emulatorHost === undefined) return project === undefined ? {} : { projectId: project }
  const { hostname, port } = new URL(`http://${emulatorHost}`)
  // From the client's own copy of these libraries: it rejects objects of another copy.
  const requireOfClient = createRequire(createRequire(here()).resolve('@google-cloud/tasks'))
  const { grpc, googleAuthLibrary } = requireOfClient('google-gax') as {
    readonly grpc: { readonly credentials: { createInsecure (): never } }
    readonly googleAuthLibrary: { readonly PassThroughClient: new () => never }
  }
  return {
    apiEndpoint: hostname,
    port: Number(port || 80),
    sslCreds: grpc.credentials.createInsecure(),
    authClient: new googleAuthLibrary.PassThroughClient(),
    'grpc.enable_http_proxy': 0
  }
}

/** The path of this module. Bundlers that emit CommonJS leave `import.meta.url` undefined. */
function here (): string {
  return (import.meta.url as string | undefined) ?? __filename
}

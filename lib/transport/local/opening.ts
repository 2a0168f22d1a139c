import type { FastifyInstance } from 'fastify'
import { systemClock } from '../../clock/clock.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../cloud-tasks/limits.js'
import { shortId } from '../../cloud-tasks/names.js'
import type { Engine } from '../../engine/engine.js'
import type { Config } from '../../options/config.js'
import { storeUnavailable } from './problems.js'
import { progressLogger } from './progress.js'

export interface OpeningOptions {
  readonly app: FastifyInstance
  readonly config: Config
  /** Queues that exist once it is open. */
  readonly queueIds: ReadonlySet<string>
  /** The full name of a queue. */
  readonly queueName: (id: string) => string
}

/**
 * The opening of the embedded queue. A boot waits for it, but not so long that Fastify's `pluginTimeout` ends the boot: a large directory
 * is then opened in the background, and the server accepts tasks that wait for it.
 */
export class Opening {
  readonly #options: OpeningOptions
  #isOpen = false
  #result!: Promise<void>

  constructor (options: OpeningOptions) {
    this.#options = options
  }

  get isOpen (): boolean {
    return this.#isOpen
  }

  /** Resolves once it is open. Available from `begin` on. Rejects with FST_TASKS_STORE_UNAVAILABLE if the store cannot be used. */
  get result (): Promise<void> {
    return this.#result
  }

  /**
   * Opens the engine, and closes it if that fails.
   * @throws FST_TASKS_STORE_UNAVAILABLE
   */
  async begin (engine: Engine): Promise<void> {
    this.#result = this.#open(engine)
    this.#result.catch(() => {}) // Reported by `finish`.
    await this.#wait(1 / 4)
  }

  /**
   * Waits once more, and then lets it continue in the background.
   * @param isClosing whether a later failure no longer matters
   * @throws FST_TASKS_STORE_UNAVAILABLE
   */
  async finish (isClosing: () => boolean): Promise<void> {
    if (await this.#wait(1 / 2)) return
    const { app: { log }, config: { directory } } = this.#options
    log.warn({ directory }, 'the embedded queue is still opening; the server starts, and tasks wait')
    this.#result.catch(err => {
      if (!isClosing()) log.fatal({ err }, 'the embedded queue failed to open; all tasks are rejected')
    })
  }

  /** Waits until it is open, but at most for that share of `pluginTimeout`. Resolves with whether it is open. */
  async #wait (share: number): Promise<boolean> {
    let timer: unknown
    const { pluginTimeout } = this.#options.app.initialConfig
    // The system's clock, because Fastify uses it for its timeout.
    const late = new Promise<void>(resolve => { if (pluginTimeout) timer = systemClock.setTimeout(resolve, pluginTimeout * share) })
    await Promise.race([this.#result, late])
    systemClock.clearTimeout(timer)
    return this.#isOpen
  }

  async #open (engine: Engine): Promise<void> {
    const { app, config: { deadLetterQueue, directory, queues }, queueIds, queueName } = this.#options
    const logProgress = progressLogger(app, directory)
    try {
      await engine.open(logProgress)
      const settings = [...queueIds].map(id => {
        return [queueName(id), id === deadLetterQueue ? LETTER_SETTINGS : queues.get(id) ?? DEFAULT_QUEUE_SETTINGS] as const
      })
      await engine.updateQueues(new Map(settings))
      if (deadLetterQueue !== undefined) await engine.pauseQueue(queueName(deadLetterQueue))
      this.#isOpen = true
    } catch (error) {
      await engine.close()
      throw storeUnavailable(error) ?? error
    }
    this.#warnAboutPaused(engine)
  }

  /** Logged because a pause survives restarts, and nothing else shows why tasks are waiting. */
  #warnAboutPaused (engine: Engine): void {
    const { app, config: { deadLetterQueue }, queueName } = this.#options
    for (const { name, state } of engine.queues()) {
      const queue = shortId(name)
      // A directory can contain queues of other projects and locations.
      if (state === 'RUNNING' || queue === deadLetterQueue || name !== queueName(queue)) continue
      const { waiting } = engine.counts(name)
      app.log.warn({ queue, waiting },
        `queue '${queue}' is paused since an earlier run, and ${waiting} tasks wait in it; to run them, call ` +
        `app.tasks.resumeQueue('${queue}'), use the console, or stop the server and run 'fastify-cloud-tasks queues resume ${queue}'`)
    }
  }
}

/** A dead letter that is run in place must survive failures. */
const LETTER_SETTINGS = { ...DEFAULT_QUEUE_SETTINGS, retryConfig: { ...DEFAULT_QUEUE_SETTINGS.retryConfig, maxAttempts: -1 } }

import type { FastifyPluginAsync } from 'fastify'
import { isPlainObject, optionChecks, unknownKey } from '../checks.js'
import { parseQueueName } from '../cloud-tasks/names.js'
import type { Clock } from '../clock/clock.js'
import { systemClock } from '../clock/clock.js'
import type { Engine } from '../engine/engine.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import type { EmulatorLogger } from './dispatch/attempt-log.js'
import { defaultUrlOf } from './service/default-url.js'

/** What `createEmulator` takes: the flags of the command `emulator`, by their names. */
export interface EmulatorOptions {
  /** Address to listen on. It has no access control, so think twice about any other. @default '127.0.0.1' */
  readonly host?: string
  /**
   * Names by which REST may be called where `host` is this machine alone, besides `localhost`, addresses and private names: no web
   * page can have those, while any other name may be that of a page that was pointed here. @default none
   */
  readonly allowedHosts?: readonly string[]
  /** 0: any free one. @default 8123 */
  readonly port?: number
  /** Directory that keeps queues, tasks, names and the key of the tokens. @default none: memory */
  readonly data?: string
  /** Full names of queues to create at the start where they are missing: `projects/P/locations/L/queues/Q`. */
  readonly queues?: readonly string[]
  /** Creates a queue that is missing when a task for it comes. @default false: NOT_FOUND, as Cloud Tasks answers */
  readonly autoCreateQueues?: boolean
  /** Where App Engine tasks go: their relative URI is put behind it. @default none: their attempts fail */
  readonly appEngineUrl?: string
  /**
   * Where tasks go that firebase-admin sends without a URL; `{project}`, `{location}` and `{queue}` stand for the parts of their
   * queue's name. @default 'http://127.0.0.1:5001/{project}/{location}/{queue}', where Firebase's emulator has its functions
   */
  readonly defaultUrl?: string
  /** How long the name of a task that has ended is refused, 0 to a hundred years. @default 3600 */
  readonly taskTombstoneSeconds?: number
  /** How long the name of a deleted queue is refused. @default 604800, 7 days */
  readonly queueTombstoneSeconds?: number
  /** Hears of what happens to attempts. @default nobody */
  readonly logger?: EmulatorLogger
  /** Hears of faults of the emulator itself. @default process.emitWarning */
  readonly onError?: (error: unknown) => void
  /** Makes more routes for the HTTP side, in a scope of their own. */
  readonly plugin?: (engine: Engine) => FastifyPluginAsync
  /** Time as the engine and the tokens see it, for tests. @default the system's */
  readonly clock?: Clock
}

export interface EmulatorConfig {
  readonly host: string
  /** In lower case. */
  readonly allowedHosts: readonly string[]
  readonly port: number
  readonly data: string | undefined
  readonly queues: readonly string[]
  readonly autoCreateQueues: boolean
  readonly appEngineUrl: string | undefined
  readonly defaultUrl: string
  readonly taskTombstoneMs: number
  readonly queueTombstoneMs: number
  readonly logger: EmulatorLogger
  readonly onError: (error: unknown) => void
  readonly plugin: ((engine: Engine) => FastifyPluginAsync) | undefined
  readonly clock: Clock
}

/**
 * Options, checked and complete.
 * @param nameOf how messages call an option
 * @throws FST_TASKS_INVALID_OPTION
 */
export function emulatorConfig (options: EmulatorOptions, nameOf: (key: string) => string = key => `'${key}'`): EmulatorConfig {
  if (!isPlainObject(options)) throw invalid("createEmulator's options must be an object")
  const unknown = unknownKey(options, KEYS)
  if (unknown !== undefined) throw invalid(unknown)
  const given = options as Readonly<Record<string, unknown>>
  return Object.freeze({
    host: text(given, 'host', nameOf) ?? '127.0.0.1',
    allowedHosts: hostNames(given, nameOf('allowedHosts')),
    port: check.integer(given, 'port', 0, 65_535, 8123, nameOf('port')),
    data: text(given, 'data', nameOf),
    queues: queueNames(given, nameOf('queues')),
    autoCreateQueues: check.boolean(given, 'autoCreateQueues', nameOf('autoCreateQueues')) ?? false,
    appEngineUrl: appEngineUrl(given, nameOf),
    defaultUrl: defaultUrl(given, nameOf('defaultUrl')),
    taskTombstoneMs: 1000 * check.number(given, 'taskTombstoneSeconds', 0, MAX_SECONDS, 3600, nameOf('taskTombstoneSeconds')),
    queueTombstoneMs: 1000 * check.number(given, 'queueTombstoneSeconds', 0, MAX_SECONDS, 7 * 86_400, nameOf('queueTombstoneSeconds')),
    logger: (check.instance(given, 'logger', 'warn', nameOf('logger')) as EmulatorLogger | undefined) ?? nobody,
    onError: (check.function(given, 'onError', nameOf('onError')) as EmulatorConfig['onError'] | undefined) ?? warn,
    plugin: check.function(given, 'plugin', nameOf('plugin')) as EmulatorConfig['plugin'],
    clock: (check.instance(given, 'clock', 'now', nameOf('clock')) as Clock | undefined) ?? systemClock
  })
}

type Fields = Readonly<Record<string, unknown>>
type NameOf = (key: string) => string

function text (given: Fields, key: string, nameOf: NameOf): string | undefined {
  const value = check.string(given, key, nameOf(key))
  if (value === '') throw invalid(`${nameOf(key)} must not be empty`)
  return value
}

function queueNames (given: Fields, where: string): readonly string[] {
  const { queues = [] } = given
  if (!Array.isArray(queues)) throw invalid(`${where} must be a list of queue names`)
  for (const name of queues) {
    if (typeof name !== 'string' || parseQueueName(name) === undefined) {
      throw invalid(`${where}: ${JSON.stringify(name)} is no queue name; one looks like projects/demo/locations/us-central1/queues/mail, the last part of letters, digits and hyphens`)
    }
  }
  return queues
}

/** As the header Host names them, which tells the port besides. */
function hostNames (given: Fields, where: string): readonly string[] {
  const { allowedHosts = [] } = given
  if (!Array.isArray(allowedHosts)) throw invalid(`${where} must be a list of host names`)
  for (const name of allowedHosts) {
    if (typeof name !== 'string' || !/^[a-z\d_.-]+$/i.test(name)) {
      throw invalid(`${where} must be a name such as tasks.example.com, without scheme and port, not ${JSON.stringify(name)}`)
    }
  }
  return allowedHosts.map((name: string) => name.toLowerCase())
}

function appEngineUrl (given: Fields, nameOf: NameOf): string | undefined {
  const value = check.string(given, 'appEngineUrl', nameOf('appEngineUrl'))
  if (value === undefined) return undefined
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw invalid(`${nameOf('appEngineUrl')} must be an http:// or https:// URL without a query, such as http://127.0.0.1:3000`)
  }
  return value
}

function defaultUrl (given: Fields, where: string): string {
  const value = check.string(given, 'defaultUrl', where) ?? 'http://127.0.0.1:5001/{project}/{location}/{queue}'
  if (/^https?:\/\//i.test(value) && URL.canParse(defaultUrlOf(value, 'projects/p/locations/l/queues/q'))) return value
  throw invalid(`${where} must be an http:// or https:// URL, in which {project}, {location} and {queue} may stand`)
}

function invalid (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(problem)
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

const check = optionChecks(invalid)
/** A hundred years, so that adding one to a date leaves a date. */
const MAX_SECONDS = 36_525 * 86_400

const nobody: EmulatorLogger = { info () {}, warn () {}, error () {} }

const KEYS: ReadonlyArray<keyof EmulatorOptions> = [
  'host', 'allowedHosts', 'port', 'data', 'queues', 'autoCreateQueues', 'appEngineUrl', 'defaultUrl', 'taskTombstoneSeconds', 'queueTombstoneSeconds', 'logger', 'onError', 'plugin', 'clock'
]

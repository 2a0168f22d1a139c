import type { FastifyPluginAsync } from 'fastify'
import {
  boolean,
  callable,
  instance,
  integer,
  number,
  oneOf,
  option,
  readOptions,
  string,
  text,
  type Declared,
  type Read
} from '../checks.js'
import { parseQueueName } from '../cloud-tasks/names.js'
import type { Clock } from '../clock/clock.js'
import { systemClock } from '../clock/clock.js'
import type { Engine } from '../engine/engine.js'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import type { EmulatorLogger } from './dispatch/attempt-log.js'
import type { AppEngineHost } from './dispatch/outgoing-request.js'
import type { BatchDuplicates } from './service/batches.js'
import { defaultUrlOf } from './service/default-url.js'

/** Options of `createEmulator`. The flags of the command `emulator` have the same names. */
export interface EmulatorOptions {
  /**
   * Address to listen on. There is no access control: on any but a loopback address, other machines can make this one send requests.
   * @default '127.0.0.1'
   */
  readonly host?: string
  /**
   * Host names that REST accepts where `host` is a loopback address, in addition to `localhost`, IP addresses and private names.
   * All others are rejected as a protection against DNS rebinding. @default none
   */
  readonly allowedHosts?: readonly string[]
  /** 0: any free port. @default 8123 */
  readonly port?: number
  /** Directory in which queues, tasks, task names and the signing key are stored. @default none: in memory */
  readonly data?: string
  /** Full names of queues to create on start unless they exist: `projects/P/locations/L/queues/Q`. @default none */
  readonly queues?: readonly string[]
  /** Creates a missing queue when a task is added to it. Otherwise the answer is NOT_FOUND, as from Cloud Tasks. @default false */
  readonly autoCreateQueues?: boolean
  /** Where App Engine tasks are sent: their relative URI is appended. @default none: their attempts fail */
  readonly appEngineUrl?: string
  /**
   * The `Host` header of App Engine tasks. 'service': the service's, as in production (`PROJECT.xx.r.appspot.com`).
   * 'url': that of `appEngineUrl`, for servers with a list of allowed hosts, such as Django's `ALLOWED_HOSTS`. @default 'service'
   */
  readonly appEngineHost?: AppEngineHost
  /**
   * URL for tasks that firebase-admin creates without one; `{project}`, `{location}` and `{queue}` are replaced by the parts of
   * the queue's name. @default 'http://127.0.0.1:5001/{project}/{location}/{queue}', where Firebase's emulator serves functions
   */
  readonly defaultUrl?: string
  /**
   * What BatchCreateTasks does with a task name that exists. 'reject': the call fails with ALREADY_EXISTS although the other tasks are
   * created, which is what Cloud Tasks does. 'report': the operation lists it among its failed requests, as Google documents.
   * @default 'reject'
   */
  readonly batchDuplicates?: BatchDuplicates
  /** How long the name of a finished task cannot be reused, in seconds: 0 to a hundred years. @default 3600 */
  readonly taskTombstoneSeconds?: number
  /** How long the name of a deleted queue cannot be reused, in seconds. @default 604800, 7 days */
  readonly queueTombstoneSeconds?: number
  /** Receives log lines about attempts. @default none */
  readonly logger?: EmulatorLogger
  /** Receives errors of the emulator itself. @default process.emitWarning */
  readonly onError?: (error: unknown) => void
  /** Returns a Fastify plugin that is registered on the HTTP server, encapsulated. */
  readonly plugin?: (engine: Engine) => FastifyPluginAsync
  /** Clock of the engine and the tokens, for tests. @default the system's */
  readonly clock?: Clock
}

/** A hundred years, so that a sum with a date remains a valid date. */
const MAX_SECONDS = 36_525 * 86_400

/** Check and default of each option. */
export const emulatorOptions = {
  host: text({ default: '127.0.0.1' }),
  allowedHosts: option<readonly string[], readonly string[]>(allowedHostsProblem, { default: [] }),
  port: integer(0, 65_535, { default: 8123 }),
  data: text(),
  queues: option<readonly string[], readonly string[]>(queuesProblem, { default: [] }),
  autoCreateQueues: boolean({ default: false }),
  appEngineUrl: string({
    valid: isAppEngineUrl,
    must: 'must be an http:// or https:// URL without a query, such as http://127.0.0.1:3000'
  }),
  appEngineHost: oneOf(['service', 'url'], { default: 'service' }),
  defaultUrl: string({
    valid: isDefaultUrl,
    must: 'must be an http:// or https:// URL, in which {project}, {location} and {queue} are replaced',
    default: 'http://127.0.0.1:5001/{project}/{location}/{queue}'
  }),
  batchDuplicates: oneOf(['reject', 'report'], { default: 'reject' }),
  taskTombstoneSeconds: number(0, MAX_SECONDS, { default: 3600 }),
  queueTombstoneSeconds: number(0, MAX_SECONDS, { default: 7 * 86_400 }),
  logger: instance<EmulatorLogger, EmulatorLogger>('warn', { default: { info () {}, warn () {}, error () {} } }),
  onError: callable<NonNullable<EmulatorOptions['onError']>, NonNullable<EmulatorOptions['onError']>>({ default: warn }),
  plugin: callable<NonNullable<EmulatorOptions['plugin']>>(),
  clock: instance<Clock, Clock>('monotonic', { default: systemClock })
} satisfies Declared<EmulatorOptions>

/** The options, checked and complete. */
export interface EmulatorConfig extends Omit<Read<typeof emulatorOptions>, 'taskTombstoneSeconds' | 'queueTombstoneSeconds'> {
  /** In lower case. */
  readonly allowedHosts: readonly string[]
  readonly taskTombstoneMs: number
  readonly queueTombstoneMs: number
}

/**
 * Options, checked and complete.
 * @param nameOf the name of an option in messages
 * @throws FST_TASKS_INVALID_OPTION
 */
export function emulatorConfig (options: EmulatorOptions, nameOf?: (key: string) => string): EmulatorConfig {
  const { taskTombstoneSeconds, queueTombstoneSeconds, ...given } = readOptions(emulatorOptions, options, {
    refuse,
    ...(nameOf === undefined ? {} : { nameOf })
  })
  return Object.freeze({
    ...given,
    allowedHosts: given.allowedHosts.map(name => name.toLowerCase()),
    taskTombstoneMs: 1000 * taskTombstoneSeconds,
    queueTombstoneMs: 1000 * queueTombstoneSeconds
  })
}

function queuesProblem (queues: unknown): string | undefined {
  if (!Array.isArray(queues)) return 'must be a list of queue names'
  for (const name of queues) {
    if (typeof name === 'string' && parseQueueName(name) !== undefined) continue
    return 'must be full queue names such as projects/demo/locations/us-central1/queues/mail, the last part of letters, digits and ' +
      `hyphens, not ${JSON.stringify(name)}`
  }
  return undefined
}

/** Host names as in the `Host` header, without the port. */
function allowedHostsProblem (names: unknown): string | undefined {
  if (!Array.isArray(names)) return 'must be a list of host names'
  for (const name of names) {
    if (typeof name === 'string' && /^[a-z\d_.-]+$/i.test(name)) continue
    return `must be a name such as tasks.example.com, without scheme and port, not ${JSON.stringify(name)}`
  }
  return undefined
}

function isAppEngineUrl (value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, search, hash } = new URL(value)
  return /^https?:$/.test(protocol) && search === '' && hash === ''
}

function isDefaultUrl (value: string): boolean {
  return /^https?:\/\//i.test(value) && URL.canParse(defaultUrlOf(value, 'projects/p/locations/l/queues/q'))
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(problem)
}

function warn (error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

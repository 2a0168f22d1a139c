import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isPlainObject, optionChecks, unknownKey } from '../checks.js'
import { FST_TASKS_INVALID_OPTION, FST_TASKS_NOT_FOR_PRODUCTION } from '../errors.js'

/** What `app.register(taskConsole, options)` takes. Checked once, at registration; unknown keys and bad values are refused. */
export interface ConsoleOptions {
  /** Where the page is, below the prefix of the instance; `/` puts it at its root. @default '/console' */
  readonly prefix?: string
  /**
   * Who may use the console. A function is an `onRequest` hook of the console's: it lets a request pass by returning, and
   * refuses it by throwing, by answering, or by returning false. `inherited`: an `onRequest` or `preHandler` hook of the
   * instance that the console is registered on decides. Without `auth`, whoever reaches the server may use the console:
   * that is refused where NODE_ENV is `production`. @default none
   */
  readonly auth?: ConsoleAuth | 'inherited'
  /** Names besides `localhost` by which the page may be loaded while there is no `auth`. Addresses always may. @default none */
  readonly hosts?: string | readonly string[]
  /** Tasks that have ended and stay visible, 0 to 10,000. They are kept in memory, at most 64 MiB of them. @default 1000 */
  readonly history?: number
  /** Stands at the head of the page. @default 'Tasks' */
  readonly title?: string
}

export type ConsoleAuth = (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) => unknown

/** The options, resolved: complete and checked. */
export interface ConsoleConfig {
  readonly auth: ConsoleAuth | 'inherited' | undefined
  readonly hosts: readonly string[]
  readonly history: number
  readonly title: string
}

/** @throws FST_TASKS_INVALID_OPTION */
export function resolveConsole (options: unknown): ConsoleConfig {
  if (!isPlainObject(options)) throw refuse('the options must be an object')
  const unknown = unknownKey(options, KEYS)
  if (unknown !== undefined) throw refuse(`option ${unknown}`)
  const check = optionChecks(refuse)
  const { auth } = options
  if (auth !== undefined && auth !== 'inherited' && typeof auth !== 'function') throw refuse("'auth' must be a function or 'inherited'")
  return {
    auth: auth as ConsoleConfig['auth'],
    hosts: check.strings(options, 'hosts') ?? [],
    history: check.integer(options, 'history', 0, 10_000, 1000),
    title: check.string(options, 'title') ?? 'Tasks'
  }
}

/** @throws FST_TASKS_NOT_FOR_PRODUCTION */
export function refuseOpenProduction ({ auth }: ConsoleConfig, environment: Readonly<Record<string, string | undefined>>): void {
  if (auth !== undefined || environment.NODE_ENV !== 'production') return
  throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and whoever reaches this server could use the console; give it 'auth', a function that refuses strangers, or 'inherited' where a hook of the instance around it does")
}

/** The last ones are Fastify's own, for every plugin. */
const KEYS = ['auth', 'hosts', 'history', 'title', 'prefix', 'logLevel', 'logSerializers']

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(`Console: ${problem}`)
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { anything, integer, option, readOptions, string, strings, type Declared, type Read } from '../checks.js'
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

/** How each option is checked, and its default. */
export const consoleOptions = {
  // Fastify's own, as for every plugin.
  prefix: anything<string>(),
  auth: option<ConsoleAuth | 'inherited'>(auth => auth === 'inherited' || typeof auth === 'function' ? undefined : "must be a function or 'inherited'"),
  hosts: strings({ default: [] }),
  history: integer(0, 10_000, { default: 1000 }),
  title: string({ default: 'Tasks' })
} satisfies Declared<ConsoleOptions>

/** What Fastify reads of every plugin's options, besides `prefix`. */
const fastifyOptions = { logLevel: anything(), logSerializers: anything() }

/** The options, checked and complete. */
export type ConsoleConfig = Read<typeof consoleOptions>

/** @throws FST_TASKS_INVALID_OPTION */
export function resolveConsole (options: unknown): ConsoleConfig {
  return readOptions({ ...consoleOptions, ...fastifyOptions }, options, { refuse })
}

/** @throws FST_TASKS_NOT_FOR_PRODUCTION */
export function refuseOpenProduction ({ auth }: ConsoleConfig, environment: Readonly<Record<string, string | undefined>>): void {
  if (auth !== undefined || environment.NODE_ENV !== 'production') return
  throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and whoever reaches this server could use the console; give it 'auth', a function that refuses strangers, or 'inherited' where a hook of the instance around it does")
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(`Console: ${problem}`)
}

import { anything, integer, isPlainObject, option, readOptions, string, strings, type Declared, type Read } from '../checks.js'
import { FST_TASKS_INVALID_OPTION, FST_TASKS_NOT_FOR_PRODUCTION } from '../errors.js'
import { isMixedStyle, type ConsoleAuth } from './access/auth-hook.js'

export type { ConsoleAuth }

/** Options of `app.register(taskConsole, options)`. Checked at registration; unknown keys and invalid values are rejected. */
export interface ConsoleOptions {
  /** Path of the page, below the prefix of the instance; `/` mounts it at the instance's root. @default '/console' */
  readonly prefix?: string
  /**
   * Who may use the console: any `onRequest` hook that Fastify accepts, such as `app.basicAuth` of @fastify/basic-auth or
   * `app.auth([...])` of @fastify/auth, or several, which must all accept the request. A function that does not use `done` can decide by
   * its return value: `false` rejects the request, anything else accepts it.
   *
   * `inherited`: an `onRequest` or `preHandler` hook of the instance that the console is registered on decides.
   *
   * Without `auth`, everyone who can reach the server can use the console. This is an error where NODE_ENV is `production`.
   * @default none
   */
  readonly auth?: ConsoleAuth | readonly ConsoleAuth[] | 'inherited'
  /** Host names that are allowed without `auth`, in addition to `localhost` and IP addresses. @default none */
  readonly hosts?: string | readonly string[]
  /** Number of ended tasks that stay visible, 0 to 10,000. They are kept in memory, in at most 64 MiB. @default 1000 */
  readonly history?: number
  /** The title of the page. @default 'Tasks' */
  readonly title?: string
  /**
   * Where your tracing backend shows a trace, such as `https://jaeger.example.com/trace/{traceId}`: the trace ids of tasks and attempts
   * become links to it. An absolute URL of http or https; each `{traceId}` in it stands for the 32 hexadecimal digits. @default none
   */
  readonly traceUrl?: string
}

/** Check and default of each option. */
export const consoleOptions = {
  // Applied by Fastify.
  prefix: anything<string>(),
  auth: option<ConsoleAuth | readonly ConsoleAuth[] | 'inherited'>(authProblem),
  hosts: strings({ default: [] }),
  history: integer(0, 10_000, { default: 1000 }),
  title: string({ default: 'Tasks' }),
  traceUrl: string({ valid: isTraceUrl, must: "must be an http or https URL that contains '{traceId}'" })
} satisfies Declared<ConsoleOptions>

/** Options that Fastify reads for every plugin, in addition to `prefix`. */
const fastifyOptions = { logLevel: anything(), logSerializers: anything() }

/** The options, checked and complete. */
export type ConsoleConfig = Read<typeof consoleOptions>

/** @throws FST_TASKS_INVALID_OPTION */
export function resolveConsole (options: unknown): ConsoleConfig {
  // An absent `auth` lets everyone in, and `app.basicAuth` is undefined before its plugin has loaded.
  if (isPlainObject(options) && Object.hasOwn(options, 'auth') && options.auth === undefined) {
    throw refuse("'auth' is undefined; await the registration of the plugin that decorates the app with it, or leave the option out")
  }
  return readOptions({ ...consoleOptions, ...fastifyOptions }, options, { refuse })
}

function isTraceUrl (template: string): boolean {
  const place = template.replaceAll('{traceId}', '0'.repeat(32))
  return place !== template && URL.canParse(place) && /^https?:$/.test(new URL(place).protocol)
}

function authProblem (auth: unknown): string | undefined {
  if (auth === 'inherited') return undefined
  const hooks: unknown[] = Array.isArray(auth) ? auth : [auth]
  if (hooks.length === 0 || !hooks.every(hook => typeof hook === 'function')) {
    return "must be a function, an array of functions, or 'inherited'"
  }
  return (hooks as ConsoleAuth[]).some(isMixedStyle)
    ? "must be either async or have the parameter 'done', not both: every caller would be accepted before 'done' is called"
    : undefined
}

/** @throws FST_TASKS_NOT_FOR_PRODUCTION */
export function refuseOpenProduction ({ auth }: ConsoleConfig, environment: Readonly<Record<string, string | undefined>>): void {
  if (auth !== undefined || environment.NODE_ENV !== 'production') return
  throw new FST_TASKS_NOT_FOR_PRODUCTION(
    "NODE_ENV is 'production', and without 'auth' everyone who can reach this server could use the console; " +
      "set 'auth' to an onRequest hook, or to 'inherited' if a hook of the parent instance decides"
  )
}

function refuse (problem: string): Error {
  return new FST_TASKS_INVALID_OPTION(`Console: ${problem}`)
}

import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { isPlainObject, optionChecks, unknownKey } from '../checks.js'
import type { Engine } from '../engine/engine.js'
import { FST_TASKS_INVALID_OPTION, FST_TASKS_NOT_FOR_PRODUCTION, FST_TASKS_PLUGIN_MISSING, FST_TASKS_UNAUTHENTICATED } from '../errors.js'
import { internalsOf, type Internals } from '../internals.js'
import { Console } from './console.js'
import { Guard } from './guard.js'
import { mountConsoleRoutes } from './routes.js'

/** What `app.register(taskConsole, options)` takes. */
export interface ConsoleOptions {
  /** Where the page is. Of Fastify: below the prefix of the instance. @default '/console' */
  readonly prefix?: string
  /**
   * Who may use the console. A function lets a request pass by returning, and refuses it by throwing, by answering, or by
   * returning false; it is an `onRequest` hook of the console. `inherited`: a hook of an instance above decides. Without
   * it whoever reaches the server may use the console, which is refused where NODE_ENV is `production`.
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

/** The console of the app whose instance it is registered on, before or after `fastify-cloud-tasks` itself. */
const taskConsole: FastifyPluginAsync<ConsoleOptions> = async (app, options) => {
  const config = resolveOptions(options, process.env)
  let internals: Internals | undefined
  await mount(app, config, options.prefix, () => {
    internals = internalsOf(app)
    if (internals === undefined) throw new FST_TASKS_PLUGIN_MISSING()
    return { engine: internals.local?.engine, app: internals }
  })
}

export default taskConsole

/** The console of an engine without a registry, as the emulator has it. The engine must be open when the server is ready. */
export function engineConsole (engine: Engine, options: Omit<ConsoleOptions, 'prefix'> = {}): FastifyPluginAsync<{ readonly prefix?: string }> {
  return async (app, { prefix }) => {
    await mount(app, resolveOptions(options, process.env), prefix, () => ({ engine, app: undefined }))
  }
}

interface ConsoleConfig {
  readonly auth: ConsoleAuth | 'inherited' | undefined
  readonly hosts: readonly string[]
  readonly history: number
  readonly title: string
}

async function mount (app: FastifyInstance, config: ConsoleConfig, prefix: string | undefined, find: () => { engine: Engine | undefined, app: Internals | undefined }): Promise<void> {
  const { auth, hosts, history, title } = config
  const guard = new Guard(auth !== undefined, hosts)
  let found: ReturnType<typeof find> | undefined
  let console: Console | undefined
  const routes: FastifyPluginAsync = async scope => {
    if (typeof auth === 'function') {
      scope.addHook('onRequest', async function (request, reply) {
        if (await auth.call(this, request, reply) === false) throw new FST_TASKS_UNAUTHENTICATED('the console was refused to this caller')
        if (reply.sent) return reply
      })
    }
    mountConsoleRoutes(scope, { guard, console: () => console!, app: () => found?.app })
  }
  // Fastify has applied a prefix that was given to `register`.
  await app.register(routes, prefix === undefined ? { prefix: '/console' } : {})
  app.addHook('onReady', async () => {
    found = find()
    console = new Console({ title, history, ...found })
  })
  app.addHook('onListen', async () => {
    if (auth === undefined) warnIfOpen(app)
  })
  app.addHook('preClose', async () => { console?.close() })
}

function warnIfOpen (app: FastifyInstance): void {
  const open = app.addresses().filter(place => typeof place === 'object' && !/^(?:127\.|::1$)/.test(place.address))
  if (open.length > 0) app.log.warn("the console has no 'auth', and other machines can reach this server: whoever does can run and delete tasks")
}

function resolveOptions (options: unknown, environment: Readonly<Record<string, string | undefined>>): ConsoleConfig {
  const refuse = (problem: string): Error => new FST_TASKS_INVALID_OPTION(`Console: ${problem}`)
  if (!isPlainObject(options)) throw refuse('the options must be an object')
  const unknown = unknownKey(options, ['prefix', 'logLevel', 'auth', 'hosts', 'history', 'title'])
  if (unknown !== undefined) throw refuse(`option ${unknown}`)
  const check = optionChecks(refuse)
  const { auth } = options
  if (auth !== undefined && auth !== 'inherited' && typeof auth !== 'function') throw refuse("'auth' must be a function or 'inherited'")
  if (auth === undefined && environment.NODE_ENV === 'production') {
    throw new FST_TASKS_NOT_FOR_PRODUCTION("NODE_ENV is 'production' and nobody is asked who they are before they use the console; give it 'auth', a function that refuses strangers, or 'inherited' where a hook above does")
  }
  return {
    auth: auth as ConsoleConfig['auth'],
    hosts: check.strings(options, 'hosts') ?? [],
    history: check.integer(options, 'history', 0, 10_000, 1000),
    title: check.string(options, 'title') ?? 'Tasks'
  }
}

import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { FST_TASKS_INVALID_OPTION } from '../errors.js'
import { fieldOf } from '../fastify-internals.js'
import { authHook } from './access/auth-hook.js'
import { TaskConsole, type Subject } from './task-console.js'
import { Guard } from './access/guard.js'
import type { ConsoleConfig } from './options.js'
import { pageFolder } from './page/files.js'
import { mountConsoleRoutes } from './routes.js'

/** Returns the engine and the app to show, when the server is ready. */
export type Find = () => Pick<Subject, 'engine' | 'app' | 'clock'>

/** Mounts a console on `app`, in an encapsulated instance. `prefix` is the one that Fastify has already applied to `app`, if any. */
export async function mountConsole (app: FastifyInstance, config: ConsoleConfig, prefix: string | undefined, find: Find): Promise<void> {
  const { auth, hosts, history, title, traceUrl } = config
  pageFolder()
  if (auth === 'inherited' && !hasRequestHook(app)) {
    throw new FST_TASKS_INVALID_OPTION(
      "Console: 'auth' is 'inherited', but the parent instance has no hook that could reject a request; " +
        'add one with addHook before the console is registered'
    )
  }
  let found: ReturnType<Find> | undefined
  let console: TaskConsole | undefined
  const authHooks = auth === undefined || auth === 'inherited' ? [] : [auth].flat().map(authHook)
  const routes: FastifyPluginAsync = async scope => {
    const guard = new Guard(auth !== undefined, hosts)
    mountConsoleRoutes(scope, { guard, console: () => console!, app: () => found!.app, authHooks })
  }
  await app.register(routes, prefix === undefined ? { prefix: '/console' } : {})

  app.addHook('onReady', async () => {
    found = find()
    console = new TaskConsole({ title, history, traceUrl, ...found })
  })
  if (auth === undefined) app.addHook('onListen', async () => { warnIfOpen(app) })
  // Open event streams would block closing the server.
  app.addHook('preClose', async () => { console?.close() })
}

/** Whether a hook can reject a request before it is handled; true if this version of Fastify does not expose its hooks. */
function hasRequestHook (app: FastifyInstance): boolean {
  const hooks = fieldOf(app, 'fastify.hooks') as Readonly<Record<string, readonly unknown[] | undefined>> | undefined
  return hooks === undefined || ['onRequest', 'preParsing', 'preValidation', 'preHandler'].some(name => (hooks[name]?.length ?? 0) > 0)
}

function warnIfOpen (app: FastifyInstance): void {
  const open = app.addresses().some(place => typeof place === 'object' && !/^(?:127\.|::1$)/.test(place.address))
  if (open) {
    app.log.warn("the console has no 'auth', and this server is reachable from other machines: anyone can read, run and delete tasks")
  }
}

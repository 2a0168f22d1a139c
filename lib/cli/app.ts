import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyServerOptions } from 'fastify'
import fp from 'fastify-plugin'
import { inspected, type Inspection } from '../inspected.js'
import { CommandError, type Io } from './command.js'

/** The flag that names the app. */
export const appOption = { app: { type: 'string', short: 'a' } } as const

/** What `--help` says of it. */
export const appHelp = `  -a, --app FILE   module that exports a Fastify plugin by default, as fastify-cli has it
                   (default: ./app.js, ./app.mjs or ./app.ts)`

/**
 * Loads the plugin of a module into a server whose log goes to stderr, and waits until it is ready. With 'look' it opens no queue,
 * with 'send' it dispatches nothing. @throws CommandError; what the app throws, as it is
 */
export async function loadApp (given: unknown, inspection: Inspection, io: Io): Promise<FastifyInstance> {
  const file = findFile(given, io.cwd)
  const module = await importFile(file)
  const plugin = pluginOf(module)
  if (plugin === undefined) throw new CommandError(`${file} exports no Fastify plugin by default; write 'export default async function (app) { ... }'`)
  const options = (isObject(module['options']) ? module['options'] : {}) as FastifyServerOptions
  const app = Fastify({ ...options, logger: { level: 'info', stream: io.stderr } }) as unknown as FastifyInstance
  app.decorate(inspected, inspection)
  try {
    // Not encapsulated, as fastify-cli does it, so that its decorators are reached from here.
    await app.register(Object.hasOwn(plugin, Symbol.for('skip-override')) ? plugin : fp(plugin)).ready()
  } catch (error) {
    await app.close()
    throw error
  }
  if (app.hasDecorator('tasks')) return app
  await app.close()
  throw new CommandError(`${file} registers no fastify-cloud-tasks on its instance; register it there, not in an instance below`)
}

function findFile (given: unknown, cwd: string): string {
  const names = typeof given === 'string' ? [given] : ['app.js', 'app.mjs', 'app.ts']
  const found = names.map(name => resolve(cwd, name)).find(file => existsSync(file))
  if (found === undefined) throw new CommandError(`there is no ${names.join(', no ')} in ${cwd}; name the app's module with -a FILE`, 2)
  return found
}

async function importFile (file: string): Promise<Record<string, unknown>> {
  try {
    return await import(pathToFileURL(file).href) as Record<string, unknown>
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_UNKNOWN_FILE_EXTENSION') throw error
    throw new CommandError(`this Node does not load ${file}; install tsx and set NODE_OPTIONS='--import tsx', or name the compiled file`)
  }
}

/** A CommonJS module that was compiled from an ES module has its default one level down. */
function pluginOf (module: Record<string, unknown>): FastifyPluginAsync | undefined {
  const exported = module['default']
  const plugin = isObject(exported) ? exported['default'] : exported
  return typeof plugin === 'function' ? plugin as FastifyPluginAsync : undefined
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

import inspector from 'node:inspector'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import type Fastify from 'fastify'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { nearest } from '../checks.js'
import { explain } from '../server-error.js'
import type { TaskListing } from '../tasks.js'
import { LOADER, type Loader, type PluginHandle } from '../plugin-handle.js'
import { importApp, loadHint, type AppModule } from './app-module.js'
import { CommandError, exitCodeOf, type Arguments, type Io } from './command.js'

/** The flag of all commands that load an app. */
export const APP_FLAG = { app: { type: 'string', short: 'a' } } as const

export const APP_HELP = `  -a, --app APP    the module that exports your app: a Fastify plugin as its default export, as for fastify-cli;
                   its export 'options' goes to server and plugin. Default: app.js, else app.mjs, app.cjs, app.ts.
                   TypeScript is loaded by the tsx (or ts-node) installed in the app, or by Node.js 22.18 or newer`

/** An app that is ready, but does not listen and dispatches nothing. */
export interface LoadedApp {
  /** All registrations of the plugin; at least one. */
  readonly registrations: readonly PluginHandle[]
}

export interface FoundTask extends TaskListing {
  readonly registration: PluginHandle
}

/**
 * Loads the app of the flag `-a`, calls `use`, and always closes the app.
 * @param embeddedQueue see `Loader`
 * @throws CommandError
 */
export async function withApp<T> (
  { values }: Arguments,
  io: Io,
  embeddedQueue: Loader['embeddedQueue'],
  use: (app: LoadedApp) => Promise<T>,
  beforeLoading: () => void = () => {}
): Promise<T> {
  beforeLoading()
  const module = await uninterrupted(importApp(io.cwd, values.app as string | undefined), io)
  const registrations: PluginHandle[] = []
  const loader: Loader = { embeddedQueue, signal: io.signal, registered: registration => { registrations.push(registration) } }
  const { root, booted } = await boot(module, loader, io)
  try {
    await uninterrupted(booted, io)
  } catch (error) {
    // Closing would wait for plugins that are still loading.
    if (!io.signal.aborted) await close(root, io)
    throw bootError(module, error)
  }
  // A closing server gives its handlers some time, then aborts them.
  const stop = (): void => { root.close().catch(() => {}) }
  io.signal.addEventListener('abort', stop)
  try {
    if (registrations.length === 0) {
      throw new CommandError(`${module.path} does not register fastify-cloud-tasks; ` +
        "add 'await app.register(cloudTasks, { tasks, handlers })' to it, or set another module with '-a APP'")
    }
    return await use({ registrations })
  } finally {
    io.signal.removeEventListener('abort', stop)
    await close(root, io)
  }
}

/** All tasks, in the order of their registration. */
export function tasksOfApp ({ registrations }: LoadedApp): FoundTask[] {
  return registrations.flatMap(registration => registration.app.tasks.list().map(task => ({ ...task, registration })))
}

/**
 * Finds a task by its name, or by its path if several instances have a task with that name.
 * @throws CommandError
 */
export function findTask (app: LoadedApp, name: string): FoundTask {
  const tasks = tasksOfApp(app)
  const named = tasks.filter(task => task.name === name)
  const found = named.length > 0 ? named : tasks.filter(task => task.path === name)
  if (found.length > 1) {
    const paths = found.map(task => task.path).join(' or ')
    throw new CommandError(`several instances have a task '${name}'; use the path instead: ${paths}`)
  }
  if (found[0] === undefined) throw new CommandError(`the app has no task '${name}'${namesHint(name, tasks.map(task => task.name))}`)
  return found[0]
}

function namesHint (name: string, names: readonly string[]): string {
  if (names.length === 0) return '; the app defines none'
  return nearest(name, names) || (names.length > 20 ? "; 'list' shows all tasks" : `; its tasks are ${names.join(', ')}`)
}

interface Booting {
  readonly root: FastifyInstance
  readonly booted: Promise<unknown>
}

/** Uses the app's own copy of Fastify if it has one, because two copies do not share plugins. */
async function boot ({ path, plugin, options }: AppModule, loader: Loader, io: Io): Promise<Booting> {
  const { default: create } = await fastifyOf(path)
  const root = create(serverOptions(options, io))
  root.decorate(LOADER, loader)
  // Not awaited: `ready` reports what it throws, and awaiting it would boot the server.
  root.register(plugin, options)
  const booted = root.ready()
  return { root, booted: Promise.resolve(booted) }
}

async function fastifyOf (path: string): Promise<{ readonly default: typeof Fastify }> {
  let own: string
  try {
    own = createRequire(path).resolve('fastify')
  } catch {
    return await import('fastify')
  }
  return await import(pathToFileURL(own).href) as { readonly default: typeof Fastify }
}

/** Logs to stderr, because stdout is for the command's output. An app's own logger instance is not changed. */
function serverOptions (options: AppModule['options'], io: Io): FastifyServerOptions {
  // Debugging a plugin takes longer than Fastify's timeout of 10 s.
  const timeout = inspector.url() === undefined ? {} : { pluginTimeout: 0 }
  if (options.loggerInstance !== undefined || options.logger === false) return { ...options, ...timeout }
  const { transport, stream, file, ...logger } = (typeof options.logger === 'object' ? options.logger : {}) as Record<string, unknown>
  return { ...options, ...timeout, logger: { level: 'info', ...logger, stream: io.stderr } } as FastifyServerOptions
}

function bootError ({ path }: AppModule, error: unknown): Error {
  if (error instanceof CommandError) return error
  const { code } = (error ?? {}) as { readonly code?: unknown }
  // This package's own errors need no stack.
  const isOwn = typeof code === 'string' && code.startsWith('FST_TASKS_')
  const text = isOwn ? `: ${explain(error as Error)} (${code})` : `${loadHint(path, error)}\n${inspect(error)}`
  return new CommandError(`the app ${path} failed to start${text}`)
}

async function uninterrupted<T> (work: Promise<T>, { signal }: Io): Promise<T> {
  let onAbort = (): void => {}
  const interrupted = new Promise<never>((resolve, reject) => {
    onAbort = () => {
      const name = signal.reason as NodeJS.Signals
      reject(new CommandError(`interrupted by ${name} while the app was loading`, exitCodeOf(name)))
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  // Prevents an unhandled rejection after an interruption.
  work.catch(() => {})
  try {
    return await Promise.race([work, interrupted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Errors while closing are only printed, because the command has already finished. */
async function close (root: FastifyInstance, io: Io): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`its onClose hooks took longer than ${CLOSE_TIMEOUT_MS / 1000} s`)) }, CLOSE_TIMEOUT_MS)
  })
  try {
    await Promise.race([root.close(), late])
  } catch (error) {
    io.stderr.write(`the app failed to close: ${inspect(error)}\n`)
  } finally {
    clearTimeout(timer)
  }
}

const CLOSE_TIMEOUT_MS = 10_000

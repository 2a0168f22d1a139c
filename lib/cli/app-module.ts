import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import type { FastifyPluginAsync, FastifyServerOptions } from 'fastify'
import { CommandError } from './command.js'
import { hasTypeScriptSource, isTypeScript, prepareTypeScript } from './typescript.js'

/** The exports of an app's module, as for fastify-cli. */
export interface AppModule {
  /** Absolute. */
  readonly path: string
  readonly plugin: FastifyPluginAsync<object>
  /** Its export `options`, for both the server and the plugin. */
  readonly options: FastifyServerOptions & Readonly<Record<string, unknown>>
}

const DEFAULTS = ['app.js', 'app.mjs', 'app.cjs', 'app.ts']

/**
 * Imports the module of an app.
 * @param file path relative to `cwd`; undefined: the first of `app.js`, `app.mjs`, `app.cjs` and `app.ts` that exists
 * @throws CommandError
 */
export async function importApp (cwd: string, file: string | undefined): Promise<AppModule> {
  const path = find(cwd, file)
  let exported: Exports
  try {
    exported = await load(path)
  } catch (error) {
    throw new CommandError(`${path} failed to load${loadHint(path, error)}\n${inspect(error)}`)
  }
  return { path, ...await unwrap(path, exported) }
}

async function load (path: string): Promise<Exports> {
  const nodeFlags = `${process.execArgv.join(' ')} ${process.env.NODE_OPTIONS ?? ''}`
  const by = isTypeScript(path) ? await prepareTypeScript(path, nodeFlags) : 'import'
  return by === 'require' ? createRequire(path)(path) as Exports : await import(pathToFileURL(path).href) as Exports
}

function find (cwd: string, file: string | undefined): string {
  if (file !== undefined) {
    const path = resolve(cwd, file)
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats !== undefined && !stats.isDirectory()) return path
    const problem = stats === undefined ? 'there is no file' : 'expected a file, found the directory'
    throw new CommandError(`${problem} ${path}; '-a APP' is the path of the module that exports your app`)
  }
  const path = DEFAULTS.map(name => resolve(cwd, name)).find(existsSync)
  if (path !== undefined) return path
  throw new CommandError(`there is no app in ${cwd}: none of ${DEFAULTS.join(', ')} exists; ` +
    "set the module that exports it with '-a APP'")
}

interface Exports {
  readonly default?: unknown
  readonly options?: unknown
}

/** CommonJS, transpiled modules and promises wrap a plugin once, or twice. */
async function unwrap (path: string, exported: Exports): Promise<Omit<AppModule, 'path'>> {
  let { options } = exported
  let value: unknown = exported
  for (let layers = 0; layers < 4 && typeof value === 'object' && value !== null; layers++) {
    value = await awaited(path, (value as Exports).default)
    options ??= (value as Exports | undefined | null)?.options
  }
  if (typeof value !== 'function') {
    throw new CommandError(`${path} ${exportProblem(exported)}; its default export must be a Fastify plugin that registers ` +
      "fastify-cloud-tasks: 'export default async function (app, options) { await app.register(cloudTasks, { tasks, handlers }) }'")
  }
  if (options !== undefined && (typeof options !== 'object' || options === null)) {
    throw new CommandError(`${path}: its export 'options' must be an object of Fastify's options`)
  }
  return { plugin: value as FastifyPluginAsync<object>, options: (options ?? {}) as AppModule['options'] }
}

async function awaited (path: string, value: unknown): Promise<unknown> {
  // A Fastify instance has a `then` method, which would start it.
  if (isInstance(value)) return undefined
  try {
    return await value
  } catch (error) {
    throw new CommandError(`the promise that ${path} exports by default was rejected\n${inspect(error)}`)
  }
}

function exportProblem ({ default: value }: Exports): string {
  if (isInstance(value) || isInstance((value as Exports | undefined | null)?.default)) {
    return 'exports a Fastify instance instead of a plugin'
  }
  if (value === undefined) return 'has no default export'
  return `has ${typeof value === 'object' ? 'an object' : `a ${typeof value}`} as its default export`
}

function isInstance (value: unknown): boolean {
  const { register, ready } = (value ?? {}) as { readonly register?: unknown, readonly ready?: unknown }
  return typeof register === 'function' && typeof ready === 'function'
}

/** How to fix an app that failed to load; '' where the error itself says so. */
export function loadHint (path: string, error: unknown): string {
  const { code, message = '', url } = (error ?? {}) as { readonly code?: unknown, readonly message?: string, readonly url?: string }
  const file = /Unknown file extension "\.\w+" for (\S+)$/.exec(message)?.[1] ?? path
  if (!isTypeScript(file)) {
    // Node.js prints the location of such an error only if it is not caught.
    const placeless = error instanceof SyntaxError && !/\.[cm]?js:\d/.test(error.stack ?? '')
    return placeless ? `; 'node ${path}' shows where` : ''
  }
  const needsLoader = error instanceof SyntaxError || LOADER_ERRORS.has(code) ||
    (code === 'ERR_MODULE_NOT_FOUND' && hasTypeScriptSource(url))
  return needsLoader
    ? `: Node.js ${process.version} cannot load it. Install tsx in the app ('npm i -D tsx'), which this command then uses; ` +
      'or use Node.js 22.18 or newer with erasable TypeScript syntax only; or build the app and set the built file'
    : ''
}

/** Error codes of Node.js for TypeScript that it cannot load itself. */
const LOADER_ERRORS: ReadonlySet<unknown> = new Set([
  'ERR_UNKNOWN_FILE_EXTENSION', 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX', 'ERR_INVALID_TYPESCRIPT_SYNTAX'
])

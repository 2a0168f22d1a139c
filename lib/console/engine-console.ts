import type { FastifyPluginAsync } from 'fastify'
import type { Engine } from '../engine/engine.js'
import { mountConsole } from './mount.js'
import { resolveConsole, type ConsoleOptions } from './options.js'

/**
 * The console of an engine without a registry, for the emulator: a plugin with Fastify's option `prefix`. The engine must be open when
 * the server is ready. Ignores NODE_ENV, because an emulator is for development.
 */
export function engineConsole (
  engine: Engine,
  options: Omit<ConsoleOptions, 'prefix'> = {}
): FastifyPluginAsync<{ readonly prefix?: string }> {
  const config = resolveConsole(options)
  return async (app, { prefix }) => {
    await mountConsole(app, config, prefix, () => ({ engine, app: undefined, clock: engine.clock }))
  }
}

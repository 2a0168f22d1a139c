import type { FastifyPluginAsync } from 'fastify'
import { FST_TASKS_PLUGIN_MISSING } from '../errors.js'
import { handleOf } from '../plugin-handle.js'
import { mountConsole } from './mount.js'
import { refuseOpenProduction, resolveConsole, type ConsoleOptions } from './options.js'

export { engineConsole } from './engine-console.js'
export type { ConsoleAuth, ConsoleOptions } from './options.js'

/**
 * A page that shows the tasks, attempts and queues of an app, and runs tasks. Register it on the same instance as `fastify-cloud-tasks`,
 * before or after it, or on one below.
 */
const taskConsole: FastifyPluginAsync<ConsoleOptions> = async (app, options) => {
  const config = resolveConsole(options)
  refuseOpenProduction(config, process.env)
  await mountConsole(app, config, options.prefix, () => {
    const handle = handleOf(app)
    if (handle === undefined) throw new FST_TASKS_PLUGIN_MISSING()
    return { engine: handle.local?.engine, app: handle, clock: handle.clock }
  })
}

export default taskConsole
export { taskConsole }

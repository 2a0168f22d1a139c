import type { Config } from '../config.js'
import type { QueueOptions } from '../options.js'
import type { CloudQueues, QueueFields } from '../transport/cloud-queues.js'
import { APP_FLAG, APP_HELP, withApp, type LoadedApp } from './app.js'
import { CommandError, UsageError, exitCodeOf, type Command, type Io } from './command.js'
import { nearest } from '../checks.js'

const queues: Command = {
  usage: 'diff|sync [-a APP]',
  help: `Compares what the option 'queues' of an app sets with Cloud Tasks, or with the emulator that CLOUD_TASKS_EMULATOR_HOST names. The
queues are those of 'queues', of the definitions, and the plugin's own. What 'queues' leaves out is not looked at and stays.

  diff             prints each setting that differs and each queue that is missing, and changes nothing
  sync             creates the queues that are missing, sets what differs, and prints what it did; it asks nothing
${APP_HELP}

Exit codes: 0 nothing differs (any more), 1 'diff' found something, 2 it could not be done.

Example: fastify-cloud-tasks queues diff -a dist/app.js`,
  options: { ...APP_FLAG },
  maxArguments: 1,

  async run (args, io) {
    const [action] = args.positionals
    if (action !== 'diff' && action !== 'sync') {
      throw new UsageError(action === undefined ? "'queues diff' or 'queues sync'?" : `'queues' can 'diff' and 'sync', not '${action}'${nearest(action, ['diff', 'sync'])}`)
    }
    try {
      return await withApp(args, io, 'closed', async app => await compare(app, action, io))
    } catch (error) {
      // 1 says that something differs.
      throw error instanceof CommandError && error.exitCode === 1 ? new CommandError(error.message, 2) : error
    }
  }
}

export default queues

async function compare (app: LoadedApp, action: 'diff' | 'sync', io: Io): Promise<number> {
  let differences = 0
  for (const { config, wanted } of wantedQueues(app)) {
    const { CloudQueues } = await import('../transport/cloud-queues.js')
    const cloud = new CloudQueues(config, io.signal)
    try {
      for (const [id, fields] of wanted) {
        if (await settle(cloud, id, fields, action, io)) differences++
        if (io.signal.aborted) return exitCodeOf(io.signal.reason as NodeJS.Signals)
      }
    } catch (error) {
      throw new CommandError((error as Error).message, 2)
    } finally {
      await cloud.close()
    }
  }
  if (differences === 0) io.stdout.write('nothing differs\n')
  return action === 'diff' && differences > 0 ? 1 : 0
}

/** True where the queue differed. */
async function settle (cloud: CloudQueues, id: string, fields: QueueFields, action: 'diff' | 'sync', io: Io): Promise<boolean> {
  const actual = await cloud.read(id)
  const tell = (text: string): void => { io.stdout.write(`${id}: ${text}\n`) }
  if (actual === undefined) {
    if (action === 'sync') await cloud.create(id, fields)
    const settings = [...fields].map(([field, value]) => `${field} ${value}`).join(', ')
    tell(`${action === 'sync' ? 'created' : 'missing in Cloud Tasks'}${settings === '' ? '' : ` (${settings})`}`)
    return true
  }
  const changed = new Map([...fields].filter(([field, value]) => actual.get(field) !== value))
  if (changed.size === 0) return false
  if (action === 'sync') await cloud.update(id, changed)
  for (const [field, value] of changed) tell(`${field} ${action === 'sync' ? `set to ${value}, was ${actual.get(field)}` : `is ${actual.get(field)}, the app sets ${value}`}`)
  return true
}

/** What each instance with the plugin asks of its queues; several may share one place, and even a queue. */
function wantedQueues ({ registrations }: LoadedApp): Array<{ readonly config: Config, readonly wanted: ReadonlyMap<string, QueueFields> }> {
  return registrations.map(({ config, queues, registry }) => {
    if (config.transport === 'local') {
      throw new CommandError("the app's transport is 'local', whose queues live in its own process and follow the option 'queues' at every start. For Cloud Tasks set " +
        'CLOUD_TASKS_TRANSPORT=cloud and what belongs to it (CLOUD_TASKS_LOCATION, GOOGLE_CLOUD_PROJECT, CLOUD_TASKS_TARGET_URL, CLOUD_TASKS_SERVICE_ACCOUNT), as where it is deployed')
    }
    const used = [...registry.values()].map(task => task.queue ?? config.queue)
    const ids = new Set([...Object.keys(queues), ...used])
    return { config, wanted: new Map([...ids].map(id => [id, fieldsOf(queues[id] ?? {})])) }
  })
}

function fieldsOf (options: QueueOptions): QueueFields {
  return new Map(Object.entries(options).flatMap(([section, fields]) => {
    return Object.entries(fields as Readonly<Record<string, number | undefined>>).flatMap(([key, value]) => value === undefined ? [] : [[`${section}.${key}`, value] as const])
  }))
}

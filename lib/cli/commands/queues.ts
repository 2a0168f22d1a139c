import type { Config } from '../../options/config.js'
import type { QueueOptions } from '../../options/queues.js'
import { LETTER_QUEUE } from '../../transport/cloud/letter-queue.js'
import type { CloudQueues, QueueFields } from '../../transport/cloud/queues.js'
import { APP_FLAG, APP_HELP, withApp, type LoadedApp } from '../app.js'
import { CommandError, UsageError, exitCodeOf, type Command, type Io } from '../command.js'
import { nearest } from '../../checks.js'
import { explain } from '../../server-error.js'

const ACTIONS = ['diff', 'sync', 'pause', 'resume']

const queues: Command = {
  usage: 'diff|sync [-a APP]\n       fastify-cloud-tasks queues pause|resume QUEUE [-a APP]',
  help: `Compares what the option 'queues' of an app sets with Cloud Tasks, or with the emulator that CLOUD_TASKS_EMULATOR_HOST names. The
queues are those of 'queues', of the definitions, the plugin's own, and that of the option 'deadLetterQueue', which is to be paused and
to allow unlimited attempts. Settings that 'queues' leaves out are ignored.

  diff             prints each setting that differs and each queue that is missing, and changes nothing. Where there is a queue of
                   dead letters, it also prints on stderr which permissions for them its own account lacks; run it as the worker's
  sync             creates the queues that are missing, sets what differs, and prints what it did; it asks nothing
  pause, resume    pauses or resumes one queue: in Cloud Tasks, or in the directory of an app with the transport 'local', whose server
                   must be stopped meanwhile
${APP_HELP}

Exit codes: 0 nothing differs (any more), 1 'diff' found something, 2 it failed, or Cloud Tasks ignored a setting.

Example: fastify-cloud-tasks queues diff -a dist/app.js`,
  options: { ...APP_FLAG },
  maxArguments: 2,

  async run (args, io) {
    const [action, queue] = args.positionals
    if (action === 'pause' || action === 'resume') {
      if (queue === undefined) throw new UsageError(`which queue? 'queues ${action} QUEUE'`)
      return await withApp(args, io, 'open', async app => await setState(app, queue, action, io))
    }
    if (action !== 'diff' && action !== 'sync') {
      if (action === undefined) throw new UsageError("'queues diff', 'sync', 'pause' or 'resume'?")
      throw new UsageError(`'queues' can 'diff', 'sync', 'pause' and 'resume', not '${action}'${nearest(action, ACTIONS)}`)
    }
    if (queue !== undefined) throw new UsageError(`'queues ${action}' is about all queues, and does not know what to do with '${queue}'`)
    try {
      return await withApp(args, io, 'closed', async app => await compare(app, action, io))
    } catch (error) {
      // 1 says that something differs.
      throw error instanceof CommandError && error.exitCode === 1 ? new CommandError(error.message, 2) : error
    }
  }
}

export default queues

/** Applies to the first registration with the queue. */
async function setState ({ registrations }: LoadedApp, queue: string, action: 'pause' | 'resume', io: Io): Promise<number> {
  const errors: string[] = []
  for (const { app, config } of registrations) {
    if (config.volatile) {
      throw new CommandError("the app keeps its queues in memory (transport 'local'), where other processes cannot access them; " +
        `call app.tasks.${action}Queue('${queue}') in the app, or use the console`)
    }
    try {
      if (config.embedded) await app.tasks[`${action}Queue`](queue)
      else await setCloudState(config, queue, action, io)
      io.stdout.write(`${queue}: ${action}d\n`)
      return 0
    } catch (error) {
      errors.push(explain(error as Error))
    }
  }
  throw new CommandError(errors.join('\n'))
}

async function setCloudState (config: Config, queue: string, action: 'pause' | 'resume', { signal }: Io): Promise<void> {
  const { CloudQueues } = await import('../../transport/cloud/queues.js')
  const cloud = new CloudQueues(config, signal)
  try {
    await cloud.setState(queue, action === 'pause' ? 'PAUSED' : 'RUNNING')
  } finally {
    await cloud.close()
  }
}

async function compare (app: LoadedApp, action: 'diff' | 'sync', io: Io): Promise<number> {
  let differences = 0
  let refused = false
  for (const { config, wanted } of wantedQueues(app)) {
    const { CloudQueues } = await import('../../transport/cloud/queues.js')
    const cloud = new CloudQueues(config, io.signal)
    try {
      for (const [id, fields] of wanted) {
        const outcome = action === 'diff' ? await look(cloud, id, fields, io) : await settle(cloud, id, fields, io)
        if (outcome !== 'same') differences++
        if (outcome === 'refused') refused = true
        const { deadLetterQueue } = config
        if (action === 'diff' && outcome !== 'missing' && deadLetterQueue !== undefined) await printLacking(cloud, id, deadLetterQueue, io)
        if (io.signal.aborted) return exitCodeOf(io.signal.reason as NodeJS.Signals)
      }
    } catch (error) {
      throw new CommandError((error as Error).message, 2)
    } finally {
      await cloud.close()
    }
  }
  if (differences === 0) io.stdout.write('nothing differs\n')
  if (refused) return 2
  return action === 'diff' && differences > 0 ? 1 : 0
}

async function look (cloud: CloudQueues, id: string, fields: QueueFields, io: Io): Promise<'same' | 'differs' | 'missing'> {
  const actual = await cloud.read(id)
  if (actual === undefined) {
    io.stdout.write(`${id}: missing in Cloud Tasks${inParentheses(fields)}\n`)
    return 'missing'
  }
  const changed = difference(fields, actual)
  for (const [field, value] of changed) io.stdout.write(`${id}: ${field} is ${actual.get(field)}, the app sets ${value}\n`)
  return changed.size === 0 ? 'same' : 'differs'
}

/** `refused`: the service ignored a setting without an error. */
async function settle (cloud: CloudQueues, id: string, fields: QueueFields, io: Io): Promise<'same' | 'changed' | 'refused'> {
  const before = await cloud.read(id)
  const start = before ?? await cloud.create(id, fields)
  if (before === undefined) io.stdout.write(`${id}: created${inParentheses(fields)}\n`)
  const changed = difference(fields, start)
  if (changed.size === 0) return before === undefined ? 'changed' : 'same'
  const after = await cloud.update(id, changed)
  const left = difference(changed, after)
  for (const [field, value] of changed) {
    if (left.has(field)) io.stderr.write(`${id}: ${field} stays ${after.get(field)}, Cloud Tasks ignored ${value}\n`)
    else if (before !== undefined) io.stdout.write(`${id}: ${field} set to ${value}, was ${before.get(field)}\n`)
  }
  return left.size === 0 ? 'changed' : 'refused'
}

/** Permissions for dead letters; in their own queue they are also listed, replayed and discarded. */
async function printLacking (cloud: CloudQueues, id: string, deadLetterQueue: string, { stderr }: Io): Promise<void> {
  const lacking = await cloud.lackingPermissions(id, id === deadLetterQueue ? [...COPYING, ...LETTERS] : COPYING)
  if (lacking.length === 0) return
  stderr.write(`${id}: this command's account lacks ${lacking.join(', ')}; the worker's needs that to keep and replay dead letters\n`)
}

const COPYING = ['cloudtasks.queues.get', 'cloudtasks.tasks.create', 'cloudtasks.tasks.get', 'cloudtasks.tasks.fullView']
const LETTERS = ['cloudtasks.tasks.list', 'cloudtasks.tasks.delete']

function difference (wanted: QueueFields, actual: QueueFields): QueueFields {
  return new Map([...wanted].filter(([field, value]) => actual.get(field) !== value))
}

function inParentheses (fields: QueueFields): string {
  return fields.size === 0 ? '' : ` (${[...fields].map(([field, value]) => `${field} ${value}`).join(', ')})`
}

interface WantedQueues {
  readonly config: Config
  readonly wanted: ReadonlyMap<string, QueueFields>
}

/** The settings of each registration; several can share a project and location, and even a queue. */
function wantedQueues ({ registrations }: LoadedApp): WantedQueues[] {
  return registrations.map(({ config, queues, registry }) => {
    if (config.embedded) {
      throw new CommandError("the app's transport is 'local', whose queues live in its own process and follow the option 'queues' " +
        'at every start. For Cloud Tasks set CLOUD_TASKS_TRANSPORT=cloud and the settings that it needs (CLOUD_TASKS_LOCATION, ' +
        'GOOGLE_CLOUD_PROJECT, CLOUD_TASKS_TARGET_URL, CLOUD_TASKS_SERVICE_ACCOUNT), as where the app is deployed')
    }
    const used = [...registry.values()].map(task => task.queue ?? config.queue)
    const ids = new Set([...Object.keys(queues), ...used])
    const wanted = new Map([...ids].map(id => [id, fieldsOf(queues[id] ?? {})]))
    if (config.deadLetterQueue !== undefined) wanted.set(config.deadLetterQueue, LETTER_QUEUE)
    return { config, wanted }
  })
}

/** Settings by path, such as `rateLimits.maxDispatchesPerSecond`. */
function fieldsOf (options: QueueOptions): QueueFields {
  const found = new Map<string, number>()
  for (const [section, fields] of Object.entries(options as Readonly<Record<string, Readonly<Record<string, number | undefined>>>>)) {
    for (const [key, value] of Object.entries(fields)) if (value !== undefined) found.set(`${section}.${key}`, value)
  }
  return found
}

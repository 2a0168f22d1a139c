import { parseDuration } from '../../clock/duration.js'
import { CloudTasksError } from '../../cloud-tasks/status.js'
import { engineConsole } from '../../console/plugin.js'
import type { EmulatorLogger, EmulatorOptions } from '../../emulator/index.js'
import { emulatorConfig, type EmulatorConfig } from '../../emulator/options.js'
import { Emulator } from '../../emulator/server.js'
import { CommandError, UsageError, interruption, type Arguments, type Command, type Io } from '../command.js'

const emulator: Command = {
  usage: '[--host HOST] [--port PORT] [--data DIR] [--queue NAME]... [--auto-create-queues] [--app-engine-url URL] ' +
    '[--app-engine-host service|url] [--default-url URL] [--batch-duplicates reject|report] [--task-tombstone TIME] ' +
    '[--queue-tombstone TIME] [--allow-host NAME]...',
  help: `Emulates Cloud Tasks on one port: gRPC, REST, the public keys of its tokens, and a console at /.
Prints 'listening on http://HOST:PORT' when it is ready, and exits with code 0 on SIGTERM or Ctrl-C.

  --host HOST             address to listen on; there is no access control (default: 127.0.0.1)
  --port PORT             0 for any free one (default: 8123)
  --data DIR              stores queues, tasks, names and the signing key in a directory (default: in memory)
  --queue NAME            creates projects/P/locations/L/queues/Q unless it exists; may be repeated
  --auto-create-queues    creates a missing queue when a task is added to it
  --app-engine-url URL    where App Engine tasks are sent: their relative URI is appended
  --app-engine-host WHAT  their Host header: 'service' (default: PROJECT.xx.r.appspot.com, as in production) or 'url', for servers
                          with a list of allowed hosts
  --default-url URL       where tasks of firebase-admin without a URL are sent
                          (default: http://127.0.0.1:5001/{project}/{location}/{queue})
  --batch-duplicates WHAT batches with a task name that exists: 'reject' (default: ALREADY_EXISTS for the whole call, as
                          Cloud Tasks does) or 'report' (among the failed requests, as Google documents)
  --task-tombstone TIME   how long names of finished tasks cannot be reused (default: 1h)
  --queue-tombstone TIME  how long names of deleted queues cannot be reused (default: 7d)
  --allow-host NAME       another host name than localhost for the console, and for REST on a loopback address
                          and IP addresses; may be repeated

A TIME is 0 or a number with ms, s, m, h or d, as in 30s.

Examples:
  fastify-cloud-tasks emulator --queue projects/demo/locations/us-central1/queues/default
  fastify-cloud-tasks emulator --auto-create-queues --data .tasks`,
  options: {
    host: { type: 'string' },
    port: { type: 'string' },
    data: { type: 'string' },
    queue: { type: 'string', multiple: true },
    'auto-create-queues': { type: 'boolean' },
    'app-engine-url': { type: 'string' },
    'app-engine-host': { type: 'string' },
    'default-url': { type: 'string' },
    'batch-duplicates': { type: 'string' },
    'task-tombstone': { type: 'string' },
    'queue-tombstone': { type: 'string' },
    'allow-host': { type: 'string', multiple: true }
  },

  async run ({ values }, io) {
    const config = configOf(values, io)
    const emulator = new Emulator(config)
    try {
      io.stdout.write(`listening on ${await emulator.listen()}\n`)
    } catch (error) {
      throw problemOf(error, config)
    }
    await interruption(io.signal)
    await emulator.close()
    return 0
  }
}

export default emulator

function configOf (values: Arguments['values'], io: Io): EmulatorConfig {
  const options: Record<string, unknown> = {
    logger: lines(io),
    onError: (error: unknown) => { io.stderr.write(`${error instanceof Error ? error.stack ?? error.message : String(error)}\n`) },
    plugin: withConsole(values['allow-host'] as string[] | undefined)
  }
  for (const [flag, value] of Object.entries(values)) {
    if (value === undefined) continue
    if (flag === 'port') options.port = portOf(value as string)
    else if (flag.endsWith('-tombstone')) options[keyOf(flag)] = secondsOf(flag, value as string)
    else options[keyOf(flag)] = value
  }
  try {
    return emulatorConfig(options, flagOf)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function withConsole (hosts: readonly string[] | undefined): EmulatorOptions['plugin'] {
  const options = { title: 'Cloud Tasks', ...(hosts === undefined ? undefined : { hosts }) }
  return engine => async app => { await app.register(engineConsole(engine, options), { prefix: '/' }) }
}

/** `auto-create-queues` is the option `autoCreateQueues`. */
function keyOf (flag: string): string {
  if (flag === 'queue') return 'queues'
  if (flag === 'allow-host') return 'allowedHosts'
  const key = flag.replace(/-[a-z]/g, letters => letters[1]!.toUpperCase())
  return flag.endsWith('-tombstone') ? `${key}Seconds` : key
}

function flagOf (key: string): string {
  if (key === 'queues') return '--queue'
  if (key === 'allowedHosts') return '--allow-host'
  return `--${key.replace(/Seconds$/, '').replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

function portOf (text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new UsageError(`--port must be a whole number from 0 to 65535, not '${text}'`)
}

function secondsOf (flag: string, text: string): number {
  const seconds = parseDuration(text)
  if (seconds === undefined) throw new UsageError(`--${flag} must be a time such as 30s, 10m, 1h, 7d or 0, not '${text}'`)
  return seconds
}

function lines ({ stderr }: Io): EmulatorLogger {
  const line = (fields: object, message: string): void => {
    const { task } = fields as { readonly task?: string }
    stderr.write(`${message}${task === undefined ? '' : ` (${task})`}\n`)
  }
  return { info: line, warn: line, error: line }
}

/** The reason why it failed to start, in one line. */
function problemOf (error: unknown, { host, port }: EmulatorConfig): Error {
  const { code, message } = error as NodeJS.ErrnoException
  if (error instanceof CloudTasksError) return new CommandError(`--queue: ${message}`)
  if (code === 'EADDRINUSE') {
    return new CommandError(`${host}:${port} is in use by another program; choose another port with --port, or 0 for any free one`)
  }
  if (code === 'EACCES') return new CommandError(`no permission to listen on port ${port}; choose one above 1023 with --port`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new CommandError(`--host: ${host} is not an address of this machine`)
  }
  return new CommandError(message)
}

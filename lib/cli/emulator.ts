import { createEmulator, type Emulator, type EmulatorOptions } from '../emulator/index.js'
import { CommandError, UsageError, interruption, type Arguments, type Command } from './command.js'

const emulator: Command = {
  usage: '[--host HOST] [--port PORT] [--data DIR] [--queue NAME]... [--auto-create-queues] [--app-engine-url URL] [--task-tombstone TIME] [--queue-tombstone TIME]',
  help: `Serves Cloud Tasks on one port: gRPC, REST, and the keys of its tokens. Ends at SIGTERM or Ctrl-C.

  --host HOST             address to listen on (default: 127.0.0.1)
  --port PORT             0 for any free one (default: 8123)
  --data DIR              keeps queues and tasks in a directory (default: in memory)
  --queue NAME            creates projects/P/locations/L/queues/Q; may be given again
  --auto-create-queues    creates a queue with the first task that names it
  --app-engine-url URL    where App Engine tasks go
  --task-tombstone TIME   how long names of ended tasks are refused (default: 1h)
  --queue-tombstone TIME  how long names of deleted queues are refused (default: 7d)

A TIME is a number with s, m, h or d.`,
  options: {
    host: { type: 'string' },
    port: { type: 'string' },
    data: { type: 'string' },
    queue: { type: 'string', multiple: true },
    'auto-create-queues': { type: 'boolean' },
    'app-engine-url': { type: 'string' },
    'task-tombstone': { type: 'string' },
    'queue-tombstone': { type: 'string' }
  },

  async run ({ values }, io) {
    const emulator = create({ ...optionsOf(values), onError: error => { io.stderr.write(`${(error as Error).message}\n`) } })
    try {
      io.stdout.write(`listening on ${await emulator.listen()}\n`)
    } catch (error) {
      throw new CommandError((error as Error).message)
    }
    await interruption(io.signal)
    await emulator.close()
    return 0
  }
}

export default emulator

function create (options: EmulatorOptions): Emulator {
  try {
    return createEmulator(options)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function optionsOf (values: Arguments['values']): EmulatorOptions {
  const text = (flag: string): string | undefined => values[flag] as string | undefined
  const port = text('port') ?? '8123'
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new UsageError(`--port takes a number from 0 to 65535, not '${port}'`)
  const [host, data, appEngineUrl] = [text('host'), text('data'), text('app-engine-url')]
  return {
    port: Number(port),
    queues: values['queue'] as string[] | undefined ?? [],
    autoCreateQueues: values['auto-create-queues'] === true,
    taskTombstoneSeconds: seconds('task-tombstone', text('task-tombstone') ?? '1h'),
    queueTombstoneSeconds: seconds('queue-tombstone', text('queue-tombstone') ?? '7d'),
    ...(host === undefined ? {} : { host }),
    ...(data === undefined ? {} : { data }),
    ...(appEngineUrl === undefined ? {} : { appEngineUrl })
  }
}

function seconds (flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text)
  if (match === null || (match[2] === '' && Number(match[1]) !== 0)) throw new UsageError(`--${flag} takes a time such as 30s, 1h or 7d, not '${text}'`)
  return Number(match[1]) * { s: 1, m: 60, h: 3600, d: 86_400, '': 1 }[match[2] as 's']
}

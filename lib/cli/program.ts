import { readFile } from 'node:fs/promises'
import { inspect, parseArgs } from 'node:util'
import { nearest } from '../checks.js'
import { CommandError, UsageError, type Arguments, type Command, type Io } from './command.js'
import { withDebugValues } from './debugger.js'

export const PROGRAM = 'fastify-cloud-tasks'

interface Entry {
  readonly summary: string
  readonly load: () => Promise<{ readonly default: Command }>
}

/** Commands by name. Only the file of the called command is loaded. */
export const commands: Readonly<Record<string, Entry>> = {
  list: { summary: 'shows the tasks of an app', load: () => import('./commands/list.js') },
  run: { summary: 'runs a handler once, here, without a queue', load: () => import('./commands/run.js') },
  enqueue: { summary: 'enqueues a task through the transport of an app', load: () => import('./commands/enqueue.js') },
  queues: {
    summary: 'compares the queue settings of an app with Cloud Tasks, writes them there, pauses and resumes a queue',
    load: () => import('./commands/queues.js')
  },
  'dead-letters': {
    summary: 'shows, replays and discards the tasks whose last attempt failed',
    load: () => import('./commands/dead-letters.js')
  },
  emulator: { summary: 'serves Cloud Tasks on this machine', load: () => import('./commands/emulator.js') }
}

/** Runs the command line `args`. Resolves with the exit code, never rejects. */
export async function runProgram (args: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(args, io)
  } catch (error) {
    return fail(error, io)
  }
}

async function dispatch ([name, ...rest]: readonly string[], io: Io): Promise<number> {
  if (name === undefined) {
    io.stderr.write(overview())
    return 2
  }
  if (name === '--version' || name === '-v') {
    io.stdout.write(`${await version()}\n`)
    return 0
  }
  if (name === '--help' || name === '-h' || name === 'help') return await help(rest, io)
  if (name.startsWith('-')) throw new UsageError(`flags must follow the command, as in '${PROGRAM} list ${name}'`)
  const command = await load(name)
  if (asksForHelp(rest)) return await help([name], io)
  return await command.run(parse(name, command, rest), io)
}

async function help ([name]: readonly string[], io: Io): Promise<number> {
  if (name === undefined) {
    io.stdout.write(overview())
    return 0
  }
  const { usage, help } = await load(name)
  io.stdout.write(`Usage: ${PROGRAM} ${name} ${usage}\n\n${help.trim()}\n`)
  return 0
}

async function load (name: string): Promise<Command> {
  if (!Object.hasOwn(commands, name)) {
    const names = Object.keys(commands)
    throw new UsageError(`there is no command '${name}'${nearest(name, names) || `; there are ${names.join(', ')}`}`)
  }
  return (await commands[name]!.load()).default
}

/** Arguments after `--` are not flags. */
function asksForHelp (args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return (end === -1 ? args : args.slice(0, end)).some(arg => arg === '--help' || arg === '-h')
}

function parse (name: string, command: Command, args: readonly string[]): Arguments {
  const config = { args: withDebugValues(args), options: command.options, allowPositionals: true } as const
  for (const token of parseArgs({ ...config, strict: false, tokens: true }).tokens) {
    if (token.kind === 'option' && !Object.hasOwn(command.options, token.name)) {
      const hint = nearestFlag(token.name, command)
      throw new UsageError(`'${name}' has no flag '${token.rawName}'${hint}; '${PROGRAM} ${name} --help' lists them`)
    }
  }
  const { values, positionals } = parseStrictly(name, config)
  const superfluous = positionals[command.maxArguments ?? 0]
  if (superfluous !== undefined) {
    throw new UsageError(`unexpected argument '${superfluous}' of '${name}'; usage: '${PROGRAM} ${name} ${command.usage}'`)
  }
  return { values, positionals }
}

function parseStrictly (name: string, config: Parameters<typeof parseArgs>[0]): Arguments {
  try {
    return parseArgs(config) as Arguments
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code?.startsWith('ERR_PARSE_ARGS_') !== true) throw error
    throw new UsageError(`'${name}': ${message.split('\n', 1)[0]}`)
  }
}

function nearestFlag (flag: string, { options }: Command): string {
  const found = /'(.+)'/.exec(nearest(flag, [...Object.keys(options), 'help']))?.[1]
  return found === undefined ? '' : `; did you mean '--${found}'?`
}

function overview (): string {
  const width = Math.max(...Object.keys(commands).map(name => name.length))
  const rows = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `Usage: ${PROGRAM} COMMAND [ARGUMENTS]

${rows.join('\n')}

'${PROGRAM} COMMAND --help' describes a command, '${PROGRAM} --version' prints the version.
`
}

async function version (): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string }
  return manifest.version
}

function fail (error: unknown, io: Io): number {
  if (error instanceof UsageError || error instanceof CommandError) {
    io.stderr.write(`${PROGRAM}: ${error.message}\n`)
    return error instanceof CommandError ? error.exitCode : 2
  }
  io.stderr.write(`${inspect(error)}\n`)
  return 1
}

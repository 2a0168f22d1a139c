import inspector from 'node:inspector'
import { CommandError, UsageError, type Arguments, type Io } from './command.js'

/** As node's own flags, which may also stand behind `node` itself; a value comes with '='. */
export const DEBUG_FLAGS = { inspect: { type: 'string' }, 'inspect-brk': { type: 'string' } } as const

/**
 * `--inspect` without '=' has no value, which parseArgs cannot express for a flag that may have one.
 * @returns the arguments with an empty value put in
 */
export function withDebugValues (args: readonly string[]): string[] {
  const end = args.includes('--') ? args.indexOf('--') : args.length
  return args.map((arg, index) => index < end && (arg === '--inspect' || arg === '--inspect-brk') ? `${arg}=` : arg)
}

/** Opens the inspector where a flag asks for it, and waits for a debugger where that is asked for. @throws UsageError, CommandError */
export function openDebugger ({ values }: Arguments, io: Io): void {
  const given = (values['inspect-brk'] ?? values.inspect) as string | undefined
  if (given === undefined) return
  const match = /^(?:(?:\[?(.+?)\]?:)?(\d{1,5}))?$/.exec(given)
  if (match === null || Number(match[2] ?? 0) > 65_535) throw new UsageError(`'--inspect=${given}': the value must be PORT or HOST:PORT`)
  const [, host = '127.0.0.1', port = '9229'] = match
  // It is open already when node itself got such a flag; node then waited, if it was to.
  if (inspector.url() !== undefined) return
  inspector.open(Number(port), host)
  // Node.js itself says why on stderr, and throws nothing.
  if (inspector.url() === undefined) {
    throw new CommandError(`no debugger can attach at ${host}:${port}; choose another port, as in '--inspect=0' for any free one`)
  }
  if (values['inspect-brk'] === undefined) return
  withPlainSignals(() => {
    io.stderr.write('waiting for the debugger\n')
    inspector.waitForDebugger()
  })
}

/** Lets Ctrl-C end the process while `block` blocks it: signal listeners would prevent that, and could not run. */
function withPlainSignals (block: () => void): void {
  const listeners = (['SIGINT', 'SIGTERM'] as const).map(name => ({ name, all: process.rawListeners(name) as NodeJS.SignalsListener[] }))
  for (const { name } of listeners) process.removeAllListeners(name)
  try {
    block()
  } finally {
    for (const { name, all } of listeners) {
      for (const listener of all) process.on(name, listener)
    }
  }
}

/** What to do right before the app's first line. */
export function pauseForDebugger ({ values }: Arguments): () => void {
  return values['inspect-brk'] === undefined
    ? () => {}
    : () => {
        // eslint-disable-next-line no-debugger -- what --inspect-brk is for
        debugger
      }
}

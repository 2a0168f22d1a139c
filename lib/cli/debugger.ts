import inspector from 'node:inspector'
import { CommandError, UsageError, type Arguments, type Io } from './command.js'

/** Like node's own flags, which can also be passed to `node` itself; values require '='. */
export const DEBUG_FLAGS = { inspect: { type: 'string' }, 'inspect-brk': { type: 'string' } } as const

/**
 * Adds an empty value to `--inspect` without '=', because parseArgs does not support optional values.
 */
export function withDebugValues (args: readonly string[]): string[] {
  const end = args.includes('--') ? args.indexOf('--') : args.length
  return args.map((arg, index) => index < end && (arg === '--inspect' || arg === '--inspect-brk') ? `${arg}=` : arg)
}

/** Opens the inspector with `--inspect`, and waits for a debugger with `--inspect-brk`. @throws UsageError, CommandError */
export function openDebugger ({ values }: Arguments, io: Io): void {
  const given = (values['inspect-brk'] ?? values.inspect) as string | undefined
  if (given === undefined) return
  const match = /^(?:(?:\[?(.+?)\]?:)?(\d{1,5}))?$/.exec(given)
  if (match === null || Number(match[2] ?? 0) > 65_535) throw new UsageError(`'--inspect=${given}': the value must be PORT or HOST:PORT`)
  const [, host = '127.0.0.1', port = '9229'] = match
  // Already open if the flag was passed to node itself, which then has waited if required.
  if (inspector.url() !== undefined) return
  inspector.open(Number(port), host)
  // Node.js prints the reason on stderr, and does not throw.
  if (inspector.url() === undefined) {
    throw new CommandError(`no debugger can attach at ${host}:${port}; choose another port, as in '--inspect=0' for any free one`)
  }
  if (values['inspect-brk'] === undefined) return
  withPlainSignals(() => {
    io.stderr.write('waiting for the debugger\n')
    inspector.waitForDebugger()
  })
}

/** Lets Ctrl-C end the process while `block` blocks the event loop, in which signal listeners could not run. */
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

/** Called right before the app's first line. */
export function pauseForDebugger ({ values }: Arguments): () => void {
  return values['inspect-brk'] === undefined
    ? () => {}
    : () => {
        // eslint-disable-next-line no-debugger -- what --inspect-brk is for
        debugger
      }
}

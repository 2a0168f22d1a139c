import type { Readable, Writable } from 'node:stream'
import type { ParseArgsConfig } from 'node:util'

/** A command: the default export of the file with its name in commands/. */
export interface Command {
  /** The arguments, such as `TASK [JSON|-] [-a APP]`. */
  readonly usage: string
  /** The text of `--help` below the usage: description, flags, exit codes, examples. */
  readonly help: string
  /** Its flags, for `parseArgs` of node:util, without `--help`. */
  readonly options: NonNullable<ParseArgsConfig['options']>
  /** Maximum number of arguments, not counting flags. @default 0 */
  readonly maxArguments?: number
  /** Resolves with the exit code. Errors are printed on stderr: for `UsageError` and `CommandError` only the message. */
  run (args: Arguments, io: Io): Promise<number>
}

/** The parsed arguments of a command, checked against its `options`. */
export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | ReadonlyArray<string | boolean> | undefined>>
  readonly positionals: readonly string[]
}

/** The environment of a command; tests pass their own and need no process. */
export interface Io {
  readonly stdout: Writable
  readonly stderr: Writable
  readonly stdin: Readable
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Aborts when the command must end; the reason is the name of the signal, `SIGINT` (Ctrl-C) or `SIGTERM`. */
  readonly signal: AbortSignal
}

/** Invalid usage. Exit code 2. */
export class UsageError extends Error {}

/** The command failed; the message is sufficient for a user. Exit code 1, or a more specific one. */
export class CommandError extends Error {
  readonly exitCode: number

  constructor (message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** The code of an error of this package; by code, since the app may have another copy of the classes. */
export function codeOf (error: unknown): string {
  return String((error as { readonly code?: unknown } | null | undefined)?.code)
}

/** The reason of `io.signal`, once it aborts. */
export async function interruption (signal: AbortSignal): Promise<NodeJS.Signals> {
  if (!signal.aborted) await new Promise(resolve => { signal.addEventListener('abort', resolve, { once: true }) })
  return signal.reason as NodeJS.Signals
}

/** What a shell reports for a process that a signal ended. */
export function exitCodeOf (signal: NodeJS.Signals): number {
  return signal === 'SIGINT' ? 130 : 143
}

import type { Readable, Writable } from 'node:stream'
import type { ParseArgsConfig } from 'node:util'

/** One command of the command line: the default export of the file in commands/ that has its name. */
export interface Command {
  /** What follows the command's name, as in `TASK [JSON|-] [-a APP]`. */
  readonly usage: string
  /** What `--help` says below the usage: what it does, its flags, its exit codes, examples. */
  readonly help: string
  /** Its flags, for `parseArgs` of node:util. `--help` is added to them. */
  readonly options: NonNullable<ParseArgsConfig['options']>
  /** How many arguments it accepts, flags not counted. @default 0 */
  readonly maxArguments?: number
  /** Resolves with the exit code. What it throws is printed on stderr: `UsageError` and `CommandError` by their message alone. */
  run (args: Arguments, io: Io): Promise<number>
}

/** What was typed behind the command's name, checked against its `options`. */
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
  /** Aborts when the command is to end; the reason is the name of the signal, `SIGINT` (Ctrl-C) or `SIGTERM`. */
  readonly signal: AbortSignal
}

/** The command line is wrong. Exit code 2. */
export class UsageError extends Error {}

/** The command failed; the message says all a user needs. Exit code 1, or a more specific one. */
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

import { execFile, type ExecFileOptions } from 'node:child_process'
import type { Emulator } from '../../lib/emulator/index.js'

export interface Place {
  readonly emulator: Emulator
  /** Answers everything with 200. */
  readonly targetUrl: string
  /** The attempts that the target received: `PATH TASK`. */
  readonly attempts: readonly string[]
  /** An empty folder of this check's own, removed afterwards. */
  readonly folder: string
  /** Where downloads of package managers go: in `folder`, or the folder CLIENTS_CACHE, which is kept for the next run. */
  readonly downloads: string
  /** Reports a step that went well. */
  readonly say: (step: string) => void
}

/** Rejects with `Missing` when the client is not there, and with any other error when something is wrong. */
export type Check = (place: Place) => Promise<void>

/** The client is not installed, or cannot be downloaded. The message says how to get it. */
export class Missing extends Error {}

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program to its end, ten minutes at most. `code` is -1 when there is no such program, or when it was killed. */
export async function program (file: string, args: readonly string[], options: ExecFileOptions = {}): Promise<Ended> {
  return await new Promise(resolve => {
    execFile(file, args, { timeout: 600_000, maxBuffer: 64 * 1024 * 1024, ...options, encoding: 'utf8' }, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, out, err: code === -1 && err === '' ? error!.message : err })
    })
  })
}

/** Runs a program that gets or builds a client. Rejects with `Missing` when it fails. */
export async function prepare (what: string, file: string, args: readonly string[], options: ExecFileOptions = {}): Promise<Ended> {
  const ended = await program(file, args, options)
  if (ended.code !== 0) {
    throw new Missing(`${what}: ${lastLine(ended.err) ?? lastLine(ended.out) ?? `${file} ended with code ${ended.code}`}`)
  }
  return ended
}

/** Rejects when an attempt of the task has not reached the target within ten seconds. */
export async function arrival ({ attempts }: Place, attempt: string): Promise<void> {
  for (const end = Date.now() + 10_000; !attempts.includes(attempt);) {
    if (Date.now() > end) throw new Error(`'${attempt}' did not reach the target, only ${JSON.stringify(attempts)}`)
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}

/** Runs a client's own program, whose lines of output are the steps that went well. */
export async function steps (place: Place, file: string, args: readonly string[], options: ExecFileOptions = {}): Promise<void> {
  const { code, out, err } = await program(file, [...args, place.emulator.address, place.targetUrl], options)
  for (const line of out.split('\n')) if (line !== '') place.say(line)
  if (code !== 0) throw new Error(err.trim() || `ended with code ${code}`)
}

function lastLine (text: string): string | undefined {
  return text.trim().split('\n').at(-1) || undefined
}

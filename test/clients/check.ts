import { execFile, type ExecFileOptions } from 'node:child_process'
import type { Emulator } from '../../lib/emulator/index.js'

export interface Place {
  readonly emulator: Emulator
  /** Answers everything with 200. */
  readonly targetUrl: string
  /** What came to the target: `PATH TASK`. */
  readonly attempts: readonly string[]
  /** Tells of a step that went well. */
  readonly say: (step: string) => void
}

/** Rejects with `Missing` when the client is not there, and with whatever is wrong otherwise. */
export type Check = (place: Place) => Promise<void>

/** The client is not installed. The message says how to get it. */
export class Missing extends Error {}

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program to its end, two minutes at most. `code` is -1 when there is no such program. */
export async function program (file: string, args: readonly string[], options: ExecFileOptions = {}): Promise<Ended> {
  return await new Promise(resolve => {
    execFile(file, args, { timeout: 120_000, ...options, encoding: 'utf8' }, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, out, err: code === -1 && err === '' ? error!.message : err })
    })
  })
}

/** Rejects when an attempt of the task has not come to the target within ten seconds. */
export async function arrival ({ attempts }: Place, attempt: string): Promise<void> {
  for (const end = Date.now() + 10_000; !attempts.includes(attempt);) {
    if (Date.now() > end) throw new Error(`'${attempt}' did not come to the target, only ${JSON.stringify(attempts)}`)
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}

/** Runs a client's own program, whose lines of output are the steps that went well. */
export async function steps (place: Place, file: string, args: readonly string[], options: ExecFileOptions = {}): Promise<void> {
  const { code, out, err } = await program(file, [...args, place.emulator.address, place.targetUrl], options)
  for (const line of out.split('\n')) if (line !== '') place.say(line)
  if (code !== 0) throw new Error(err.trim() || `ended with code ${code}`)
}

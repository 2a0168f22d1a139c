import { PassThrough } from 'node:stream'
import { runProgram } from '../../lib/cli/program.js'

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Surroundings {
  readonly cwd?: string
  /** What stands on stdin. */
  readonly input?: string
  readonly signal?: AbortSignal
  /** Hears of every piece of stderr as it comes. */
  readonly onStderr?: (text: string) => void
}

/** Runs a command line in this process. */
export async function command (args: readonly string[], { cwd = process.cwd(), input = '', signal = new AbortController().signal, onStderr }: Surroundings = {}): Promise<Ended> {
  const [stdout, stderr, stdin] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const texts = { out: '', err: '' }
  stdout.on('data', piece => { texts.out += piece })
  stderr.on('data', piece => {
    texts.err += piece
    onStderr?.(String(piece))
  })
  stdin.end(input)
  const code = await runProgram(args, { stdout, stderr, stdin, env: process.env, cwd, signal })
  await Promise.all([stdout, stderr].map(stream => new Promise(resolve => stream.end().on('end', resolve))))
  return { code, ...texts }
}

#!/usr/bin/env node
import type { Writable } from 'node:stream'
import { exitCodeOf } from './command.js'
import { runProgram } from './program.js'

const { stdout, stderr, stdin } = process

// An app's output, through console.log or its logger, must not mix with the command's machine-readable output.
Object.defineProperty(process, 'stdout', { value: stderr, configurable: true, enumerable: true })
// Stacks of compiled apps refer to their sources.
process.setSourceMapsEnabled(true)

const interrupted = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (interrupted.signal.aborted) process.exit(exitCodeOf(name))
    interrupted.abort(name)
  })
}
for (const stream of [stdout, stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // The reader has closed the pipe, as in `list | head -1`.
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}

// A handler may wait for something that does not keep the process alive, and Node.js would exit too early.
const alive = setInterval(() => {}, 2 ** 30)
const { argv, env } = process
const code = await runProgram(argv.slice(2), { stdout, stderr, stdin, env, cwd: process.cwd(), signal: interrupted.signal })
clearInterval(alive)
await Promise.all([flushed(stdout), flushed(stderr)])
// Explicit exit, because an app may leave handles open.
process.exit(code)

async function flushed (stream: Writable): Promise<void> {
  await new Promise<void>(resolve => { stream.write('', () => { resolve() }) })
}

import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { pathToFileURL } from 'node:url'
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
export async function command (
  args: readonly string[],
  { cwd = process.cwd(), input = '', signal = new AbortController().signal, onStderr }: Surroundings = {}
): Promise<Ended> {
  const [stdout, stderr, stdin] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const texts = { out: '', err: '' }
  stdout.on('data', piece => {
    texts.out += piece
  })
  stderr.on('data', piece => {
    texts.err += piece
    onStderr?.(String(piece))
  })
  stdin.end(input)
  const code = await runProgram(args, { stdout, stderr, stdin, env: process.env, cwd, signal })
  await Promise.all([stdout, stderr].map(stream => new Promise(resolve => stream.end().on('end', resolve))))
  return { code, ...texts }
}

/** The beginning of an app's module: it may then use `cloudTasks`, `defineTasks` and `Type`. */
export const IMPORTS = importsFrom(join(import.meta.dirname, '../../lib/index.ts'))

/**
 * An app as people write it, with one task for each thing that a handler may do. `options` are more options of the plugin, as
 * code, and `lib` is the file that it imports the plugin from.
 */
export function appSource (options = '', lib?: string): string {
  return `${lib === undefined ? IMPORTS : importsFrom(lib)}
  const tasks = defineTasks({
    greet: { payload: Type.Object({ name: Type.String({ minLength: 2 }), email: Type.Optional(Type.String({ format: 'email' })) }) },
    fail: { payload: Type.Any() },
    drop: { payload: Type.Any() },
    give: { payload: Type.String(), queue: 'slow', method: 'PUT' },
    wait: { payload: Type.Any() },
    chain: { payload: Type.Any() },
    'no-handler': { payload: Type.Any() }
  })
  const handlers = {
    async greet ({ name }, task) {
      task.log.info('greeting')
      return { hello: name, close: typeof this.close }
    },
    async fail () {
      throw new RangeError('nothing works', { cause: new Error('the reason') })
    },
    async drop (payload, task) { task.drop('not wanted any more') },
    async give (kind) {
      const circle = {}
      circle.self = circle
      return { circle, big: { n: 1n }, function: () => {}, nothing: undefined, null: null }[kind]
    },
    async wait (payload, task) {
      const aborted = new Promise(resolve => { if (payload !== 'forever') task.signal.addEventListener('abort', resolve) })
      task.log.info('waiting')
      await aborted
      task.log.info('aborted')
      task.signal.throwIfAborted()
    },
    async chain () { return await this.enqueue('greet', { name: 'Ada' }) }
  }
  export default async function app (app) {
    await app.register(cloudTasks, { tasks, handlers, ${options} })
  }`
}

function importsFrom (lib: string): string {
  return `
  import cloudTasks, { defineTasks } from ${JSON.stringify(pathToFileURL(lib).href)}
  import { Type } from '@sinclair/typebox'
`
}

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import { nearest } from '../checks.js'
import { exampleOf } from '../payload-example.js'
import { CommandError, UsageError, type Arguments, type Io } from './command.js'

/** The flag that reads the payload from a file. */
export const fileOption = { file: { type: 'string', short: 'f' } } as const

/** What `--help` says of a payload. */
export const payloadHelp = `  JSON             the payload; '-' reads it from stdin
  -f, --file FILE  reads it from a file`

/** The task that a command line names. @throws UsageError */
export function taskOf (app: FastifyInstance, name: string | undefined): ReturnType<FastifyInstance['tasks']['list']>[number] {
  const tasks = app.tasks.list()
  const names = tasks.map(task => task.name)
  if (name === undefined) throw new UsageError(`name a task: ${names.join(', ')}`)
  const task = tasks.find(task => task.name === name)
  if (task === undefined) throw new UsageError(`there is no task '${name}'${nearest(name, names) || `; there are ${names.join(', ')}`}`)
  return task
}

/** The payload that a command line gives. Without one, what it could be is told from the schema. @throws UsageError, CommandError */
export async function payloadOf (task: { readonly name: string, readonly schema: unknown }, { values, positionals }: Arguments, io: Io): Promise<unknown> {
  const argument = positionals[1]
  const file = values['file'] as string | undefined
  if (argument !== undefined && file !== undefined) throw new UsageError('give the payload as an argument or as a file, not both')
  if (file !== undefined) return parse(await read(resolve(io.cwd, file)), file)
  if (argument === '-') return parse(await text(io.stdin), 'stdin')
  if (argument !== undefined) return parse(argument, 'the payload')
  throw new UsageError(`'${task.name}' takes a payload, such as

  ${JSON.stringify(exampleOf(task.schema))}

Its schema:

${JSON.stringify(task.schema, undefined, 2).replace(/^/gm, '  ')}
`)
}

async function read (file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new CommandError(`the payload cannot be read: ${(error as Error).message}`)
  }
}

function parse (json: string, from: string): unknown {
  try {
    return JSON.parse(json)
  } catch (error) {
    throw new CommandError(`${from} is no JSON: ${(error as Error).message}`)
  }
}

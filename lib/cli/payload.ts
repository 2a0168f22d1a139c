import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import type { ValidationFault } from '../registry/payload.js'
import { exampleOf } from '../payload-example.js'
import type { FoundTask } from './app.js'
import { CommandError, UsageError, codeOf, type Arguments, type Io } from './command.js'
import { jsonFault, tellFault } from './json-fault.js'

export const FILE_FLAG = { file: { type: 'string', short: 'f' } } as const

export const PAYLOAD_HELP = `  JSON             the payload; '-' reads it from stdin
  -f, --file FILE  reads it from a file`

/**
 * The payload that was given: as the argument behind the task's name, on stdin or in a file; undefined where none was.
 * @throws UsageError, CommandError
 */
export async function readPayload ({ values, positionals }: Arguments, io: Io): Promise<{ readonly value: unknown } | undefined> {
  const [, argument] = positionals
  const file = values.file as string | undefined
  if (argument !== undefined && file !== undefined) throw new UsageError("the payload is given twice: as an argument and with '--file'; leave one of them out")
  if (file !== undefined) return { value: parse(await readText(resolve(io.cwd, file)), file) }
  if (argument === undefined) return undefined
  if (argument !== '-') return { value: parse(argument, 'the argument') }
  if ((io.stdin as Partial<NodeJS.ReadStream>).isTTY === true) io.stderr.write('reading the payload from stdin; Ctrl-D ends it\n')
  return { value: parse(await text(io.stdin), 'stdin') }
}

async function readText (path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new CommandError(`the payload cannot be read: ${(error as Error).message}`)
  }
}

function parse (source: string, where: string): unknown {
  const json = source.replace(/^\uFEFF/, '')
  if (json.trim() === '') throw new CommandError(`the payload (${where}) is empty; a task without data takes {} or null, as its schema says`)
  const fault = jsonFault(json)
  if (fault === undefined) return JSON.parse(json)
  const hint = where === 'the argument' && /^[{[]/.test(json.trim()) && !json.includes('"') ? "\n(a shell takes quotes away: put single quotes around the payload, as in '{\"name\":\"Ada\"}')" : ''
  throw new CommandError(`the payload (${where}) is not JSON: ${tellFault(json, fault)}${hint}`)
}

/**
 * Refuses what the task's route would refuse, by the server's own validator.
 * @param example a command line that would do, without its payload
 * @throws CommandError that points at each field
 */
export async function checkPayload ({ name, schema, registration }: FoundTask, value: unknown, example: string): Promise<void> {
  const task = registration.registry.get(name)!
  try {
    await registration.payloads.read(task, registration.payloads.print(task, value))
  } catch (error) {
    if (codeOf(error) === 'FST_TASKS_PAYLOAD_NOT_JSON') throw new CommandError((error as Error).message)
    if (codeOf(error) !== 'FST_TASKS_INVALID_PAYLOAD') throw error
    const { message, validation = [] } = error as Error & { readonly validation?: readonly ValidationFault[] }
    const lines = validation.map(fault => `  ${fieldOf(fault)}  ${fault.message ?? 'does not fit its schema'}${allowed(fault)}`)
    throw new CommandError(`the payload does not fit the schema of task '${name}':\n${lines.join('\n') || `  ${message}`}\n${tellExample(schema, example)}`)
  }
}

/** What a payload of this task looks like, for somebody who gave none. */
export function explainPayload ({ name, schema }: FoundTask, example: string): string {
  return `task '${name}' needs a payload, as an argument, on stdin ('-') or in a file ('--file').\n${describe(schema)}${tellExample(schema, example)}`
}

function tellExample (schema: unknown, example: string): string {
  const value = exampleOf(schema)
  return value === undefined ? 'Its schema:\n' + JSON.stringify(schema, null, 2) : `This one fits:\n  ${example} '${JSON.stringify(value).replaceAll("'", "'\\''")}'`
}

function fieldOf ({ instancePath = '', params }: ValidationFault): string {
  const missing = params?.missingProperty
  const path = instancePath.split('/').slice(1).map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (typeof missing === 'string') path.push(missing)
  return path.length === 0 ? '(payload)' : path.reduce((all, key) => /^\d+$/.test(key) ? `${all}[${key}]` : all === '' ? key : `${all}.${key}`, '')
}

function allowed ({ params }: ValidationFault): string {
  return Array.isArray(params?.allowedValues) ? `: ${params.allowedValues.map(value => JSON.stringify(value)).join(', ')}` : ''
}

interface Described {
  readonly type?: unknown
  readonly format?: unknown
  readonly description?: unknown
  readonly enum?: unknown
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, Described>>
  readonly required?: readonly string[]
}

/** The fields of an object, one a line; nothing for other schemas, whose example says as much. */
function describe ({ properties = {}, required = [] }: Described): string {
  const rows = Object.entries(properties).map(([key, field]) => {
    const kind = [field.type ?? (Array.isArray(field.enum) ? `one of ${field.enum.map(one => JSON.stringify(one)).join(', ')}` : 'const' in field ? JSON.stringify(field.const) : 'see the example')].flat().join(' or ')
    const remarks = [typeof field.format === 'string' ? `(${field.format})` : '', required.includes(key) ? '' : 'optional', typeof field.description === 'string' ? field.description : '']
    return [key, [kind, ...remarks].filter(one => one !== '').join(' ')] as const
  })
  const width = Math.max(0, ...rows.map(([key]) => key.length))
  return rows.map(([key, kind]) => `  ${key.padEnd(width)}  ${kind}\n`).join('')
}

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import type { PayloadCodec } from '../registry/payload.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { Validation, ValidationFault } from '../registry/validation.js'
import { explain } from '../server-error.js'
import type { FoundTask } from './app.js'
import { CommandError, UsageError, codeOf, type Arguments, type Io } from './command.js'
import { samplePayload } from './sample-payload.js'
import { parseJson } from './json.js'

export const FILE_FLAG = { file: { type: 'string', short: 'f' } } as const

export const PAYLOAD_HELP = `  JSON             the payload; '-' reads it from stdin
  -f, --file FILE  reads it from a file`

/**
 * Reads the payload from the argument after the task's name, from stdin or a file; undefined if there is none.
 * @throws UsageError, CommandError
 */
export async function readPayload ({ values, positionals }: Arguments, io: Io): Promise<{ readonly value: unknown } | undefined> {
  const [, argument] = positionals
  const file = values.file as string | undefined
  if (argument !== undefined && file !== undefined) {
    throw new UsageError("the payload is given twice: as an argument and with '--file'; use only one of them")
  }
  if (file !== undefined) return { value: await parse(await readText(resolve(io.cwd, file)), file) }
  if (argument === undefined) return undefined
  if (argument !== '-') return { value: await parse(argument, 'the argument') }
  if ((io.stdin as Partial<NodeJS.ReadStream>).isTTY === true) io.stderr.write('reading the payload from stdin; Ctrl-D ends it\n')
  return { value: await parse(await text(io.stdin), 'stdin') }
}

async function readText (path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new CommandError(`the payload cannot be read: ${(error as Error).message}`)
  }
}

async function parse (source: string, where: string): Promise<unknown> {
  const json = source.replace(/^\uFEFF/, '')
  if (json.trim() === '') {
    throw new CommandError(`the payload (${where}) is empty; for a task without data use {} or null, according to its schema`)
  }
  try {
    return await parseJson(json)
  } catch (error) {
    const unquoted = where === 'the argument' && /^[{[]/.test(json.trim()) && !json.includes('"')
    const hint = unquoted ? "\n(a shell removes quotes: put single quotes around the payload, as in '{\"name\":\"Ada\"}')" : ''
    throw new CommandError(`the payload (${where}) is not JSON: ${(error as Error).message}${hint}`)
  }
}

/**
 * Validates a payload like the task's route, with the server's validator.
 * @param example a valid command line, without the payload
 * @throws CommandError with each invalid field
 */
export async function checkPayload (found: FoundTask, value: unknown, example: string): Promise<void> {
  const { name, registration: { registry, payloads } } = found
  const examined = await examine(payloads, registry.get(name)!, value)
  if (examined.faults === undefined) return
  // The validator's messages can contain values, which the user has typed.
  const lines = examined.faults.map(fault => `  ${fieldOf(fault)}  ${fault.message ?? 'does not match its schema'}${allowed(fault)}`)
  const problems = lines.join('\n') || `  ${examined.cause instanceof Error ? examined.cause.message : 'the validator gave no reason'}`
  throw new CommandError(`the payload does not match the schema of task '${name}':\n${problems}\n${await explainSchema(found, example)}`)
}

async function examine (payloads: PayloadCodec, task: RegisteredTask, value: unknown): Promise<Validation> {
  try {
    return await payloads.examine(task, payloads.print(task, value))
  } catch (error) {
    throw PRINTED.has(codeOf(error)) ? new CommandError(explain(error as Error)) : error
  }
}

const PRINTED: ReadonlySet<unknown> = new Set(['FST_TASKS_PAYLOAD_NOT_JSON', 'FST_TASKS_VALIDATION_TIMEOUT'])

/** Describes the payload of a task, for when none was given. */
export async function explainPayload (found: FoundTask, example: string): Promise<string> {
  const { name, schema } = found
  const sources = "as an argument, on stdin ('-') or in a file ('--file')"
  return `task '${name}' needs a payload, ${sources}.\n${fieldList(schema ?? {})}${await explainSchema(found, example)}`
}

/** A command line with a valid payload, or else the schema. */
async function explainSchema ({ name, schema, registration }: FoundTask, example: string): Promise<string> {
  const text = await samplePayload(registration.registry.get(name)!, registration)
  if (text !== undefined) return `A valid payload:\n  ${example} '${text.replaceAll("'", "'\\''")}'`
  if (schema === undefined) return 'Its schema cannot be shown, because it has no JSON Schema; see the definition of the task.'
  try {
    return `Its schema:\n${JSON.stringify(schema, null, 2)}`
  } catch (error) {
    return `Its schema cannot be shown as JSON: ${(error as Error).message}`
  }
}

function fieldOf ({ instancePath = '', params }: ValidationFault): string {
  const missing = params?.missingProperty
  const path = instancePath.split('/').slice(1).map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (typeof missing === 'string') path.push(missing)
  if (path.length === 0) return '(payload)'
  return path.map((key, index) => /^\d+$/.test(key) ? `[${key}]` : index === 0 ? key : `.${key}`).join('')
}

function allowed ({ params }: ValidationFault): string {
  return Array.isArray(params?.allowedValues) ? `: ${params.allowedValues.map(value => JSON.stringify(value)).join(', ')}` : ''
}

interface Described {
  readonly properties?: Readonly<Record<string, FieldSchema | boolean>>
  readonly required?: readonly string[]
}

interface FieldSchema {
  readonly type?: unknown
  readonly format?: unknown
  readonly description?: unknown
  readonly enum?: unknown
  readonly const?: unknown
}

/** The fields of an object, one per line; empty for other schemas. */
function fieldList ({ properties = {}, required = [] }: Described): string {
  const fields = Object.entries(properties)
  const width = Math.max(0, ...fields.map(([key]) => key.length))
  return fields.map(([key, field]) => {
    const { format, description }: FieldSchema = typeof field === 'object' ? field : {}
    const remarks = [
      kindOf(field),
      typeof format === 'string' ? `(${format})` : '',
      required.includes(key) ? '' : 'optional',
      typeof description === 'string' ? description : ''
    ]
    return `  ${key.padEnd(width)}  ${remarks.filter(remark => remark !== '').join(' ')}\n`
  }).join('')
}

function kindOf (field: FieldSchema | boolean): string {
  if (typeof field !== 'object') return 'any'
  if (field.type !== undefined) return [field.type].flat().join(' or ')
  if (Array.isArray(field.enum)) return `one of ${field.enum.map(one => JSON.stringify(one)).join(', ')}`
  return 'const' in field ? JSON.stringify(field.const) : 'any'
}

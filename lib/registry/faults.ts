import { FST_TASKS_INVALID_PAYLOAD, type TaskError } from '../errors.js'
import { escapePointer } from './json-text.js'
import type { ValidationFault } from './validation.js'

/** A rejected payload, with the field names of its schema: all other keys are data and must not appear in messages. */
export interface RejectedPayload {
  readonly value: unknown
  /** Field names in the schema. */
  readonly names: ReadonlySet<string>
}

/** The error of a payload that does not match its schema. It contains paths and rules, never values. */
export function invalidPayload (task: string, faults: readonly ValidationFault[], rejected: RejectedPayload): TaskError {
  const safe = faults.map(fault => ({
    keyword: fault.keyword,
    instancePath: maskedPointer(fault.instancePath ?? '', rejected),
    message: safeMessage(fault, rejected),
    params: rulesOf(fault.params)
  }))
  const shown = safe.slice(0, 5).map(describe)
  if (faults.length > 5) shown.push(`and ${faults.length - 5} more`)
  const error = new FST_TASKS_INVALID_PAYLOAD(task, shown.join(', ') || 'it does not match its schema')
  // Without the validator's faults and error, which quote the payload and would be logged.
  return Object.assign(error, { validation: safe })
}

/** A JSON pointer in which keys that are data are replaced by `*`. Field names in the schema and list indexes are kept. */
export function maskedPointer (pointer: string, { value, names }: RejectedPayload): string {
  let inner = value
  return pointer.split('/').map((escaped, place) => {
    if (place === 0) return escaped
    const key = escaped.replaceAll('~1', '/').replaceAll('~0', '~')
    const index = Array.isArray(inner) && /^\d+$/.test(key)
    inner = (inner as Readonly<Record<string, unknown>> | null | undefined)?.[key]
    return index || names.has(key) ? escapePointer(key) : '*'
  }).join('/')
}

/** Messages of ajv's standard keywords are derived from the schema; others may be the app's own and quote the payload. */
function safeMessage (fault: ValidationFault, { value, names }: RejectedPayload): string {
  const { rule, keyword, message, instancePath = '' } = fault
  if (rule !== undefined) return isMissing(instancePath, value) ? 'is missing' : rule
  if (message === undefined || (!AJV_KEYWORDS.has(keyword ?? '') && quotes(message, value, names))) return 'does not match its schema'
  return message
}

const AJV_KEYWORDS: ReadonlySet<string> = new Set([
  'type',
  'enum',
  'const',
  'format',
  'pattern',
  'minLength',
  'maxLength',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'formatMinimum',
  'formatMaximum',
  'formatExclusiveMinimum',
  'formatExclusiveMaximum',
  'items',
  'additionalItems',
  'unevaluatedItems',
  'contains',
  'minItems',
  'maxItems',
  'uniqueItems',
  'required',
  'minProperties',
  'maxProperties',
  'additionalProperties',
  'unevaluatedProperties',
  'propertyNames',
  'dependencies',
  'dependentRequired',
  'allOf',
  'anyOf',
  'oneOf',
  'not',
  'if',
  'false schema',
  'discriminator',
  'nullable'
])

/** Whether there is no value at `pointer`. */
function isMissing (pointer: string, value: unknown): boolean {
  let inner = value
  for (const escaped of pointer.split('/').slice(1)) {
    const key = escaped.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof inner !== 'object' || inner === null || !Object.hasOwn(inner, key)) return true
    inner = (inner as Readonly<Record<string, unknown>>)[key]
  }
  return false
}

/** Whether `text` contains a value or an unknown key of `value` as a whole word. */
function quotes (text: string, value: unknown, names: ReadonlySet<string>): boolean {
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).some(
      ([key, inner]) => (!Array.isArray(value) && !names.has(key) && hasWord(text, key)) || quotes(text, inner, names)
    )
  }
  return (typeof value === 'string' || typeof value === 'number') && hasWord(text, String(value))
}

function hasWord (text: string, word: string): boolean {
  if (word === '') return false
  for (let at = text.indexOf(word); at !== -1; at = text.indexOf(word, at + 1)) {
    if (!/\w/.test(text[at - 1] ?? '') && !/\w/.test(text[at + word.length] ?? '')) return true
  }
  return false
}

/** The parameters of a fault that come from the schema. Others are keys or values of the payload. */
function rulesOf (params: ValidationFault['params']): ValidationFault['params'] {
  return params && Object.fromEntries(Object.entries(params).filter(([key]) => RULES.has(key)))
}

const RULES: ReadonlySet<string> = new Set([
  'type',
  'limit',
  'comparison',
  'missingProperty',
  'allowedValue',
  'allowedValues',
  'format',
  'pattern',
  'multipleOf'
])

function describe ({ instancePath, message, params }: ValidationFault): string {
  const allowed = params?.allowedValues
  const values = Array.isArray(allowed) ? `: ${allowed.map(value => JSON.stringify(value)).join(', ')}` : ''
  return `payload${instancePath ?? ''} ${message ?? 'does not match its schema'}${values}`
}

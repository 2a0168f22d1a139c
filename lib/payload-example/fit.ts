import { equal, isSchema, type Resolve, type Schema } from './schema.js'

/** Whether `value` fits `schema`, as far as this knows its keywords: formats and what lies in other documents count as met. */
export function fits (schema: unknown, value: unknown, resolve: Resolve, depth = 0): boolean {
  if (typeof schema === 'boolean') return schema
  if (!isSchema(schema) || depth > 64) return true
  const also = (one: unknown, part: unknown = value) => fits(one, part, resolve, depth + 1)
  if (typeof schema.$ref === 'string') {
    const target = resolve(schema.$ref)
    if (target !== undefined && !also(target)) return false
  }
  if (schema.type !== undefined && !(value === null && schema.nullable === true) && ![schema.type].flat().some(type => isOf(type, value))) return false
  if (Object.hasOwn(schema, 'const') && !equal(schema.const, value)) return false
  if (Array.isArray(schema.enum) && !schema.enum.some(one => equal(one, value))) return false
  if (Array.isArray(schema.allOf) && !schema.allOf.every(one => also(one))) return false
  if (Array.isArray(schema.anyOf) && !schema.anyOf.some(one => also(one))) return false
  if (Array.isArray(schema.oneOf) && schema.oneOf.filter(one => also(one)).length !== 1) return false
  if (schema.not !== undefined && also(schema.not)) return false
  if (schema.if !== undefined && !also((also(schema.if) ? schema.then : schema.else) ?? true)) return false
  if (typeof value === 'number') return fitsNumber(schema, value)
  if (typeof value === 'string') return fitsText(schema, value)
  if (Array.isArray(value)) return fitsList(schema, value, also)
  return typeof value !== 'object' || value === null || fitsObject(schema, value as Schema, also)
}

type Also = (schema: unknown, part?: unknown) => boolean

function isOf (type: unknown, value: unknown): boolean {
  switch (type) {
    case 'null': return value === null
    case 'array': return Array.isArray(value)
    case 'object': return typeof value === 'object' && value !== null && !Array.isArray(value)
    case 'integer': return Number.isInteger(value)
    case 'string': case 'number': case 'boolean': return kindOf(value) === type
    default: return false
  }
}

function kindOf (value: unknown): string {
  return typeof value
}

function fitsNumber (schema: Schema, value: number): boolean {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, exclusiveMaximum = Infinity, multipleOf } = schema
  return Number.isFinite(value) && value >= minimum && value <= maximum && value > exclusiveMinimum && value < exclusiveMaximum &&
    (multipleOf === undefined || Number.isInteger(value / multipleOf))
}

function fitsText (schema: Schema, value: string): boolean {
  const length = [...value].length
  return length >= (schema.minLength ?? 0) && length <= (schema.maxLength ?? Infinity) && (schema.pattern === undefined || matches(schema.pattern, value))
}

/** A pattern that is none matches nothing. */
export function matches (pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(text)
  } catch {
    return false
  }
}

function fitsList (schema: Schema, value: readonly unknown[], also: Also): boolean {
  if (value.length < (schema.minItems ?? 0) || value.length > (schema.maxItems ?? Infinity)) return false
  if (schema.uniqueItems === true && value.some((one, index) => value.slice(0, index).some(other => equal(one, other)))) return false
  if (schema.contains !== undefined && !value.some(one => also(schema.contains, one))) return false
  const [first, rest] = itemSchemas(schema)
  return value.every((one, index) => also(index < first.length ? first[index] : rest, one))
}

/** Schemas of the first items, one each, and of all that follow; both drafts' ways to say it. */
export function itemSchemas (schema: Schema): [first: readonly unknown[], rest: unknown] {
  if (Array.isArray(schema.prefixItems)) return [schema.prefixItems, schema.items ?? true]
  return Array.isArray(schema.items) ? [schema.items, schema.additionalItems ?? true] : [[], schema.items ?? true]
}

function fitsObject (schema: Schema, value: Schema, also: Also): boolean {
  const keys = Object.keys(value)
  if (keys.length < (schema.minProperties ?? 0) || keys.length > (schema.maxProperties ?? Infinity)) return false
  if (Array.isArray(schema.required) && !schema.required.every(key => Object.hasOwn(value, key))) return false
  const patterns = Object.entries(schema.patternProperties ?? {})
  return keys.every(key => {
    if (schema.propertyNames !== undefined && !also(schema.propertyNames, key)) return false
    const own = Object.hasOwn(schema.properties ?? {}, key) ? [schema.properties[key]] : []
    const rules = [...own, ...patterns.filter(([pattern]) => matches(pattern, key)).map(([, rule]) => rule)]
    return rules.length === 0 ? also(schema.additionalProperties ?? true, value[key]) : rules.every(rule => also(rule, value[key]))
  })
}

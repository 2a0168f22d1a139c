import { parseMask, printMask } from './field-mask.js'
import { invalidField, type FieldPath } from './bad-request.js'
import type { Enum, Field, Message } from './schema.js'
import { parseDuration, parseTimestamp, printDuration, printTimestamp } from './time.js'

/**
 * ProtoJSON as Google's services read and write it. Hand-written, because proto3-json-serializer ignores unknown keys, accepts only
 * lowerCamelCase, reports no field paths, and works on protobufjs messages instead of the plain objects of gRPC's codec.
 *
 * Accepts keys in lowerCamelCase and snake_case, enums by name and number, bytes in both base64 alphabets, and null as absent;
 * rejects unknown keys. Messages have lowerCamelCase keys, enums by name, and no defaults.
 */

/** Throws INVALID_ARGUMENT with the field's path. */
export function parseJson (schema: Message, json: unknown, path: FieldPath = ''): object {
  const known = WELL_KNOWN[schema.fullName]
  if (known !== undefined) {
    const value = typeof json === 'string' ? known.parse(json) : undefined
    if (value === undefined) throw invalidField(path, `type.googleapis.com/${schema.fullName}`, json)
    return value
  }
  // No request uses an Any.
  if (!isObject(json) || schema.fullName === ANY) throw invalidField(path, `type.googleapis.com/${schema.fullName}`, json)
  const message: Record<string, unknown> = {}
  const oneofs = new Map<string, string>()
  for (const key of Object.keys(json)) {
    const field = schema.field.get(key)
    if (field === undefined) throw invalidField.unknown(path, key)
    if (json[key] === null || json[key] === undefined) continue
    if (field.oneof !== undefined) {
      if (oneofs.has(field.oneof)) throw invalidField.oneof(path, field.oneof, key)
      oneofs.set(field.oneof, key)
    }
    const value = parseField(field, json[key], path === '' ? field.protoName : `${path}.${field.protoName}`)
    if (value !== undefined) message[field.name] = value
  }
  return message
}

/** One field from the text of a query parameter. Throws INVALID_ARGUMENT. */
export function parseText (field: Field, text: string): unknown {
  return field.kind === 'bool'
    ? parseValue(field, text === 'true' ? true : text === 'false' ? false : text, field.protoName)
    : parseField(field, text, field.protoName)
}

export interface PrintOptions {
  /** @default false */
  readonly enumsAsNumbers?: boolean
  /** Finds the schema of the message in an Any. Without a schema the message is printed as it is. @default finds none */
  readonly find?: (fullName: string) => Message | undefined
}

/** Omits what `schema` lacks, and fields that have their default value. */
export function printJson (schema: Message, message: object, options: PrintOptions = {}): unknown {
  const known = WELL_KNOWN[schema.fullName]
  if (known !== undefined) return known.print(message)
  if (schema.fullName === ANY) return printAny(message as { '@type': string }, options)
  const json: Record<string, unknown> = {}
  for (const field of schema.fields) {
    const value = (message as Record<string, unknown>)[field.name]
    if (value === undefined || value === null) continue
    if (field.repeated) {
      if (field.message?.isMapEntry === true) printMap(json, field, value as object, options)
      else if ((value as unknown[]).length > 0) json[field.name] = (value as unknown[]).map(one => printValue(field, one, options))
      continue
    }
    const printed = printValue(field, value, options)
    if (field.optional || field.kind === 'message' || !isDefault(field, value)) json[field.name] = printed
  }
  return json
}

/** An Any has its JSON form: the type in '@type' next to the message's fields. */
function printAny ({ '@type': type, ...message }: { '@type': string }, options: PrintOptions): unknown {
  const schema = options.find?.(type.slice(type.indexOf('/') + 1))
  return { '@type': type, ...(schema === undefined ? message : printJson(schema, message, options) as object) }
}

function parseField (field: Field, json: unknown, path: FieldPath): unknown {
  if (!field.repeated) return parseValue(field, json, path)
  if (field.message?.isMapEntry === true) return parseMap(field.message, json, path)
  if (!Array.isArray(json)) throw invalidField(path, typeName(field), json)
  return json.map((one, index) => parseValue(field, one, `${path}[${index}]`))
}

function parseMap (entry: Message, json: unknown, path: FieldPath): object {
  const value = entry.field.get('value')!
  if (!isObject(json)) throw invalidField(path, `type.googleapis.com/${entry.fullName}`, json)
  return Object.fromEntries(
    Object.keys(json).map(key => [key, parseValue({ ...value, optional: true }, json[key], `${path}[${JSON.stringify(key)}]`)])
  )
}

function parseValue (field: Field, json: unknown, path: FieldPath): unknown {
  if (field.kind === 'message') return parseJson(field.message!, json, path)
  const value = SCALARS[field.kind](json, field)
  if (value === undefined) throw invalidField(path, typeName(field), json)
  // As in gRPC, a default is the same as absent, unless the field is optional.
  return !field.optional && !field.repeated && isDefault(field, value) ? undefined : value
}

type Parse = (json: unknown, field: Field) => unknown

/** Undefined for values of another kind. */
const SCALARS: Readonly<Record<Exclude<Field['kind'], 'message'>, Parse>> = {
  string: json => typeof json === 'string' ? json : undefined,
  bool: json => typeof json === 'boolean' ? json : undefined,
  double: json => typeof json === 'string' && /^(?:NaN|-?Infinity)$/.test(json) ? Number(json) : number(json),
  int32: json => whole(json, -(2 ** 31), 2 ** 31 - 1),
  // Loses precision beyond 2^53, which no field here reaches.
  int64: json => whole(json, -(2 ** 63), 2 ** 63 - 1),
  bytes: json => typeof json === 'string' && isBase64(json) ? Buffer.from(json, 'base64') : undefined,
  enum: (json, field) => enumValue(field.enum!, json)
}

/** Either alphabet, with padding or without. */
function isBase64 (text: string): boolean {
  return BASE64.test(text) && (text.endsWith('=') ? text.length % 4 === 0 : text.length % 4 !== 1)
}

function number (json: unknown): number | undefined {
  const value = typeof json === 'string' && NUMBER.test(json) ? Number(json) : json
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function whole (json: unknown, min: number, max: number): number | undefined {
  const value = number(json)
  return value !== undefined && Number.isInteger(value) && value >= min && value <= max ? value + 0 : undefined
}

/** Numbers without a name stay numbers, as in gRPC. */
function enumValue ({ numbers, names }: Enum, json: unknown): string | number | undefined {
  if (typeof json === 'string' && numbers.has(json)) return json
  const value = whole(json, -(2 ** 31), 2 ** 31 - 1)
  return value === undefined ? undefined : names.get(value) ?? value
}

function printMap (json: Record<string, unknown>, field: Field, map: object, options: PrintOptions): void {
  const value = field.message!.field.get('value')!
  const entries = Object.entries(map)
  if (entries.length > 0) json[field.name] = Object.fromEntries(entries.map(([key, one]) => [key, printValue(value, one, options)]))
}

function printValue (field: Field, value: unknown, options: PrintOptions): unknown {
  switch (field.kind) {
    case 'message': return printJson(field.message!, value as object, options)
    case 'bytes': return Buffer.from(value as Uint8Array).toString('base64')
    case 'int64': return String(value)
    case 'enum': return options.enumsAsNumbers === true && typeof value === 'string' ? field.enum!.numbers.get(value) ?? value : value
    case 'double': return Number.isFinite(value) ? value : String(value)
    default: return value
  }
}

function isDefault (field: Field, value: unknown): boolean {
  if (field.kind === 'bytes') return (value as Uint8Array).length === 0
  if (field.kind === 'enum') return value === 0 || field.enum!.numbers.get(value as string) === 0
  return value === '' || value === 0 || value === false
}

function typeName (field: Field): string {
  if (field.kind === 'enum') return `type.googleapis.com/${field.enum!.fullName}`
  return field.kind === 'message' ? `type.googleapis.com/${field.message!.fullName}` : `TYPE_${field.kind.toUpperCase()}`
}

function isObject (json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

/** Types with a JSON form of their own. */
const WELL_KNOWN: Readonly<Record<string, { parse: (text: string) => object | undefined, print: (message: object) => unknown }>> = {
  'google.protobuf.Timestamp': { parse: parseTimestamp, print: printTimestamp },
  'google.protobuf.Duration': { parse: parseDuration, print: printDuration },
  'google.protobuf.FieldMask': { parse: parseMask, print: printMask }
}

const ANY = 'google.protobuf.Any'

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/

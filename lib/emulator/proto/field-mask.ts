import { badRequest } from './bad-request.js'
import type { Message } from './schema.js'

/** google.protobuf.FieldMask */
export interface FieldMaskMessage {
  readonly paths?: readonly string[]
}

/** Paths joined by commas, as in JSON and query parameters. */
export function parseMask (text: string): FieldMaskMessage {
  return { paths: text.split(',').map(path => path.trim()).filter(path => path !== '') }
}

export function printMask ({ paths = [] }: FieldMaskMessage): string {
  return paths.join(',')
}

/**
 * The paths of a mask as lists of keys in messages of `schema`; an empty list for the whole message. Accepts camelCase and
 * snake_case. Throws INVALID_ARGUMENT for a path that does not exist.
 */
export function resolveMask (schema: Message, { paths = [] }: FieldMaskMessage, where: string): string[][] {
  return paths.length === 1 && paths[0] === '*' ? [] : paths.map(path => resolvePath(schema, path, where))
}

/** `base` with the fields in `paths` replaced by those of `given`, or removed where `given` lacks them. No paths mean all. */
export function masked (base: object, given: object, paths: readonly string[][]): object {
  if (paths.length === 0) return given
  let result = base
  for (const path of paths) result = put(result, path, get(given, path))
  return result
}

/** Only the fields in `paths`. */
export function picked (message: object, paths: readonly string[][]): object {
  return masked({}, message, paths)
}

function resolvePath (schema: Message, path: string, where: string): string[] {
  const keys: string[] = []
  let message: Message | undefined = schema
  for (const part of path.split('.')) {
    const field: ReturnType<Message['field']['get']> = message?.field.get(part)
    if (field === undefined) {
      throw badRequest(where, `Invalid field mask: '${path.slice(0, MAX_ECHO)}' is not a path of ${schema.fullName}.`)
    }
    keys.push(field.name)
    // A path cannot continue into a list or a well-known type.
    message = field.repeated || field.message?.fullName.startsWith('google.protobuf.') === true ? undefined : field.message
  }
  return keys
}

function get (message: object | undefined, [key, ...rest]: readonly string[]): unknown {
  const value = (message as Record<string, unknown> | undefined)?.[key!]
  return rest.length === 0 ? value : get(value as object | undefined, rest)
}

function put (message: object, [key, ...rest]: readonly string[], value: unknown): object {
  const before = (message as Record<string, unknown>)[key!] as object | undefined
  if (rest.length > 0) {
    return before === undefined && value === undefined ? message : { ...message, [key!]: put(before ?? {}, rest, value) }
  }
  const { [key!]: _, ...others } = message as Record<string, unknown>
  return value === undefined ? others : { ...others, [key!]: value }
}

const MAX_ECHO = 200

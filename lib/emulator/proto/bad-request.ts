import { CloudTasksError } from '../../cloud-tasks/status.js'

/** Path of a field in a request: names as in the .proto file, joined by dots. Empty for the request itself. */
export type FieldPath = string

/** A field whose value does not have its type. The message is that of Google's JSON parser. */
export function invalidField (path: FieldPath, type: string, value: unknown): CloudTasksError {
  return badRequest(path, `Invalid value at '${path}' (${type}), ${print(value)}`)
}

invalidField.unknown = (path: FieldPath, key: string): CloudTasksError =>
  badRequest(path, `Invalid JSON payload received. Unknown name ${print(key)}${path === '' ? '' : ` at '${path}'`}: Cannot find field.`)

invalidField.oneof = (path: FieldPath, oneof: string, key: string): CloudTasksError =>
  badRequest(path, `Invalid value at '${path}' (oneof), oneof field '${oneof}' is already set. Cannot set '${key}'`)

invalidField.parameter = (name: string): CloudTasksError =>
  badRequest(
    '',
    `Invalid JSON payload received. Unknown name ${print(name)}: Cannot bind query parameter. ` +
      `Field ${print(name).replaceAll('"', "'")} could not be found in request message.`
  )

/** INVALID_ARGUMENT with google.rpc.BadRequest, which contains the path. */
export function badRequest (field: FieldPath, description: string): CloudTasksError {
  const violation = field === '' ? { description } : { field, description }
  return new CloudTasksError('INVALID_ARGUMENT', description, {
    details: [{ '@type': 'type.googleapis.com/google.rpc.BadRequest', fieldViolations: [violation] }]
  })
}

/** Shortened: payloads must not appear in messages. */
function print (value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  const text = JSON.stringify(value)
  return text.length > MAX_ECHO ? `${text.slice(0, MAX_ECHO)}..."` : text
}

const MAX_ECHO = 80

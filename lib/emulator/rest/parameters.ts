import { badRequest, invalidField } from '../proto/bad-request.js'
import { parseText } from '../proto/json.js'
import type { Message } from '../proto/schema.js'

/** The query parameters: fields of the request, and the system parameters that every method has. */
export class Parameters {
  readonly #fields: ReadonlyArray<readonly [name: string, value: string]>
  readonly enumsAsNumbers: boolean
  /** The selected part of the response, such as `name,tasks(name)`. Undefined: all of it. */
  readonly selector: string | undefined

  /** Throws INVALID_ARGUMENT for a format other than JSON. */
  constructor (query: string) {
    const all = [...new URLSearchParams(query)]
    const formats = all.filter(([name]) => name === '$alt' || name === 'alt').map(([, value]) => value)
    if (!formats.every(format => FORMAT.test(format))) {
      throw badRequest('', "Invalid value at '$alt': only json and json;enum-encoding=int are supported.")
    }
    this.enumsAsNumbers = formats.some(format => format.includes(';'))
    this.selector =
      all
        .filter(([name]) => name === 'fields' || name === '$fields')
        .map(([, value]) => value)
        .filter(value => value.trim() !== '')
        .join() || undefined
    this.#fields = all.filter(([name]) => !SYSTEM_PARAMETERS.has(name.replace(/^\$\.?/, '')))
  }

  /** Sets the fields of `message`. Throws INVALID_ARGUMENT. */
  bind (schema: Message, message: Record<string, unknown>): void {
    for (const [name, value] of this.#fields) {
      const field = schema.field.get(name)
      if (field === undefined || (field.kind === 'message' && field.message!.fullName !== 'google.protobuf.FieldMask')) {
        throw invalidField.parameter(name)
      }
      message[field.name] = parseText(field, value)
    }
  }

  /** For methods whose body is the whole request. Throws INVALID_ARGUMENT where there are fields. */
  refuseFields (): void {
    const [first] = this.#fields
    if (first !== undefined) throw invalidField.parameter(first[0])
  }
}

const FORMAT = /^json(?:;enum-encoding=int)*$/

const SYSTEM_PARAMETERS: ReadonlySet<string> = new Set([
  'alt',
  'access_token',
  'callback',
  'fields',
  'key',
  'oauth_token',
  'prettyPrint',
  'quotaUser',
  'uploadType',
  'upload_protocol',
  'xgafv',
  'userProject',
  'apiVersion'
])

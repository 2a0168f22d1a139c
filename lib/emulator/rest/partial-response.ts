import { badRequest } from '../proto/bad-request.js'
import type { Message } from '../proto/schema.js'

/** A parsed `fields` parameter: the selected keys of a JSON object, each with its nested selection. */
export interface Selection {
  /** Selects everything. */
  whole: boolean
  readonly keys: Map<string, Selection>
}

/**
 * Parses Google's field selector, such as `name,httpRequest(url,headers),tasks/*`. A selection applies to each item of a list. Throws
 * INVALID_ARGUMENT for a syntax error and for a field that `schema` lacks.
 */
export function parseSelection (schema: Message, text: string): Selection {
  return new Parser(schema, text).parse()
}

/** The selected part of a response. Undefined where the selection descends into a scalar. */
export function selected (json: unknown, selection: Selection): unknown {
  if (selection.whole) return json
  if (typeof json !== 'object' || json === null) return undefined
  if (Array.isArray(json)) return json.map(one => selected(one, selection))
  const result: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(json)) {
    const below = selection.keys.get(key) ?? selection.keys.get('*')
    const part = below === undefined ? undefined : selected(value, below)
    if (part !== undefined) result[key] = part
  }
  return result
}

class Parser {
  readonly #schema: Message
  readonly #tokens: string[]
  #at = 0

  constructor (schema: Message, text: string) {
    this.#schema = schema
    this.#tokens = text.match(TOKEN) ?? []
  }

  parse (): Selection {
    const root = none()
    this.#list(root, this.#schema, [])
    if (this.#tokens[this.#at] !== undefined) throw invalid(`Unexpected '${this.#tokens[this.#at]!.slice(0, MAX_ECHO)}'.`)
    return root
  }

  /** @param schema undefined where keys are unknown: in an Any, in the entries of a map, below `*` */
  #list (into: Selection, schema: Message | undefined, path: readonly string[]): void {
    do this.#item(into, schema, path)
    while (this.#take(','))
  }

  #item (into: Selection, schema: Message | undefined, path: readonly string[]): void {
    if (path.length > MAX_DEPTH) throw invalid('It is nested too deeply.')
    const name = this.#tokens[this.#at++]
    if (name === undefined || !NAME.test(name)) {
      throw invalid(`A field is expected${name === undefined ? ' at its end' : `, not '${name.slice(0, MAX_ECHO)}'`}.`)
    }
    const at = [...path, name]
    const { key, message } = resolve(schema, name, at)
    const below = into.keys.get(key) ?? none()
    into.keys.set(key, below)
    if (this.#take('/') || this.#take('.')) {
      this.#item(below, message, at)
    } else if (this.#take('(')) {
      this.#list(below, message, at)
      if (!this.#take(')')) throw invalid('A parenthesis is not closed.')
    } else {
      below.whole = true
    }
  }

  #take (token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false
    this.#at++
    return true
  }
}

function none (): Selection {
  return { whole: false, keys: new Map() }
}

/** The key in JSON, and the message below it. */
function resolve (schema: Message | undefined, name: string, path: readonly string[]): { key: string, message: Message | undefined } {
  if (schema === undefined || name === '*') return { key: name, message: undefined }
  const field = schema.field.get(name)
  if (field === undefined) throw notFound(path)
  const { name: key, message } = field
  if (message?.isMapEntry === true || message?.fullName === 'google.protobuf.Any') return { key, message: undefined }
  return { key, message: message === undefined || message.fullName.startsWith('google.protobuf.') ? SCALAR : message }
}

function notFound (path: readonly string[]): Error {
  return badRequest(
    'fields',
    `Error expanding 'fields' parameter. Cannot find matching fields for path '${path.join('.').slice(0, MAX_ECHO)}'.`
  )
}

function invalid (problem: string): Error {
  return badRequest('fields', `Invalid value of the 'fields' parameter. ${problem}`)
}

/** A string or a number in JSON: it has no fields. */
const SCALAR: Message = { fullName: '', fields: [], field: new Map(), byNumber: new Map(), isMapEntry: false }

const TOKEN = /[^,/.()\s]+|\S/g
const NAME = /^[^,/.()\s]+$/
const MAX_DEPTH = 50
const MAX_ECHO = 100

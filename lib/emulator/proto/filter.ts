import { badRequest } from './bad-request.js'
import type { Field, Message } from './schema.js'
import { parseDuration, parseTimestamp } from './time.js'

export type Predicate = (message: object) => boolean

/**
 * Parses a filter in the syntax of Stackdriver's advanced filters, fields only: comparisons such as `state: PAUSED` or
 * `rate_limits.max_dispatches_per_second >= 5`, joined by AND (or nothing), OR, NOT (or `-`) and parentheses. `:` matches a
 * substring, and `:*` a field that is set. Throws INVALID_ARGUMENT.
 */
export function parseFilter (schema: Message, text: string): Predicate {
  return new Parser(schema, text).parse()
}

class Parser {
  readonly #schema: Message
  readonly #tokens: string[]
  #at = 0
  #depth = 0

  constructor (schema: Message, text: string) {
    this.#schema = schema
    if (text.length > MAX_LENGTH) throw invalid('it is too long')
    this.#tokens = text.match(TOKEN) ?? []
    if (this.#tokens.some(token => token.startsWith('"') && !WHOLE_TEXT.test(token)) || text.replace(TOKEN, '').trim() !== '') {
      throw invalid('unterminated string or unexpected character')
    }
  }

  parse (): Predicate {
    const predicate = this.#or()
    if (this.#peek() !== undefined) throw invalid(`unexpected '${this.#peek()}'`)
    return predicate
  }

  #or (): Predicate {
    let left = this.#and()
    while (this.#take('OR')) {
      const [a, b] = [left, this.#and()]
      left = message => a(message) || b(message)
    }
    return left
  }

  #and (): Predicate {
    let left = this.#unary()
    for (let next = this.#peek(); next !== undefined && next !== 'OR' && next !== ')'; next = this.#peek()) {
      this.#take('AND')
      const [a, b] = [left, this.#unary()]
      left = message => a(message) && b(message)
    }
    return left
  }

  #unary (): Predicate {
    if (++this.#depth > MAX_DEPTH) throw invalid('it is nested too deeply')
    try {
      if (this.#take('NOT') || this.#take('-')) {
        const inner = this.#unary()
        return message => !inner(message)
      }
      if (!this.#take('(')) return this.#comparison()
      const inner = this.#or()
      if (!this.#take(')')) throw invalid('a parenthesis is not closed')
      return inner
    } finally {
      this.#depth--
    }
  }

  #comparison (): Predicate {
    const path = this.#next()
    const operator = this.#next()
    if (!OPERATORS.has(operator)) throw invalid(`'${operator.slice(0, MAX_ECHO)}' is not an operator`)
    const value = this.#next()
    const { keys, field } = this.#resolve(path)
    if (operator === ':' && value === '*') return message => get(message, keys) !== undefined
    return comparison(keys, field, operator as Operator, unquoted(value))
  }

  #resolve (path: string): { keys: string[], field: Field } {
    const keys: string[] = []
    let field: Field | undefined
    let schema: Message | undefined = this.#schema
    for (const part of path.split('.')) {
      field = schema?.field.get(part)
      if (field === undefined) throw invalid(`'${path.slice(0, MAX_ECHO)}' is not a field of ${this.#schema.fullName}`)
      keys.push(field.name)
      schema = field.repeated ? undefined : field.message
    }
    return { keys, field: field! }
  }

  #peek (): string | undefined {
    return this.#tokens[this.#at]
  }

  #take (token: string): boolean {
    if (this.#peek() !== token) return false
    this.#at++
    return true
  }

  #next (): string {
    const token = this.#peek()
    if (token === undefined) throw invalid('unexpected end')
    this.#at++
    return token
  }
}

type Operator = '<' | '<=' | '>' | '>=' | '=' | '!=' | ':'

function comparison (keys: readonly string[], field: Field, operator: Operator, text: string): Predicate {
  const isText = field.kind === 'string' || field.kind === 'enum'
  const wanted = isText ? text : scalar(field, text)
  if (wanted === undefined) throw invalid(`'${keys.join('.')}' cannot be compared with '${text.slice(0, MAX_ECHO)}'`)
  return message => {
    const found = comparable(field, get(message, keys))
    if (operator === ':' && isText) return String(found).toLowerCase().includes(text.toLowerCase())
    switch (operator) {
      case '<': return found < wanted
      case '<=': return found <= wanted
      case '>': return found > wanted
      case '>=': return found >= wanted
      case '!=': return found !== wanted
      default: return found === wanted
    }
  }
}

/** Parses the text of a comparison for a field that is not text; undefined when it is invalid. */
function scalar (field: Field, text: string): number | boolean | undefined {
  if (field.kind === 'bool') return text === 'true' ? true : text === 'false' ? false : undefined
  if (field.kind === 'message' && !field.repeated) {
    if (field.message!.fullName === 'google.protobuf.Duration') return nanos(parseDuration(text))
    return field.message!.fullName === 'google.protobuf.Timestamp' ? nanos(parseTimestamp(text)) : undefined
  }
  const value = text === '' || field.repeated ? NaN : Number(text)
  return Number.isNaN(value) ? undefined : value
}

function comparable (field: Field, value: unknown): string | number | boolean {
  if (field.kind === 'message') return nanos(value as { seconds?: number, nanos?: number } | undefined) ?? -Infinity
  if (field.kind === 'bool') return value === true
  return value as string | number | undefined ?? (field.kind === 'string' || field.kind === 'enum' ? '' : 0)
}

function nanos (time: { readonly seconds?: number, readonly nanos?: number } | undefined): number | undefined {
  return time === undefined ? undefined : (time.seconds ?? 0) * 1e9 + (time.nanos ?? 0)
}

function get (message: object, keys: readonly string[]): unknown {
  let value: unknown = message
  for (const key of keys) value = (value as Record<string, unknown> | undefined)?.[key]
  return value
}

function unquoted (token: string): string {
  return token.startsWith('"') ? token.slice(1, -1).replace(/\\(.)/g, '$1') : token
}

function invalid (problem: string): Error {
  return badRequest('filter', `Invalid filter: ${problem}.`)
}

/** An unterminated string is a token too, so that each character is matched once. */
const TOKEN = /"(?:[^"\\]|\\.)*"?|<=|>=|!=|[<>=:()]|-(?=[A-Za-z(])|[^\s<>=:()"!]+/g
const WHOLE_TEXT = /^"(?:[^"\\]|\\.)*"$/
const OPERATORS: ReadonlySet<string> = new Set(['<', '<=', '>', '>=', '=', '!=', ':'])
const MAX_LENGTH = 10_000
const MAX_DEPTH = 50
const MAX_ECHO = 100

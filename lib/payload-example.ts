import { fits, itemSchemas } from './payload-example/fit.js'
import { equal, isList, isSchema, merge, resolver, type Resolve, type Schema } from './payload-example/schema.js'
import { textFor } from './payload-example/text.js'

/**
 * A value that fits a JSON schema, for people to start from: all fields, the schema's own examples and defaults where it
 * has some. Undefined where none is found, as for a schema that nothing fits or that leads into other documents.
 */
export function exampleOf (schema: unknown): unknown {
  if (!isSchema(schema)) return schema === false ? undefined : {}
  const search: Search = { resolve: resolver(schema), budget: { left: MAX_VALUES } }
  for (let variant = 0; variant < 4; variant++) {
    try {
      const value = build(schema, search, new Set([schema]), variant)
      if (fits(schema, value, search.resolve)) return value
    } catch (error) {
      if (!(error instanceof NoExample)) throw error
    }
  }
  return undefined
}

/** Values that one search may make in all; what needs more is no example. */
const MAX_VALUES = 5000

interface Search {
  readonly resolve: Resolve
  readonly budget: { left: number }
}

/** On this way there is none; another branch may have one. */
class NoExample extends Error {}

/**
 * @param entered schemas that this value lies in. The smallest value of a recursive schema never enters one twice, so
 * refusing that ends the search and loses nothing
 * @param variant asks for another value each, as far as there are some
 */
function build (given: unknown, search: Search, entered: ReadonlySet<unknown>, variant = 0): unknown {
  if (given === false || search.budget.left-- <= 0) throw new NoExample()
  if (!isSchema(given)) return {}
  const [schema, inside] = flatten(given, search, entered)
  if (schema === false) throw new NoExample()
  if (Object.hasOwn(schema, 'const')) return schema.const
  for (const own of [...(isList(schema.examples) ? schema.examples : []), ...('default' in schema ? [schema.default] : [])].slice(variant)) {
    if (fits(schema, own, search.resolve)) return own
  }
  if (Array.isArray(schema.enum)) return fitting(schema.enum, schema, search, variant)
  for (const kind of ['oneOf', 'anyOf']) if (isList(schema[kind])) return buildBranch(schema, kind, search, inside, variant)
  if (schema.if !== undefined && variant % 2 === 0 && isSchema(schema.if)) {
    return build(merge(without(schema, 'if', 'then', 'else'), isSchema(schema.then) ? merge(schema.if, schema.then) : schema.if), search, inside, variant)
  }
  return buildOf(typeOf(schema, variant), schema, search, inside, variant)
}

/** `$ref` and `allOf` put into the schema itself. */
function flatten (given: Schema, search: Search, entered: ReadonlySet<unknown>): [Schema | false, ReadonlySet<unknown>] {
  let schema = given
  let inside = entered
  while (typeof schema.$ref === 'string' || isList(schema.allOf)) {
    if (typeof schema.$ref === 'string') {
      const target = search.resolve(schema.$ref)
      if (target === undefined || inside.has(target)) throw new NoExample()
      inside = new Set([...inside, target])
      schema = merge(without(schema, '$ref'), target)
    } else {
      const [first, ...rest] = schema.allOf as unknown[]
      if (first === false) return [false, inside]
      schema = { ...without(schema, 'allOf'), ...(rest.length > 0 ? { allOf: rest } : {}) }
      // One that cannot be merged, such as a second anyOf, is asked for at the end.
      if (isSchema(first) && !clashes(schema, first)) schema = merge(schema, first)
    }
  }
  return [schema, inside]
}

function clashes (a: Schema, b: Schema): boolean {
  return ['anyOf', 'oneOf', 'pattern', 'not'].some(key => a[key] !== undefined && b[key] !== undefined)
}

function buildBranch (schema: Schema, kind: string, search: Search, inside: ReadonlySet<unknown>, variant: number): unknown {
  const base = without(schema, kind)
  const branches = schema[kind] as unknown[]
  for (let index = 0; index < branches.length; index++) {
    const branch = branches[(index + variant) % branches.length]
    if (branch === false) continue
    const others = kind === 'oneOf' && branches.length > 1 ? { not: { anyOf: branches.filter(one => one !== branch) } } : {}
    const wanted = merge(merge(base, others), isSchema(branch) ? branch : {})
    for (const sub of [variant, variant + 1, variant + 2]) {
      try {
        const value = build(wanted, search, inside, sub)
        if (value !== undefined && fits(schema, value, search.resolve)) return value
      } catch (error) {
        if (!(error instanceof NoExample)) throw error
      }
    }
  }
  throw new NoExample()
}

function typeOf (schema: Schema, variant: number): unknown {
  if (isList(schema.type)) return schema.type[variant % schema.type.length]
  if (schema.type !== undefined) return schema.type
  const telling: Array<[type: string, ...keys: string[]]> = [
    ['object', 'properties', 'required', 'additionalProperties', 'patternProperties', 'minProperties'],
    ['array', 'items', 'prefixItems', 'minItems', 'contains', 'uniqueItems'],
    ['string', 'minLength', 'maxLength', 'pattern', 'format'],
    ['number', 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']
  ]
  return telling.find(([, ...keys]) => keys.some(key => schema[key] !== undefined))?.[0] ?? ['object', 'string', 'number', 'boolean'][variant % 4]
}

function buildOf (type: unknown, schema: Schema, search: Search, inside: ReadonlySet<unknown>, variant: number): unknown {
  switch (type) {
    case 'object': return buildObject(schema, search, inside, variant)
    case 'array': return buildList(schema, search, inside, variant)
    case 'string': return fitting([textFor(schema, variant), textFor(schema)], schema, search)
    case 'number': case 'integer': return fitting(numbersFor(schema, variant), schema, search)
    case 'boolean': return fitting([variant % 2 === 0, variant % 2 !== 0], schema, search)
    case 'null': return null
    default: throw new NoExample()
  }
}

function buildObject (schema: Schema, search: Search, inside: ReadonlySet<unknown>, variant: number): Schema {
  const required: unknown[] = Array.isArray(schema.required) ? schema.required : []
  const { minProperties = 0, maxProperties = Infinity } = schema
  const value: Record<string, unknown> = {}
  const put = (key: string, part: unknown): void => {
    Object.defineProperty(value, key, { value: part, enumerable: true, configurable: true, writable: true })
  }
  const keys = Object.keys(schema.properties ?? {})
  const wanted = [...keys.filter(key => required.includes(key)), ...required.filter(key => typeof key === 'string' && !keys.includes(key)) as string[]]
  for (const key of wanted) put(key, build(ruleFor(schema, key), search, inside, variant))
  for (const key of keys) {
    if (Object.hasOwn(value, key) || Object.keys(value).length >= maxProperties) continue
    const part = optional(() => build(schema.properties[key], search, inside, variant))
    if (part !== undefined) put(key, part)
  }
  // A record has no keys of its own, and an empty one shows nobody what goes into it.
  const isRecord = keys.length === 0 && (schema.patternProperties !== undefined || isSchema(schema.additionalProperties))
  const least = Math.max(minProperties, isRecord && maxProperties > 0 ? 1 : 0)
  if (least > MAX_VALUES) throw new NoExample()
  let size = Object.keys(value).length
  for (let index = 0; size < least && index < least + 100; index++) {
    const key = newKey(schema, index)
    if (key === undefined || Object.hasOwn(value, key)) continue
    const part = size < minProperties ? build(ruleFor(schema, key), search, inside, variant) : optional(() => build(ruleFor(schema, key), search, inside, variant))
    if (part === undefined) continue
    put(key, part)
    size++
  }
  // In the order in which the schema names them.
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => rank(a) - rank(b)))

  function rank (key: string): number {
    const index = keys.indexOf(key)
    return index === -1 ? keys.length : index
  }
}

function ruleFor (schema: Schema, key: string): unknown {
  if (Object.hasOwn(schema.properties ?? {}, key)) return schema.properties[key]
  const patterns = Object.entries(schema.patternProperties ?? {}).filter(([pattern]) => fits({ pattern }, key, () => undefined))
  return patterns[0]?.[1] ?? schema.additionalProperties ?? true
}

function newKey (schema: Schema, index: number): string | undefined {
  const names: Schema = isSchema(schema.propertyNames) ? schema.propertyNames : {}
  const [pattern] = Object.keys(schema.patternProperties ?? {})
  if (pattern === undefined && schema.additionalProperties === false) return undefined
  const wanted: Schema = pattern === undefined ? names : { ...names, pattern }
  const simple = `key${index === 0 ? '' : index + 1}`
  return fits(wanted, simple, () => undefined) ? simple : textFor(wanted, index)
}

function buildList (schema: Schema, search: Search, inside: ReadonlySet<unknown>, variant: number): unknown[] {
  const [first, rest] = itemSchemas(schema)
  const { minItems = 0, maxItems = Infinity, contains } = schema
  const least = Math.max(minItems, contains === undefined ? 0 : 1)
  const wanted = Math.min(Math.max(least, first.length, rest === true || rest === false ? 0 : 1), maxItems)
  const list: unknown[] = []
  if (least > MAX_VALUES) throw new NoExample()
  for (let index = 0; index < wanted; index++) {
    const items = index < first.length ? first[index] : rest
    const rule = contains !== undefined && index === 0 && isSchema(contains) ? (isSchema(items) ? merge(items, contains) : contains) : items
    const item = (sub: number) => build(rule, search, inside, sub)
    const value = index < least ? nextItem(item, list, schema, variant) : optional(() => nextItem(item, list, schema, variant))
    if (value === undefined) break
    list.push(value)
  }
  return list
}

function nextItem (item: (variant: number) => unknown, list: readonly unknown[], schema: Schema, variant: number): unknown {
  if (schema.uniqueItems !== true) return item(variant)
  for (let sub = variant + list.length; sub < variant + list.length + 20; sub++) {
    const value = item(sub)
    if (!list.some(one => equal(one, value))) return value
  }
  throw new NoExample()
}

function * numbersFor (schema: Schema, variant: number): Generator<number> {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema
  const whole = [schema.type].flat().includes('integer') && ![schema.type].flat().includes('number')
  const low = Math.max(minimum ?? -Infinity, exclusiveMinimum ?? -Infinity)
  const high = Math.min(maximum ?? Infinity, exclusiveMaximum ?? Infinity)
  const step = multipleOf ?? 1
  const start = Number.isFinite(low) ? Math.ceil(low / step) : Number.isFinite(high) ? Math.floor(high / step) - variant - 1 : 0
  if (!Number.isFinite(low) || low <= 1) yield (1 + variant) * step
  // A step that is no whole number meets a whole one again and again.
  for (let index = 0; index < (whole ? 1000 : 3); index++) yield (start + variant + index) * step
  for (const bound of [high, low]) if (Number.isFinite(bound)) yield bound
  if (whole) return
  if (Number.isFinite(low) && Number.isFinite(high)) yield low + (high - low) / (2 + variant)
  else if (Number.isFinite(high)) yield high - 1 - variant
  else yield (Number.isFinite(low) ? low : 1 + variant) + 0.5
}

function fitting (candidates: Iterable<unknown>, schema: Schema, { resolve }: Search, skip = 0): unknown {
  let last: { readonly value: unknown } | undefined
  let left = skip
  for (const value of candidates) {
    if (value === undefined || !fits(schema, value, resolve)) continue
    last = { value }
    if (left-- <= 0) break
  }
  if (last === undefined) throw new NoExample()
  return last.value
}

function optional (make: () => unknown): unknown {
  try {
    return make()
  } catch (error) {
    if (error instanceof NoExample) return undefined
    throw error
  }
}

function without (schema: Schema, ...keys: string[]): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)))
}

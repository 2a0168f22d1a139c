/** A payload that fits a JSON schema, as far as one can be made from the schema alone: `pattern` and `not` are beyond it. */
export function exampleOf (schema: unknown, depth: number = 0): unknown {
  if (!isSchema(schema) || depth > MAX_DEPTH) return null
  if ('const' in schema) return schema['const']
  if ('default' in schema) return schema['default']
  for (const given of [schema['examples'], schema['enum']]) if (Array.isArray(given) && given.length > 0) return given[0]
  for (const key of ['anyOf', 'oneOf']) {
    const choices = schema[key]
    if (Array.isArray(choices) && choices.length > 0) return exampleOf(choices[0], depth + 1)
  }
  if (Array.isArray(schema['allOf'])) return merged(schema, schema['allOf'], depth)
  const { type } = schema
  switch (Array.isArray(type) ? type[0] : type ?? ('properties' in schema ? 'object' : undefined)) {
    case 'object': return objectOf(schema, depth)
    case 'array': return arrayOf(schema, depth)
    case 'string': return stringOf(schema)
    case 'integer': case 'number': return numberOf(schema)
    case 'boolean': return true
    default: return null
  }
}

type Schema = Readonly<Record<string, unknown>>

function isSchema (value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function merged (schema: Schema, parts: readonly unknown[], depth: number): unknown {
  const { allOf, ...rest } = schema
  const examples = [rest, ...parts].map(part => exampleOf(part, depth + 1)).filter(isSchema)
  return examples.length > 0 ? Object.assign({}, ...examples) : exampleOf(parts[0], depth + 1)
}

/** Optional properties only where they have a default: what must be there is what a reader wants to see first. */
function objectOf ({ properties, required }: Schema, depth: number): Record<string, unknown> {
  if (!isSchema(properties)) return {}
  const needed = new Set(Array.isArray(required) ? required : [])
  return Object.fromEntries(Object.entries(properties)
    .filter(([name, property]) => needed.has(name) || (isSchema(property) && 'default' in property))
    .map(([name, property]) => [name, exampleOf(property, depth + 1)]))
}

function arrayOf ({ items, minItems }: Schema, depth: number): unknown[] {
  if (Array.isArray(items)) return items.map(item => exampleOf(item, depth + 1))
  return Array.from({ length: Math.min(typeof minItems === 'number' ? minItems : 1, MAX_ITEMS) }, () => exampleOf(items, depth + 1))
}

function stringOf ({ format, minLength = 0, maxLength = Infinity }: Schema): string {
  const known = typeof format === 'string' ? FORMATS[format] : undefined
  return known ?? 'text'.padEnd(minLength as number, 'x').slice(0, maxLength as number)
}

function numberOf ({ type, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf }: Schema): number {
  const step = typeof multipleOf === 'number' ? multipleOf : 1
  if (typeof minimum === 'number') return Math.ceil(minimum / step) * step
  if (typeof exclusiveMinimum === 'number') return (Math.floor(exclusiveMinimum / step) + 1) * step
  if (typeof maximum === 'number') return Math.floor(Math.min(step, maximum) / step) * step
  if (typeof exclusiveMaximum === 'number') return Math.min(step, (Math.ceil(exclusiveMaximum / step) - 1) * step)
  return type === 'integer' ? Math.ceil(step) : step
}

const FORMATS: Readonly<Record<string, string>> = {
  email: 'ada@example.com',
  uri: 'https://example.com/',
  url: 'https://example.com/',
  'uri-reference': '/path',
  hostname: 'example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uuid: '3f2504e0-4f89-41d3-9a0c-0305e82c3301',
  date: '2030-01-31',
  time: '12:00:00Z',
  'date-time': '2030-01-31T12:00:00Z',
  duration: 'PT1H'
}

const MAX_DEPTH = 8
const MAX_ITEMS = 10

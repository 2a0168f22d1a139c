/**
 * Describes a JSON schema for a form. `kind`: object, record, array, tuple, string, number, integer, boolean, null, choice (of fixed
 * values), union (of schemas) or any, which is edited as JSON.
 *
 * @param root the whole schema, in which references are resolved
 */
export function describe (schema, root) {
  const found = resolve(schema, root)
  const title = text(found.title)
  const hint = text(found.description)
  const common = { schema: found, title, hint, fallback: found.default, readOnly: found.readOnly === true }
  if (Object.hasOwn(found, 'const')) return { ...common, kind: 'choice', values: [found.const] }
  if (Array.isArray(found.enum)) return { ...common, kind: 'choice', values: found.enum }

  const variants = variantsOf(found, root)
  if (variants !== undefined) {
    const values = variants.map(variant => fixedValues(variant, root))
    if (values.every(value => value !== undefined)) return { ...common, kind: 'choice', values: values.flat() }
    return variants.length === 1
      ? { ...describe(variants[0], root), ...definedOf({ title, hint }) }
      : { ...common, kind: 'union', variants }
  }

  switch (found.type ?? impliedType(found)) {
    case 'object': return describeObject(common, found)
    case 'array': return describeArray(common, found)
    case 'string': return { ...common, kind: 'string', format: text(found.format) }
    case 'number': return { ...common, kind: 'number' }
    case 'integer': return { ...common, kind: 'integer' }
    case 'boolean': return { ...common, kind: 'boolean' }
    case 'null': return { ...common, kind: 'null' }
    default: return { ...common, kind: 'any' }
  }
}

/** A human-readable name of a variant. */
export function variantName (schema, root) {
  const { kind, title, values, schema: found, properties, items } = describe(schema, root)
  if (title !== undefined) return title
  if (kind === 'choice') return values.map(value => JSON.stringify(value)).join(' | ')
  if (kind === 'array') return `list of ${variantName(items, root)}`
  if (kind !== 'object') return { record: 'map', string: 'text', null: 'null', any: 'JSON' }[kind] ?? kind
  const fixed = properties.find(({ schema }) => fixedValues(schema, root)?.length === 1)
  if (fixed !== undefined) return `${fixed.key}: ${JSON.stringify(fixedValues(fixed.schema, root)[0])}`
  return properties.length === 0
    ? (text(found.$id) ?? 'object')
    : `{ ${properties
        .slice(0, 3)
        .map(({ key }) => key)
        .join(', ')}${properties.length > 3 ? ', …' : ''} }`
}

/** The rules of a value in short: `1 to 10`, `at least 2 characters`. Rules that repeat `label` are left out. */
export function rulesOf ({ kind, format, schema }, label) {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength, minItems, maxItems, pattern } = schema
  const rules = []
  if (format !== undefined && format !== label) rules.push(format)
  if (kind === 'integer') rules.push('whole number')
  if (kind === 'number') rules.push('number')
  if (minimum !== undefined && maximum !== undefined) rules.push(`${minimum} to ${maximum}`)
  else if (minimum !== undefined) rules.push(`at least ${minimum}`)
  else if (maximum !== undefined) rules.push(`at most ${maximum}`)
  if (exclusiveMinimum !== undefined) rules.push(`more than ${exclusiveMinimum}`)
  if (exclusiveMaximum !== undefined) rules.push(`less than ${exclusiveMaximum}`)
  if (multipleOf !== undefined && multipleOf !== 1) rules.push(`multiple of ${multipleOf}`)
  const range = rangeOf(minLength, maxLength)
  if (range !== undefined) rules.push(`${range} characters`)
  const items = rangeOf(minItems, maxItems)
  if (items !== undefined) rules.push(`${items} items`)
  if (pattern !== undefined && String(pattern).length < 60) rules.push(`like ${pattern}`)
  return rules.join(', ')
}

/** The fixed values of a schema; undefined if it has none. */
export function fixedValues (schema, root) {
  const found = resolve(schema, root)
  if (Object.hasOwn(found, 'const')) return [found.const]
  if (Array.isArray(found.enum)) return found.enum
  return found.type === 'null' ? [null] : undefined
}

export function isObject (value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function describeObject (common, { properties = {}, required = [], additionalProperties, patternProperties = {} }) {
  const list = Object.entries(properties).map(([key, schema]) => ({ key, schema, required: required.includes(key) }))
  const pattern = Object.values(patternProperties)[0]
  const extra =
    pattern ??
    (isObject(additionalProperties) ? additionalProperties : list.length === 0 && additionalProperties !== false ? {} : undefined)
  return { ...common, kind: list.length === 0 && extra !== undefined ? 'record' : 'object', properties: list, extra }
}

function describeArray (common, { items, prefixItems, additionalItems }) {
  const list = Array.isArray(items) ? items : prefixItems
  const rest = Array.isArray(items) ? additionalItems : items
  const open = isObject(rest) || (list === undefined && rest !== false)
  if (list === undefined) return { ...common, kind: 'array', items: isObject(rest) ? rest : {} }
  return { ...common, kind: 'tuple', list, items: open && isObject(rest) ? rest : undefined }
}

/** Resolves references within the root, and merges `allOf`. */
function resolve (schema, root, depth = 0) {
  if (!isObject(schema) || depth > 16) return {}
  const { $ref: ref, allOf, ...rest } = schema
  if (typeof ref === 'string') {
    const target = find(ref, root)
    return target === undefined ? rest : { ...resolve(target, root, depth + 1), ...rest }
  }
  if (!Array.isArray(allOf)) return schema
  return allOf.map(part => resolve(part, root, depth + 1)).reduce(together, rest)
}

function together (one, other) {
  return {
    ...other,
    ...one,
    ...definedOf({
      properties: one.properties === undefined && other.properties === undefined ? undefined : { ...one.properties, ...other.properties },
      required:
        one.required === undefined && other.required === undefined
          ? undefined
          : [...new Set([...(one.required ?? []), ...(other.required ?? [])])]
    })
  }
}

function find (ref, root) {
  if (ref === '#') return root
  if (ref.startsWith('#/')) {
    return ref.slice(2).split('/').map(key => decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~'))
      .reduce((at, key) => at !== null && typeof at === 'object' && Object.hasOwn(at, key) ? at[key] : undefined, root)
  }
  return byId(ref, root, new Set())
}

function byId (id, at, seen) {
  if (typeof at !== 'object' || at === null || seen.has(at)) return undefined
  seen.add(at)
  if (at.$id === id || at.$id === `#${id}` || `#${at.$anchor}` === id) return at
  for (const inner of Object.values(at)) {
    const found = byId(id, inner, seen)
    if (found !== undefined) return found
  }
  return undefined
}

function variantsOf (schema, root) {
  const { anyOf, oneOf, nullable, type, ...rest } = schema
  const list = anyOf ?? oneOf
  if (Array.isArray(list) && list.length > 0) {
    const common = definedOf({
      type,
      properties: rest.properties,
      required: rest.required,
      additionalProperties: rest.additionalProperties
    })
    const variants = Object.keys(common).length === 0 ? list : list.map(variant => together(common, resolve(variant, root)))
    return nullable === true ? [...variants, { type: 'null' }] : variants
  }
  if (Array.isArray(type)) return type.map(type => ({ ...rest, type }))
  if (nullable === true) return [{ ...rest, type }, { type: 'null' }]
  return undefined
}

function impliedType ({
  properties,
  additionalProperties,
  patternProperties,
  required,
  items,
  prefixItems,
  pattern,
  minLength,
  minimum,
  maximum
}) {
  if (properties !== undefined || patternProperties !== undefined || isObject(additionalProperties) || required !== undefined) {
    return 'object'
  }
  if (items !== undefined || prefixItems !== undefined) return 'array'
  if (pattern !== undefined || minLength !== undefined) return 'string'
  return minimum !== undefined || maximum !== undefined ? 'number' : undefined
}

function rangeOf (least, most) {
  if (least !== undefined && most !== undefined) return least === most ? String(least) : `${least} to ${most}`
  if (least !== undefined) return `at least ${least}`
  return most === undefined ? undefined : `at most ${most}`
}

function definedOf (object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
}

/** Texts in a schema need not be strings. */
function text (value) {
  return typeof value === 'string' && value !== '' ? value : undefined
}

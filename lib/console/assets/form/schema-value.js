import { under } from './pointer.js'
import { describe, fixedValues, isObject } from './schema.js'

/**
 * The initial value of a form: defaults and fixed values, otherwise a minimal value of the right shape.
 * @param write creates strings that have no value in the schema; empty by default, to be filled in by the user
 */
export function initialValue (schema, root, write = () => '', depth = 0) {
  const about = describe(schema, root)
  if (about.fallback !== undefined) return structuredClone(about.fallback)
  if (depth > 8) return null
  const inner = schema => initialValue(schema, root, write, depth + 1)
  switch (about.kind) {
    case 'choice': return about.values[0]
    case 'union': return inner(about.variants[0])
    case 'object': return Object.fromEntries(about.properties
      .filter(({ required, schema }) => required || describe(schema, root).fallback !== undefined)
      .map(({ key, schema }) => [key, inner(schema)]))
    case 'record': return {}
    case 'array': return Array.from({ length: Math.min(about.schema.minItems ?? 0, 20) }, () => inner(about.items))
    case 'tuple': return about.list.map(inner)
    case 'string': return write(about)
    case 'number':
    case 'integer': return firstNumber(about.schema)
    case 'boolean': return false
    case 'null': return null
    default: return null
  }
}

/** The index of the variant that `value` resembles most; 0 if it resembles none. */
export function variantOf (value, variants, root) {
  const scores = variants.map(variant => likeness(value, variant, root, 0))
  return scores.indexOf(Math.max(...scores))
}

/** Whether a value appears to have the schema's type. */
export function resembles (value, schema, root) {
  return likeness(value, schema, root, 0) > 0
}

/** Pointers of all fields in the form of `value`, so that other faults can be shown separately. */
export function fieldPointers (schema, value, root, pointer = '', found = new Set(), depth = 0) {
  found.add(pointer)
  if (depth > 12 || value === undefined) return found
  const about = describe(schema, root)
  const inner = (schema, value, key) => { fieldPointers(schema, value, root, under(pointer, key), found, depth + 1) }
  switch (about.kind) {
    case 'union':
      fieldPointers(about.variants[variantOf(value, about.variants, root)], value, root, pointer, found, depth + 1)
      break
    case 'object':
    case 'record':
      if (!isObject(value)) break
      for (const { key, schema } of about.properties ?? []) inner(schema, Object.hasOwn(value, key) ? value[key] : undefined, key)
      for (const key of extraKeys(about, value)) inner(about.extra ?? {}, value[key], key)
      break
    case 'array':
    case 'tuple':
      if (Array.isArray(value)) value.forEach((item, index) => { inner(about.list?.[index] ?? about.items ?? {}, item, index) })
  }
  return found
}

/** Keys of a value that are not in its schema. */
export function extraKeys ({ properties = [] }, value) {
  return Object.keys(value).filter(key => !properties.some(one => one.key === key))
}

/** 0 for another type; the higher, the better the match. */
function likeness (value, schema, root, depth) {
  const about = describe(schema, root)
  if (depth > 6) return 1
  switch (about.kind) {
    case 'choice': return about.values.some(one => JSON.stringify(one) === JSON.stringify(value)) ? 3 : 0
    case 'union': return Math.max(...about.variants.map(variant => likeness(value, variant, root, depth + 1)))
    case 'string': return typeof value === 'string' ? 2 : 0
    case 'integer': return Number.isInteger(value) ? 2.5 : 0
    case 'number': return typeof value === 'number' ? 2 : 0
    case 'boolean': return typeof value === 'boolean' ? 2 : 0
    case 'null': return value === null ? 2 : 0
    case 'array':
    case 'tuple':
      if (!Array.isArray(value)) return 0
      return value.length === 0 ? 2 : 1 + Math.min(1, likeness(value[0], about.list?.[0] ?? about.items ?? {}, root, depth + 1))
    case 'record': return isObject(value) ? 1.5 : 0
    case 'object': {
      if (!isObject(value)) return 0
      const scores = about.properties.map(({ key, schema, required }) => {
        if (!Object.hasOwn(value, key)) return required ? -1 : 0
        const score = likeness(value[key], schema, root, depth + 1)
        // A different fixed value is the strongest sign of another variant.
        return score > 0 ? score : fixedValues(schema, root) === undefined ? -0.5 : -10
      })
      return Math.max(0.1, 2 + scores.reduce((sum, score) => sum + score, 0) - extraKeys(about, value).length * 0.5)
    }
    default: return 0.5
  }
}

function firstNumber ({ minimum, exclusiveMinimum, maximum, multipleOf = 1 }) {
  if (minimum !== undefined) return minimum
  if (exclusiveMinimum !== undefined) return exclusiveMinimum + multipleOf
  return maximum !== undefined && maximum < 0 ? maximum : 0
}

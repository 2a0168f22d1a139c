import { isPlainObject } from '../checks.js'

/**
 * Converts a value as JSON would, so that expected values can be compared with sent ones: dates become strings. Undefined fields are
 * kept, and mean that the field must be absent.
 */
export function sendable (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sendable)
  if (typeof value !== 'object' || value === null) return value
  if ('toJSON' in value && typeof value.toJSON === 'function') return sendable((value as { toJSON (): unknown }).toJSON())
  if (!isPlainObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, sendable(field)]))
}

/** Number of values in `expected` that differ in `actual`. Objects may have further fields, lists must have the same number of items. */
export function differences (actual: unknown, expected: unknown): number {
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return 1
    const common = sum(expected.slice(0, actual.length), (item, index) => differences(actual[index], item))
    return Math.abs(actual.length - expected.length) + common
  }
  if (isPlainObject(expected)) {
    if (!isPlainObject(actual)) return 1
    return sum(Object.entries(expected), ([key, field]) => differences(Object.hasOwn(actual, key) ? actual[key] : undefined, field))
  }
  return Object.is(actual, expected) ? 0 : 1
}

/** The part of `actual` that was compared: the fields in `expected`. */
export function compared (actual: unknown, expected: unknown): unknown {
  if (Array.isArray(actual) && Array.isArray(expected)) {
    return actual.map((item, index) => index < expected.length ? compared(item, expected[index]) : item)
  }
  if (!isPlainObject(actual) || !isPlainObject(expected)) return actual
  const keys = Object.keys(expected).filter(key => Object.hasOwn(actual, key))
  return Object.fromEntries(keys.map(key => [key, compared(actual[key], expected[key])]))
}

function sum<T> (items: readonly T[], of: (item: T, index: number) => number): number {
  return items.reduce((total, item, index) => total + of(item, index), 0)
}

import { isPlainObject } from '../checks.js'

/**
 * The same as JSON would carry it, so that what a test expects compares with what was sent: dates are strings there. A field that is
 * undefined stays, and means that the field must be absent.
 */
export function sendable (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sendable)
  if (typeof value !== 'object' || value === null) return value
  if ('toJSON' in value && typeof value.toJSON === 'function') return sendable((value as { toJSON (): unknown }).toJSON())
  if (!isPlainObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, sendable(field)]))
}

/** How many values of `expected` are not so in `actual`. Objects may have more fields than expected, lists have as many items. */
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

/** What of `actual` was compared with `expected`: the fields that it names. */
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

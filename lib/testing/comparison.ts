import { isPlainObject } from '../checks.js'

/** A matcher of vitest or jest, such as `expect.any(String)`. */
interface AsymmetricMatcher { asymmetricMatch (value: unknown): boolean }

/**
 * Converts a value as JSON would, so that expected values can be compared with sent ones: dates become strings. Undefined fields are
 * kept, and mean that the field must be absent; so are matchers of vitest and jest.
 * @throws what `refuse` returns for a value that no payload can have
 */
export function sendable (value: unknown, refuse: (problem: string) => Error, path = 'the payload'): unknown {
  if (Array.isArray(value)) return value.map((item, index) => sendable(item, refuse, `${path}[${index}]`))
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint') throw refuse(unsendable(path, typeof value))
  if (typeof value !== 'object' || value === null || isMatcher(value)) return value
  if ('toJSON' in value && typeof value.toJSON === 'function') return sendable((value as { toJSON (): unknown }).toJSON(), refuse, path)
  if (value instanceof RegExp || value instanceof Map || value instanceof Set || value instanceof Promise) {
    throw refuse(unsendable(path, value.constructor.name))
  }
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, sendable(field, refuse, `${path}.${key}`)]))
}

function unsendable (path: string, type: string): string {
  return `${path} is a ${type}, which no payload can have; to decide by code, pass a function of the whole payload instead`
}

function isMatcher (value: object): value is AsymmetricMatcher {
  return typeof (value as Partial<AsymmetricMatcher>).asymmetricMatch === 'function'
}

/** Number of values in `expected` that differ in `actual`. Objects may have further fields, lists must have the same number of items. */
export function differences (actual: unknown, expected: unknown): number {
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) return 1
    const common = sum(expected.slice(0, actual.length), (item, index) => differences(actual[index], item))
    return Math.abs(actual.length - expected.length) + common
  }
  if (typeof expected === 'object' && expected !== null && isMatcher(expected)) return expected.asymmetricMatch(actual) ? 0 : 1
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

import { closest, distance } from 'fastest-levenshtein'

/** Whether `value` was written as an object literal, or looks like it: no class, no array, no smuggled prototype. */
export function isPlainObject (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** Names the first key of `object` that is not in `known`, and the one that was probably meant. */
export function unknownKey (object: object, known: readonly string[]): string | undefined {
  for (const key of Object.keys(object)) {
    if (!known.includes(key)) return `'${key}' is not known here${nearest(key, known) || `; known are ${list(known)}`}`
  }
  return undefined
}

/** "; did you mean 'x'?", or nothing when no name is near. */
export function nearest (name: string, names: readonly string[]): string {
  if (names.length === 0 || name.length > 200) return ''
  const best = closest(name.toLowerCase(), names)
  return distance(name.toLowerCase(), best.toLowerCase()) <= Math.max(2, name.length / 3) ? `; did you mean '${best}'?` : ''
}

type Fields = Readonly<Record<string, unknown>>

/** Readers for one key of an object each. They never coerce: what has the wrong type or range is refused, naming `where`. */
export function optionChecks (refuse: (problem: string) => Error) {
  const typed = <T>(is: (value: unknown) => value is T, what: string) =>
    (from: Fields, key: string, where = `'${key}'`): T | undefined => {
      const value = from[key]
      if (value === undefined) return undefined
      if (!is(value)) throw refuse(`${where} must be ${what}`)
      return value
    }
  const ranged = (whole: boolean) =>
    (from: Fields, key: string, min: number, max: number, initial: number, where = `'${key}'`): number => {
      const value = from[key]
      if (value === undefined) return initial
      if (typeof value !== 'number' || !(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
        throw refuse(`${where} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}`)
      }
      return value
    }

  return {
    string: typed((value): value is string => typeof value === 'string', 'a string'),
    boolean: typed((value): value is boolean => typeof value === 'boolean', 'true or false'),
    function: typed((value): value is Function => typeof value === 'function', 'a function'),
    number: ranged(false),
    integer: ranged(true),

    oneOf<const T extends string> (from: Fields, key: string, values: readonly T[], where = `'${key}'`): T | undefined {
      const value = from[key]
      if (value === undefined) return undefined
      if (!values.includes(value as T)) throw refuse(`${where} must be ${values.map(one => `'${one}'`).join(' or ')}${typeof value === 'string' ? nearest(value, values) : ''}`)
      return value as T
    },

    /** One string or several; never none. */
    strings (from: Fields, key: string, where = `'${key}'`): readonly string[] | undefined {
      const value = from[key]
      if (value === undefined) return undefined
      const values: unknown[] = Array.isArray(value) ? value : [value]
      if (values.length === 0 || values.some(one => typeof one !== 'string' || one === '')) throw refuse(`${where} must be a string or a list of strings`)
      return values as string[]
    },

    /** An object with no other keys than `known`; empty when it is not given. */
    object (from: Fields, key: string, known: readonly string[], where = `'${key}'`): Fields {
      const value = from[key]
      if (value === undefined) return {}
      if (!isPlainObject(value)) throw refuse(`${where} must be an object`)
      const unknown = unknownKey(value, known)
      if (unknown !== undefined) throw refuse(`${where}: ${unknown}`)
      return value
    },

    /** An object that has the method `method`. */
    instance (from: Fields, key: string, method: string, where = `'${key}'`): object | undefined {
      const value = from[key] as Record<string, unknown> | undefined
      if (value === undefined) return undefined
      if (typeof value !== 'object' || value === null || typeof value[method] !== 'function') throw refuse(`${where} must be an object with the method ${method}`)
      return value
    }
  }
}

/** Why `seconds` is no dispatch deadline, if it is none. Limits: "Task.dispatchDeadline must be between [15s, 30m]", on App Engine [15s, 24h15s]. */
export function deadlineProblem (seconds: unknown, target: 'http' | 'appEngine' | undefined): string | undefined {
  const max = target === 'http' ? 1800 : 86_415
  if (typeof seconds === 'number' && seconds >= 15 && seconds <= max) return undefined
  const range = { http: '1800', appEngine: '86415', undefined: '1800 (86415 on App Engine)' }[String(target) as 'undefined']
  return `must be a number of seconds from 15 to ${range}`
}

function list (names: readonly string[]): string {
  return names.map(name => `'${name}'`).join(', ')
}

import { closest, distance } from 'fastest-levenshtein'

/**
 * The declaration of an option: its check, default and environment variable in one place. Nothing is coerced: a value of the wrong type
 * or range is rejected with the option's name.
 */
export interface Option<T> {
  /**
   * The value to use: `value`, the environment variable's, or the default, in this order.
   * @param path path of the option, such as `local.directory`
   * @throws the error that `reading.refuse` creates, for an invalid value
   */
  readonly read: (value: unknown, path: string, reading: Reading) => T
  /** Undefined: none. */
  readonly default?: T | undefined
  /** Name of the environment variable. An empty one counts as unset. */
  readonly variable?: string | undefined
  /** The nested options of an option that is an object. */
  readonly options?: Declaration | undefined
}

/** An option for each key of `O`: a missing key, or a check for another type, does not compile. */
export type Declared<O> = { readonly [K in keyof O]-?: Option<Exclude<O[K], undefined> | undefined> }

export type Declaration = Readonly<Record<string, Option<unknown>>>

/** The result of `readOptions`: all options that have a value, including defaults. */
export type Read<D extends Declaration> =
  & { readonly [K in keyof D as undefined extends Value<D[K]> ? never : K]: Value<D[K]> }
  & { readonly [K in keyof D as undefined extends Value<D[K]> ? K : never]?: Exclude<Value<D[K]>, undefined> }

type Value<O extends Option<unknown>> = ReturnType<O['read']>

/** Settings for reading all options of an object. */
export interface Reading {
  /** Creates the error to throw. */
  readonly refuse: (problem: string) => Error
  readonly environment?: Environment
  /** The name of an option in messages. @default its path in quotes */
  readonly nameOf?: (path: string) => string
}

export type Environment = Readonly<Record<string, string | undefined>>

type Fields = Readonly<Record<string, unknown>>

/** Checks all options and fills in defaults. `path` is the path of `given` where that is an option itself. */
export function readOptions<D extends Declaration> (declared: D, given: unknown, reading: Reading, path = ''): Read<D> {
  const fields = knownFields(declared, given, reading, path)
  const read: Record<string, unknown> = {}
  for (const [key, option] of Object.entries(declared)) {
    const value = option.read(fields[key], path === '' ? key : `${path}.${key}`, reading)
    if (value !== undefined) read[key] = value
  }
  return read as Read<D>
}

/** Checks the given options only, without defaults: cheap enough for every call. */
export function checkOptions (declared: Declaration, given: unknown, reading: Reading): void {
  const fields = knownFields(declared, given, reading, '')
  for (const key in fields) declared[key]!.read(fields[key], key, reading)
}

function knownFields (declared: Declaration, given: unknown, { refuse, nameOf = quoted }: Reading, path: string): Fields {
  if (!isPlainObject(given)) throw refuse(`${path === '' ? 'the options' : nameOf(path)} must be an object`)
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(declared, key)) continue
    const known = Object.keys(declared)
    const hint = nearest(key, known) || `; valid options are ${known.map(quoted).join(', ')}`
    throw refuse(`${path === '' ? 'unknown option ' : `${nameOf(path)}: unknown option `}${quoted(key)}${hint}`)
  }
  return given
}

interface Rest<D> {
  readonly default?: D
  readonly variable?: string
}

/**
 * An option with a custom check.
 * @param problemOf the requirement that an invalid value violates, such as 'must be a URL'; undefined for a valid one
 */
export function option<T, D extends T | undefined = undefined> (
  problemOf: (value: unknown) => string | undefined, rest: Rest<D> = {}
): Option<T | D> {
  const { default: initial, variable } = rest
  return {
    default: initial,
    variable,
    read (given, path, { refuse, environment = {}, nameOf = quoted }) {
      const fallback = given === undefined && variable !== undefined ? environment[variable] || undefined : undefined
      const value = given === undefined ? fallback : given
      if (value === undefined) return initial as D
      const problem = problemOf(value)
      if (problem !== undefined) throw refuse(`${fallback === undefined ? nameOf(path) : variable} ${problem}`)
      return value as T
    }
  }
}

/** A value that is checked elsewhere. */
export function anything<T> (): Option<T | undefined> {
  return option<T>(() => undefined)
}

/** @param rest `must` is the requirement that `valid` checks, such as 'must be a URL' */
export function string<D extends string | undefined = undefined> (
  rest: Rest<D> & { readonly valid?: (value: string) => boolean, readonly must?: string } = {}
): Option<string | D> {
  const { valid = () => true, must = 'must be a string' } = rest
  return option<string, D>(value => typeof value === 'string' && valid(value) ? undefined : must, rest)
}

/** A non-empty string. */
export function text<D extends string | undefined = undefined> (rest: Rest<D> = {}): Option<string | D> {
  return option<string, D>(value => typeof value !== 'string' ? 'must be a string' : value === '' ? 'must not be empty' : undefined, rest)
}

export function boolean<D extends boolean | undefined = undefined> (rest: Rest<D> = {}): Option<boolean | D> {
  return option<boolean, D>(value => typeof value === 'boolean' ? undefined : 'must be true or false', rest)
}

export function number<D extends number | undefined = undefined> (min: number, max: number, rest: Rest<D> = {}): Option<number | D> {
  const fits = (value: unknown) => typeof value === 'number' && value >= min && value <= max
  return option<number, D>(value => fits(value) ? undefined : `must be a number from ${min} to ${max}`, rest)
}

export function integer<D extends number | undefined = undefined> (min: number, max: number, rest: Rest<D> = {}): Option<number | D> {
  const fits = (value: unknown) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max
  return option<number, D>(value => fits(value) ? undefined : `must be a whole number from ${min} to ${max}`, rest)
}

export function oneOf<const T extends string, D extends T | undefined = undefined> (
  values: readonly T[], rest: Rest<D> = {}
): Option<T | D> {
  const must = `must be ${values.map(quoted).join(' or ')}`
  return option<T, D>(value => {
    if (values.includes(value as T)) return undefined
    return typeof value === 'string' ? must + nearest(value, values) : must
  }, rest)
}

/** One or several non-empty strings. `valid` is called for each. */
export function strings<D extends readonly string[] | undefined = undefined> (
  rest: Rest<D> & { readonly valid?: (value: string) => boolean, readonly must?: string } = {}
): Option<readonly string[] | D> {
  const { valid = () => true, must = 'must be a string or a list of strings' } = rest
  const list = (value: unknown): unknown[] => Array.isArray(value) ? value : [value]
  const fits = (values: unknown[]) => values.length > 0 && values.every(one => typeof one === 'string' && one !== '' && valid(one))
  const checked = option<string | readonly string[], D>(value => fits(list(value)) ? undefined : must, rest)
  return {
    ...checked,
    default: rest.default,
    read (value, path, reading) {
      const read = checked.read(value, path, reading)
      return typeof read === 'string' ? [read] : read as readonly string[] | D
    }
  }
}

// `any`, because parameters cannot be checked.
export function callable<T extends (...parameters: any[]) => unknown, D extends T | undefined = undefined> (
  rest: Rest<D> = {}
): Option<T | D> {
  return option<T, D>(value => typeof value === 'function' ? undefined : 'must be a function', rest)
}

/** An object with the method `method`, such as a client or a logger. */
export function instance<T extends object, D extends T | undefined = undefined> (
  method: keyof T & string, rest: Rest<D> = {}
): Option<T | D> {
  return option<T, D>(value => {
    const fits = typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[method] === 'function'
    return fits ? undefined : `must be an object with the method ${method}`
  }, rest)
}

/** An object of options. It defaults to an empty object, so that its nested defaults and variables apply. */
export function section<D extends Declaration> (declared: D): Option<Read<D>> {
  return {
    options: declared,
    read: (value = {}, path, reading) => readOptions(declared, value, reading, path)
  }
}

/** Whether `value` is an object without a class: not an array, and without a custom prototype. */
export function isPlainObject (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** "; did you mean 'x'?", or '' when no name is similar. */
export function nearest (name: string, names: readonly string[]): string {
  if (names.length === 0 || name.length > 200) return ''
  const best = closest(name.toLowerCase(), names)
  return distance(name.toLowerCase(), best.toLowerCase()) <= Math.max(2, name.length / 3) ? `; did you mean '${best}'?` : ''
}

function quoted (name: string): string {
  return `'${name}'`
}

import { types } from 'node:util'

/**
 * The JSON text of `value`; undefined where it has none.
 * @throws LossError for values that JSON.stringify would lose silently: NaN, invalid dates, functions, Maps, Sets, promises, boxed numbers
 */
export function jsonText (value: unknown): string | undefined {
  return isPlain(value, 0) ? JSON.stringify(value) : JSON.stringify(value, lossRefuser())
}

/** `message` does not quote the value. */
export class LossError extends TypeError {
  /** JSON pointer to the value that would be lost. */
  readonly pointer: string

  constructor (message: string, pointer: string) {
    super(message)
    this.pointer = pointer
  }
}

/** Deeper values, and circular ones, take the slow path. */
const MAX_DEPTH = 100

/** Whether JSON represents `value` without loss. This check costs a tenth of what a replacer would add to JSON.stringify. */
function isPlain (value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean': return true
    case 'number': return Number.isFinite(value)
    case 'object': break
    default: return false
  }
  if (value === null) return true
  if (depth > MAX_DEPTH) return false
  if (Array.isArray(value)) {
    // By index, because iteration methods skip holes.
    for (let index = 0; index < value.length; index++) if (!isPlain(value[index], depth + 1)) return false
    return true
  }
  const prototype = Object.getPrototypeOf(value)
  if ((prototype !== Object.prototype && prototype !== null) || 'toJSON' in value) return false
  for (const field of Object.values(value)) if (field !== undefined && !isPlain(field, depth + 1)) return false
  return true
}

/** A replacer for JSON.stringify, which is called with the result of `toJSON`. Undefined fields are left out, as usual. */
function lossRefuser (): (this: unknown, key: string, value: unknown) => unknown {
  const pointers = new WeakMap<object, string>()
  return function (key, value) {
    const holder = this as Readonly<Record<string, unknown>>
    const around = pointers.get(holder)
    const pointer = around === undefined ? '' : `${around}/${escapePointer(key)}`
    const loss = lossOf(value, holder[key], Array.isArray(holder))
    if (loss !== undefined) throw new LossError(loss, pointer)
    if (typeof value === 'object' && value !== null) pointers.set(value, pointer)
    return value
  }
}

/** Escapes a key for a JSON pointer. */
export function escapePointer (key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}

function lossOf (value: unknown, original: unknown, inList: boolean): string | undefined {
  switch (typeof value) {
    case 'number': return Number.isFinite(value) ? undefined : `${value} would become null`
    case 'undefined': return inList ? 'undefined in a list would become null' : undefined
    case 'function':
    case 'symbol': return `a ${typeof value} would be lost`
    case 'object':
      if (value !== null) return hiddenContent(value)
      return original instanceof Date ? 'an invalid date would become null' : undefined
    default: return undefined
  }
}

/** Objects that JSON.stringify writes as {} or incompletely, as it only reads own enumerable fields. */
function hiddenContent (value: object): string | undefined {
  const kind = Object.prototype.toString.call(value).slice(8, -1)
  if (types.isMap(value)) return 'a Map would become {}; send Object.fromEntries(map)'
  if (types.isSet(value)) return 'a Set would become {}; send [...set]'
  if (types.isPromise(value)) return 'a Promise would become {}; await it first'
  if (types.isNativeError(value)) return 'an Error would lose its message; send the fields that are needed'
  if (types.isBoxedPrimitive(value)) return `a boxed ${kind} is not a JSON value; send what its valueOf() returns`
  if (ArrayBuffer.isView(value)) return `a ${kind} would become an object with a field for each byte or number; send text, such as base64`
  return kind === 'Object' || kind === 'Array' || Object.keys(value).length > 0 ? undefined : `an object of kind ${kind} would become {}`
}

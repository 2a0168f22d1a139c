import { inspect } from 'node:util'
import type { ErrorInfo } from '../api/api.js'
import { cut } from './text.js'

/** Describes any thrown value. Never throws, even if its getters do, and does not retain it. */
export function errorInfo (thrown: unknown): ErrorInfo {
  const info = describe(thrown)
  const causes: ErrorInfo[] = []
  const seen = new Set<unknown>([thrown])
  for (let error = causeOf(thrown); error !== undefined && !seen.has(error) && causes.length < MAX_CAUSES; error = causeOf(error)) {
    seen.add(error)
    causes.push(describe(error))
  }
  return causes.length === 0 ? info : { ...info, causes }
}

/** Number of characters of an error. */
export function sizeOf (info: ErrorInfo): number {
  const own = info.name.length + info.message.length + (info.stack?.length ?? 0) + (info.code?.length ?? 0)
  return (info.causes ?? []).reduce((sum, cause) => sum + sizeOf(cause), own)
}

function describe (thrown: unknown): ErrorInfo {
  if (!isError(thrown)) return { name: 'thrown', message: cut(print(thrown), MAX_MESSAGE) }
  const stack = read(thrown, 'stack')
  const code = read(thrown, 'code')
  return {
    name: cut(String(read(thrown, 'name') ?? 'Error'), MAX_NAME),
    message: cut(String(read(thrown, 'explanation') ?? read(thrown, 'message') ?? ''), MAX_MESSAGE),
    ...(stack === undefined ? undefined : { stack: cut(stack, MAX_STACK) }),
    ...(code === undefined ? undefined : { code: cut(code, MAX_NAME) })
  }
}

/** The cause; for an AggregateError, its first error. */
function causeOf (thrown: unknown): unknown {
  return attempt(() => {
    const { cause, errors } = thrown as { readonly cause?: unknown, readonly errors?: unknown }
    return cause ?? (Array.isArray(errors) ? errors[0] as unknown : undefined)
  })
}

function isError (value: unknown): boolean {
  return attempt(() => value instanceof Error) === true || (read(value, 'message') !== undefined && read(value, 'stack') !== undefined)
}

function read (error: unknown, key: string): string | undefined {
  const value = attempt(() => (error as Readonly<Record<string, unknown>>)[key])
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}

/** The result of `get`; undefined if it throws, as getters and proxies may. */
function attempt (get: () => unknown): unknown {
  try {
    return get()
  } catch {
    return undefined
  }
}

function print (value: unknown): string {
  if (typeof value === 'string') return value
  try {
    return inspect(value, { maxArrayLength: 20, maxStringLength: 1000 })
  } catch {
    return `a ${typeof value} that cannot be printed`
  }
}

const MAX_CAUSES = 8
const MAX_NAME = 200
const MAX_MESSAGE = 4096
const MAX_STACK = 8192

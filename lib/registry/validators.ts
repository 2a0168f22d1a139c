import type { FastifySchemaCompiler } from 'fastify'
import { faultsOfIssues } from './issues.js'
import type { StandardSchema } from './schema.js'
import type { Validate, Validation, ValidationFault } from './validation.js'

/** A validator from Fastify's validator compiler: ajv's return booleans, joi's and TypeBox's return objects. */
type CompiledValidator = ((value: unknown, context?: object) => unknown) & {
  readonly errors?: readonly ValidationFault[] | null
  readonly schemaEnv?: unknown
}

/** @throws the compiler's errors, or TypeError where it returns no function */
export function compiledValidator (
  compile: FastifySchemaCompiler<unknown>,
  route: Parameters<FastifySchemaCompiler<unknown>>[0]
): Validate {
  const validator = compile(route) as CompiledValidator
  if (typeof validator !== 'function') throw new TypeError('the validator compiler of the server returned no validator')
  const refused = (): Validation => ({ faults: validator.errors ?? [] })
  return value => {
    // Called as Fastify does: ajv needs a parent to coerce the root, and only a synchronous result can contain a value.
    const parent = { body: value }
    let answer: unknown
    try {
      answer = validator.schemaEnv === undefined ? validator(value) : validator(value, { parentData: parent, parentDataProperty: 'body' })
      if (isPromise(answer)) return Promise.resolve(answer).then(result => (result === false ? refused() : { value: parent.body }), failed)
    } catch (error) {
      return failed(error)
    }
    if (answer === false) return refused()
    if (typeof answer !== 'object' || answer === null) return { value: parent.body }
    const result = answer as { readonly error?: unknown, readonly value?: unknown }
    if (result.error) return failed(result.error)
    return { value: 'value' in result ? result.value : parent.body }
  }
}

/** @throws TypeError where `schema` is not a Standard Schema of version 1 */
export function standardValidator (schema: StandardSchema): Validate {
  const standard = schema['~standard'] as
    { readonly version?: unknown, readonly vendor?: unknown, validate?(value: unknown): unknown } | null | undefined
  if (typeof standard?.validate !== 'function') throw new TypeError("its '~standard' has no function 'validate'")
  if (standard.version !== 1) {
    throw new TypeError(`it uses version ${String(standard.version)} of Standard Schema; only version 1 is supported`)
  }
  const read = (answer: unknown): Validation => {
    if (typeof answer !== 'object' || answer === null) return failed(new TypeError("its 'validate' returned no result"))
    const { issues } = answer as { readonly issues?: unknown }
    if (issues) {
      return { faults: Array.isArray(issues) || isIterable(issues) ? faultsOfIssues(standard.vendor, [...issues]) : [], cause: issues }
    }
    return 'value' in answer ? { value: answer.value } : failed(new TypeError("its 'validate' returned neither a value nor issues"))
  }
  return value => {
    try {
      const answer = standard.validate!(value)
      return isPromise(answer) ? Promise.resolve(answer).then(read).catch(failed) : read(answer)
    } catch (error) {
      return failed(error)
    }
  }
}

/** Faults that are not in ajv's form only have messages, which can quote values. */
function failed (error: unknown): Validation {
  const faults = Array.isArray(error) ? error : (error as { readonly errors?: unknown } | null | undefined)?.errors
  const known = Array.isArray(faults) && faults.every(fault => typeof fault?.instancePath === 'string')
  return { faults: known ? faults : [], cause: error }
}

function isPromise (value: unknown): value is Promise<unknown> {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function'
}

function isIterable (value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

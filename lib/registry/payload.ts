import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import { FST_TASKS_INVALID_PAYLOAD, FST_TASKS_INVALID_SCHEMA, FST_TASKS_PAYLOAD_NOT_JSON } from '../errors.js'
import { fieldOf } from '../fastify-internals.js'
import type { RegisteredTask } from './registry.js'

/** What a validator compiler of Fastify's makes: ajv's answers are booleans, joi's and TypeBox's are objects. */
export type Validator = ((value: unknown, context?: object) => unknown) & { errors?: readonly ValidationFault[] | null, schemaEnv?: unknown }

export interface ValidationFault {
  readonly keyword?: string | undefined
  readonly instancePath?: string | undefined
  readonly message?: string | undefined
  readonly params?: Readonly<Record<string, unknown>> | undefined
}

/** Parses JSON text as the task routes do: keys that could poison a prototype are refused. */
export type JsonParser = (text: string) => unknown

/** `faults` is undefined when the text is a payload; empty when it is none and the validator does not say why in ajv's way. */
export type Examined =
  | { readonly faults?: undefined, readonly value: unknown }
  | { readonly faults: readonly ValidationFault[], readonly cause?: unknown }

/** Payloads on their way into JSON text and out of it, checked with the server's own validator compiler. */
export class PayloadCodec {
  readonly #app: FastifyInstance
  readonly #parse: JsonParser
  /** Of routes that compile, and of the rest once the server is ready. */
  readonly #final = new Map<string, Validator>()
  /** For what is enqueued while the server boots and its compiler and shared schemas may still change. */
  readonly #provisional = new Map<string, Validator>()

  constructor (app: FastifyInstance) {
    this.#app = app
    this.#parse = jsonParser(app)
  }

  /**
   * The JSON text of `payload`, made once and sent as it is.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON for what JSON would lose: undefined, functions, BigInt, circles, NaN, invalid dates
   */
  print (task: RegisteredTask, payload: unknown): string {
    let text: string | undefined
    try {
      text = JSON.stringify(payload)
      // JSON writes NaN, Infinity and invalid dates as null. Only then is the slower look worth it.
      if (text?.includes('null')) JSON.stringify(payload, refuseLoss)
    } catch (error) {
      throw new FST_TASKS_PAYLOAD_NOT_JSON(task.name, error instanceof LossError ? error.message : reason(error), { cause: error })
    }
    if (text === undefined) throw new FST_TASKS_PAYLOAD_NOT_JSON(task.name, `${typeof payload} has no JSON text; a task without data takes {} or null, as its schema says`)
    return text
  }

  /**
   * What the handler will get from `text`: parsed, validated, with the defaults and coercions of the server's validator.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_PAYLOAD
   */
  async read (task: RegisteredTask, text: string): Promise<unknown> {
    const examined = await this.examine(task, text)
    if (examined.faults !== undefined) throw invalidPayload(task, examined.faults, examined.cause)
    return examined.value
  }

  /**
   * As `read`, with the faults as the validator tells them, which may quote keys and values: for whoever wrote the text.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON
   */
  async examine (task: RegisteredTask, text: string): Promise<Examined> {
    let value: unknown
    try {
      value = this.#parse(text)
    } catch (error) {
      throw new FST_TASKS_PAYLOAD_NOT_JSON(task.name, "it has a key such as '__proto__' that no server should accept", { cause: error })
    }

    const validator = this.#validator(task)
    // As Fastify calls it: ajv needs a parent to coerce the root, and only an answer that comes at once may bring a value.
    const parent = { body: value }
    let answer: unknown
    try {
      answer = validator.schemaEnv === undefined ? validator(value) : validator(value, { parentData: parent, parentDataProperty: 'body' })
      if (answer instanceof Promise) {
        answer = await answer === false ? false : undefined
      }
    } catch (error) {
      return { faults: faultsOf(error), cause: error }
    }
    if (answer === false) return { faults: validator.errors ?? [] }
    if (typeof answer !== 'object' || answer === null) return { value: parent.body }
    const result = answer as { readonly error?: unknown, readonly value?: unknown }
    if (result.error) return { faults: faultsOf(result.error), cause: result.error }
    return { value: 'value' in result ? result.value : parent.body }
  }

  /**
   * The validator of `task`, for its route to use too: what passes here passes there. To be called when the server's compiler
   * and shared schemas are final.
   * @throws FST_TASKS_INVALID_SCHEMA
   */
  finalValidator (task: RegisteredTask): Validator {
    return cached(this.#final, task.name, () => this.#compile(task))
  }

  #validator (task: RegisteredTask): Validator {
    return this.#final.get(task.name) ?? cached(this.#provisional, task.name, () => this.#compile(task))
  }

  #compile (task: RegisteredTask): Validator {
    const compiler = validatorCompilerOf(this.#app)
    if (compiler === undefined) {
      throw new FST_TASKS_INVALID_SCHEMA(task.name, 'this version of Fastify does not show its validator compiler; set one with setValidatorCompiler')
    }
    try {
      return compiler({ schema: task.payload, method: task.method, url: this.#app.prefix + task.path, httpPart: 'body' }) as Validator
    } catch (error) {
      throw new FST_TASKS_INVALID_SCHEMA(task.name, reason(error), { cause: error })
    }
  }
}

function cached<V> (map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

/** The parser of the task routes, for use without a request. */
export function jsonParser (app: FastifyInstance): JsonParser {
  const parse = app.getDefaultJsonParser('error', 'error')
  return text => {
    let outcome: { error: Error | null, value: unknown } | undefined
    // Fastify's parser calls back at once.
    parse(undefined as never, text, (error, value) => { outcome = { error, value } })
    if (outcome === undefined) throw new TypeError('the JSON parser did not answer')
    if (outcome.error !== null) throw outcome.error
    return outcome.value
  }
}

/**
 * The server's own validator compiler. Fastify sets it when the first route with a schema compiles; an instance that has
 * none yet, because it only enqueues or is still booting, gets it from where Fastify itself would: its schema controller.
 */
function validatorCompilerOf (app: FastifyInstance): FastifySchemaCompiler<unknown> | undefined {
  const controller = fieldOf(app, 'fastify.schemaController') as SchemaController | undefined
  if (app.validatorCompiler !== undefined && controller?.addedSchemas !== true) return app.validatorCompiler
  const options = fieldOf(app, 'fastify.options') as { readonly ajv?: unknown } | undefined
  return controller?.getValidatorBuilder?.()(app.getSchemas(), options?.ajv) ?? app.validatorCompiler
}

interface SchemaController {
  readonly addedSchemas?: boolean
  getValidatorBuilder? (): (schemas: unknown, ajvOptions: unknown) => FastifySchemaCompiler<unknown>
}

class LossError extends Error {}

function refuseLoss (this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key]
  const at = key === '' ? '' : ` at '${key}'`
  if (typeof value === 'number' && !Number.isFinite(value)) throw new LossError(`${String(value)}${at} would become null`)
  if (Array.isArray(this) && (value === undefined || typeof value === 'function' || typeof value === 'symbol')) throw new LossError(`${typeof value}${at} would become null`)
  if (value === null && original instanceof Date) throw new LossError(`an invalid date${at} would become null`)
  return value
}

/** The error of a payload that does not fit. It tells paths and rules, never values. */
export function invalidPayload (task: RegisteredTask, faults: readonly ValidationFault[], cause?: unknown): Error {
  const names = propertyNames(task.payload)
  // Keys of a record are data, too.
  const masked = (path: string | undefined) => path?.replaceAll(/(?<=\/)[^/]+/g, key => /^\d+$/.test(key) || names.has(key) ? key : '*')
  const safe = faults.map(({ keyword, instancePath, message, params }) => ({ keyword, instancePath: masked(instancePath), message, params: rulesOf(params) }))
  const told = safe.slice(0, 5).map(tell)
  if (faults.length > 5) told.push(`and ${faults.length - 5} more`)
  const options: [] | [ErrorOptions] = cause === undefined ? [] : [{ cause }]
  const error = new FST_TASKS_INVALID_PAYLOAD(task.name, told.join(', ') || 'it does not fit its schema', ...options)
  // Not the faults as they are: a verbose validator puts the values into them.
  return Object.assign(error, { validation: safe })
}

/** Of the parameters of a fault those that come from the schema. Others are keys or values of the payload. */
function rulesOf (params: ValidationFault['params']): ValidationFault['params'] {
  return params && Object.fromEntries(Object.entries(params).filter(([key]) => RULES.has(key)))
}

const RULES = new Set(['type', 'limit', 'comparison', 'missingProperty', 'allowedValue', 'allowedValues', 'format', 'pattern', 'multipleOf'])

/** Escaped as in a JSON pointer. */
function propertyNames (schema: unknown, names = new Set<string>(), seen = new Set<unknown>()): Set<string> {
  if (typeof schema !== 'object' || schema === null || seen.has(schema)) return names
  seen.add(schema)
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties' && typeof value === 'object' && value !== null) {
      for (const name of Object.keys(value)) names.add(name.replaceAll('~', '~0').replaceAll('/', '~1'))
    }
    propertyNames(value, names, seen)
  }
  return names
}

function tell (fault: ValidationFault): string {
  const allowed = fault.params?.allowedValues
  const values = Array.isArray(allowed) ? `: ${allowed.map(value => JSON.stringify(value)).join(', ')}` : ''
  return `payload${fault.instancePath ?? ''} ${fault.message ?? 'does not fit its schema'}${values}`
}

/** A thrown or returned fault that is not ajv's has texts that may quote values, so only ajv's are told. */
export function faultsOf (error: unknown): readonly ValidationFault[] {
  const faults = Array.isArray(error) ? error : (error as { readonly errors?: unknown } | null)?.errors
  return Array.isArray(faults) && faults.every(fault => typeof fault?.instancePath === 'string') ? faults : []
}

function reason (error: unknown): string {
  return error instanceof Error ? error.message.split('\n', 1)[0] ?? error.name : String(error)
}

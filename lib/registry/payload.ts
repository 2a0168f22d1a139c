import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { FST_TASKS_INVALID_SCHEMA, FST_TASKS_PAYLOAD_NOT_JSON } from '../errors.js'
import { jsonParser, validatorCompilerOf, type JsonParser } from '../fastify-internals.js'
import { invalidPayload, maskedPointer, type Refused } from './faults.js'
import { fieldNames } from './field-names.js'
import { jsonSchemaOf } from './json-schema.js'
import { LossError, jsonText } from './json-text.js'
import { PendingValidations } from './pending-validations.js'
import type { RegisteredTask } from './registry.js'
import { isStandardSchema } from './schema.js'
import type { Validate, Validation, ValidationFault } from './validation.js'
import { compiledValidator, standardValidator } from './validators.js'

/** Payloads on their way into JSON text and out of it, validated at both ends by the same validator. */
export class PayloadCodec {
  readonly #app: FastifyInstance
  readonly #parse: JsonParser
  /** Made when the server is ready. */
  readonly #final = new Map<string, Validate>()
  /** For what is enqueued while the server boots and its compiler and shared schemas may still change. */
  readonly #provisional = new Map<string, Validate>()
  /** Of tasks that have a final validator. */
  readonly #names = new Map<string, ReadonlySet<string>>()
  readonly #pending: PendingValidations

  constructor (app: FastifyInstance, clock: Clock) {
    this.#app = app
    this.#pending = new PendingValidations(clock)
    this.#parse = jsonParser(app)
  }

  /**
   * The JSON text of `payload`, made once and sent as it is.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON for what JSON would lose, see `jsonText`, and for undefined, BigInt and circular values
   */
  print (task: RegisteredTask, payload: unknown): string {
    let text: string | undefined
    try {
      text = jsonText(payload)
    } catch (error) {
      throw new FST_TASKS_PAYLOAD_NOT_JSON(task.name, error instanceof LossError ? this.#lossOf(task, payload, error) : reason(error), {
        cause: error
      })
    }
    if (text === undefined) {
      throw new FST_TASKS_PAYLOAD_NOT_JSON(
        task.name,
        `${typeof payload} has no JSON text; for a task without data send {} or null, as its schema says`
      )
    }
    return text
  }

  /**
   * What the handler gets from `text`: parsed and validated, with the defaults, coercions and transforms of its validator. A promise of it
   * where the validator is asynchronous.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_PAYLOAD; that promise also rejects with FST_TASKS_VALIDATION_TIMEOUT, and with
   * FST_TASKS_CLOSING after `close`
   */
  read (task: RegisteredTask, text: string): unknown {
    const value = this.validate(task, this.#parsed(task, text))
    return value instanceof Promise ? this.#pending.settled(task.name, value) : value
  }

  /**
   * What the handler gets from a payload that is already parsed; a promise of it where the validator is asynchronous. The deadline of
   * the attempt limits its time.
   * @throws FST_TASKS_INVALID_PAYLOAD
   */
  validate (task: RegisteredTask, parsed: unknown): unknown {
    const accepted = (validation: Validation): unknown => {
      if (validation.faults !== undefined) throw this.invalid(task, validation.faults, parsed)
      return validation.value
    }
    const validation = this.#validator(task)(parsed)
    return validation instanceof Promise ? validation.then(accepted) : accepted(validation)
  }

  /**
   * As `read`, with the faults in the validator's own words, which may quote keys and values: for the author of the text.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_VALIDATION_TIMEOUT, FST_TASKS_CLOSING
   */
  async examine (task: RegisteredTask, text: string): Promise<Validation> {
    const validation = this.#validator(task)(this.#parsed(task, text))
    return validation instanceof Promise ? await this.#pending.settled(task.name, validation) : validation
  }

  /** Ends the asynchronous validations of `read` and `examine` that have not settled. */
  close (): void {
    this.#pending.close()
  }

  /** The error of a payload that does not fit, without values and keys of the payload. */
  invalid (task: RegisteredTask, faults: readonly ValidationFault[], parsed: unknown): Error {
    return invalidPayload(task.name, faults, this.#refused(task, parsed))
  }

  /**
   * Makes the validator of `task`. To be called when the server's compiler and shared schemas are final.
   * @throws FST_TASKS_INVALID_SCHEMA
   */
  compile (task: RegisteredTask): void {
    this.#final.set(task.name, this.#compiled(task))
  }

  /**
   * The schema of `task` for OpenAPI documents: JSON Schema, or the schema itself where the server's compiler knows no JSON Schema, as
   * that of fastify-type-provider-zod, whose documents are made of Zod's schemas.
   */
  documented (task: RegisteredTask): object {
    if (!isStandardSchema(task.payload)) return task.payload
    if (!this.#compilesJsonSchema()) return task.payload
    const schema = jsonSchemaOf(task.payload)
    // References into the schema would be references into the document.
    return schema === undefined || JSON.stringify(schema).includes('"$ref"') ? {} : schema
  }

  #parsed (task: RegisteredTask, text: string): unknown {
    try {
      return this.#parse(text)
    } catch (error) {
      throw new FST_TASKS_PAYLOAD_NOT_JSON(task.name, "it has a key such as '__proto__' that no server should accept", { cause: error })
    }
  }

  #validator (task: RegisteredTask): Validate {
    let validator = this.#final.get(task.name) ?? this.#provisional.get(task.name)
    if (validator === undefined) this.#provisional.set(task.name, validator = this.#compiled(task))
    return validator
  }

  #compiled (task: RegisteredTask): Validate {
    try {
      if (isStandardSchema(task.payload)) return standardValidator(task.payload)
      const route = { schema: task.payload, method: task.method, url: this.#app.prefix + task.path, httpPart: 'body' }
      return compiledValidator(validatorCompilerOf(this.#app), route)
    } catch (error) {
      throw new FST_TASKS_INVALID_SCHEMA(task.name, reason(error), { cause: error })
    }
  }

  #compilesJsonSchema (): boolean {
    try {
      const route = { schema: { type: 'null' }, method: 'POST', url: '/', httpPart: 'body' }
      validatorCompilerOf(this.#app)(route)(null)
      return true
    } catch {
      return false
    }
  }

  #refused (task: RegisteredTask, value: unknown): Refused {
    let names = this.#names.get(task.name)
    if (names === undefined) {
      names = fieldNames(task.payload, this.#app.getSchemas())
      if (this.#final.has(task.name)) this.#names.set(task.name, names)
    }
    return { value, names }
  }

  #lossOf (task: RegisteredTask, payload: unknown, { message, pointer }: LossError): string {
    return pointer === '' ? message : `${message} (payload${maskedPointer(pointer, this.#refused(task, payload))})`
  }
}

/** The first line, which is what a library says; ajv and others add lines of detail. */
function reason (error: unknown): string {
  return error instanceof Error ? error.message.split('\n', 1)[0] ?? error.name : String(error)
}

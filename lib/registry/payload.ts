import type { FastifyInstance } from 'fastify'
import type { Clock } from '../clock/clock.js'
import { FST_TASKS_INVALID_SCHEMA, FST_TASKS_PAYLOAD_NOT_JSON } from '../errors.js'
import { jsonParser, validatorCompilerOf, type JsonParser } from '../fastify-internals.js'
import { invalidPayload, maskedPointer, type RejectedPayload } from './faults.js'
import { fieldNames } from './field-names.js'
import { jsonSchemaOf } from './json-schema.js'
import { LossError, jsonText } from './json-text.js'
import { PendingValidations } from './pending-validations.js'
import type { RegisteredTask } from './registry.js'
import { isStandardSchema } from './schema.js'
import type { Validate, Validation, ValidationFault } from './validation.js'
import { compiledValidator, standardValidator } from './validators.js'

/** Serializes and parses payloads. The same validator is used at both ends. */
export class PayloadCodec {
  readonly #app: FastifyInstance
  readonly #parse: JsonParser
  /** Compiled when the server is ready. */
  readonly #final = new Map<string, Validate>()
  /** For tasks enqueued during startup, while the compiler and shared schemas can still change. */
  readonly #provisional = new Map<string, Validate>()
  /** Field names of tasks with a final validator. */
  readonly #names = new Map<string, ReadonlySet<string>>()
  readonly #pending: PendingValidations

  constructor (app: FastifyInstance, clock: Clock) {
    this.#app = app
    this.#pending = new PendingValidations(clock)
    this.#parse = jsonParser(app)
  }

  /**
   * The JSON text of `payload`, which is sent unchanged.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON for values that JSON would lose, see `jsonText`, and for undefined, BigInt and circular values
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
        `${typeof payload} has no JSON representation; for a task without data send {} or null, according to its schema`
      )
    }
    return text
  }

  /**
   * The handler's payload from `text`: parsed and validated, with the defaults, coercions and transforms of its validator. A promise of it
   * where the validator is asynchronous.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_INVALID_PAYLOAD; that promise also rejects with FST_TASKS_VALIDATION_TIMEOUT, and with
   * FST_TASKS_CLOSING after `close`
   */
  read (task: RegisteredTask, text: string): unknown {
    const value = this.validate(task, this.#parsed(task, text))
    return value instanceof Promise ? this.#pending.settled(task.name, value) : value
  }

  /**
   * The handler's payload from a parsed one; a promise where the validator is asynchronous. The deadline of
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
   * Like `read`, but returns the validator's original faults, which can quote keys and values: for the author of the payload only.
   * @throws FST_TASKS_PAYLOAD_NOT_JSON, FST_TASKS_VALIDATION_TIMEOUT, FST_TASKS_CLOSING
   */
  async examine (task: RegisteredTask, text: string): Promise<Validation> {
    const validation = this.#validator(task)(this.#parsed(task, text))
    return validation instanceof Promise ? await this.#pending.settled(task.name, validation) : validation
  }

  /** Rejects pending asynchronous validations of `read` and `examine`. */
  close (): void {
    this.#pending.close()
  }

  /** The error of an invalid payload, without values and keys of the payload. */
  invalid (task: RegisteredTask, faults: readonly ValidationFault[], parsed: unknown): Error {
    return invalidPayload(task.name, faults, this.#rejected(task, parsed))
  }

  /**
   * Compiles the validator of `task`. Call it when the server's compiler and shared schemas are final.
   * @throws FST_TASKS_INVALID_SCHEMA
   */
  compile (task: RegisteredTask): void {
    this.#final.set(task.name, this.#compiled(task))
  }

  /**
   * The schema of `task` for OpenAPI documents: JSON Schema, or the schema itself where the server's compiler does not support JSON
   * Schema, such as fastify-type-provider-zod, which generates documents from Zod schemas.
   */
  documented (task: RegisteredTask): object {
    if (!isStandardSchema(task.payload)) return task.payload
    if (!this.#compilesJsonSchema()) return task.payload
    const schema = jsonSchemaOf(task.payload)
    // References within the schema would refer to the document instead.
    return schema === undefined || JSON.stringify(schema).includes('"$ref"') ? {} : schema
  }

  #parsed (task: RegisteredTask, text: string): unknown {
    try {
      return this.#parse(text)
    } catch (error) {
      throw new FST_TASKS_PAYLOAD_NOT_JSON(task.name, "it has a forbidden key such as '__proto__'", { cause: error })
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

  #rejected (task: RegisteredTask, value: unknown): RejectedPayload {
    let names = this.#names.get(task.name)
    if (names === undefined) {
      names = fieldNames(task.payload, this.#app.getSchemas())
      if (this.#final.has(task.name)) this.#names.set(task.name, names)
    }
    return { value, names }
  }

  #lossOf (task: RegisteredTask, payload: unknown, { message, pointer }: LossError): string {
    return pointer === '' ? message : `${message} (payload${maskedPointer(pointer, this.#rejected(task, payload))})`
  }
}

/** The first line of an error's message; ajv and others add lines of details. */
function reason (error: unknown): string {
  return error instanceof Error ? error.message.split('\n', 1)[0] ?? error.name : String(error)
}

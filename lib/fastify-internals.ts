import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'

/** Parses JSON text as the task routes do: rejects keys that could cause prototype pollution. */
export type JsonParser = (text: string) => unknown

/** Fastify's own JSON parser, for use without a request. */
export function jsonParser (app: FastifyInstance): JsonParser {
  const parse = app.getDefaultJsonParser('error', 'error')
  return text => {
    let outcome: { error: Error | null, value: unknown } | undefined
    // Fastify's parser calls back synchronously.
    parse(undefined as never, text, (error, value) => { outcome = { error, value } })
    if (outcome === undefined) throw new TypeError('the JSON parser did not call back')
    if (outcome.error !== null) throw outcome.error
    return outcome.value
  }
}

/**
 * The server's validator compiler. Fastify sets it when the first route with a schema is compiled; for an instance without one, because
 * it only enqueues or is still starting, it comes from the schema controller, as in Fastify itself.
 * @throws TypeError where Fastify has neither
 */
export function validatorCompilerOf (app: FastifyInstance): FastifySchemaCompiler<unknown> {
  const controller = fieldOf(app, 'fastify.schemaController') as SchemaController | undefined
  if (app.validatorCompiler !== undefined && controller?.addedSchemas !== true) return app.validatorCompiler
  const options = fieldOf(app, 'fastify.options') as { readonly ajv?: unknown } | undefined
  const compiler = controller?.getValidatorBuilder?.()(app.getSchemas(), options?.ajv) ?? app.validatorCompiler
  if (compiler === undefined) {
    throw new TypeError('this version of Fastify does not show its validator compiler; set one with setValidatorCompiler')
  }
  return compiler
}

interface SchemaController {
  readonly addedSchemas?: boolean
  getValidatorBuilder? (): (schemas: unknown, ajvOptions: unknown) => FastifySchemaCompiler<unknown>
}

/** A field that Fastify stores under a private symbol, on the instance or one above it. */
export function fieldOf (app: object, description: string): unknown {
  for (const instance of chainOf(app)) {
    const symbol = Object.getOwnPropertySymbols(instance).find(one => one.description === description)
    if (symbol !== undefined) return (instance as Record<symbol, unknown>)[symbol]
  }
  return undefined
}

/** Whether the server has started, after which no plugins can be registered. */
export function isStarted (app: FastifyInstance): boolean {
  return (fieldOf(app, 'fastify.state') as { readonly started?: boolean } | undefined)?.started === true
}

/** Whether `close` was called. */
export function isClosing (app: FastifyInstance): boolean {
  return (fieldOf(app, 'fastify.state') as { readonly closing?: boolean } | undefined)?.closing === true
}

/** The root instance: `ready` of an encapsulated instance does not wait for the onReady hooks of its siblings. */
export function rootOf (app: FastifyInstance): FastifyInstance {
  let root: object = app
  for (const instance of chainOf(app)) root = instance
  return root as FastifyInstance
}

/** An instance and those above it, up to the root: each inherits from the next. */
export function * chainOf (app: object): Generator<object, void> {
  let instance: object | null = app
  while (instance !== null && instance !== Object.prototype) {
    yield instance
    instance = Object.getPrototypeOf(instance) as object | null
  }
}

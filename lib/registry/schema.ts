import type { FastifyTypeProvider } from 'fastify'

/**
 * A payload schema of any library, recognised by its structure, so that no version of a schema library is required.
 * - Standard Schema (Zod, Valibot, ArkType): types and validation come from the schema itself.
 * - TypeBox 0.34 (`@sinclair/typebox`): the type is in `static`, the server's validator compiler validates.
 * - TypeBox 1.x (`typebox`) and plain JSON Schema: the type comes from a Fastify type provider, see `Register`.
 */
export type PayloadSchema = StandardSchema | StaticSchema | JsonSchema

/** The parts of https://standardschema.dev, version 1, that types need. */
export interface StandardSchema {
  readonly '~standard': { readonly types?: { readonly input: unknown, readonly output: unknown } | undefined }
}

interface StaticSchema { readonly static: unknown }

/** All keys are optional, so that an object with none of them is rejected: `{ order: 'string' }` is not a schema. */
type JsonSchema = { readonly [K in JsonSchemaKeyword]?: unknown }

/** Keywords of drafts 7 to 2020-12 and of OpenAPI, and the marker of TypeBox 1.x. */
type JsonSchemaKeyword =
  | '$schema'
  | '$id'
  | '$ref'
  | '$anchor'
  | '$comment'
  | '$defs'
  | 'definitions'
  | '$dynamicRef'
  | '$dynamicAnchor'
  | 'type'
  | 'enum'
  | 'const'
  | 'format'
  | 'pattern'
  | 'minLength'
  | 'maxLength'
  | 'contentEncoding'
  | 'contentMediaType'
  | 'contentSchema'
  | 'minimum'
  | 'maximum'
  | 'exclusiveMinimum'
  | 'exclusiveMaximum'
  | 'multipleOf'
  | 'items'
  | 'prefixItems'
  | 'additionalItems'
  | 'unevaluatedItems'
  | 'contains'
  | 'minContains'
  | 'maxContains'
  | 'minItems'
  | 'maxItems'
  | 'uniqueItems'
  | 'properties'
  | 'patternProperties'
  | 'additionalProperties'
  | 'unevaluatedProperties'
  | 'propertyNames'
  | 'required'
  | 'minProperties'
  | 'maxProperties'
  | 'dependencies'
  | 'dependentRequired'
  | 'dependentSchemas'
  | 'allOf'
  | 'anyOf'
  | 'oneOf'
  | 'not'
  | 'if'
  | 'then'
  | 'else'
  | 'title'
  | 'description'
  | 'default'
  | 'examples'
  | 'readOnly'
  | 'writeOnly'
  | 'deprecated'
  | 'nullable'
  | 'discriminator'
  | '~kind'

/** The payload type that `enqueue` accepts for schema `S` with type provider `F`. */
export type InputOf<S, F> = TypeOf<S, F, 'input'>

/** The payload type that the handler gets. */
export type OutputOf<S, F> = TypeOf<S, F, 'output'>

// In brackets to prevent distribution over unions, which halves the compile time at 500 tasks.
type TypeOf<S, F, K extends 'input' | 'output'> =
  [S] extends [StandardSchema] ? StandardType<S, K>
    : [S] extends [{ readonly static: infer P }] ? P
        : [F] extends [FastifyTypeProvider] ? ProvidedType<F, S>
            : any

type StandardType<S, K extends 'input' | 'output'> =
  S extends { readonly '~standard': { readonly types?: infer T } } ? NonNullable<T> extends { readonly [k in K]: infer P } ? P : any : any

/** Applies a type provider as Fastify does to the schema of a body. */
type ProvidedType<F, S> = (F & { readonly schema: S }) extends { readonly validator: infer V } ? V : any

/** Whether `schema` claims to be a Standard Schema. ArkType's schemas are functions. */
export function isStandardSchema (schema: unknown): schema is StandardSchema {
  return ((typeof schema === 'object' && schema !== null) || typeof schema === 'function') && '~standard' in schema
}

import type { FastifyTypeProvider } from 'fastify'

/**
 * A payload schema of any library, recognised by its structure: no build and no major of a schema library is pinned.
 * - Standard Schema (Zod, Valibot, ArkType): types and validation come from the schema itself.
 * - TypeBox 0.34 (`@sinclair/typebox`): the type is in `static`, the server's validator compiler validates.
 * - TypeBox 1.x (`typebox`) and plain JSON Schema: the type comes from a Fastify type provider, see `Register`.
 */
export type PayloadSchema = StandardSchema | StaticSchema | JsonSchema

/** Version 1 of https://standardschema.dev, as far as types need it. */
export interface StandardSchema {
  readonly '~standard': { readonly types?: { readonly input: unknown, readonly output: unknown } | undefined }
}

interface StaticSchema { readonly static: unknown }

/** All optional, so that an object with none of these keys is refused: `{ order: 'string' }` is no schema. */
type JsonSchema = { readonly [K in JsonSchemaKeyword]?: unknown }

/** Of drafts 7 to 2020-12, of OpenAPI, and the mark of TypeBox 1.x. */
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

/** What `enqueue` accepts for a payload schema `S` under type provider `F`. */
export type InputOf<S, F> = TypeOf<S, F, 'input'>

/** What the handler gets. */
export type OutputOf<S, F> = TypeOf<S, F, 'output'>

// In brackets, so that unions are not distributed over: that halves the compiler's time at 500 tasks.
type TypeOf<S, F, K extends 'input' | 'output'> =
  [S] extends [StandardSchema] ? StandardType<S, K>
    : [S] extends [{ readonly static: infer P }] ? P
        : [F] extends [FastifyTypeProvider] ? ProvidedType<F, S>
            : any

type StandardType<S, K extends 'input' | 'output'> =
  S extends { readonly '~standard': { readonly types?: infer T } } ? NonNullable<T> extends { readonly [k in K]: infer P } ? P : any : any

/** As Fastify applies a type provider to the schema of a body. */
type ProvidedType<F, S> = (F & { readonly schema: S }) extends { readonly validator: infer V } ? V : any

/** Whether `schema` claims to be a Standard Schema. ArkType's are functions. */
export function isStandardSchema (schema: unknown): schema is StandardSchema {
  return ((typeof schema === 'object' && schema !== null) || typeof schema === 'function') && '~standard' in schema
}

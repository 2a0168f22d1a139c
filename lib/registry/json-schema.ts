import { isStandardSchema, type PayloadSchema } from './schema.js'

/**
 * The JSON Schema (draft 7) of the payload that `enqueue` accepts, for OpenAPI documents, forms and examples: a Standard Schema's
 * description of its input, or the schema itself. Undefined where the library cannot describe the schema.
 */
export function jsonSchemaOf (schema: PayloadSchema): object | undefined {
  if (!isStandardSchema(schema)) return schema
  if (!described.has(schema)) described.set(schema, describe(schema))
  return described.get(schema)
}

const described = new WeakMap<object, object | undefined>()

function describe (schema: PayloadSchema): object | undefined {
  const { jsonSchema } = (schema as DescribedSchema)['~standard']
  try {
    const description = jsonSchema?.input?.({ target: 'draft-07' })
    return typeof description === 'object' && description !== null ? description : undefined
  } catch {
    // Thrown for types without a JSON Schema: dates in Zod, some custom types in ArkType.
    return undefined
  }
}

/** Standard JSON Schema, https://standardschema.dev/json-schema. */
interface DescribedSchema {
  readonly '~standard': { readonly jsonSchema?: { input? (options: { readonly target: string }): unknown } }
}

import { jsonSchemaOf } from './json-schema.js'
import type { PayloadSchema } from './schema.js'

/**
 * The names of fields that stand in a schema and in what it refers to. Those are no secret; other keys of a payload are data.
 * @param shared schemas of the server, by `$id`
 */
export function fieldNames (schema: PayloadSchema, shared: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  const json = jsonSchemaOf(schema)
  const names = new Set<string>()
  const visited = new Set<unknown>()
  // A library without JSON Schema is read by the fields in which libraries keep names. ArkType describes a schema in `json`.
  const pending: unknown[] = [json ?? (schema as { readonly json?: unknown }).json ?? schema]
  for (const value of pending) { // Grows while it is gone through.
    if (typeof value !== 'object' || value === null || visited.has(value) || visited.size > MAX_VISITED) continue
    visited.add(value)
    // Zod 3 has its shape in a getter, which Object.entries does not show.
    for (const [key, inner] of [...Object.entries(value), ['shape', (value as { readonly shape?: unknown }).shape]] as Array<
      [string, unknown]
    >) {
      if (NAMED.has(key) && typeof inner === 'object' && inner !== null && !Array.isArray(inner)) {
        Object.keys(inner).forEach(name => names.add(name))
      }
      if (key === 'key' && typeof inner === 'string' && json === undefined) names.add(inner)
      if (key === '$ref' && typeof inner === 'string') pending.push(shared[inner.split('#', 1)[0]!])
      pending.push(inner)
    }
  }
  return names
}

/** In which objects the keys are names: of JSON Schema, Zod, Valibot, and Yup and Effect. */
const NAMED: ReadonlySet<string> = new Set(['properties', 'shape', 'entries', 'fields'])

/** A schema with more in it than this has circles that are made anew whenever they are read. */
const MAX_VISITED = 20_000

import { jsonSchemaOf } from './json-schema.js'
import type { PayloadSchema } from './schema.js'

/**
 * The field names in a schema and in the schemas that it refers to. They are not secret; other keys of a payload are data.
 * @param shared schemas of the server, by `$id`
 */
export function fieldNames (schema: PayloadSchema, shared: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  const json = jsonSchemaOf(schema)
  const names = new Set<string>()
  const visited = new Set<unknown>()
  // Without JSON Schema, names are found in the fields in which schema libraries keep them. ArkType describes a schema in `json`.
  const pending: unknown[] = [json ?? (schema as { readonly json?: unknown }).json ?? schema]
  for (const value of pending) { // Grows during the iteration.
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

/** Objects whose keys are field names: in JSON Schema, Zod, Valibot, and Yup and Effect. */
const NAMED: ReadonlySet<string> = new Set(['properties', 'shape', 'entries', 'fields'])

/** A larger schema has cycles of objects that are created on every access. */
const MAX_VISITED = 20_000

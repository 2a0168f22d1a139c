import type { PluginHandle } from '../plugin-handle.js'
import { jsonSchemaOf } from '../registry/json-schema.js'
import type { RegisteredTask } from '../registry/registry.js'
import { initialValue, type AboutString } from '../console/assets/form/schema-value.js'

/**
 * The JSON text of a payload that the app's validator accepts for `task`: the initial value of the console's form, with its strings
 * filled in. Undefined if that is not valid.
 */
export async function samplePayload (task: RegisteredTask, { payloads }: PluginHandle): Promise<string | undefined> {
  const schema = jsonSchemaOf(task.payload)
  if (schema === undefined) return undefined
  try {
    const text = payloads.print(task, initialValue(schema, schema, sampleText))
    const { faults } = await payloads.examine(task, text)
    return faults === undefined ? text : undefined
  } catch {
    // Schemas of any library are possible: there is no example for one that cannot be read.
    return undefined
  }
}

function sampleText ({ format, schema: { examples, minLength = 0, maxLength } }: AboutString): string {
  if (Array.isArray(examples) && typeof examples[0] === 'string') return examples[0]
  return FORMATS[format ?? ''] ?? 'text'.padEnd(Math.min(minLength, 200), 'text').slice(0, maxLength)
}

/** Common formats of JSON Schema and ajv-formats. */
const FORMATS: Readonly<Record<string, string>> = {
  email: 'ada@example.com',
  uri: 'https://example.com/',
  url: 'https://example.com/',
  'date-time': '2026-01-31T12:00:00Z',
  date: '2026-01-31',
  time: '12:00:00Z',
  duration: 'PT1H',
  hostname: 'example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uuid: '123e4567-e89b-42d3-a456-426614174000'
}

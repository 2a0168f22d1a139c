import fc from 'fast-check'
import type { Field, Message } from '../../lib/emulator/proto/schema.js'

const NAMES = [
  'projects/p',
  'projects/p/locations/l',
  'projects/p/locations/l/queues/q',
  'projects/p/locations/l/queues/q/tasks/t',
  'https://example.com/',
  '/'
]

interface Range {
  readonly int32: fc.Arbitrary<number>
  readonly text: fc.Arbitrary<string>
  /** Values of an enum, by its names. */
  readonly enumValue: (names: string[]) => fc.Arbitrary<unknown>
  readonly seconds: fc.Arbitrary<number>
  readonly nanos: fc.Arbitrary<number>
}

const tame: Range = {
  int32: fc.integer(),
  text: fc.string({ unit: 'grapheme', maxLength: 8 }),
  enumValue: names => fc.oneof(fc.constantFrom(...names), fc.constant(77)),
  seconds: fc.integer({ min: 0, max: 253_402_300_799 }),
  nanos: fc.integer({ min: 0, max: 999_999_999 })
}

/** Also values that a message can hold and that are invalid, and names that exist in the tests of the emulator. */
export const wild: Range = {
  ...tame,
  text: fc.oneof(fc.constantFrom(...NAMES), tame.text),
  enumValue: names => fc.oneof(fc.constantFrom(...names), fc.integer()),
  seconds: fc.oneof(tame.seconds, fc.maxSafeInteger()),
  nanos: fc.integer()
}

/** Messages of a schema: any fields, of each oneof at most one. */
export function arbitraryMessage (schema: Message, range: Range = tame, depth = 0): fc.Arbitrary<object> {
  if (schema.fullName === 'google.protobuf.Timestamp' || schema.fullName === 'google.protobuf.Duration') {
    return fc.record({ seconds: range.seconds, nanos: range.nanos })
  }
  if (schema.fullName === 'google.protobuf.FieldMask') {
    // In JSON a mask is one text with commas, so that no path can be empty, hold a comma or begin or end with a space.
    const path = range.text.filter(text => text !== '' && text === text.trim() && !text.includes(','))
    return fc.record({
      paths: fc.array(fc.oneof(fc.constantFrom('name', 'rate_limits', 'stats', 'retry_config.max_attempts', 'bindings'), path), {
        maxLength: 2
      })
    })
  }
  const fields = schema.fields.filter(field => depth < 4 && field.message?.fullName !== 'google.protobuf.Any')
  return fc
    .record(Object.fromEntries(fields.map(field => [field.name, values(field, range, depth)])), { requiredKeys: [] })
    .map(message => {
      const seen = new Set<string>()
      return Object.fromEntries(
        Object.entries(message).filter(([key]) => {
          const { oneof } = schema.field.get(key)!
          if (oneof === undefined || !seen.has(oneof)) return oneof === undefined || seen.add(oneof)
          return false
        })
      )
    })
}

function values (field: Field, range: Range, depth: number): fc.Arbitrary<unknown> {
  if (field.message?.isMapEntry === true) {
    const key =
      field.message.field.get('key')!.kind === 'string' ? range.text.filter(text => text !== '__proto__') : fc.nat(99).map(String)
    return fc.dictionary(key, value(field.message.field.get('value')!, range, depth), { maxKeys: 3 })
  }
  return field.repeated ? fc.array(value(field, range, depth), { maxLength: 3 }) : value(field, range, depth)
}

function value (field: Field, range: Range, depth: number): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'message': return arbitraryMessage(field.message!, range, depth + 1)
    case 'enum': return range.enumValue([...field.enum!.numbers.keys()])
    case 'string': return range.text
    case 'bytes': return fc.uint8Array({ maxLength: 9 }).map(bytes => Buffer.from(bytes))
    case 'bool': return fc.boolean()
    case 'double': return fc.double({ noNaN: true })
    case 'int64': return fc.maxSafeInteger()
    default: return range.int32
  }
}

import type { Message } from './schema.js'

/**
 * Fields of a serialized message that `schema` lacks, as paths that end in the field's number: `task.http_request.13`. The codec
 * drops such fields silently.
 * @param bytes a message that the codec has read without an error
 */
export function unknownFields (schema: Message, bytes: Uint8Array): string[] {
  const found = new Set<string>()
  collect(new WireReader(bytes), schema, '', found)
  return [...found]
}

function collect (wire: WireReader, schema: Message, path: string, found: Set<string>): void {
  while (wire.next()) {
    const field = schema.byNumber.get(wire.field)
    if (field === undefined) found.add(`${path}${wire.field}`)
    if (field?.message === undefined || wire.type !== LENGTH_DELIMITED) wire.skip()
    else collect(wire.nested(), field.message, `${path}${field.protoName}.`, found)
  }
}

/** Iterates over the fields of one message. Malformed bytes end the iteration. */
class WireReader {
  field = 0
  type = 0
  readonly #bytes: Uint8Array
  readonly #end: number
  #at: number

  constructor (bytes: Uint8Array, at: number = 0, end: number = bytes.length) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  /** Reads the key of the next field. False at the end. */
  next (): boolean {
    if (this.#at >= this.#end) return false
    const key = this.#varint()
    this.field = Math.floor(key / 8)
    this.type = key % 8
    return this.#at <= this.#end
  }

  /** Skips the message in the current field, and returns a reader for it. */
  nested (): WireReader {
    const length = this.#varint()
    const start = this.#at
    this.#at += length
    return new WireReader(this.#bytes, start, Math.min(this.#at, this.#end))
  }

  skip (): void {
    switch (this.type) {
      case VARINT: this.#varint(); break
      case FIXED_64: this.#at += 8; break
      case LENGTH_DELIMITED: this.nested(); break
      case FIXED_32: this.#at += 4; break
      default: this.#at = this.#end // Groups, which proto3 does not have.
    }
  }

  #varint (): number {
    let value = 0
    for (let factor = 1; this.#at < this.#end; factor *= 128) {
      const byte = this.#bytes[this.#at++]!
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
    this.#at = this.#end + 1
    return value
  }
}

const VARINT = 0
const FIXED_64 = 1
const LENGTH_DELIMITED = 2
const FIXED_32 = 5

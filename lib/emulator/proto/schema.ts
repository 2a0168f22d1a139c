/**
 * Message schemas from Google's descriptors, for the JSON codec, field masks, filters and unknown fields. Read from the descriptors
 * because @grpc/proto-loader, which gRPC needs anyway, does not expose protobufjs's reflection.
 */

export type FieldKind = 'double' | 'int32' | 'int64' | 'bool' | 'string' | 'bytes' | 'enum' | 'message'

export interface Field {
  /** The key in messages and in JSON: lowerCamelCase. */
  readonly name: string
  /** The name in the .proto file: snake_case. */
  readonly protoName: string
  /** The number on the wire. */
  readonly number: number
  readonly kind: FieldKind
  readonly repeated: boolean
  /** The oneof that it belongs to, in snake_case. Synthetic oneofs of optional fields are left out. */
  readonly oneof?: string
  /** Whether the field has explicit presence: unset differs from set to the default. */
  readonly optional: boolean
  /** For kind message; of a map, its entry. */
  readonly message?: Message
  readonly enum?: Enum
}

export interface Message {
  readonly fullName: string
  readonly fields: readonly Field[]
  /** By both names. */
  readonly field: ReadonlyMap<string, Field>
  readonly byNumber: ReadonlyMap<number, Field>
  readonly isMapEntry: boolean
}

export interface Enum {
  readonly fullName: string
  readonly numbers: ReadonlyMap<string, number>
  readonly names: ReadonlyMap<number, string>
}

/** The parts of google.protobuf.FileDescriptorProto that are read here. Type names are relative to their scope. */
export interface FileDescriptor {
  readonly package: string
  readonly messageType?: readonly MessageDescriptor[]
  readonly enumType?: readonly EnumDescriptor[]
  readonly service?: ReadonlyArray<{
    readonly name: string
    readonly method: ReadonlyArray<{ readonly name: string, readonly inputType: string, readonly outputType: string }>
  }>
}

export interface Method {
  readonly request: Message
  readonly response: Message
}

export class Schemas {
  readonly #messages = new Map<string, Known>()
  readonly #enums = new Map<string, Enum>()
  /** By full name of the service and name of the method: the full names of its messages. */
  readonly #methods = new Map<string, { request: string, response: string }>()

  constructor (files: readonly FileDescriptor[]) {
    for (const file of files) this.#collect(file.package, file.messageType, file.enumType)
    for (const file of files) {
      for (const service of file.service ?? []) {
        for (const { name, inputType, outputType } of service.method) {
          this.#methods.set(`${file.package}.${service.name}.${name}`, {
            request: resolveName(this.#messages, file.package, inputType),
            response: resolveName(this.#messages, file.package, outputType)
          })
        }
      }
    }
  }

  find (fullName: string): Message | undefined {
    return this.#messages.has(fullName) ? this.message(fullName) : undefined
  }

  message (fullName: string): Message {
    const known = this.#messages.get(fullName)
    if (known === undefined) throw new Error(`The protos of @google-cloud/tasks lack the message ${fullName}`)
    return known.schema ?? this.#build(fullName, known)
  }

  /** @param fullName as in `google.cloud.tasks.v2.CloudTasks.CreateTask` */
  method (fullName: string): Method {
    const known = this.#methods.get(fullName)
    if (known === undefined) throw new Error(`The protos of @google-cloud/tasks lack the method ${fullName}`)
    return { request: this.message(known.request), response: this.message(known.response) }
  }

  #collect (scope: string, messages: readonly MessageDescriptor[] = [], enums: readonly EnumDescriptor[] = []): void {
    for (const descriptor of enums) {
      const values = descriptor.value.map(({ name, number = 0 }) => [name, number] as const)
      this.#enums.set(`${scope}.${descriptor.name}`, {
        fullName: `${scope}.${descriptor.name}`,
        numbers: new Map(values),
        names: new Map(values.map(([name, number]) => [number, name]))
      })
    }
    for (const descriptor of messages) {
      const fullName = `${scope}.${descriptor.name}`
      this.#messages.set(fullName, { descriptor, schema: undefined })
      this.#collect(fullName, descriptor.nestedType, descriptor.enumType)
    }
  }

  #build (fullName: string, known: Known): Message {
    const { field: descriptors = [], oneofDecl = [], options } = known.descriptor
    const fields: Field[] = []
    const field = new Map<string, Field>()
    const byNumber = new Map<number, Field>()
    // Known before its fields are, because messages can be recursive.
    known.schema = { fullName, fields, field, byNumber, isMapEntry: options?.mapEntry === true }
    for (const descriptor of descriptors) {
      const one = this.#field(fullName, descriptor, oneofDecl)
      fields.push(one)
      field.set(one.name, one).set(one.protoName, one)
      byNumber.set(one.number, one)
    }
    return known.schema
  }

  #field (
    scope: string,
    { name, number, label, type, typeName = '', oneofIndex }: FieldDescriptor,
    oneofs: ReadonlyArray<{ name: string }>
  ): Field {
    const kind = KINDS[type]
    if (kind === undefined) {
      throw new Error(`The protos of @google-cloud/tasks have a field of an unexpected type: ${scope}.${name}, ${type}`)
    }
    const oneof = oneofIndex === undefined ? undefined : oneofs[oneofIndex]?.name
    const optional = oneof?.startsWith('_') === true
    return {
      name,
      protoName: snakeCase(name),
      number,
      kind,
      repeated: label === 'LABEL_REPEATED',
      optional,
      ...(oneof === undefined || optional ? undefined : { oneof: snakeCase(oneof) }),
      ...(kind === 'enum' ? { enum: resolve(this.#enums, scope, typeName) } : undefined),
      ...(kind === 'message' ? { message: this.message(resolveName(this.#messages, scope, typeName)) } : undefined)
    }
  }
}

interface Known {
  readonly descriptor: MessageDescriptor
  schema: Message | undefined
}

interface MessageDescriptor {
  readonly name: string
  readonly field?: readonly FieldDescriptor[]
  readonly nestedType?: readonly MessageDescriptor[]
  readonly enumType?: readonly EnumDescriptor[]
  readonly oneofDecl?: ReadonlyArray<{ readonly name: string }>
  readonly options?: { readonly mapEntry?: boolean }
}

interface FieldDescriptor {
  readonly name: string
  readonly number: number
  readonly label: string
  readonly type: string
  readonly typeName?: string
  readonly oneofIndex?: number
}

interface EnumDescriptor {
  readonly name: string
  readonly value: ReadonlyArray<{ readonly name: string, readonly number?: number }>
}

function snakeCase (name: string): string {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

/** Resolves from the innermost scope outwards, as in a .proto file; a name with a leading dot is fully qualified. */
function resolveName (known: ReadonlyMap<string, unknown>, scope: string, name: string): string {
  if (name.startsWith('.')) return resolveName(known, '', name.slice(1))
  for (let from = scope; ; from = from.slice(0, Math.max(0, from.lastIndexOf('.')))) {
    const full = from === '' ? name : `${from}.${name}`
    if (known.has(full)) return full
    if (from === '') throw new Error(`The protos of @google-cloud/tasks lack the type ${name}, used in ${scope}`)
  }
}

function resolve<T> (known: ReadonlyMap<string, T>, scope: string, name: string): T {
  return known.get(resolveName(known, scope, name))!
}

const KINDS: Readonly<Record<string, FieldKind>> = {
  TYPE_DOUBLE: 'double',
  TYPE_FLOAT: 'double',
  TYPE_INT32: 'int32',
  TYPE_INT64: 'int64',
  TYPE_UINT64: 'int64',
  TYPE_BOOL: 'bool',
  TYPE_STRING: 'string',
  TYPE_BYTES: 'bytes',
  TYPE_ENUM: 'enum',
  TYPE_MESSAGE: 'message'
}

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { load, type MessageTypeDefinition, type PackageDefinition } from '@grpc/proto-loader'
import { Schemas, type FileDescriptor } from './schema.js'

/** Google's own interface definitions, as they ship with its client. */
export interface Protos {
  /** Services and messages by full name. Deserialized messages have lowerCamelCase keys, enums by name, and no defaults. */
  readonly definitions: PackageDefinition
  readonly schemas: Schemas
}

let loaded: Promise<Protos> | undefined

/** Reads the files once; that takes a tenth of a second. */
export function loadProtos (): Promise<Protos> {
  loaded ??= read()
  return loaded
}

/** The codec of a message. */
export function messageType (definitions: PackageDefinition, name: string): MessageTypeDefinition<object, object> {
  return definitions[name] as MessageTypeDefinition<object, object>
}

async function read (): Promise<Protos> {
  const here = createRequire(import.meta.url)
  const tasks = here.resolve('@google-cloud/tasks/build/protos')
  const gax = createRequire(tasks).resolve('google-gax')
  const definitions = await load(FILES, {
    includeDirs: [dirname(tasks), join(dirname(gax), '../protos')],
    longs: Number,
    enums: String
  })
  const { fileDescriptorProtos, type } = messageType(definitions, 'google.protobuf.FileDescriptorProto')
  if (type === undefined) throw new Error('The protos of @google-cloud/tasks lack descriptors')
  const { deserialize } = messageType(definitions, 'google.protobuf.FileDescriptorProto')
  return { definitions, schemas: new Schemas(fileDescriptorProtos.map(file => deserialize(file) as FileDescriptor)) }
}

const FILES = [
  'google/cloud/tasks/v2/cloudtasks.proto',
  'google/cloud/tasks/v2beta3/cloudtasks.proto',
  'google/cloud/location/locations.proto',
  'google/longrunning/operations.proto',
  'google/api/httpbody.proto',
  'google/rpc/error_details.proto',
  'google/protobuf/descriptor.proto'
]

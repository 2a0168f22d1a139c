import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fromJSON, type MessageTypeDefinition, type PackageDefinition } from '@grpc/proto-loader'
import { addCurrentV2, namespaceOf, type ProtoNamespace } from './current-v2.js'
import { Schemas, type FileDescriptor } from './schema.js'

/** Google's interface definitions as they ship with its Node.js client, completed by `addCurrentV2`. */
export interface Protos {
  /** Services and messages by full name. Deserialized messages have lowerCamelCase keys, enums by name, and no defaults. */
  readonly definitions: PackageDefinition
  readonly schemas: Schemas
}

let loaded: Promise<Protos> | undefined

/** Loads the definitions once per process, which takes a tenth of a second. */
export function loadProtos (): Promise<Protos> {
  loaded ??= read()
  return loaded
}

/** The codec of a message. */
export function messageType (definitions: PackageDefinition, name: string): MessageTypeDefinition<object, object> {
  return definitions[name] as MessageTypeDefinition<object, object>
}

async function read (): Promise<Protos> {
  const definitions = fromJSON(await readJson(), { longs: Number, enums: String })
  const { fileDescriptorProtos, deserialize } = messageType(definitions, 'google.protobuf.FileDescriptorProto')
  return { definitions, schemas: new Schemas(fileDescriptorProtos.map(file => deserialize(file) as FileDescriptor)) }
}

/** In protobufjs's JSON form, because a .proto file cannot add fields to messages of another file. */
async function readJson (): Promise<ProtoNamespace> {
  const tasks = createRequire(import.meta.url).resolve('@google-cloud/tasks/build/protos')
  const gax = createRequire(tasks).resolve('google-gax')
  const [protos, locations, status] = await Promise.all([
    join(dirname(tasks), 'protos.json'),
    join(dirname(gax), '../protos/locations.json'),
    join(dirname(gax), '../protos/status.json')
  ].map(async file => JSON.parse(await readFile(file, 'utf8')) as ProtoNamespace)) as [ProtoNamespace, ProtoNamespace, ProtoNamespace]
  const google = namespaceOf(protos, 'google').nested!
  namespaceOf(protos, 'google.cloud').nested!.location = namespaceOf(locations, 'google.cloud.location')
  google.rpc = { nested: { ...namespaceOf(status, 'google.rpc').nested, ...google.rpc!.nested } }
  // Pull queues are not emulated, so nothing reads v2beta2.
  delete namespaceOf(protos, 'google.cloud.tasks').nested!.v2beta2
  addCurrentV2(protos)
  return protos
}

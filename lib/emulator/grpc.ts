import {
  Metadata,
  Server,
  type handleUnaryCall,
  type MethodDefinition,
  type ServiceDefinition,
  type UntypedServiceImplementation
} from '@grpc/grpc-js'
import type { PackageDefinition } from '@grpc/proto-loader'
import { CloudTasksError, grpcCodes } from '../cloud-tasks/status.js'
import type { EmulatorLogger } from './dispatch/attempt-log.js'
import { loadProtos, messageType, type Protos } from './proto/protos.js'
import type { Message } from './proto/schema.js'
import { unknownFields } from './proto/unknown-fields.js'
import { MAX_REQUEST_BYTES, normalize, packageOf, type Version } from './service/requests.js'
import { methodOf, type Service } from './service/service.js'

export interface GrpcOptions {
  readonly service: Service
  /** Receives a warning, once per method, when a client sends fields that this version does not know. */
  readonly logger: Pick<EmulatorLogger, 'warn'>
}

/** A gRPC server with all methods of `service`. It is not bound to a port: connections are injected. */
export async function createGrpcServer (options: GrpcOptions): Promise<Server> {
  const protos = await loadProtos()
  const server = new Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    // Without a limit, a client could open any number of calls that never end. Clients queue further calls themselves.
    'grpc.max_concurrent_streams': 1000
  })
  for (const version of ['v2', 'v2beta3'] as const) addService(server, protos, `${packageOf(version)}.CloudTasks`, version, options)
  addService(server, protos, 'google.cloud.location.Locations', 'v2', options)
  addService(server, protos, 'google.longrunning.Operations', 'v2', options)
  return server
}

/** Methods that the service lacks are left out: the server answers UNIMPLEMENTED to them, as to all unknown methods. */
function addService (server: Server, protos: Protos, name: string, version: Version, { service, logger }: GrpcOptions): void {
  const definition: Record<string, MethodDefinition<object, object>> = {}
  const implementation: UntypedServiceImplementation = {}
  const toStatus = statusWriter(protos.definitions)
  for (const [method, known] of Object.entries(protos.definitions[name] as ServiceDefinition)) {
    const { key, call } = methodOf(service, method)
    if (call === undefined) continue
    const answer = async (request: object): Promise<object> => await call(normalize(protos.schemas, version, key, readable(request)))
    const handle: handleUnaryCall<object, object> = (call, callback) => {
      answer(call.request).then(response => { callback(null, response) }, error => { callback(toStatus(service.toStatusError(error))) })
    }
    const { request } = protos.schemas.method(`${name}.${method}`)
    definition[method] = { ...known, requestDeserialize: lenient(warning(known.requestDeserialize, request, `${name}.${method}`, logger)) }
    implementation[method] = handle
  }
  server.addService(definition, implementation)
}

type Deserialize = (bytes: Buffer) => object

/** Logs unknown fields, which the codec drops silently, the first time that a method is called with some. */
function warning (deserialize: Deserialize, schema: Message, method: string, logger: GrpcOptions['logger']): Deserialize {
  let warned = false
  return bytes => {
    const request = deserialize(bytes)
    if (warned) return request
    const fields = unknownFields(schema, bytes)
    if (fields.length === 0) return request
    warned = true
    logger.warn(
      { method, fields },
      `${method} was called with fields that are unknown to this emulator and ignored: ` +
        `${fields.slice(0, MAX_LISTED).join(', ')}. The client is newer than the emulator; update fastify-cloud-tasks.`
    )
    return request
  }
}

/** grpc-js answers INTERNAL to malformed messages, so they pass here and `readable` answers INVALID_ARGUMENT, as Google does. */
function lenient (deserialize: Deserialize): Deserialize {
  return bytes => {
    try {
      return deserialize(bytes)
    } catch (error) {
      return new Unreadable(error)
    }
  }
}

class Unreadable {
  readonly error: unknown

  constructor (error: unknown) {
    this.error = error
  }
}

function readable (request: object): object {
  if (!(request instanceof Unreadable)) return request
  throw new CloudTasksError('INVALID_ARGUMENT', 'Request contains an invalid argument.', { cause: request.error })
}

/** Converts errors to grpc-js's form, with details in google.rpc.Status. The codec packs objects that have an '@type'. */
function statusWriter (definitions: PackageDefinition) {
  const status = messageType(definitions, 'google.rpc.Status')
  return (error: CloudTasksError): { code: number, details: string, metadata?: Metadata } => {
    const { details = [] } = error
    // grpc-js encodes the message as a URI component, which throws on unpaired surrogates.
    const message = error.message.replace(/\p{Surrogate}/gu, '\uFFFD')
    const code = grpcCodes[error.code]
    if (details.length === 0) return { code, details: message }
    const metadata = new Metadata()
    metadata.set('grpc-status-details-bin', status.serialize({ code, message, details }) as Buffer)
    return { code, details: message, metadata }
  }
}

const MAX_LISTED = 20

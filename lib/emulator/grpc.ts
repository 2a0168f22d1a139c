import { Metadata, Server, type handleUnaryCall, type MethodDefinition, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js'
import type { PackageDefinition } from '@grpc/proto-loader'
import { CloudTasksError, grpcCodes } from '../cloud-tasks/status.js'
import { loadProtos, messageType, type Protos } from './proto/protos.js'
import { MAX_REQUEST_BYTES, normalize, packageOf, type Version } from './service/requests.js'
import { methodOf, type Service } from './service/service.js'

/** A gRPC server with everything that `service` does, bound to nothing: connections are handed to it. */
export async function createGrpcServer (service: Service): Promise<Server> {
  const protos = await loadProtos()
  const server = new Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_send_message_length': -1,
    // Without a limit a caller can have any number of calls that it never ends. Clients that have more wait by themselves.
    'grpc.max_concurrent_streams': 1000
  })
  for (const version of ['v2', 'v2beta3'] as const) addService(server, protos, `${packageOf(version)}.CloudTasks`, version, service)
  addService(server, protos, 'google.cloud.location.Locations', 'v2', service)
  addService(server, protos, 'google.longrunning.Operations', 'v2', service)
  return server
}

/** Methods that the service lacks are left out; for those, as for all unknown ones, the server answers UNIMPLEMENTED. */
function addService (server: Server, protos: Protos, name: string, version: Version, service: Service): void {
  const definition: Record<string, MethodDefinition<object, object>> = {}
  const implementation: UntypedServiceImplementation = {}
  const toStatus = statusWriter(protos.definitions)
  for (const [method, known] of Object.entries(protos.definitions[name] as ServiceDefinition)) {
    const { key, call } = methodOf(service, method)
    if (call === undefined) continue
    const answer = async (request: object): Promise<object> => await call(normalize(protos.schemas, version, key, readable(request)))
    const handle: handleUnaryCall<object, object> = (call, callback) => {
      answer(call.request).then(response => { callback(null, response) }, error => { callback(toStatus(service.refusal(error))) })
    }
    definition[method] = { ...known, requestDeserialize: lenient(known.requestDeserialize) }
    implementation[method] = handle
  }
  server.addService(definition, implementation)
}

/** grpc-js calls bytes that are no such message INTERNAL, so they pass here and are refused by `readable`. */
function lenient (deserialize: (bytes: Buffer) => object): (bytes: Buffer) => object {
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

/** What grpc-js sends for an error, with its details in google.rpc.Status. Whatever has an '@type' is packed by the codec. */
function statusWriter (definitions: PackageDefinition) {
  const status = messageType(definitions, 'google.rpc.Status')
  return (error: CloudTasksError): { code: number, details: string, metadata?: Metadata } => {
    const { details = [] } = error
    // grpc-js puts it into a header as a URI, and throws where a character was cut in two.
    const message = error.message.replace(/\p{Surrogate}/gu, '\uFFFD')
    const code = grpcCodes[error.code]
    if (details.length === 0) return { code, details: message }
    const metadata = new Metadata()
    metadata.set('grpc-status-details-bin', status.serialize({ code, message, details }) as Buffer)
    return { code, details: message, metadata }
  }
}

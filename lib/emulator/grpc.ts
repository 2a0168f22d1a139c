import { Metadata, Server, type handleUnaryCall, type MethodDefinition, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { CloudTasksError, grpcCodes } from '../cloud-tasks/status.js'
import { MAX_REQUEST_BYTES } from './limits.js'
import { loadProtos, messageType, type Protos } from './protos.js'
import { normalize, type Version } from './requests.js'
import type { Service } from './service.js'

/** A gRPC server with everything that `service` does, bound to nothing: connections are handed to it. */
export async function createGrpcServer (service: Service): Promise<Server> {
  const protos = await loadProtos()
  const server = new Server({ 'grpc.max_receive_message_length': MAX_REQUEST_BYTES, 'grpc.max_send_message_length': -1 })
  for (const version of ['v2', 'v2beta3'] as const) addService(server, protos, `google.cloud.tasks.${version}.CloudTasks`, version, service)
  return server
}

type Verb = (request: object) => object | Promise<object>

/** Methods that the service lacks are left out; for those, as for all unknown ones, the server answers UNIMPLEMENTED. */
function addService (server: Server, protos: Protos, name: string, version: Version, service: Service): void {
  const definition: Record<string, MethodDefinition<object, object>> = {}
  const implementation: UntypedServiceImplementation = {}
  const toStatus = statusWriter(protos)
  for (const [method, known] of Object.entries(protos.definitions[name] as ServiceDefinition)) {
    const key = method[0]!.toLowerCase() + method.slice(1)
    const verb = (service as unknown as Record<string, Verb | undefined>)[key]
    if (verb === undefined) continue
    definition[method] = { ...known, requestDeserialize: lenient(known.requestDeserialize) }
    const handle: handleUnaryCall<object, object> = (call, callback) => {
      answer(async () => await verb.call(service, normalize(protos.schemas, version, readable(call.request))))
        .then(response => { callback(null, response) }, error => { callback(toStatus(service.refusal(error))) })
    }
    implementation[method] = handle
  }
  server.addService(definition, implementation)
}

async function answer (verb: () => Promise<object>): Promise<object> {
  return await verb()
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

/** What grpc-js sends for an error, with its details packed into google.rpc.Status. */
function statusWriter ({ definitions }: Protos) {
  const status = messageType(definitions, 'google.rpc.Status')
  return (error: CloudTasksError): { code: number, details: string, metadata?: Metadata } => {
    const { message, details = [] } = error
    const code = grpcCodes[error.code]
    if (details.length === 0) return { code, details: message }
    const metadata = new Metadata()
    const packed = details.map(({ '@type': typeUrl, ...detail }) =>
      ({ typeUrl, value: messageType(definitions, typeUrl.slice(typeUrl.indexOf('/') + 1)).serialize(detail) }))
    metadata.set('grpc-status-details-bin', status.serialize({ code, message, details: packed }))
    return { code, details: message, metadata }
  }
}

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall, type ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

/** A call as it came over the wire. */
export interface RecordedCall {
  readonly method: 'CreateTask' | 'DeleteTask' | 'ListTasks' | 'GetQueue' | 'CreateQueue' | 'UpdateQueue' | 'TestIamPermissions'
  readonly request: any
  readonly metadata: Readonly<Record<string, unknown>>
}

/** What the server does with a call: answers it, fails it with a gRPC status, or leaves it without an answer. */
export type Reply =
  | { readonly answer: object }
  | { readonly code: keyof typeof status, readonly details: string }
  | 'silence'

export interface RecordingServer {
  /** HOST:PORT */
  readonly host: string
  readonly port: number
  readonly calls: RecordedCall[]
  /** Calls that have begun and have no answer yet, and the most there were at once. */
  readonly open: { now: number, peak: number }
  /** Asked for every call; the next answer is the task as it was sent, with a name and a time. */
  reply: (call: RecordedCall) => Reply | Promise<Reply>
  close (): Promise<void>
}

const require = createRequire(import.meta.url)
/** Read once for all servers. */
let service: ServiceDefinition | undefined

/** Cloud Tasks' gRPC service, from the protos of the official client itself, which writes down what it gets. */
export async function startRecordingServer (): Promise<RecordingServer> {
  const server = new Server()
  const calls: RecordedCall[] = []
  const open = { now: 0, peak: 0 }
  const recording: RecordingServer = {
    host: '',
    port: 0,
    calls,
    open,
    reply: echo,
    close: async () => { server.forceShutdown() }
  }
  const handler =
    (method: RecordedCall['method']) =>
      async (call: ServerUnaryCall<any, any>, callback: sendUnaryData<any>): Promise<void> => {
        const recorded = { method, request: call.request, metadata: call.metadata.getMap() }
        calls.push(recorded)
        open.peak = Math.max(open.peak, ++open.now)
        const reply = await recording.reply(recorded)
        open.now--
        if (reply === 'silence') return
        if ('answer' in reply) callback(null, reply.answer)
        else callback({ code: status[reply.code], details: reply.details })
      }
  server.addService(service ??= cloudTasksService(), {
    createTask: handler('CreateTask'),
    deleteTask: handler('DeleteTask'),
    listTasks: handler('ListTasks'),
    getQueue: handler('GetQueue'),
    createQueue: handler('CreateQueue'),
    updateQueue: handler('UpdateQueue'),
    testIamPermissions: handler('TestIamPermissions')
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      error === null ? resolve(bound) : reject(error)
    })
  })
  return Object.assign(recording, { port, host: `127.0.0.1:${port}` })
}

/** What Cloud Tasks would say: the task, with a generated name unless it has one, and a time. */
export function echo ({ method, request }: RecordedCall): Reply {
  if (method === 'DeleteTask') return { answer: {} }
  if (method === 'ListTasks') return { answer: { tasks: [] } }
  if (method === 'GetQueue') return { answer: { name: request.name } }
  if (method === 'CreateQueue' || method === 'UpdateQueue') return { answer: request.queue }
  const { task, parent } = request
  return {
    answer: {
      scheduleTime: { seconds: 1_800_000_000, nanos: 500_000_000 },
      ...task,
      name: task.name || `${parent}/tasks/16520968670258952483`
    }
  }
}

function cloudTasksService (): ServiceDefinition {
  const folder = (module: string) =>
    join(dirname(require.resolve(module)).replace(/(node_modules\/(?:@[^/]+\/)?[^/]+).*/, '$1'), 'build/protos')
  const definition = loadSync('google/cloud/tasks/v2/cloudtasks.proto', {
    includeDirs: [folder('@google-cloud/tasks'), folder('google-gax')],
    keepCase: false,
    longs: Number,
    enums: String,
    bytes: Buffer,
    defaults: false
  })
  return definition['google.cloud.tasks.v2.CloudTasks'] as unknown as ServiceDefinition
}

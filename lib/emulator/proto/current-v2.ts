/**
 * The parts of Google's gRPC v2 that the protos of its Node client lack up to 7.1: HTTP targets of queues, retry settings of
 * tasks, batches, and customer-managed encryption keys. Field numbers are those of Google's clients for Python (2.26) and Go
 * (1.21). Those clients give the messages below the same fields and numbers in v2 as in v2beta3, which Node's protos have.
 */

/** Messages, enums and services as the JSON form of protobufjs has them. */
export interface ProtoNamespace {
  readonly nested?: Record<string, ProtoNamespace>
  readonly fields?: Record<string, ProtoField>
  readonly methods?: Record<string, object>
}

interface ProtoField {
  readonly type: string
  readonly id: number
}

/** Adds to the v2 of `protos` what it lacks. What it has stays, so that protos of later clients pass unchanged. */
export function addCurrentV2 (protos: ProtoNamespace): void {
  const v2 = namespaceOf(protos, 'google.cloud.tasks.v2')
  const v2beta3 = namespaceOf(protos, 'google.cloud.tasks.v2beta3')
  for (const name of MESSAGES) v2.nested![name] ??= namespaceOf(v2beta3, name)
  namespaceOf(v2, 'Queue').fields!.httpTarget ??= { type: 'HttpTarget', id: 10 }
  namespaceOf(v2, 'Task').fields!.retryConfig ??= { type: 'RetryConfig', id: 12 }
  const methods = namespaceOf(v2, 'CloudTasks').methods!
  for (const method of METHODS) methods[method] ??= withV2Paths(namespaceOf(v2beta3, 'CloudTasks').methods![method]!)
  // Over REST only: gRPC has no BufferTask.
  for (const version of [v2, v2beta3]) version.nested!.BufferTaskResponse ??= { fields: { task: { type: 'Task', id: 1 } } }
}

export function namespaceOf (protos: ProtoNamespace, path: string): ProtoNamespace {
  let found: ProtoNamespace | undefined = protos
  for (const name of path.split('.')) found = found?.nested?.[name]
  if (found === undefined) throw new Error(`The protos of @google-cloud/tasks lack ${path}`)
  return found
}

function withV2Paths (method: object): object {
  return JSON.parse(JSON.stringify(method).replaceAll('"/v2beta3/', '"/v2/')) as object
}

const MESSAGES = [
  'PathOverride',
  'QueryOverride',
  'UriOverride',
  'HttpTarget',
  'BatchCreateTasksRequest',
  'BatchCreateTasksResponse',
  'BatchCreateTasksMetadata',
  'BatchDeleteTasksRequest',
  'BatchDeleteTasksMetadata',
  'CmekConfig',
  'GetCmekConfigRequest',
  'UpdateCmekConfigRequest'
] as const

const METHODS = ['BatchCreateTasks', 'BatchDeleteTasks', 'GetCmekConfig', 'UpdateCmekConfig'] as const

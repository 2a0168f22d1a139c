/**
 * The parts of gRPC v2 that the protos of Google's Node.js client (up to 7.1) lack: HTTP targets of queues, retry settings of
 * tasks, batches, and customer-managed encryption keys. Field numbers are those of Google's clients for Python (2.26) and Go
 * (1.21), in which the messages below have the same fields and numbers in v2 as in v2beta3. The Node.js protos have v2beta3.
 */

/** Messages, enums and services in protobufjs's JSON form. */
export interface ProtoNamespace {
  readonly nested?: Record<string, ProtoNamespace>
  readonly fields?: Record<string, ProtoField>
  readonly methods?: Record<string, object>
}

interface ProtoField {
  readonly type: string
  readonly id: number
}

/** Adds the missing parts to the v2 of `protos`. Existing ones are not replaced, so that protos of later clients stay unchanged. */
export function addCurrentV2 (protos: ProtoNamespace): void {
  const v2 = namespaceOf(protos, 'google.cloud.tasks.v2')
  const v2beta3 = namespaceOf(protos, 'google.cloud.tasks.v2beta3')
  for (const name of MESSAGES) v2.nested![name] ??= namespaceOf(v2beta3, name)
  namespaceOf(v2, 'Queue').fields!.httpTarget ??= { type: 'HttpTarget', id: 10 }
  namespaceOf(v2, 'Task').fields!.retryConfig ??= { type: 'RetryConfig', id: 12 }
  const methods = namespaceOf(v2, 'CloudTasks').methods!
  for (const method of METHODS) methods[method] ??= withV2Paths(namespaceOf(v2beta3, 'CloudTasks').methods![method]!)
  // For REST: gRPC has no BufferTask.
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

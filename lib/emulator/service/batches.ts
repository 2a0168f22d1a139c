import { statusErrors } from '../../cloud-tasks/status.js'
import type { BatchCall } from './operations.js'
import { packageOf, type BatchCreateRequest, type BatchDeleteRequest, type CreateTaskRequest } from './requests.js'

/**
 * What BatchCreateTasks does with a task name that is in use, or was recently. `reject`: the whole call fails with ALREADY_EXISTS and
 * there is no operation, though the other tasks of the batch are created, as measured against Cloud Tasks in August 2026.
 * `report`: the operation lists it among its failed requests, as Google documents.
 */
export type BatchDuplicates = 'reject' | 'report'

export interface CreationOptions<T> {
  readonly duplicates: BatchDuplicates
  readonly create: (request: CreateTaskRequest) => Promise<T>
}

/** BatchCreateTasks. Throws INVALID_ARGUMENT when a request is for another queue. */
export function creationOf<T> (
  { parent = '', requests = [], requestId = '', version = 'v2' }: BatchCreateRequest,
  { duplicates, create }: CreationOptions<T>
): BatchCall<CreateTaskRequest, T> {
  for (const one of requests) {
    if (one.parent !== undefined && one.parent !== '' && one.parent !== parent) throw statusErrors.batchParent(parent, one.parent)
  }
  return {
    parent,
    requestId,
    requests,
    maxRequests: 100,
    metadata: `${packageOf(version)}.BatchCreateTasksMetadata`,
    run: async request => await create({ ...request, parent }),
    rejects: ({ code }) => duplicates === 'reject' && code === 'ALREADY_EXISTS',
    response: tasks => ({ '@type': `type.googleapis.com/${packageOf(version)}.BatchCreateTasksResponse`, tasks })
  }
}

/** BatchDeleteTasks. */
export function deletionOf (
  { parent = '', names = [], requestId = '', version = 'v2' }: BatchDeleteRequest,
  remove: (name: string) => Promise<void>
): BatchCall<string, void> {
  return {
    parent,
    requestId,
    requests: names,
    maxRequests: 1000,
    metadata: `${packageOf(version)}.BatchDeleteTasksMetadata`,
    run: async name => {
      if (!name.startsWith(`${parent}/tasks/`)) throw statusErrors.batchParent(parent, name)
      await remove(name)
    },
    rejects: () => false,
    response: () => ({ '@type': 'type.googleapis.com/google.protobuf.Empty' })
  }
}

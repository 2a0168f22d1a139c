import { statusErrors } from '../../cloud-tasks/status.js'
import type { Batch } from './operations.js'
import { packageOf, type BatchCreateRequest, type BatchDeleteRequest, type CreateTaskRequest } from './requests.js'

/** BatchCreateTasks. Throws INVALID_ARGUMENT when a request is for another queue. */
export function creationOf<T> ({ parent = '', requests = [], requestId = '', version = 'v2' }: BatchCreateRequest, create: (request: CreateTaskRequest) => Promise<T>): Batch<CreateTaskRequest, T> {
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
    response: tasks => ({ '@type': `type.googleapis.com/${packageOf(version)}.BatchCreateTasksResponse`, tasks })
  }
}

/** BatchDeleteTasks. */
export function deletionOf ({ parent = '', names = [], requestId = '', version = 'v2' }: BatchDeleteRequest, remove: (name: string) => Promise<void>): Batch<string, void> {
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
    response: () => ({ '@type': 'type.googleapis.com/google.protobuf.Empty' })
  }
}

import { parseFilter, type Predicate } from '../proto/filter.js'
import { resolveMask, type FieldMaskMessage } from '../proto/field-mask.js'
import type { CmekConfigMessage } from './cmek-configs.js'
import type { PolicyMessage } from './iam.js'
import type { QueueMessage, TaskMessage } from '../messages/messages.js'
import type { PageFields } from './page-token.js'
import type { Message, Schemas } from '../proto/schema.js'

/** Google's requests as the service reads them: masks are lists of keys, filters are predicates. */

/** Production's size limit of a request, for gRPC and REST. */
export const MAX_REQUEST_BYTES = 10 * 1024 * 1024

export interface Named {
  readonly name?: string
}

export interface ListQueuesRequest extends PageFields {
  readonly parent?: string
  readonly filter?: string
  readonly matches?: Predicate
  readonly readMask?: string[][]
}

export interface GetQueueRequest extends Named {
  readonly readMask?: string[][]
}

export interface CreateQueueRequest {
  readonly parent?: string
  readonly queue?: QueueMessage
}

export interface UpdateQueueRequest {
  readonly queue?: QueueMessage
  readonly updateMask?: string[][]
}

export interface ListTasksRequest extends PageFields {
  readonly parent?: string
  readonly responseView?: string | number
}

export interface TaskRequest extends Named {
  readonly responseView?: string | number
}

export interface CreateTaskRequest {
  readonly parent?: string
  readonly task?: TaskMessage
  readonly responseView?: string | number
  /** Whether it was called on the unversioned path that firebase-admin uses. */
  readonly unprefixed?: boolean
}

export interface BatchCreateRequest {
  readonly parent?: string
  readonly requests?: readonly CreateTaskRequest[]
  readonly requestId?: string
  readonly version?: Version
}

export interface BatchDeleteRequest {
  readonly parent?: string
  readonly names?: readonly string[]
  readonly requestId?: string
  readonly version?: Version
}

export interface SetIamPolicyRequest {
  readonly resource?: string
  readonly policy?: PolicyMessage
  readonly updateMask?: string[][]
}

export interface UpdateCmekConfigRequest {
  readonly cmekConfig?: CmekConfigMessage
  readonly updateMask?: string[][]
}

export interface TestIamPermissionsRequest {
  readonly resource?: string
  readonly permissions?: readonly string[]
}

export interface ListLocationsRequest extends PageFields, Named {
  readonly filter?: string
  readonly matches?: Predicate
}

export type Version = 'v2' | 'v2beta3'

export function packageOf (version: Version): string {
  return `google.cloud.tasks.${version}`
}

/** Converts Google's request to the service's. Throws INVALID_ARGUMENT. */
export function normalize (schemas: Schemas, version: Version, method: string, request: object): object {
  const schema = subjectOf(schemas, version, method)
  if (schema === undefined) return method.startsWith('batch') ? { ...request, version } : request
  const { queue, updateMask, readMask, filter } = request as {
    queue?: QueueMessage
    updateMask?: FieldMaskMessage
    readMask?: FieldMaskMessage
    filter?: string
  }
  return {
    ...request,
    ...(queue === undefined ? undefined : { queue: version === 'v2' ? withoutBurst(queue) : flattened(queue) }),
    ...(updateMask === undefined ? undefined : { updateMask: resolveMask(schema, updateMask, 'update_mask').map(flattenedPath) }),
    ...(readMask === undefined ? undefined : { readMask: resolveMask(schema, readMask, 'read_mask') }),
    ...(filter === undefined || filter.trim() === '' ? undefined : { matches: parseFilter(schema, filter) })
  }
}

/** The message that masks and filters of a method refer to. */
function subjectOf (schemas: Schemas, version: Version, method: string): Message | undefined {
  switch (method) {
    case 'listQueues':
    case 'getQueue':
    case 'createQueue':
    case 'updateQueue': return schemas.message(`${packageOf(version)}.Queue`)
    case 'setIamPolicy': return schemas.message('google.iam.v1.Policy')
    case 'updateCmekConfig': return schemas.message(`${packageOf(version)}.CmekConfig`)
    case 'listLocations': return schemas.message('google.cloud.location.Location')
    default: return undefined
  }
}

/** In v2, `maxBurstSize` is output-only and ignored. */
function withoutBurst (queue: QueueMessage): QueueMessage {
  if (queue.rateLimits === undefined) return queue
  const { maxBurstSize, ...rateLimits } = queue.rateLimits
  return { ...queue, rateLimits }
}

/** v2beta3 nests this field one level deeper than v2. */
function flattened ({ appEngineHttpQueue, ...queue }: QueueMessage): QueueMessage {
  const appEngineRoutingOverride = appEngineHttpQueue?.appEngineRoutingOverride
  return appEngineRoutingOverride === undefined ? queue : { ...queue, appEngineRoutingOverride }
}

function flattenedPath (path: string[]): string[] {
  if (path[0] !== 'appEngineHttpQueue') return path
  return path.length === 1 ? ['appEngineRoutingOverride'] : path.slice(1)
}

import { resolveMask, type FieldMaskMessage } from './field-mask.js'
import type { QueueMessage } from './messages.js'
import type { Schemas } from './schema.js'

export type Version = 'v2' | 'v2beta3'

export function packageOf (version: Version): string {
  return `google.cloud.tasks.${version}`
}

/**
 * A request in the one form that the service takes: masks as lists of keys, and what the versions have in different places in
 * v2's place. Throws INVALID_ARGUMENT.
 */
export function normalize (schemas: Schemas, version: Version, request: object): object {
  const { queue, updateMask, readMask } = request as { queue?: QueueMessage, updateMask?: FieldMaskMessage, readMask?: FieldMaskMessage }
  if (queue === undefined && updateMask === undefined && readMask === undefined) return request
  const schema = schemas.message(`${packageOf(version)}.Queue`)
  return {
    ...request,
    ...(queue === undefined ? undefined : { queue: version === 'v2' ? withoutBurst(queue) : hoisted(queue) }),
    ...(updateMask === undefined ? undefined : { updateMask: resolveMask(schema, updateMask, 'update_mask').map(hoistedPath) }),
    ...(readMask === undefined ? undefined : { readMask: resolveMask(schema, readMask, 'read_mask') })
  }
}

/** In v2 the service alone chooses the burst, and any value passes. */
function withoutBurst (queue: QueueMessage): QueueMessage {
  if (queue.rateLimits === undefined) return queue
  const { maxBurstSize, ...rateLimits } = queue.rateLimits
  return { ...queue, rateLimits }
}

function hoisted ({ appEngineHttpQueue, ...queue }: QueueMessage): QueueMessage {
  const appEngineRoutingOverride = appEngineHttpQueue?.appEngineRoutingOverride
  return appEngineRoutingOverride === undefined ? queue : { ...queue, appEngineRoutingOverride }
}

function hoistedPath (path: string[]): string[] {
  if (path[0] !== 'appEngineHttpQueue') return path
  return path.length === 1 ? ['appEngineRoutingOverride'] : path.slice(1)
}

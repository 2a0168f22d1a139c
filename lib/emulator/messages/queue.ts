import { statusErrors } from '../../cloud-tasks/status.js'
import type { HttpMethod, QueueHttpTarget, NewQueueSettings, QueueExtras, QueueSettings, UriOverride } from '../../cloud-tasks/task.js'
import type { StoredQueue } from '../../engine/engine.js'
import type { HttpTargetMessage, QueueMessage } from './messages.js'
import { readRetryConfig, retryConfigMessage } from './retry-config.js'
import { readMethod, readRouting, readTokens } from './task.js'
import { durationMessage, readDuration, timestampMessage } from './times.js'

/** The settings in a message. Output-only fields are ignored. Throws INVALID_ARGUMENT. */
export function readQueue (message: QueueMessage): NewQueueSettings {
  if (message.type !== undefined && message.type !== 'PUSH' && message.type !== 'TYPE_UNSPECIFIED') throw statusErrors.pullQueue()
  const { maxDispatchesPerSecond, maxConcurrentDispatches } = message.rateLimits ?? {}
  return {
    rateLimits: {
      // Not by truthiness: NaN must reach the check that rejects it.
      ...(maxDispatchesPerSecond === undefined || maxDispatchesPerSecond === 0 ? undefined : { maxDispatchesPerSecond }),
      ...(maxConcurrentDispatches ? { maxConcurrentDispatches } : undefined)
    },
    retryConfig: readRetryConfig(message.retryConfig ?? {}),
    ...readExtras(message)
  }
}

/** The whole queue. The default times to live are v2beta3's. */
export function queueMessage ({ name, settings, state, purgedAt }: StoredQueue): QueueMessage {
  const message = settingsMessage(settings)
  const { appEngineRoutingOverride } = message
  return {
    ...message,
    name,
    appEngineHttpQueue: appEngineRoutingOverride === undefined ? {} : { appEngineRoutingOverride },
    rateLimits: settings.rateLimits,
    state,
    ...(purgedAt === undefined ? undefined : { purgeTime: timestampMessage(purgedAt) }),
    taskTtl: message.taskTtl ?? { seconds: 31 * 24 * 3600 },
    tombstoneTtl: message.tombstoneTtl ?? { seconds: 3600 },
    type: 'PUSH'
  }
}

/** The inverse of `readQueue`. */
export function settingsMessage (settings: QueueSettings): QueueMessage {
  const { maxDispatchesPerSecond, maxConcurrentDispatches } = settings.rateLimits
  const { appEngineRoutingOverride, httpTarget, samplingRatio, chosenBurstSize, taskTtlSeconds, tombstoneTtlSeconds } = settings
  return {
    rateLimits: {
      maxDispatchesPerSecond,
      maxConcurrentDispatches,
      ...(chosenBurstSize === undefined ? undefined : { maxBurstSize: chosenBurstSize })
    },
    retryConfig: retryConfigMessage(settings.retryConfig),
    ...(appEngineRoutingOverride === undefined ? undefined : { appEngineRoutingOverride }),
    ...(httpTarget === undefined ? undefined : { httpTarget: httpTargetMessage(httpTarget) }),
    ...(samplingRatio === undefined ? undefined : { stackdriverLoggingConfig: { samplingRatio } }),
    ...(taskTtlSeconds === undefined ? undefined : { taskTtl: durationMessage(taskTtlSeconds) }),
    ...(tombstoneTtlSeconds === undefined ? undefined : { tombstoneTtl: durationMessage(tombstoneTtlSeconds) })
  }
}

function readExtras (message: QueueMessage): QueueExtras {
  const { appEngineRoutingOverride, httpTarget, stackdriverLoggingConfig, taskTtl, tombstoneTtl, rateLimits } = message
  return {
    ...(appEngineRoutingOverride === undefined ? undefined : { appEngineRoutingOverride: readRouting(appEngineRoutingOverride) }),
    ...(httpTarget === undefined ? undefined : { httpTarget: readHttpTarget(httpTarget) }),
    ...(stackdriverLoggingConfig === undefined ? undefined : { samplingRatio: stackdriverLoggingConfig.samplingRatio ?? 0 }),
    ...(rateLimits?.maxBurstSize ? { chosenBurstSize: rateLimits.maxBurstSize } : undefined),
    ...(taskTtl === undefined ? undefined : { taskTtlSeconds: readDuration('Queue.taskTtl', taskTtl) }),
    ...(tombstoneTtl === undefined ? undefined : { tombstoneTtlSeconds: readDuration('Queue.tombstoneTtl', tombstoneTtl) })
  }
}

function readHttpTarget (message: HttpTargetMessage): QueueHttpTarget {
  const httpMethod = readMethod('HttpTarget.httpMethod', message.httpMethod)
  const { uriOverride, headerOverrides = [] } = message
  return {
    ...(uriOverride === undefined ? undefined : { uriOverride: readUriOverride(uriOverride) }),
    ...(httpMethod === undefined ? undefined : { httpMethod }),
    ...(headerOverrides.length === 0
      ? undefined
      : { headerOverrides: headerOverrides.map(({ header }) => ({ key: header?.key ?? '', value: header?.value ?? '' })) }),
    ...readTokens(message)
  }
}

function readUriOverride (message: NonNullable<HttpTargetMessage['uriOverride']>): UriOverride {
  const { host, port, pathOverride, queryOverride } = message
  const scheme = readEnum('HttpTarget.uriOverride.scheme', message.scheme, 'SCHEME_UNSPECIFIED', SCHEMES)
  const enforceMode = readEnum(
    'HttpTarget.uriOverride.uriOverrideEnforceMode',
    message.uriOverrideEnforceMode,
    'URI_OVERRIDE_ENFORCE_MODE_UNSPECIFIED',
    MODES
  )
  return {
    ...(scheme === undefined ? undefined : { scheme }),
    ...(host === undefined ? undefined : { host }),
    ...(port === undefined ? undefined : { port }),
    ...(pathOverride === undefined ? undefined : { path: pathOverride.path ?? '' }),
    ...(queryOverride === undefined ? undefined : { queryParams: queryOverride.queryParams ?? '' }),
    ...(enforceMode === undefined ? undefined : { enforceMode })
  }
}

function httpTargetMessage ({ uriOverride, httpMethod, headerOverrides, oidcToken, oauthToken }: QueueHttpTarget): HttpTargetMessage {
  return {
    ...(uriOverride === undefined ? undefined : { uriOverride: uriOverrideMessage(uriOverride) }),
    ...(httpMethod === undefined ? undefined : { httpMethod: httpMethod satisfies HttpMethod }),
    ...(headerOverrides === undefined ? undefined : { headerOverrides: headerOverrides.map(header => ({ header })) }),
    ...(oidcToken === undefined ? undefined : { oidcToken }),
    ...(oauthToken === undefined ? undefined : { oauthToken })
  }
}

function uriOverrideMessage ({
  scheme,
  host,
  port,
  path,
  queryParams,
  enforceMode
}: UriOverride): NonNullable<HttpTargetMessage['uriOverride']> {
  return {
    ...(scheme === undefined ? undefined : { scheme }),
    ...(host === undefined ? undefined : { host }),
    ...(port === undefined ? undefined : { port }),
    ...(path === undefined ? undefined : { pathOverride: { path } }),
    ...(queryParams === undefined ? undefined : { queryOverride: { queryParams } }),
    ...(enforceMode === undefined ? undefined : { uriOverrideEnforceMode: enforceMode })
  }
}

function readEnum<const T extends string> (
  field: string,
  value: string | number | undefined,
  unspecified: string,
  values: readonly T[]
): T | undefined {
  if (value === undefined || value === unspecified) return undefined
  if (!values.includes(value as T)) throw statusErrors.unknownEnum(field, value)
  return value as T
}

const SCHEMES = ['HTTP', 'HTTPS'] as const
const MODES = ['IF_NOT_EXISTS', 'ALWAYS'] as const

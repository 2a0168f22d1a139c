import type { HttpMethod, QueueState } from '../../cloud-tasks/task.js'
import type { DurationMessage, TimestampMessage } from '../proto/time.js'

/**
 * Google's messages as plain objects, in the form of gRPC's codec: lowerCamelCase keys, enums by name (unknown ones by number),
 * bytes as they are, defaults absent. The same types serve v2 and v2beta3: each version's schema reads and writes the fields that it has.
 */

export interface RetryConfigMessage {
  readonly maxAttempts?: number
  readonly maxRetryDuration?: DurationMessage
  readonly minBackoff?: DurationMessage
  readonly maxBackoff?: DurationMessage
  readonly maxDoublings?: number
}

export interface RoutingMessage {
  readonly service?: string
  readonly version?: string
  readonly instance?: string
  readonly host?: string
}

export interface TokenMessage {
  readonly serviceAccountEmail?: string
  readonly audience?: string
  readonly scope?: string
}

export interface HttpTargetMessage {
  readonly uriOverride?: {
    readonly scheme?: string | number
    readonly host?: string
    readonly port?: number
    readonly pathOverride?: { readonly path?: string }
    readonly queryOverride?: { readonly queryParams?: string }
    readonly uriOverrideEnforceMode?: string | number
  }
  readonly httpMethod?: HttpMethod | string | number
  readonly headerOverrides?: ReadonlyArray<{ readonly header?: { readonly key?: string, readonly value?: string } }>
  readonly oauthToken?: TokenMessage
  readonly oidcToken?: TokenMessage
}

export interface QueueMessage {
  readonly name?: string
  /** v2 */
  readonly appEngineRoutingOverride?: RoutingMessage
  /** v2beta3: the same, one level down. */
  readonly appEngineHttpQueue?: { readonly appEngineRoutingOverride?: RoutingMessage }
  readonly httpTarget?: HttpTargetMessage
  readonly rateLimits?: {
    readonly maxDispatchesPerSecond?: number
    readonly maxBurstSize?: number
    readonly maxConcurrentDispatches?: number
  }
  readonly retryConfig?: RetryConfigMessage
  readonly state?: QueueState | string | number
  readonly purgeTime?: TimestampMessage
  readonly stackdriverLoggingConfig?: { readonly samplingRatio?: number }
  readonly taskTtl?: DurationMessage
  readonly tombstoneTtl?: DurationMessage
  readonly type?: string | number
  readonly stats?: QueueStatsMessage
}

export interface QueueStatsMessage {
  readonly tasksCount: number
  readonly oldestEstimatedArrivalTime?: TimestampMessage
  readonly executedLastMinuteCount: number
  readonly concurrentDispatchesCount: number
  readonly effectiveExecutionRate: number
}

export interface AttemptMessage {
  readonly scheduleTime?: TimestampMessage
  readonly dispatchTime?: TimestampMessage
  readonly responseTime?: TimestampMessage
  readonly responseStatus?: { readonly code: number, readonly message: string }
}

export type View = 'BASIC' | 'FULL'

export interface TaskMessage {
  readonly name?: string
  readonly httpRequest?: {
    readonly url?: string
    readonly httpMethod?: HttpMethod | string | number
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: Uint8Array
    readonly oauthToken?: TokenMessage
    readonly oidcToken?: TokenMessage
  }
  readonly appEngineHttpRequest?: {
    readonly httpMethod?: HttpMethod | string | number
    readonly appEngineRouting?: RoutingMessage
    readonly relativeUri?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: Uint8Array
  }
  readonly pullMessage?: object
  readonly scheduleTime?: TimestampMessage
  readonly createTime?: TimestampMessage
  readonly dispatchDeadline?: DurationMessage
  readonly dispatchCount?: number
  readonly responseCount?: number
  readonly firstAttempt?: AttemptMessage
  readonly lastAttempt?: AttemptMessage
  readonly view?: View | string | number
  readonly retryConfig?: RetryConfigMessage
}

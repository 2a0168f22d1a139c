/**
 * A task and a queue in Cloud Tasks' own terms (google.cloud.tasks.v2), as every part of this package passes them on.
 * Times named `…At` are epoch milliseconds and may carry a fraction; durations say their unit.
 */

export type HttpMethod = 'POST' | 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'PATCH' | 'OPTIONS'

export interface OidcToken {
  readonly serviceAccountEmail: string
  readonly audience?: string
}

export interface OAuthToken {
  readonly serviceAccountEmail: string
  readonly scope?: string
}

export interface HttpRequest {
  readonly url: string
  /** @default 'POST' */
  readonly httpMethod?: HttpMethod
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  readonly oidcToken?: OidcToken
  readonly oauthToken?: OAuthToken
}

export interface AppEngineRouting {
  readonly service?: string
  readonly version?: string
  readonly instance?: string
  /** Output only. */
  readonly host?: string
}

export interface AppEngineHttpRequest {
  /** @default 'POST' */
  readonly httpMethod?: HttpMethod
  readonly appEngineRouting?: AppEngineRouting
  /** @default '/' */
  readonly relativeUri?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

/** The input of CreateTask. Exactly one of the two requests is set. */
export interface NewTask {
  /** Full name, `projects/P/locations/L/queues/Q/tasks/T`. Without one the service picks the id. */
  readonly name?: string
  readonly httpRequest?: HttpRequest
  readonly appEngineHttpRequest?: AppEngineHttpRequest
  /** Unset or in the past means now. At most 30 days ahead. */
  readonly scheduleAt?: number
  readonly dispatchDeadlineMs?: number
  /** Instead of the queue's (v2beta3). What is absent gets the service's default, not the queue's value. */
  readonly retryConfig?: Partial<RetryConfig>
}

export interface AttemptTimes {
  readonly scheduleAt: number
  readonly dispatchAt: number
  /** Unset while the attempt runs, or when no response came. */
  readonly responseAt?: number
  /** google.rpc.Status of the response. */
  readonly responseStatus?: { readonly code: number, readonly message: string }
}

/** A task as the service stores it: defaults filled in, counters running. */
export interface Task extends NewTask {
  readonly name: string
  /** The service chose the id, so no caller relies on the name being rejected afterwards. Not part of the wire format. */
  readonly generatedId?: true
  readonly scheduleAt: number
  /** Whole seconds, as the real service keeps it. */
  readonly createdAt: number
  /** Attempts dispatched so far, those without a response included. */
  readonly dispatchCount: number
  /** Attempts that got a response. */
  readonly responseCount: number
  /** Responses as the header TaskExecutionCount counts them: all for App Engine; all but 5xx for HTTP targets. */
  readonly executionCount: number
  /** HTTP status of the last attempt, 0 when no response came; unset before the first attempt has ended. */
  readonly previousResponse?: number
  readonly firstAttempt?: AttemptTimes
  readonly lastAttempt?: AttemptTimes
  readonly retryConfig?: RetryConfig
}

export interface RateLimits {
  /** Dispatches a second, at most 500. @default 500 */
  readonly maxDispatchesPerSecond: number
  /** Attempts under way at once, at most 5000. @default 1000 */
  readonly maxConcurrentDispatches: number
  /** Output only: the service derives it from the rate. */
  readonly maxBurstSize: number
}

export interface RetryConfig {
  /** Attempts in all, the first included; -1 is unlimited. @default 100 */
  readonly maxAttempts: number
  /** 0 is unlimited. With `maxAttempts` set too, a task ends only when both limits are reached. @default 0 */
  readonly maxRetrySeconds: number
  /** @default 0.1 */
  readonly minBackoffSeconds: number
  /** @default 3600 */
  readonly maxBackoffSeconds: number
  /** @default 16 */
  readonly maxDoublings: number
}

/** What a queue overrides in every HTTP request that it dispatches. */
export interface HttpTarget {
  readonly uriOverride?: UriOverride
  readonly httpMethod?: HttpMethod
  readonly headerOverrides?: ReadonlyArray<{ readonly key: string, readonly value: string }>
  readonly oidcToken?: OidcToken
  readonly oauthToken?: OAuthToken
}

export interface UriOverride {
  readonly scheme?: 'HTTP' | 'HTTPS'
  readonly host?: string
  /** 0 removes the port from the URL. */
  readonly port?: number
  readonly path?: string
  /** `a=b&c=d`, without a question mark. */
  readonly queryParams?: string
  /** IF_NOT_EXISTS changes only URLs without a host. @default 'ALWAYS' */
  readonly enforceMode?: 'IF_NOT_EXISTS' | 'ALWAYS'
}

export interface QueueSettings extends QueueExtras {
  readonly rateLimits: RateLimits
  readonly retryConfig: RetryConfig
}

/** Settings that have no default. */
export interface QueueExtras {
  /** Where all App Engine tasks go, whatever routing they have themselves. */
  readonly appEngineRoutingOverride?: AppEngineRouting
  readonly httpTarget?: HttpTarget
  /** 0 to 1. Stored and shown; it has no effect here. */
  readonly samplingRatio?: number
  /** v2beta3: the burst, instead of the one that the service derives from the rate. At most 500. */
  readonly chosenBurstSize?: number
  /** v2beta3: tasks end this long after creation. 10 days to 10 years. */
  readonly taskTtlSeconds?: number
  /** v2beta3: how long names of ended tasks are rejected. 1 hour to 9 days. */
  readonly tombstoneTtlSeconds?: number
}

/** Queue settings as a caller sends them: absent ones get the service's defaults, `maxBurstSize` is ignored. */
export interface NewQueueSettings extends QueueExtras {
  readonly rateLimits?: Partial<RateLimits>
  readonly retryConfig?: Partial<RetryConfig>
}

export type QueueState = 'RUNNING' | 'PAUSED' | 'DISABLED'

import { parseTaskName } from '../../cloud-tasks/names.js'
import { appEngineHost } from '../../cloud-tasks/size.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import type {
  AppEngineHttpRequest,
  AppEngineRouting,
  AttemptTimes,
  HttpMethod,
  HttpRequest,
  NewTask,
  Task
} from '../../cloud-tasks/task.js'
import type { AttemptMessage, RoutingMessage, TaskMessage, TokenMessage, View } from './messages.js'
import { readRetryConfig, retryConfigMessage } from './retry-config.js'
import { durationMessage, readDuration, readTimestamp, timestampMessage } from './times.js'

/** The new task in a message. Output-only fields are ignored. Throws INVALID_ARGUMENT. */
export function readTask (message: TaskMessage): NewTask {
  const { name, httpRequest, appEngineHttpRequest, scheduleTime, dispatchDeadline, retryConfig } = message
  if (message.pullMessage !== undefined) throw statusErrors.pullTask()
  return {
    ...(name ? { name } : undefined),
    ...(httpRequest === undefined ? undefined : { httpRequest: readHttpRequest(httpRequest) }),
    ...(appEngineHttpRequest === undefined ? undefined : { appEngineHttpRequest: readAppEngineRequest(appEngineHttpRequest) }),
    ...(scheduleTime === undefined ? undefined : { scheduleAt: readTimestamp('Task.scheduleTime', scheduleTime) }),
    ...(dispatchDeadline === undefined
      ? undefined
      : { dispatchDeadlineMs: readDuration('Task.dispatchDeadline', dispatchDeadline) * 1000 }),
    ...(retryConfig === undefined ? undefined : { retryConfig: readRetryConfig(retryConfig) })
  }
}

/** BASIC omits only the body, as recorded from production. */
export function taskMessage (task: Task, view: View): TaskMessage {
  return {
    name: task.name,
    ...(task.httpRequest === undefined
      ? { appEngineHttpRequest: appEngineMessage(task.appEngineHttpRequest!, task.name, view) }
      : { httpRequest: withoutBody(task.httpRequest, view) }),
    scheduleTime: timestampMessage(task.scheduleAt),
    createTime: timestampMessage(task.createdAt),
    ...(task.dispatchDeadlineMs === undefined ? undefined : { dispatchDeadline: durationMessage(task.dispatchDeadlineMs / 1000) }),
    dispatchCount: task.dispatchCount,
    responseCount: task.responseCount,
    ...(task.firstAttempt === undefined ? undefined : { firstAttempt: { dispatchTime: timestampMessage(task.firstAttempt.dispatchAt) } }),
    ...(task.lastAttempt === undefined ? undefined : { lastAttempt: attemptMessage(task.lastAttempt) }),
    view,
    ...(task.retryConfig === undefined ? undefined : { retryConfig: retryConfigMessage(task.retryConfig) })
  }
}

export function readMethod (field: string, method: string | number | undefined): HttpMethod | undefined {
  if (method === undefined || method === 'HTTP_METHOD_UNSPECIFIED') return undefined
  if (!METHODS.has(method)) throw statusErrors.unknownEnum(field, method)
  return method as HttpMethod
}

export function readRouting ({ service, version, instance }: RoutingMessage): AppEngineRouting {
  return { ...(service ? { service } : undefined), ...(version ? { version } : undefined), ...(instance ? { instance } : undefined) }
}

/** The tokens of a request or of a queue's HTTP target. */
export function readTokens ({
  oidcToken,
  oauthToken
}: {
  oidcToken?: TokenMessage
  oauthToken?: TokenMessage
}): Pick<HttpRequest, 'oidcToken' | 'oauthToken'> {
  return {
    ...(oidcToken === undefined
      ? undefined
      : {
          oidcToken: {
            serviceAccountEmail: oidcToken.serviceAccountEmail ?? '',
            ...(oidcToken.audience ? { audience: oidcToken.audience } : undefined)
          }
        }),
    ...(oauthToken === undefined
      ? undefined
      : {
          oauthToken: {
            serviceAccountEmail: oauthToken.serviceAccountEmail ?? '',
            ...(oauthToken.scope ? { scope: oauthToken.scope } : undefined)
          }
        })
  }
}

function readHttpRequest (message: NonNullable<TaskMessage['httpRequest']>): HttpRequest {
  const httpMethod = readMethod('HttpRequest.httpMethod', message.httpMethod)
  const { headers, body } = message
  return {
    url: message.url ?? '',
    ...(httpMethod === undefined ? undefined : { httpMethod }),
    ...(headers === undefined ? undefined : { headers }),
    ...(body === undefined || body.length === 0 ? undefined : { body }),
    ...readTokens(message)
  }
}

function readAppEngineRequest (message: NonNullable<TaskMessage['appEngineHttpRequest']>): AppEngineHttpRequest {
  const httpMethod = readMethod('AppEngineHttpRequest.httpMethod', message.httpMethod)
  const { appEngineRouting, relativeUri, headers, body } = message
  return {
    ...(httpMethod === undefined ? undefined : { httpMethod }),
    ...(appEngineRouting === undefined ? undefined : { appEngineRouting: readRouting(appEngineRouting) }),
    ...(relativeUri ? { relativeUri } : undefined),
    ...(headers === undefined ? undefined : { headers }),
    ...(body === undefined || body.length === 0 ? undefined : { body })
  }
}

function appEngineMessage (request: AppEngineHttpRequest, name: string, view: View): NonNullable<TaskMessage['appEngineHttpRequest']> {
  const host = appEngineHost(request.appEngineRouting, parseTaskName(name)!.project)
  return { ...withoutBody(request, view), appEngineRouting: { ...request.appEngineRouting, host } }
}

function withoutBody<R extends HttpRequest | AppEngineHttpRequest> (request: R, view: View): R {
  if (view === 'FULL' || request.body === undefined) return request
  const { body, ...rest } = request
  return rest as R
}

function attemptMessage ({ scheduleAt, dispatchAt, responseAt, responseStatus }: AttemptTimes): AttemptMessage {
  return {
    scheduleTime: timestampMessage(scheduleAt),
    dispatchTime: timestampMessage(dispatchAt),
    ...(responseAt === undefined ? undefined : { responseTime: timestampMessage(responseAt) }),
    ...(responseStatus === undefined ? undefined : { responseStatus })
  }
}

const METHODS: ReadonlySet<string | number> = new Set(['POST', 'GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])

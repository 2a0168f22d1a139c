import { targetUrl } from '../../cloud-tasks/http-target.js'
import { statusErrors } from '../../cloud-tasks/status.js'
import type { QueueHttpTarget, NewTask } from '../../cloud-tasks/task.js'

/** google.api.HttpBody */
export interface HttpBodyMessage {
  readonly contentType?: string
  readonly data?: Uint8Array
}

/** The task for a buffered body, sent to the queue's HTTP target. Throws FAILED_PRECONDITION when the queue has none. */
export function bufferedTask (
  target: QueueHttpTarget | undefined, name: string | undefined, { contentType, data }: HttpBodyMessage
): NewTask {
  const url = target === undefined ? undefined : targetUrl(target)
  if (target === undefined || url === undefined) throw statusErrors.noHttpTarget()
  const httpMethod = target.httpMethod ?? 'POST'
  const hasBody = data !== undefined && data.length > 0 && BODY_METHODS.has(httpMethod)
  return {
    ...(name === undefined ? undefined : { name }),
    httpRequest: {
      url,
      httpMethod,
      ...(contentType ? { headers: { 'Content-Type': contentType } } : undefined),
      ...(hasBody ? { body: data } : undefined)
    }
  }
}

/** The body of a BufferTask call: `{"body": HttpBody}` as in the reference, or the payload itself, as Google's samples send it. */
export function readBufferBody (
  body: Buffer | undefined,
  contentType: string | undefined,
  parse: (json: unknown) => HttpBodyMessage
): HttpBodyMessage {
  if (body === undefined || body.length === 0) return {}
  const json = jsonObject(body)
  if (json !== undefined && Object.keys(json).length === 0) return {}
  if (json !== undefined && Object.keys(json).join() === 'body' && typeof json.body === 'object' && json.body !== null) {
    return parse(json.body)
  }
  return { data: body, ...(contentType === undefined ? undefined : { contentType }) }
}

function jsonObject (body: Buffer): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(body.toString())
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? json as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

const BODY_METHODS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

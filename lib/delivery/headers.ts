/** The task's dispatch deadline in seconds, which Cloud Tasks does not send to the worker. Not for authorization. */
export const DEADLINE_HEADER = 'fastify-cloud-tasks-deadline'

/**
 * On every task that this package creates in Cloud Tasks, with the value `queue`: the task has no `retryConfig` of its own, so the
 * worker need not read the task to know its retry limits. Tasks of other clients lack it.
 */
export const RETRY_HEADER = 'fastify-cloud-tasks-retry'
export const RETRY_BY_QUEUE = 'queue'

/**
 * The trace in which a task was enqueued, in the format of `traceparent` and `tracestate`. Separate headers, because proxies and Cloud Run
 * replace `traceparent`, and servers use it as the parent of their spans. Not for authorization.
 */
export const TRACE_PARENT_HEADER = 'fastify-cloud-tasks-traceparent'
export const TRACE_STATE_HEADER = 'fastify-cloud-tasks-tracestate'

/**
 * On tasks that were enqueued with an `id`: a random value that distinguishes this task from an earlier one with the same id, so that
 * their copies have different names.
 */
export const LIFE_HEADER = 'fastify-cloud-tasks-life'

/** On copies of tasks (postponed tasks, dead letters, replays): the origin of the copy. Not for authorization. */
export const ORIGIN_HEADER = 'fastify-cloud-tasks-origin'

/** A one-time secret, which proves that an attempt comes from the embedded queue of this process. */
export const SECRET_HEADER = 'fastify-cloud-tasks-secret'

/** On the response to an attempt: its outcome. A response without it did not come from the task's route. */
export const RESULT_HEADER = 'fastify-cloud-tasks-result'

/** The result of an attempt that did not reach its handler because the server is closing. */
export const CLOSING_RESULT = 'closing'

const RESERVED = new RegExp(`^(?:${[
  'host', 'content-length', 'content-type', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer', 'expect', 'keep-alive',
  'user-agent', 'x-google-.*', 'x-appengine-.*', 'x-cloudtasks-.*', 'fastify-cloud-tasks-.*'
].join('|')})$`, 'i')

/** Headers that `enqueue` rejects: Cloud Tasks ignores or replaces them, HTTP defines them, or this package sets them. */
export function reservedHeader (name: string): boolean {
  return RESERVED.test(name)
}

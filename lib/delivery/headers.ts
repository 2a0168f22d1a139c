/** The task's dispatch deadline in seconds, which Cloud Tasks itself does not send to the worker. Informs, never authorises. */
export const DEADLINE_HEADER = 'fastify-cloud-tasks-deadline'

/**
 * On every task that this package creates in Cloud Tasks, with the value `queue`: the task has no `retryConfig` of its own, so the
 * worker need not read the task to know how often it is retried. Tasks of other clients lack it.
 */
export const RETRY_HEADER = 'fastify-cloud-tasks-retry'
export const RETRY_BY_QUEUE = 'queue'

/**
 * The trace that a task was enqueued in, as `traceparent` and `tracestate` would say it. Headers of our own, because proxies and Cloud Run
 * replace `traceparent`, and servers make what it names the parent of their spans. Inform, never authorise.
 */
export const TRACE_PARENT_HEADER = 'fastify-cloud-tasks-traceparent'
export const TRACE_STATE_HEADER = 'fastify-cloud-tasks-tracestate'

/**
 * On tasks that were enqueued with an `id`: a random value that tells this task from an earlier one of the same id, so that the copies
 * of both have names of their own.
 */
export const LIFE_HEADER = 'fastify-cloud-tasks-life'

/** On copies of tasks (postponed tasks, dead letters, replays): where they come from. Informs, never authorises. */
export const ORIGIN_HEADER = 'fastify-cloud-tasks-origin'

/** Proves that an attempt comes from the embedded queue of this very process: a secret that is valid once. */
export const SECRET_HEADER = 'fastify-cloud-tasks-secret'

/** On the answer to an attempt: its outcome. An answer without it did not come from the task's route. */
export const RESULT_HEADER = 'fastify-cloud-tasks-result'

/** The result of an attempt that did not reach its handler because the server is closing. */
export const CLOSING_RESULT = 'closing'

const RESERVED = new RegExp(`^(?:${[
  'host', 'content-length', 'content-type', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer', 'expect', 'keep-alive',
  'user-agent', 'x-google-.*', 'x-appengine-.*', 'x-cloudtasks-.*', 'fastify-cloud-tasks-.*'
].join('|')})$`, 'i')

/** Headers that callers of `enqueue` cannot set: Cloud Tasks ignores or replaces them, HTTP defines them, or this package sets them. */
export function reservedHeader (name: string): boolean {
  return RESERVED.test(name)
}

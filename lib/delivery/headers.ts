/** Seconds that the task's dispatch deadline is set to: Cloud Tasks does not tell the worker. Informs, never authorises. */
export const DEADLINE_HEADER = 'fastify-cloud-tasks-deadline'

/**
 * On a task from this package, with the value `queue`: it has no `retryConfig` of its own, so that the worker need not read the task to
 * find out how often it is retried. Tasks of other clients come without it.
 */
export const RETRY_HEADER = 'fastify-cloud-tasks-retry'
export const RETRY_BY_QUEUE = 'queue'

/** Proof that an attempt comes from the embedded queue of this very process: a secret that is taken once. */
export const SECRET_HEADER = 'fastify-cloud-tasks-secret'

/** On the answer to an attempt: what it came to. Without it, somebody else answered before the task's own route could. */
export const RESULT_HEADER = 'fastify-cloud-tasks-result'

/** The result of an attempt that did not reach its handler because the server is closing. */
export const CLOSING_RESULT = 'closing'

const RESERVED = /^(?:host|content-length|content-type|transfer-encoding|connection|upgrade|te|trailer|expect|keep-alive|user-agent|x-google-.*|x-appengine-.*|x-cloudtasks-.*|fastify-cloud-tasks-.*)$/i

/** Headers that a caller of `enqueue` cannot choose: Cloud Tasks ignores or replaces them, HTTP owns them, or this package sets them. */
export function reservedHeader (name: string): boolean {
  return RESERVED.test(name)
}

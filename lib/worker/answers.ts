import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { CLOSING_RESULT, RESULT_HEADER } from '../delivery/headers.js'
import type { RegisteredTask } from '../registry/registry.js'
import type { TaskRoutes } from './served-attempt.js'
import type { Outcome } from './settlement.js'

export function answer (reply: FastifyReply, { status, result, code }: Outcome): FastifyReply {
  reply.code(status).header(RESULT_HEADER, result)
  if (status === 503) reply.header('retry-after', '1')
  return result === 'done' ? reply.send() : reply.send(describe(status, result, code))
}

/** Responds with the error's code only; the reason is logged. */
export function rejectCall (task: string | undefined, error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode !== undefined && error.statusCode >= 400 ? error.statusCode : 500
  const level = status >= 500 ? 'error' : 'warn'
  request.log[level]({ err: error, task }, 'task call rejected')
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return reply.code(status).header(RESULT_HEADER, 'refused').send(describe(status, 'refused', error.code))
}

/**
 * Rejects an attempt that arrives while the server is closing: nothing is settled or counted, and it is never the last attempt. The
 * embedded queue does not count it. Cloud Tasks does, and throttles the queue for a while.
 */
export function refuseWhileClosing (
  { config }: TaskRoutes, task: RegisteredTask, request: FastifyRequest, reply: FastifyReply
): FastifyReply {
  if (!config.embedded) {
    request.log.warn({ task: task.name },
      'attempt rejected: the server is closing and its grace period is over; Cloud Tasks counts the attempt')
  }
  return reply.code(503).header(RESULT_HEADER, CLOSING_RESULT).header('retry-after', '1')
    .send(describe(503, CLOSING_RESULT, 'FST_TASKS_CLOSING'))
}

export function describe (statusCode: number, result: string, code: string | undefined) {
  return { statusCode, result, ...(code === undefined ? {} : { code }) }
}

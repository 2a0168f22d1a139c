import type { FastifyContextConfig, RouteOptions } from 'fastify'

/**
 * What all routes of the console have in common. They are not in OpenAPI documents, and do not log two lines for each request.
 * A limit of the host is meant for its own clients: an open page asks often enough to reach it, and would then be blank.
 */
export const quietRoute = {
  schema: { hide: true } as RouteOptions['schema'] & object,
  logLevel: 'warn',
  config: { rateLimit: false } as FastifyContextConfig
} as const

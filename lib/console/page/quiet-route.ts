import type { FastifyContextConfig, RouteOptions } from 'fastify'

/**
 * Common options of all console routes. They are not in OpenAPI documents, and requests are not logged. The app's rate limit does not
 * apply: an open page sends enough requests to exceed it.
 */
export const quietRoute = {
  schema: { hide: true } as RouteOptions['schema'] & object,
  logLevel: 'warn',
  config: { rateLimit: false } as FastifyContextConfig
} as const

import type { FastifyInstance } from 'fastify'
import type { TokenIssuer } from './token-issuer.js'

export interface TokenRoutesOptions {
  readonly tokens: TokenIssuer
}

/** The issuer's discovery document and keys. The paths are those of Google and of other emulators. */
export async function tokenRoutes (app: FastifyInstance, { tokens }: TokenRoutesOptions): Promise<void> {
  app.get('/.well-known/openid-configuration', async () => tokens.discovery())
  app.get('/jwks', async () => await tokens.keys())
  app.get('/certs', async () => await tokens.certificates())
}

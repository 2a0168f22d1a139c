import type { FastifyInstance } from 'fastify'
import type { TokenIssuer } from './token-issuer.js'

export interface TokenRoutesOptions {
  readonly tokens: TokenIssuer
}

/** Where whoever verifies a token finds the issuer and its key. */
export async function tokenRoutes (app: FastifyInstance, { tokens }: TokenRoutesOptions): Promise<void> {
  app.get('/.well-known/openid-configuration', async () => tokens.discovery())
  app.get('/jwks', async () => await tokens.keys())
  // Where Google and other emulators have it.
  app.get('/certs', async () => await tokens.keys())
}

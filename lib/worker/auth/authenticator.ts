import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import type { Clock } from '../../clock/clock.js'
import { isQueueId } from '../../cloud-tasks/names.js'
import type { Config } from '../../options/config.js'
import { GOOGLE_KEYS, type Callers, type OidcCallers } from '../../options/auth.js'
import { FST_TASKS_UNAUTHENTICATED } from '../../errors.js'
import type { OneTimeSecrets } from '../../delivery/one-time-secrets.js'
import { SECRET_HEADER } from '../../delivery/headers.js'

/** Accepts a request, or throws FST_TASKS_UNAUTHENTICATED or FST_TASKS_FORBIDDEN. Reads only headers, before the body is received. */
export type Authenticator = (request: FastifyRequest) => void | Promise<void>

export interface AuthenticatorParts {
  readonly app: FastifyInstance
  readonly callers: Callers
  readonly secrets: OneTimeSecrets
  readonly clock: Clock
  /** Whether an embedded queue replaces Cloud Tasks: its attempts are accepted by their secret, in addition to other callers. */
  readonly isSubstituted: () => boolean
}

export async function createAuthenticator (parts: AuthenticatorParts): Promise<Authenticator> {
  const bySecret = secretAuthenticator(parts.secrets)
  if (parts.callers.verify === 'secret') return bySecret
  const ofCallers = await callersAuthenticator(parts)
  return request => parts.isSubstituted() && request.headers[SECRET_HEADER] !== undefined ? bySecret(request) : ofCallers(request)
}

async function callersAuthenticator ({ app, callers, clock, isSubstituted }: AuthenticatorParts): Promise<Authenticator> {
  switch (callers.verify) {
    case 'oidc': return await byOidc(app, callers, clock, isSubstituted)
    case 'appEngine': return byAppEngine
    default: return () => {}
  }
}

function secretAuthenticator (secrets: OneTimeSecrets): Authenticator {
  return request => {
    const given = request.headers[SECRET_HEADER]
    // Removed, because handlers get the request.
    delete request.headers[SECRET_HEADER]
    if (typeof given !== 'string') throw new FST_TASKS_UNAUTHENTICATED('task routes accept calls from the embedded queue only')
    if (!secrets.take(given)) throw new FST_TASKS_UNAUTHENTICATED('the secret does not belong to an attempt in flight')
  }
}

async function byOidc (app: FastifyInstance, callers: OidcCallers, clock: Clock, isSubstituted: () => boolean): Promise<Authenticator> {
  const { OidcVerifier } = await import('./oidc.js')
  const verifier = new OidcVerifier(callers, { clock })
  app.addHook('onListen', () => { if (!isSubstituted()) verifier.warmUp() })
  app.addHook('onClose', async () => { await verifier.close() })
  return async request => { await verifier.verify(request.raw) }
}

/** App Engine removes this header from external requests. Elsewhere any caller can set it, so startup rejects that configuration. */
function byAppEngine (request: FastifyRequest): void {
  const queue = request.headers['x-appengine-queuename']
  if (typeof queue !== 'string' || !isQueueId(queue)) {
    throw new FST_TASKS_UNAUTHENTICATED('task routes accept calls from App Engine task queues only')
  }
}

/** Warns on startup about a configuration that accepts any caller, and about one that rejects all attempts of the configured emulator. */
export function warnAboutCallers (log: FastifyBaseLogger, { callers, emulatorHost }: Pick<Config, 'callers' | 'emulatorHost'>): void {
  if (callers.verify === 'none') log.warn("'auth' is false: anyone who can reach this server can run any task")
  if (callers.verify !== 'oidc' || callers.jwksUri !== GOOGLE_KEYS || emulatorHost === undefined) return
  log.warn("CLOUD_TASKS_EMULATOR_HOST is set, but the task routes accept only Google's tokens; " +
    "to accept those of the emulator, set auth: 'emulator'")
}

import { createHash, createHmac, randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Clock } from '../../clock/clock.js'
import { certificateOf } from './certificate.js'
import type { SigningKey } from './signing-key.js'

export interface TokenIssuerOptions {
  readonly clock: Clock
  readonly key: SigningKey
  /** URL of the emulator without a trailing slash. A function, because the port is known only after listening. */
  readonly issuer: () => string
  /** How many tokens are kept for reuse. By default the audience is the whole URL, so there can be as many as tasks. @default 1000 */
  readonly maxReused?: number
}

/**
 * Replaces Google's identity service: signs the tokens of dispatches, and publishes the keys to verify them. A token is valid for an
 * hour, and reused for five minutes so that signing is cheap compared with sending.
 */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions
  readonly #issued = new Map<string, { readonly authorization: string, readonly issuedAt: number }>()
  readonly #secret = randomBytes(32)

  constructor (options: TokenIssuerOptions) {
    this.#options = options
  }

  /** The Authorization header with an ID token of the account. Returns a promise only where a token has to be signed first. */
  oidc (email: string, audience: string): string | Promise<string> {
    const id = `${email}\n${audience}`
    const issued = this.#issued.get(id)
    // After the clock was set back, a token from the future would be rejected.
    const ageMs = issued === undefined ? Infinity : this.#options.clock.now() - issued.issuedAt
    if (issued !== undefined && ageMs >= 0 && ageMs < USE_MS) return issued.authorization
    return this.#issue(id, email, audience)
  }

  /** The Authorization header with an access token of the account: opaque text without any permission, the same for the same scope. */
  oauth (email: string, scope = 'https://www.googleapis.com/auth/cloud-platform'): string {
    return `Bearer ya29.${createHmac('sha256', this.#secret).update(`${email}\n${scope}`).digest('base64url')}`
  }

  /** OpenID Connect's discovery document. */
  discovery (): object {
    const issuer = this.#options.issuer()
    return {
      issuer,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid', 'email'],
      claims_supported: ['iss', 'aud', 'sub', 'azp', 'email', 'email_verified', 'iat', 'exp']
    }
  }

  /** The public key, as a JSON Web Key Set. */
  async keys (): Promise<object> {
    const { publicKey } = await this.#options.key.get()
    return { keys: [publicKey] }
  }

  /** The same key as X.509 certificates in PEM, by key id. */
  async certificates (): Promise<Record<string, string>> {
    const pair = await this.#options.key.get()
    return { [pair.keyId]: await certificateOf(pair) }
  }

  async #issue (id: string, email: string, audience: string): Promise<string> {
    const { clock, key, issuer, maxReused = 1000 } = this.#options
    const { privateKey, keyId } = await key.get()
    const now = clock.now()
    const iat = Math.floor(now / 1000)
    const account = accountId(email)
    const token = await new SignJWT({ azp: account, email, email_verified: true })
      .setProtectedHeader({ alg: 'RS256', kid: keyId, typ: 'JWT' })
      .setIssuer(issuer())
      .setAudience(audience)
      .setSubject(account)
      .setIssuedAt(iat)
      .setExpirationTime(iat + LIFETIME_SECONDS)
      .sign(privateKey)
    const authorization = `Bearer ${token}`
    // Deleted first, so that they stay in the order in which they were issued.
    this.#issued.delete(id)
    this.#issued.set(id, { authorization, issuedAt: now })
    if (this.#issued.size > maxReused) this.#issued.delete(this.#issued.keys().next().value!)
    return authorization
  }
}

/** The account's unique id in Google's format: 21 digits, the same for the same address. */
function accountId (email: string): string {
  const hash = createHash('sha256').update(email).digest().readBigUInt64BE()
  return `1${String(hash).padStart(20, '0')}`
}

const LIFETIME_SECONDS = 3600
const USE_MS = 300_000

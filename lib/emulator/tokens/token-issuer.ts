import { createHash, createHmac, randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Clock } from '../../clock/clock.js'
import type { SigningKey } from './signing-key.js'

export interface TokenIssuerOptions {
  readonly clock: Clock
  readonly key: SigningKey
  /** URL of the emulator, without a slash at its end. Asked for when it is needed: the port is known only then. */
  readonly issuer: () => string
}

/**
 * Stands in for Google's accounts: makes the tokens that dispatches carry, and publishes what verifies them. A token has an
 * hour to live. It is used for five minutes, so that signing costs nothing next to sending.
 */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions
  readonly #issued = new Map<string, { readonly authorization: string, readonly until: number }>()
  readonly #secret = randomBytes(32)

  constructor (options: TokenIssuerOptions) {
    this.#options = options
  }

  /** The header that carries an ID token of the account; without a promise when one is at hand. */
  oidc (email: string, audience: string): string | Promise<string> {
    const id = `${email}\n${audience}`
    const issued = this.#issued.get(id)
    if (issued !== undefined && this.#options.clock.now() < issued.until) return issued.authorization
    return this.#issue(id, email, audience)
  }

  /** The header that carries an access token of the account: a text that nobody can verify, the same for the same scope. */
  oauth (email: string, scope = 'https://www.googleapis.com/auth/cloud-platform'): string {
    return `Bearer ya29.${createHmac('sha256', this.#secret).update(`${email}\n${scope}`).digest('base64url')}`
  }

  /** OpenID Connect's document on the issuer. */
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

  async #issue (id: string, email: string, audience: string): Promise<string> {
    const { clock, key, issuer } = this.#options
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
    if (this.#issued.size >= MAX_ISSUED) this.#issued.clear()
    this.#issued.set(id, { authorization, until: now + USE_MS })
    return authorization
  }
}

/** The number that Google would know the account by: 21 digits, always the same for one address. */
function accountId (email: string): string {
  const hash = createHash('sha256').update(email).digest().readBigUInt64BE()
  return `1${String(hash).padStart(20, '0')}`
}

const LIFETIME_SECONDS = 3600
const USE_MS = 300_000

/** By default the audience is the whole URL, so there can be as many tokens as there are tasks. */
const MAX_ISSUED = 1000

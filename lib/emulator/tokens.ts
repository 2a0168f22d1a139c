import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT, type CryptoKey, type JWK } from 'jose'
import type { HttpRequest } from '../cloud-tasks/task.js'

/**
 * Signs the tokens of attempts as Google does, with a key of the emulator's own. A token is used for some minutes, as signing
 * costs more than sending; Google mints one for every attempt.
 */
export class Tokens {
  readonly #key: CryptoKey
  readonly #public: JWK
  readonly #issuer: () => string
  readonly #minted = new Map<string, { readonly token: string, readonly until: number }>()

  private constructor (key: CryptoKey, published: JWK, issuer: () => string) {
    this.#key = key
    this.#public = published
    this.#issuer = issuer
  }

  /** With the key in `file`, which is made where there is none; without a file, with a new one. */
  static async open (file: string | undefined, issuer: () => string): Promise<Tokens> {
    const jwk = await readKey(file)
    const { kty, n, e } = jwk
    const published = { kty, n, e, alg: 'RS256', use: 'sig', kid: await calculateJwkThumbprint(jwk) } as JWK
    return new Tokens(await importJWK(jwk, 'RS256') as CryptoKey, published, issuer)
  }

  get keys (): { readonly keys: readonly JWK[] } {
    return { keys: [this.#public] }
  }

  get discovery (): object {
    const issuer = this.#issuer()
    return {
      issuer,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256']
    }
  }

  /** The Authorization of an attempt; undefined when its task wants none. */
  async authorization ({ url, oidcToken, oauthToken }: HttpRequest): Promise<string | undefined> {
    if (oidcToken !== undefined) return `Bearer ${await this.#idToken(oidcToken.serviceAccountEmail, oidcToken.audience || url)}`
    return oauthToken === undefined ? undefined : `Bearer emulator-${randomUUID()}`
  }

  async #idToken (email: string, audience: string): Promise<string> {
    const now = Date.now()
    const key = JSON.stringify([email, audience])
    const minted = this.#minted.get(key)
    if (minted !== undefined && minted.until > now) return minted.token
    const token = await new SignJWT({ azp: email, email, email_verified: true })
      .setProtectedHeader({ alg: 'RS256', kid: this.#public.kid!, typ: 'JWT' })
      .setIssuer(this.#issuer()).setSubject(email).setAudience(audience).setIssuedAt().setExpirationTime('1h').sign(this.#key)
    if (this.#minted.size >= MAX_MINTED) this.#minted.clear()
    this.#minted.set(key, { token, until: now + REUSE_MS })
    return token
  }
}

async function readKey (file: string | undefined): Promise<JWK> {
  try {
    if (file !== undefined) return JSON.parse(await readFile(file, 'utf8')) as JWK
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new Error(`${file}: the key cannot be read; delete it to have a new one made`, { cause: error })
  }
  const jwk = await exportJWK((await generateKeyPair('RS256', { extractable: true })).privateKey)
  if (file !== undefined) await writeFile(file, JSON.stringify(jwk), { flag: 'wx', mode: 0o600 })
  return jwk
}

const REUSE_MS = 5 * 60_000
const MAX_MINTED = 10_000

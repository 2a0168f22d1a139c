import { hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { compactVerify, decodeJwt, decodeProtectedHeader, errors, type CompactJWSHeaderParameters, type CryptoKey } from 'jose'
import type { Clock } from '../../clock/clock.js'
import type { OidcCallers } from '../../options/auth.js'
import { FST_TASKS_FORBIDDEN, FST_TASKS_KEYS_UNAVAILABLE, FST_TASKS_UNAUTHENTICATED } from '../../errors.js'
import { checkClaims } from './claims.js'
import { KeySet, type KeySetOptions } from './key-set.js'

type Headers = Pick<IncomingMessage, 'headers' | 'rawHeaders'>

/**
 * Authenticates Cloud Tasks by its OIDC token: issued by Google, for this audience, to the tasks' service account. All three are
 * required, because any Google Cloud customer can get a valid token for any audience.
 */
export class OidcVerifier {
  readonly #callers: OidcCallers
  readonly #keys: KeySet
  readonly #verdicts: Verdicts
  readonly #clock: Clock

  constructor (callers: OidcCallers, options: KeySetOptions) {
    this.#callers = callers
    this.#keys = new KeySet(callers.jwksUri, options)
    this.#clock = options.clock
    this.#verdicts = new Verdicts(options.clock)
  }

  /** Fetches the keys before the first attempt needs them. Never rejects. */
  async warmUp (): Promise<void> {
    await this.#keys.refresh()
  }

  /**
   * Reads only the `Authorization` header, not the body.
   * @throws FST_TASKS_UNAUTHENTICATED, FST_TASKS_FORBIDDEN, FST_TASKS_KEYS_UNAVAILABLE
   */
  async verify (request: Headers): Promise<void> {
    const token = tokenOf(request.headers.authorization)
    if (token.endsWith(`.${REMOVED_SIGNATURE}`)) {
      this.#check(this.#claimsCheckedByCloudRun(token, request))
      return
    }
    const digest = hash('sha256', token)
    const keys = this.#keys.version
    if (this.#verdicts.accepts(digest, keys)) return
    const untilSeconds = this.#check(await this.#claims(token))
    // Keys that were fetched in the meantime may lack the one that was used.
    if (keys === this.#keys.version) this.#verdicts.remember(digest, keys, untilSeconds * 1000)
  }

  async close (): Promise<void> {
    await this.#keys.close()
  }

  /** The claims of a token after its signature was verified. */
  async #claims (token: string): Promise<unknown> {
    try {
      const { payload } = await compactVerify(token, this.#key, { algorithms: ['RS256'] })
      return JSON.parse(Buffer.from(payload).toString())
    } catch (error) {
      // Errors of jose and JSON.parse can contain claims, so they must not be passed on.
      throw error instanceof FST_TASKS_KEYS_UNAVAILABLE ? error : unusable(problemOf(error))
    }
  }

  readonly #key = async (header: CompactJWSHeaderParameters): Promise<CryptoKey> => {
    // Google uses no JWS extensions, and callers must not be able to choose any.
    if (typeof header.kid !== 'string' || header.crit !== undefined) throw new errors.JWSInvalid()
    const key = await this.#keys.find(header)
    if (key === undefined) throw new errors.JWKSNoMatchingKey()
    return key
  }

  #claimsCheckedByCloudRun (token: string, { headers, rawHeaders }: Headers): unknown {
    if (!this.#callers.cloudRunIam) {
      throw unusable('Cloud Run has removed its signature, as it does on a service that requires authentication; if this is one, ' +
        "set 'auth.cloudRunIam'")
    }
    // Cloud Run checks only one header and prefers that one, so the Authorization header has not been checked.
    if (headers['x-serverless-authorization'] !== undefined) {
      throw unusable('it has no signature, and Cloud Run has checked another header instead')
    }
    const given = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'authorization')
    if (given.length !== 1) throw unusable('it has no signature, and there are several Authorization headers')
    try {
      if (decodeProtectedHeader(token).alg !== 'RS256') throw new errors.JOSEAlgNotAllowed()
      return decodeJwt(token)
    } catch (error) {
      throw unusable(problemOf(error))
    }
  }

  /** The epoch second until which the claims are valid. */
  #check (claims: unknown): number {
    const verdict = checkClaims(claims, this.#callers, this.#clock.now() / 1000)
    if (verdict.accepted) return verdict.untilSeconds
    throw verdict.wrongIdentity ? new FST_TASKS_FORBIDDEN(verdict.problem) : unusable(verdict.problem)
  }
}

/** Cloud Run's replacement for a signature that its IAM check has verified. */
const REMOVED_SIGNATURE = 'SIGNATURE_REMOVED_BY_GOOGLE'

function tokenOf (authorization: string | undefined): string {
  if (authorization === undefined) throw new FST_TASKS_UNAUTHENTICATED('the request has no token in its Authorization header')
  const token = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization)?.[1]
  if (token === undefined) throw new FST_TASKS_UNAUTHENTICATED('the Authorization header is not a bearer token of three parts')
  return token
}

function unusable (problem: string): Error {
  return new FST_TASKS_UNAUTHENTICATED(`the token is not accepted: ${problem}`)
}

function problemOf (error: unknown): string {
  if (error instanceof errors.JOSEAlgNotAllowed) return 'it is not signed with RS256'
  if (error instanceof errors.JWKSNoMatchingKey) return 'its issuer has no such key'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong'
  return 'it is malformed'
}

/** How long a token is cached as verified: not beyond its expiry, and only while the keys do not change. */
const VERDICT_MS = 300_000

/** There are few accepted tokens: those of Cloud Tasks for one account and one audience. */
const MAX_VERDICTS = 1000

/**
 * Recently accepted tokens. Rejections are not cached, so that other callers cannot fill the cache. Stores digests instead of tokens, so
 * that a memory dump reveals none.
 */
class Verdicts {
  readonly #clock: Clock
  readonly #untilByDigest = new Map<string, Until>()
  #keys: object | undefined

  constructor (clock: Clock) {
    this.#clock = clock
  }

  accepts (digest: string, keys: object | undefined): boolean {
    const until = keys === this.#keys ? this.#untilByDigest.get(digest) : undefined
    return until !== undefined && this.#clock.now() < until.expiresAt && this.#clock.monotonic() < until.monotonic
  }

  remember (digest: string, keys: object | undefined, expiresAt: number): void {
    if (keys !== this.#keys || this.#untilByDigest.size >= MAX_VERDICTS) this.#untilByDigest.clear()
    this.#keys = keys
    this.#untilByDigest.set(digest, { expiresAt, monotonic: this.#clock.monotonic() + VERDICT_MS })
  }
}

/** Both limits of a verdict: when the token expires, by the wall clock, and when it is verified again, in monotonic time. */
interface Until {
  readonly expiresAt: number
  readonly monotonic: number
}

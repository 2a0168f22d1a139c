import { createLocalJWKSet, type CompactJWSHeaderParameters, type CryptoKey } from 'jose'
import type { Clock } from '../../clock/clock.js'
import { FST_TASKS_KEYS_UNAVAILABLE } from '../../errors.js'
import { keyRequestHint, requestKeys } from './key-request.js'

export interface KeySetOptions {
  readonly clock: Clock
  /** @default 5000 */
  readonly timeoutMs?: number
}

/** Age after which keys are refreshed in the background, so that no call waits for them and revoked keys expire. */
const REFRESH_MS = 600_000

/** Age after which keys that could not be refreshed are not trusted. Google's are valid for weeks. */
const MAX_AGE_MS = 86_400_000

/** Minimum time between two requests while there are keys. Limits the requests that tokens with made-up key ids can cause. */
const COOL_DOWN_MS = 10_000

/** The same while there are no keys, so that no caller can be verified. */
const FIRST_COOL_DOWN_MS = 1000

interface Keys {
  readonly ids: ReadonlySet<unknown>
  readonly find: (header: CompactJWSHeaderParameters) => Promise<CryptoKey>
  /** In monotonic time, so that setting back the wall clock does not delay a refresh. */
  readonly fetchedAt: number
}

/**
 * The public keys of a token issuer. They survive an outage of the key server for a day. Hand-written, because jose's
 * `createRemoteJWKSet` makes callers wait for a refresh and accepts no clock.
 */
export class KeySet {
  readonly #uri: string
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #closing = new AbortController()
  #keys: Keys | undefined
  /** In monotonic time. */
  #nextFetchAt = -Infinity
  #fetching: Promise<void> | undefined
  #lastError: unknown

  constructor (uri: string, { clock, timeoutMs = 5000 }: KeySetOptions) {
    this.#uri = uri
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** Identifies the current keys: a new object after every fetch. A cached verdict is valid only while its keys are current. */
  get version (): object | undefined {
    return this.#keys
  }

  /**
   * The key in `header`; undefined when the issuer has no key with that id.
   * @throws FST_TASKS_KEYS_UNAVAILABLE when no keys could be fetched
   */
  async find (header: CompactJWSHeaderParameters): Promise<CryptoKey | undefined> {
    await this.refresh()
    if (this.#current()?.ids.has(header.kid) !== true) await this.#fetch()
    const keys = this.#current()
    if (keys === undefined) throw new FST_TASKS_KEYS_UNAVAILABLE(keyRequestHint(this.#uri), { cause: this.#lastError })
    return keys.ids.has(header.kid) ? await keys.find(header) : undefined
  }

  /** Fetches missing keys and waits for them; refreshes old ones in the background. */
  async refresh (): Promise<void> {
    const keys = this.#current()
    if (keys === undefined) await this.#fetch()
    else if (this.#clock.monotonic() >= keys.fetchedAt + REFRESH_MS) this.#fetch()
  }

  /** Aborts a request in flight. */
  async close (): Promise<void> {
    this.#closing.abort()
    await this.#fetching
  }

  #current (): Keys | undefined {
    return this.#keys !== undefined && this.#clock.monotonic() < this.#keys.fetchedAt + MAX_AGE_MS ? this.#keys : undefined
  }

  /** Never rejects. Concurrent callers share one request; does nothing during the cool-down. */
  async #fetch (): Promise<void> {
    if (this.#fetching === undefined && this.#clock.monotonic() >= this.#nextFetchAt) {
      this.#fetching = this.#load().finally(() => { this.#fetching = undefined })
    }
    await this.#fetching
  }

  async #load (): Promise<void> {
    const timeout = new AbortController()
    const timer = this.#clock.setTimeout(() => {
      timeout.abort(new Error(`the key server did not answer within ${this.#timeoutMs / 1000} s`))
    }, this.#timeoutMs)
    try {
      const find = createLocalJWKSet(await requestKeys(this.#uri, AbortSignal.any([this.#closing.signal, timeout.signal])))
      const ids = new Set<unknown>(find.jwks().keys.map(key => key.kid).filter(id => id !== undefined))
      if (ids.size === 0) throw new Error('the key server answered without keys')
      this.#keys = { ids, find, fetchedAt: this.#clock.monotonic() }
      this.#lastError = undefined
    } catch (error) {
      this.#lastError = error
    } finally {
      this.#clock.clearTimeout(timer)
      this.#nextFetchAt = this.#clock.monotonic() + (this.#current() === undefined ? FIRST_COOL_DOWN_MS : COOL_DOWN_MS)
    }
  }
}

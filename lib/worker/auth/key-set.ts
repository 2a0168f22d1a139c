import { createLocalJWKSet, type CompactJWSHeaderParameters, type CryptoKey, type JSONWebKeySet } from 'jose'
import { FST_TASKS_KEYS_UNAVAILABLE } from '../../errors.js'

export interface KeySetOptions {
  /** Epoch milliseconds. @default Date.now */
  readonly now?: () => number
  /** @default 5000 */
  readonly timeoutMs?: number
}

/** Keys are looked up again after this long, in the background: nobody waits, and a withdrawn key does not live for ever. */
const REFRESH_MS = 600_000

/** Keys that could not be refreshed for this long are no longer believed. Google's live for weeks. */
const MAX_AGE_MS = 86_400_000

/** Least time between two requests for keys while there are some, so that tokens with invented key ids cost Google nothing. */
const COOL_DOWN_MS = 10_000

/** The same while there are none yet and nothing can be verified. */
const FIRST_COOL_DOWN_MS = 1000

interface Keys {
  readonly ids: ReadonlySet<unknown>
  readonly find: (header: CompactJWSHeaderParameters) => Promise<CryptoKey>
  readonly fetchedAt: number
}

/** The public keys of a token issuer, kept fresh. They outlive an outage of the key server by a day. */
export class KeySet {
  readonly #uri: string
  readonly #now: () => number
  readonly #timeoutMs: number
  readonly #closing = new AbortController()
  #keys: Keys | undefined
  #nextFetchAt = 0
  #fetching: Promise<void> | undefined
  #lastError: unknown

  constructor (uri: string, { now = Date.now, timeoutMs = 5000 }: KeySetOptions = {}) {
    this.#uri = uri
    this.#now = now
    this.#timeoutMs = timeoutMs
  }

  /** Stands for the keys as they are now. Whoever remembers a verdict compares it: a verdict is worth no more than its keys. */
  get version (): object | undefined {
    return this.#keys
  }

  /**
   * The key that `header` names; undefined when the issuer has none of that id.
   * @throws FST_TASKS_KEYS_UNAVAILABLE when no keys could be had
   */
  async find (header: CompactJWSHeaderParameters): Promise<CryptoKey | undefined> {
    await this.refresh()
    if (this.#current()?.ids.has(header.kid) !== true) await this.#fetch()
    const keys = this.#current()
    if (keys === undefined) throw new FST_TASKS_KEYS_UNAVAILABLE({ cause: this.#lastError })
    return keys.ids.has(header.kid) ? await keys.find(header) : undefined
  }

  /** Sees to it that there are keys. Waits only when there are none. */
  async refresh (): Promise<void> {
    const keys = this.#current()
    if (keys === undefined) await this.#fetch()
    else if (this.#now() >= keys.fetchedAt + REFRESH_MS) this.#fetch()
  }

  /** Ends a request for keys that is under way. */
  async close (): Promise<void> {
    this.#closing.abort()
    await this.#fetching
  }

  #current (): Keys | undefined {
    return this.#keys !== undefined && this.#now() < this.#keys.fetchedAt + MAX_AGE_MS ? this.#keys : undefined
  }

  /** Never rejects. One request at a time, whoever asks; none before the cool-down has passed. */
  async #fetch (): Promise<void> {
    if (this.#fetching === undefined && this.#now() >= this.#nextFetchAt && !this.#closing.signal.aborted) {
      this.#fetching = this.#load().finally(() => { this.#fetching = undefined })
    }
    await this.#fetching
  }

  async #load (): Promise<void> {
    try {
      const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(this.#timeoutMs)])
      const response = await fetch(this.#uri, { signal, redirect: 'error', headers: { accept: 'application/json' } })
      if (response.status !== 200) throw new Error(`the key server answered ${response.status}`)
      const find = createLocalJWKSet(await response.json() as JSONWebKeySet)
      const ids = new Set<unknown>(find.jwks().keys.map(key => key.kid).filter(id => id !== undefined))
      if (ids.size === 0) throw new Error('the key server answered without keys')
      this.#keys = { ids, find, fetchedAt: this.#now() }
      this.#lastError = undefined
    } catch (error) {
      this.#lastError = error
    } finally {
      this.#nextFetchAt = this.#now() + (this.#current() === undefined ? FIRST_COOL_DOWN_MS : COOL_DOWN_MS)
    }
  }
}

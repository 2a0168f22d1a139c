import type { AsyncResource } from 'node:async_hooks'
import type { Clock } from '../../clock/clock.js'

export type Reading<V> = { readonly outcome: 'read', readonly value: V } | Unread

/** Nothing was read. `denied`: an early retry would not help. `problem` says how to fix it. */
export type Unread =
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'denied' | 'failed', readonly problem: string, readonly cause: unknown }

export interface ReadingsOptions<V> {
  /** Never rejects. */
  readonly read: (key: string) => Promise<Reading<V>>
  readonly clock: Clock
  readonly scope: AsyncResource
  /** Age in milliseconds after which a value is refreshed in the background. Infinity for values that never change. */
  readonly refreshMs: number
  /** Maximum number of cached keys; the oldest is evicted first. */
  readonly maxKeys: number
  readonly onRead: (key: string, value: V) => void
  readonly onUnread: (key: string, reading: Unread) => void
}

/** Maximum time that an attempt waits for a reading. */
const WAIT_MS = 2000

/** Minimum time between two readings of a key after a transient failure. */
const FAILED_MS = 10_000

/** The same after it was denied or missing. */
const DENIED_MS = 300_000

interface Entry<V> {
  /** The last value that was read. */
  value: V | undefined
  /** In monotonic time, like `nextReadAt`. */
  readAt: number
  nextReadAt: number
  /** Resolves with whether a value was read. */
  reading: Promise<boolean> | undefined
  /** After an attempt has waited without success, no other waits until a reading succeeds. */
  waitedInVain: boolean
}

/** A cache of remote values, read on demand. Only `get` refreshes them, so an idle process reads nothing. */
export class Readings<V> {
  readonly #options: ReadingsOptions<V>
  readonly #entries = new Map<string, Entry<V>>()
  #closed = false
  /** Each resumes one waiting attempt. */
  readonly #waits = new Set<() => void>()

  constructor (options: ReadingsOptions<V>) {
    this.#options = options
  }

  /** The last value that was read, of any age. */
  known (key: string): V | undefined {
    return this.#entries.get(key)?.value
  }

  /**
   * A value read less than `maxAgeMs` ago. Where it has to be read first, waits for at most two seconds; after that, and where a
   * reading has recently failed, returns the last value. Any age is accepted by default.
   */
  get (key: string, maxAgeMs: number = Infinity): V | undefined | Promise<V | undefined> {
    const entry = this.#entry(key)
    // Infinite until a value is read.
    const age = this.#options.clock.monotonic() - entry.readAt
    if (age < maxAgeMs) {
      if (age >= this.#options.refreshMs) this.#read(key, entry)
      return entry.value
    }
    const reading = this.#read(key, entry)
    return reading === undefined || entry.waitedInVain ? entry.value : this.#wait(reading, entry)
  }

  /** Reads a key in advance. */
  prepare (key: string): void {
    this.#read(key, this.#entry(key))
  }

  /** Stops reading, and resumes waiting attempts with the last values. */
  close (): void {
    this.#closed = true
    for (const goOn of this.#waits) goOn()
  }

  #entry (key: string): Entry<V> {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const entry: Entry<V> = { value: undefined, readAt: -Infinity, nextReadAt: -Infinity, reading: undefined, waitedInVain: false }
    this.#entries.set(key, entry)
    if (this.#entries.size > this.#options.maxKeys) this.#entries.delete(this.#entries.keys().next().value!)
    return entry
  }

  /** Concurrent callers share one reading of a key. Undefined while the last failure is too recent. */
  #read (key: string, entry: Entry<V>): Promise<boolean> | undefined {
    if (entry.reading === undefined && !this.#closed && this.#options.clock.monotonic() >= entry.nextReadAt) {
      entry.reading = this.#options.scope.runInAsyncScope(() => this.#load(key, entry)).finally(() => { entry.reading = undefined })
    }
    return entry.reading
  }

  async #load (key: string, entry: Entry<V>): Promise<boolean> {
    const { read, clock, onRead, onUnread } = this.#options
    const reading = await read(key)
    if (this.#closed) return false
    const now = clock.monotonic()
    if (reading.outcome === 'read') {
      entry.value = reading.value
      entry.readAt = now
      entry.waitedInVain = false
      onRead(key, reading.value)
    } else {
      entry.nextReadAt = now + (reading.outcome === 'failed' ? FAILED_MS : DENIED_MS)
      onUnread(key, reading)
    }
    return reading.outcome === 'read'
  }

  async #wait (reading: Promise<boolean>, entry: Entry<V>): Promise<V | undefined> {
    const { clock } = this.#options
    let read = false
    let goOn!: () => void
    const ended = new Promise<void>(resolve => { goOn = resolve })
    this.#waits.add(goOn)
    const timer = clock.setTimeout(goOn, WAIT_MS)
    reading.then(value => {
      read = value
      goOn()
    })
    await ended
    clock.clearTimeout(timer)
    this.#waits.delete(goOn)
    entry.waitedInVain = !read
    return entry.value
  }
}

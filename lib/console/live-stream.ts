import type { ServerResponse } from 'node:http'
import type { Clock } from '../clock/clock.js'

/**
 * Server-sent events for all open pages. Changes are sent at most four times a second, and each message is serialised once for all
 * clients. With backpressure, messages are skipped instead of queued, and the client is asked to reload when it has caught up.
 */
export class LiveStream {
  readonly #clock: Clock
  readonly #message: () => object
  readonly #clients = new Set<Client>()
  #timer: unknown
  #heartbeat: unknown
  /** In monotonic time. */
  #sentAt = -Infinity
  #closed = false

  /** @param message creates the message; called once for all clients */
  constructor (clock: Clock, message: () => object) {
    this.#clock = clock
    this.#message = message
  }

  /** Whether no page is open, so that changes need not be collected. */
  get idle (): boolean {
    return this.#clients.size === 0
  }

  get full (): boolean {
    return this.#closed || this.#clients.size >= MAX_CLIENTS
  }

  /** Takes over a response whose headers have been written. */
  join (response: ServerResponse): void {
    const client: Client = { response, blocked: false, missed: false }
    this.#clients.add(client)
    this.#heartbeat ??= this.#beat()
    response.on('drain', () => {
      client.blocked = false
      if (!client.missed) return
      client.missed = false
      write(client, 'event: reload\ndata: {}\n\n')
    })
    const leave = (): void => { this.#leave(client) }
    response.on('close', leave)
    response.on('error', leave)
    write(client, 'retry: 1000\n\n')
  }

  /** Schedules a message after a change. */
  change (): void {
    if (this.#timer !== undefined || this.idle) return
    const ms = Math.max(0, this.#sentAt + INTERVAL_MS - this.#clock.monotonic())
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined
      this.#sentAt = this.#clock.monotonic()
      if (!this.idle) this.#send(`event: live\ndata: ${JSON.stringify(this.#message())}\n\n`)
    }, ms)
  }

  /** Ends all responses, and accepts no new ones. */
  close (): void {
    this.#closed = true
    for (const client of this.#clients) {
      this.#leave(client)
      client.response.end()
    }
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #beat (): unknown {
    return this.#clock.setTimeout(() => {
      this.#heartbeat = this.#beat()
      this.#send(': \n\n')
    }, HEARTBEAT_MS)
  }

  #send (text: string): void {
    for (const client of this.#clients) {
      if (client.blocked) client.missed = true
      else write(client, text)
    }
  }

  #leave (client: Client): void {
    this.#clients.delete(client)
    if (!this.idle) return
    this.#clock.clearTimeout(this.#heartbeat)
    this.#heartbeat = undefined
  }
}

interface Client {
  readonly response: ServerResponse
  /** The last write is not yet flushed. */
  blocked: boolean
  missed: boolean
}

function write (client: Client, text: string): void {
  client.blocked = !client.response.write(text)
}

const INTERVAL_MS = 250

/** Proxies close connections that are idle for a minute. */
const HEARTBEAT_MS = 15_000

const MAX_CLIENTS = 100

import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { hostName, initiatorOf, isFixedName } from '../../browser-guard.js'
import { FST_TASKS_FORBIDDEN } from '../../errors.js'

/** The page loads resources from this server only, and has no inline scripts. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin'
}

/**
 * Protects against CSRF and DNS rebinding. A request must come from the console's own page; a write must also have a token that only
 * that page can read. Without `auth`, the page must be loaded by a host name that is safe from DNS rebinding.
 */
export class Guard {
  /** The CSRF token of this console. It changes when the process restarts. */
  readonly token = randomBytes(32).toString('base64url')
  readonly #anyHost: boolean
  readonly #hosts: ReadonlySet<string>

  /** @param anyHost whether callers are authenticated, so that the host name does not matter */
  constructor (anyHost: boolean, hosts: readonly string[]) {
    this.#anyHost = anyHost
    this.#hosts = new Set(hosts.map(host => host.toLowerCase()))
  }

  /** @throws FST_TASKS_FORBIDDEN */
  checkHost (request: FastifyRequest): void {
    const { host, ':authority': authority } = request.raw.headers
    // With `trustProxy`, `request.host` is X-Forwarded-Host, which any page can set if there is no proxy.
    if (this.#anyHost || (this.#isAllowed(host ?? authority as string | undefined) && this.#isAllowed(request.host))) return
    throw new FST_TASKS_FORBIDDEN(
      "without 'auth' the console is only available at localhost, IP addresses and the names in its option 'hosts'"
    )
  }

  /**
   * Rejects requests from pages of other sites.
   * @throws FST_TASKS_FORBIDDEN
   */
  checkRead (request: FastifyRequest): void {
    if (initiatorOf(request.headers, request.host) !== 'other') return
    throw new FST_TASKS_FORBIDDEN(
      request.headers['sec-fetch-site'] === undefined
        ? 'the Origin of the request does not match its Host; behind a proxy that rewrites Host, use HTTPS, ' +
          'forward the Host header, or set trustProxy'
        : 'the request comes from another site'
    )
  }

  /**
   * Accepts only requests from the console's own page.
   * @throws FST_TASKS_FORBIDDEN
   */
  checkWrite (request: FastifyRequest): void {
    this.checkRead(request)
    if (initiatorOf(request.headers, request.host) === 'none') {
      throw new FST_TASKS_FORBIDDEN(
        'the request has neither Sec-Fetch-Site nor Origin; browsers send at least one of them with every write'
      )
    }
    const token = request.headers['x-console-token']
    if (typeof token !== 'string' || !equal(token, this.token)) {
      throw new FST_TASKS_FORBIDDEN('the request has no valid token; reload the page after a restart of the server')
    }
  }

  #isAllowed (host: string | undefined): boolean {
    const name = hostName(host)
    return isFixedName(name) || this.#hosts.has(name)
  }
}

function equal (given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}

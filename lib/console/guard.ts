import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { FST_TASKS_FORBIDDEN } from '../errors.js'
import { hostName, isFixedName } from '../browser-guard.js'

/** Nothing from elsewhere, nothing inline. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin'
}

/**
 * Keeps other sites out. A browser sends what other pages tell it to, so a request must come from the console's own page
 * (Sec-Fetch-Site, Origin), a write must carry a token that only that page could read, and where nobody is asked to log in
 * the page must have been loaded by a name that nobody else can point to this machine (DNS rebinding).
 */
export class Guard {
  /** Of this console, until the process ends. */
  readonly token = randomBytes(32).toString('base64url')
  readonly #anyHost: boolean
  readonly #hosts: ReadonlySet<string>

  /** @param anyHost whether callers prove who they are, so that the host's name does not matter */
  constructor (anyHost: boolean, hosts: readonly string[]) {
    this.#anyHost = anyHost
    this.#hosts = new Set(hosts.map(host => host.toLowerCase()))
  }

  /** @throws FST_TASKS_FORBIDDEN */
  checkHost (request: FastifyRequest): void {
    const { host, ':authority': authority } = request.raw.headers
    // Behind a proxy that is trusted `request.host` is X-Forwarded-Host, which without one any page may have written.
    if (this.#anyHost || (this.#isOurs(host ?? authority as string | undefined) && this.#isOurs(request.host))) return
    throw new FST_TASKS_FORBIDDEN("the console answers to localhost, to addresses and to the names in its option 'hosts' only, unless it has 'auth'")
  }

  /** @throws FST_TASKS_FORBIDDEN */
  checkOrigin (request: FastifyRequest): void {
    const { origin, 'sec-fetch-site': site } = request.headers
    const strange = (site !== undefined && site !== 'same-origin' && site !== 'none') || (origin !== undefined && !isOriginOf(origin, request.host))
    if (strange) throw new FST_TASKS_FORBIDDEN('the call comes from another site')
  }

  /** @throws FST_TASKS_FORBIDDEN */
  checkWrite (request: FastifyRequest): void {
    if (request.headers.origin === undefined && request.headers['sec-fetch-site'] !== 'same-origin') {
      throw new FST_TASKS_FORBIDDEN('the call does not say from which site it comes')
    }
    const token = request.headers['x-console-token']
    if (typeof token !== 'string' || !equal(token, this.token)) {
      throw new FST_TASKS_FORBIDDEN('the call has no valid token; the page must be loaded again after a restart')
    }
  }

  #isOurs (host: string | undefined): boolean {
    const name = hostName(host)
    return isFixedName(name) || this.#hosts.has(name)
  }
}

/** The scheme is left out: a proxy in front may have ended TLS. */
function isOriginOf (origin: string, host: string | undefined): boolean {
  const match = /^https?:\/\/([^/]+)$/i.exec(origin)
  return match !== null && match[1]!.toLowerCase() === (host ?? '').toLowerCase()
}

function equal (given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}

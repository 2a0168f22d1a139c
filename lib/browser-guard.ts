import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

/** The web page behind a request. `none`: no page, as for a program's request or an address that a user typed. */
export type Initiator = 'none' | 'same-origin' | 'other'

/**
 * Which web page had the browser send a request: the first half of the protection against CSRF.
 *
 * Sec-Fetch-Site decides where it is sent: no page can set it, and it is about the address that the browser sees, so it
 * holds behind a proxy that rewrites Host. Browsers omit it for plain HTTP to other machines, and Safari before 16.4 always
 * does; there Origin must name `host`.
 *
 * @param host the host that the request was sent to, with its port
 */
export function initiatorOf ({ origin, 'sec-fetch-site': site }: IncomingHttpHeaders, host: string | undefined): Initiator {
  if (site === undefined) return origin === undefined ? 'none' : isOriginOf(origin, host) ? 'same-origin' : 'other'
  if (site === 'same-origin') return 'same-origin'
  // A request that the user started, as with a bookmark, has no Origin.
  return site === 'none' && origin === undefined ? 'none' : 'other'
}

/** The name in a Host header: without port and brackets, in lower case. */
export function hostName (host: string | undefined): string {
  return (host ?? '').toLowerCase().replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1')
}

/** Whether no DNS record can point this name to another machine: `localhost`, and addresses. Other names allow DNS rebinding. */
export function isFixedName (name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0
}

/** The scheme is ignored: a proxy in front may terminate TLS. */
function isOriginOf (origin: string, host: string | undefined): boolean {
  const match = /^https?:\/\/([^/]+)$/i.exec(origin)
  return match !== null && match[1]!.toLowerCase() === (host ?? '').toLowerCase()
}

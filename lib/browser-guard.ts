import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

/** The web page that initiated a request. `none`: no page, such as for a program's request or a typed URL. */
export type Initiator = 'none' | 'same-origin' | 'other'

/**
 * Determines which web page initiated a request: the first half of the CSRF protection.
 *
 * Sec-Fetch-Site decides where it is present: no page can set it, and it refers to the URL that the browser sees, so it works
 * behind a proxy that rewrites Host. Browsers omit it for plain HTTP to other machines, and Safari before 16.4 always does; then Origin
 * must match `host`.
 *
 * @param host the host that the request was sent to, with its port
 */
export function initiatorOf ({ origin, 'sec-fetch-site': site }: IncomingHttpHeaders, host: string | undefined): Initiator {
  if (site === undefined) return origin === undefined ? 'none' : isOriginOf(origin, host) ? 'same-origin' : 'other'
  if (site === 'same-origin') return 'same-origin'
  // A request that was initiated by the user, such as from a bookmark, has no Origin.
  return site === 'none' && origin === undefined ? 'none' : 'other'
}

/** The host name in a Host header: without port and brackets, in lower case. */
export function hostName (host: string | undefined): string {
  return (host ?? '').toLowerCase().replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1')
}

/** Whether a name is safe from DNS rebinding: `localhost` and IP addresses. */
export function isFixedName (name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0
}

/** Ignores the scheme, because a proxy may terminate TLS. */
function isOriginOf (origin: string, host: string | undefined): boolean {
  const match = /^https?:\/\/([^/]+)$/i.exec(origin)
  return match !== null && match[1]!.toLowerCase() === (host ?? '').toLowerCase()
}

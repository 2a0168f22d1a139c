import type { IncomingHttpHeaders } from 'node:http'
import { CloudTasksError } from '../../cloud-tasks/status.js'
import { hostName, initiatorOf, isFixedName } from '../../browser-guard.js'

/**
 * Refuses web pages at the REST interface, which authenticates nobody: a browser sends what any page asks for, also to this
 * machine, and a POST without a content type or a body needs no CORS preflight. Clients of Cloud Tasks are not browsers, so
 * pages of the emulator's own origin are refused, too, once they send an Origin.
 *
 * A page whose name was pointed to this machine (DNS rebinding) reads without an Origin. Where the emulator listens on a
 * loopback address it therefore answers only to names that cannot be such a page's.
 *
 * @param listensOn the option `host`
 * @param allowed more names to answer to, in lower case
 */
export function callerCheck (listensOn: string, allowed: readonly string[] = []): (headers: IncomingHttpHeaders) => void {
  const anyName = !isLoopback(listensOn)
  return headers => {
    const { origin, host } = headers
    if (origin !== undefined || initiatorOf(headers, host) === 'other') {
      throw new CloudTasksError(
        'PERMISSION_DENIED',
        `The emulator accepts no calls from web pages, and this one comes from ${(origin ?? 'another site').slice(0, MAX_ECHO)}. ` +
          'Call it from a server.'
      )
    }
    const name = hostName(host)
    // HTTP/1.0 has no Host, and no browser speaks it.
    if (anyName || name === '' || isFixedName(name) || isPrivate(name) || name === listensOn.toLowerCase() || allowed.includes(name)) {
      return
    }
    throw new CloudTasksError(
      'PERMISSION_DENIED',
      `The emulator listens on ${listensOn}, for this machine alone, and does not answer to the name ${name.slice(0, MAX_ECHO)}. ` +
        'Call it by localhost or 127.0.0.1, or allow that name with --allow-host.'
    )
  }
}

function isLoopback (host: string): boolean {
  return /^127\.|^::1$|^localhost$/i.test(host)
}

/** Names that no domain on the web can have: without a dot, as of containers, and below domains that are reserved for such use. */
function isPrivate (name: string): boolean {
  return !name.includes('.') || /\.(?:internal|local|test)$/.test(name)
}

const MAX_ECHO = 100

import type { IncomingHttpHeaders } from 'node:http'
import { CloudTasksError } from '../../cloud-tasks/status.js'
import { hostName, initiatorOf, isFixedName } from '../../browser-guard.js'

/**
 * Protects the REST interface, which has no authentication, against CSRF: any web page can make a browser send requests to this
 * machine, and a POST without a content type or a body needs no CORS preflight. Clients of Cloud Tasks are not browsers, so every
 * request with an Origin is rejected, even the emulator's own.
 *
 * After DNS rebinding, a page's requests are same-origin and can lack an Origin. On a loopback address the emulator therefore
 * accepts only host names that such a page cannot have.
 *
 * @param listensOn the option `host`
 * @param allowed additional host names to accept, in lower case
 */
export function callerCheck (listensOn: string, allowed: readonly string[] = []): (headers: IncomingHttpHeaders) => void {
  const anyName = !isLoopback(listensOn)
  return headers => {
    const { origin, host } = headers
    if (origin !== undefined || initiatorOf(headers, host) === 'other') {
      throw new CloudTasksError(
        'PERMISSION_DENIED',
        `The emulator accepts no calls from web pages, and this call comes from ${(origin ?? 'another site').slice(0, MAX_ECHO)}. ` +
          'Call it from a server.'
      )
    }
    const name = hostName(host)
    // HTTP/1.0 has no Host, and no browser uses it.
    if (anyName || name === '' || isFixedName(name) || isPrivate(name) || name === listensOn.toLowerCase() || allowed.includes(name)) {
      return
    }
    throw new CloudTasksError(
      'PERMISSION_DENIED',
      `The emulator listens on ${listensOn} and does not accept the host name ${name.slice(0, MAX_ECHO)}. ` +
        'Call it as localhost or 127.0.0.1, or allow the name with --allow-host.'
    )
  }
}

function isLoopback (host: string): boolean {
  return /^127\.|^::1$|^localhost$/i.test(host)
}

/** Names that no public domain can have: those without a dot, such as of containers, and those below reserved domains. */
function isPrivate (name: string): boolean {
  return !name.includes('.') || /\.(?:internal|local|test)$/.test(name)
}

const MAX_ECHO = 100

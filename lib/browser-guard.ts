import { isIP } from 'node:net'

/** Out of a Host header: without port and brackets, in lower case. */
export function hostName (host: string | undefined): string {
  return (host ?? '').toLowerCase().replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1')
}

/** Whether nobody can point this name to another machine than it leads to now: `localhost`, and addresses. */
export function isFixedName (name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name) !== 0
}

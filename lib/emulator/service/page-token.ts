import { statusErrors } from '../../cloud-tasks/status.js'

export interface PageFields {
  readonly pageSize?: number
  readonly pageToken?: string
}

/** A token that contains the place where a list continues. Valid for the same `query` and for two hours. */
export function encodeToken (place: string, query: string, now: number): string {
  return Buffer.from(JSON.stringify([place, query, now])).toString('base64url')
}

/** The place; empty for the first page. Throws INVALID_ARGUMENT for a token that is invalid, expired, or of another query. */
export function decodeToken (token: string, query: string, now: number): string {
  if (token === '') return ''
  const [place, of, issuedAt] = parse(token)
  if (typeof place !== 'string' || of !== query || typeof issuedAt !== 'number' || issuedAt + TTL_MS <= now) throw statusErrors.pageToken()
  return place
}

function parse (token: string): unknown[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    return Array.isArray(parsed) ? parsed : []
  } catch {
    return []
  }
}

/** As Google documents for all lists. */
const TTL_MS = 2 * 3600 * 1000

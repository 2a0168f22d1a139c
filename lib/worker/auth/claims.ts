import type { OidcCallers } from '../../options/auth.js'

/** Allowed clock skew between the issuer and this machine, in seconds. */
const TOLERANCE_SECONDS = 30

/** Whether the claims of an authentic token are accepted: until which epoch second, or the reason why not. */
export type ClaimsVerdict =
  | { readonly accepted: true, readonly untilSeconds: number }
  /** `wrongIdentity`: the token is valid, but it belongs to another account. */
  | { readonly accepted: false, readonly wrongIdentity: boolean, readonly problem: string }

/** All comparisons are exact: case-sensitive, no prefixes, no lists of audiences. Problems do not quote the token. */
export function checkClaims (claims: unknown, callers: OidcCallers, nowSeconds: number): ClaimsVerdict {
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) return unusable('its claims are not an object')
  const { iss, aud, exp, nbf, iat, email, email_verified: verified } = claims as Readonly<Record<string, unknown>>
  if (callers.issuers !== undefined && !isOneOf(iss, callers.issuers)) return unusable('its issuer is not the expected one')
  if (!isOneOf(aud, callers.audiences)) {
    return unusable("its audience is not the expected one, which is the origin of 'target.url' unless 'target.audience' is set")
  }
  if (!isTime(exp) || !isTime(iat)) return unusable('it lacks the time at which it was issued or at which it expires')
  if (exp <= nowSeconds - TOLERANCE_SECONDS) return unusable('it has expired')
  if (iat > nowSeconds + TOLERANCE_SECONDS) return unusable('it was issued in the future')
  if (nbf !== undefined && !(isTime(nbf) && nbf <= nowSeconds + TOLERANCE_SECONDS)) return unusable('it is not valid yet')
  if (verified !== true) return wrongIdentity('its e-mail address is not verified')
  if (!isOneOf(email, callers.emails)) return wrongIdentity('it belongs to another account than the service account of the tasks')
  return { accepted: true, untilSeconds: exp + TOLERANCE_SECONDS }
}

function isOneOf (value: unknown, allowed: readonly string[]): boolean {
  return typeof value === 'string' && allowed.includes(value)
}

function isTime (value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function unusable (problem: string): ClaimsVerdict {
  return { accepted: false, wrongIdentity: false, problem }
}

function wrongIdentity (problem: string): ClaimsVerdict {
  return { accepted: false, wrongIdentity: true, problem }
}

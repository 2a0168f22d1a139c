import { grpcCodeOf, grpcCodes, type GrpcCode } from '../../cloud-tasks/status.js'
import { ClientError } from './client.js'
import type { Fault } from './call-retry.js'

/** An error of the official client, judged. */
export interface CloudFault extends Fault {
  readonly code: GrpcCode | 'NO_PROJECT'
  /** The service's own words. They quote names and ids, never a payload or a token. */
  readonly details: string
  readonly error: unknown
}

/**
 * Every error has one code here, wherever it comes from: gRPC, the client's REST mode (which gives HTTP statuses in one of
 * its major versions), the search for credentials, or a socket below them.
 */
export function classifyError (error: unknown): CloudFault {
  const details = detailsOf(error)
  const code = codeOf(error, details)
  return { code, details, error, transient: TRANSIENT.has(code), mayHaveArrived: mayHaveArrived(error, code, details) }
}

const TRANSIENT: ReadonlySet<string> = new Set<GrpcCode>(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED'])

const CODES = new Map<number, GrpcCode>(Object.entries(grpcCodes).map(([name, code]) => [code, name as GrpcCode]))

const RESET = /ECONNRESET|ECONNREFUSED|ECONNABORTED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|RST_STREAM|GOAWAY|socket hang up/

/** What grpc-js says when the access token for a call could not be had. */
const NO_TOKEN = /^(?:\d+ \w+: )?Getting metadata from plugin failed/

function codeOf (error: unknown, details: string): CloudFault['code'] {
  if (error instanceof ClientError) {
    const cause = classifyError(error.cause)
    if (cause.transient) return cause.code
    return error.lacks === 'project' ? 'NO_PROJECT' : 'UNAUTHENTICATED'
  }
  const { code } = (error ?? {}) as { readonly code?: unknown }
  if (typeof code === 'string' && RESET.test(code)) return 'UNAVAILABLE'
  const name = typeof code === 'number' ? (CODES.get(code) ?? (code === 409 ? 'ALREADY_EXISTS' : grpcCodeOf(code))) : 'UNKNOWN'
  if ((name === 'INTERNAL' || name === 'UNKNOWN') && RESET.test(details)) return 'UNAVAILABLE'
  return name === 'UNKNOWN' && NO_TOKEN.test(details) ? 'UNAUTHENTICATED' : name
}

/** A call that never left has done nothing, nor has one that was answered with a refusal, as by a quota. */
function mayHaveArrived (error: unknown, code: CloudFault['code'], details: string): boolean {
  if (error instanceof ClientError || NO_TOKEN.test(details)) return false
  if (/No connection established|Name resolution failed|ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(details)) return false
  return code === 'UNAVAILABLE' || code === 'DEADLINE_EXCEEDED'
}

function detailsOf (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { details } = error as { readonly details?: unknown }
  return typeof details === 'string' && details !== '' ? details : error.message
}

import { grpcCodeOf, grpcCodes, type GrpcCode } from '../../cloud-tasks/status.js'
import { ClientError } from './client.js'
import type { Fault } from './call-retry.js'

/** An error of the official client, classified. */
export interface CloudFault extends Fault {
  readonly code: GrpcCode | 'NO_PROJECT'
  /** Whether no access token could be obtained, so that the call was not sent. */
  readonly lacksToken: boolean
  /** Google's message. It contains names and ids, never a payload or a token. */
  readonly details: string
  readonly error: unknown
}

/**
 * Maps errors of all sources to one code: gRPC, the client's REST mode (which returns HTTP statuses in one of its major versions),
 * credentials, and sockets.
 */
export function classifyError (error: unknown): CloudFault {
  const details = detailsOf(error)
  const lacksToken = isTokenError(error, details)
  const code = codeOf(error, details, lacksToken)
  return {
    code,
    lacksToken,
    details: details.replace(PLUGIN_PREFIX, ''),
    error,
    transient: TRANSIENT.has(code),
    mayHaveArrived: !lacksToken && mayHaveArrived(code, details)
  }
}

const TRANSIENT: ReadonlySet<string> = new Set<GrpcCode>(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED'])

const CODES = new Map<number, GrpcCode>(Object.entries(grpcCodes).map(([name, code]) => [code, name as GrpcCode]))

const RESET = new RegExp([
  'ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH',
  'RST_STREAM', 'GOAWAY', 'socket hang up'
].join('|'))

/** The prefix of grpc-js when the access token for a call could not be obtained. */
const PLUGIN_PREFIX = /^(?:\d+ \w+: )?Getting metadata from plugin failed with error: /

/** Paths of Cloud Tasks' REST API, to distinguish its errors from those of token servers in the client's REST mode. */
const API_PATH = /^\/v2(?:beta\d)?\//

function isTokenError (error: unknown, details: string): boolean {
  if (error instanceof ClientError || PLUGIN_PREFIX.test(details)) return true
  const url = String((error as { readonly config?: { readonly url?: unknown } } | undefined)?.config?.url ?? '')
  return URL.canParse(url) && !API_PATH.test(new URL(url).pathname)
}

function codeOf (error: unknown, details: string, lacksToken: boolean): CloudFault['code'] {
  if (error instanceof ClientError) {
    const cause = classifyError(error.cause)
    if (cause.transient) return cause.code
    return error.lacks === 'project' ? 'NO_PROJECT' : 'UNAUTHENTICATED'
  }
  const { code } = (error ?? {}) as { readonly code?: unknown }
  if (typeof code === 'string' && RESET.test(code)) return 'UNAVAILABLE'
  if (lacksToken) return isTransientStatus(code) || RESET.test(details) ? 'UNAVAILABLE' : 'UNAUTHENTICATED'
  const name = typeof code === 'number' ? (CODES.get(code) ?? grpcCodeOf(code)) : 'UNKNOWN'
  return (name === 'INTERNAL' || name === 'UNKNOWN') && RESET.test(details) ? 'UNAVAILABLE' : name
}

/** Whether a token server failed for reasons of its own, not because of the account. */
function isTransientStatus (status: unknown): boolean {
  return typeof status === 'number' && (status === 429 || status >= 500)
}

/** A call that was never sent has had no effect, and neither has a rejected one, such as for a quota. */
function mayHaveArrived (code: CloudFault['code'], details: string): boolean {
  if (/No connection established|Name resolution failed|ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(details)) return false
  return code === 'UNAVAILABLE' || code === 'DEADLINE_EXCEEDED'
}

function detailsOf (error: unknown): string {
  if (error instanceof ClientError) return detailsOf(error.cause)
  if (!(error instanceof Error)) return String(error)
  const { details } = error as { readonly details?: unknown }
  return typeof details === 'string' && details !== '' ? details : error.message
}

/** An attempt that got no response. The message is one line for people; `kind` distinguishes the causes. */
export class Unreachable extends Error {
  readonly kind: string

  constructor (kind: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'Unreachable'
    this.kind = kind
  }
}

/** Describes the error of a connection to `host`. */
export function connectionProblem (host: string, error: unknown): Unreachable {
  const found = firstError(error)
  const kind = found.code ?? found.name
  return new Unreachable(
    kind,
    `${host} ${MESSAGES[found.name] ?? MESSAGES[kind] ?? `could not be reached: ${found.message.trim().split('\n', 1)[0]}`}`,
    error
  )
}

/** With several addresses there are several errors; the first describes the problem. */
function firstError (error: unknown): NodeJS.ErrnoException {
  if (error instanceof AggregateError && error.errors.length > 0) return firstError(error.errors[0])
  return error instanceof Error ? error : new Error(String(error))
}

const MESSAGES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection: no server is listening there',
  ENOTFOUND: 'is unknown: its name does not resolve to an address',
  EAI_AGAIN: 'is unknown: the name server does not respond',
  ECONNRESET: 'reset the connection before it responded',
  EPIPE: 'closed the connection before it responded',
  UND_ERR_SOCKET: 'closed the connection before the response was complete',
  UND_ERR_CONNECT_TIMEOUT: 'did not accept the connection in time',
  UND_ERR_HEADERS_OVERFLOW: 'responded with more than 64 KiB of headers',
  ERR_SSL_WRONG_VERSION_NUMBER: 'does not speak TLS: its URL should begin with http://',
  EMFILE: 'could not be reached: this process has too many open files (see ulimit -n)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'has a self-signed certificate: start the emulator with NODE_EXTRA_CA_CERTS=FILE to trust it',
  SELF_SIGNED_CERT_IN_CHAIN: 'has a certificate of an unknown authority: start the emulator with NODE_EXTRA_CA_CERTS=FILE to trust it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'has a certificate of an unknown authority: start the emulator with NODE_EXTRA_CA_CERTS=FILE to trust it',
  HTTPParserError: 'did not respond with valid HTTP/1.1'
}

/** Why an attempt got no answer from its target, in one line for people. `kind` distinguishes the causes. */
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
  const found = failureOf(error)
  const kind = found.code ?? found.name
  return new Unreachable(
    kind,
    `${host} ${TEXTS[found.name] ?? TEXTS[kind] ?? `could not be reached: ${found.message.trim().split('\n', 1)[0]}`}`,
    error
  )
}

/** With several addresses there are several errors; the first describes the problem. */
function failureOf (error: unknown): NodeJS.ErrnoException {
  if (error instanceof AggregateError && error.errors.length > 0) return failureOf(error.errors[0])
  return error instanceof Error ? error : new Error(String(error))
}

const TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection: nothing listens there',
  ENOTFOUND: 'is unknown: its name has no address',
  EAI_AGAIN: 'is unknown: the name server does not answer',
  ECONNRESET: 'reset the connection before it answered',
  EPIPE: 'closed the connection before it answered',
  UND_ERR_SOCKET: 'closed the connection before it had answered',
  UND_ERR_CONNECT_TIMEOUT: 'did not accept the connection in time',
  UND_ERR_HEADERS_OVERFLOW: 'answered with more than 64 KiB of headers',
  ERR_SSL_WRONG_VERSION_NUMBER: 'does not speak TLS: its URL should begin with http://',
  EMFILE: 'could not be reached: this process may open no more files (see ulimit -n)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'has a certificate that it signed itself: start the emulator with NODE_EXTRA_CA_CERTS=FILE to trust it',
  SELF_SIGNED_CERT_IN_CHAIN: 'has a certificate of an unknown authority: start the emulator with NODE_EXTRA_CA_CERTS=FILE to trust it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'has a certificate of an unknown authority: start the emulator with NODE_EXTRA_CA_CERTS=FILE to trust it',
  HTTPParserError: 'did not answer in HTTP/1.1'
}

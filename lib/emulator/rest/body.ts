import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { FastifyRequest } from 'fastify'
import { badRequest } from '../proto/bad-request.js'
import { MAX_REQUEST_BYTES } from '../service/requests.js'

/**
 * The decompressed body. Google's front ends accept gzip, and its discovery client for Java compresses every body. Throws
 * INVALID_ARGUMENT for any other `Content-Encoding`, and for a body above the size limit.
 */
export async function decoded ({ headers }: FastifyRequest, body: Buffer): Promise<Buffer> {
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (body.length === 0 || encoding === 'identity') return body
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    throw badRequest('', `Content-Encoding ${encoding.slice(0, MAX_ECHO)} is not supported; use gzip, or none.`)
  }
  try {
    return await inflate(body, { maxOutputLength: MAX_REQUEST_BYTES })
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
      ? tooLarge()
      : badRequest('', `The body is not valid gzip, although its Content-Encoding says so: ${(error as Error).message}.`)
  }
}

export function tooLarge (): Error {
  return badRequest('', `Request payload size exceeds the limit: ${MAX_REQUEST_BYTES} bytes.`)
}

/** Undefined without a body. Throws INVALID_ARGUMENT for everything but a JSON object. */
export function bodyJson (request: FastifyRequest): Record<string, unknown> | undefined {
  const body = request.body as Buffer | undefined
  if (body === undefined || body.length === 0) return undefined
  const type = mediaType(request) ?? 'application/json'
  if (!/^application\/(?:[\w.-]+\+)?json$/.test(type)) {
    throw badRequest('', `Invalid JSON payload received. The content type must be application/json, not ${type.slice(0, MAX_ECHO)}.`)
  }
  let json: unknown
  try {
    json = JSON.parse(body.toString())
  } catch (error) {
    throw badRequest('', `Invalid JSON payload received. ${withoutPayload((error as Error).message)}`)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw badRequest('', 'Invalid JSON payload received. Root element must be a message.')
  }
  return json as Record<string, unknown>
}

/** The query of a call whose parameters were too long for a URL and were sent as a form. */
export function formQuery (request: FastifyRequest): string | undefined {
  const body = request.body as Buffer | undefined
  return mediaType(request) === 'application/x-www-form-urlencoded' ? body?.toString() : undefined
}

function mediaType ({ headers }: FastifyRequest): string | undefined {
  return headers['content-type']?.split(';')[0]!.trim().toLowerCase()
}

/** JSON.parse quotes the text that it could not parse, and names its position only for some errors. */
function withoutPayload (message: string): string {
  if (message.includes('end of JSON')) return 'Unexpected end of string.'
  return `Unexpected token${/ at position \d+/.exec(message)?.[0] ?? ''}.`
}

const inflate = promisify(gunzip)
const MAX_ECHO = 80

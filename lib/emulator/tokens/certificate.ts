import { createPublicKey, type JsonWebKey } from 'node:crypto'
import type { KeyPair } from './signing-key.js'

/**
 * A self-signed X.509 certificate of a key as PEM, the form of Google's older key endpoints, for clients that do not support JSON Web
 * Keys. It never expires, and its subject is the emulator. Hand-written, because Node.js can parse certificates but not create them.
 */
export async function certificateOf ({ privateKey, publicKey }: KeyPair): Promise<string> {
  const spki = createPublicKey({ key: publicKey as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'der' })
  const body = der(SEQUENCE, VERSION_3, SERIAL, RS256, NAME, VALIDITY, NAME, spki)
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', privateKey, body)
  const bytes = der(SEQUENCE, body, RS256, der(BIT_STRING, Buffer.of(0), Buffer.from(signature)))
  return `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`
}

/** A value in ASN.1's DER encoding: tag, length, content. */
function der (tag: number, ...content: Uint8Array[]): Buffer {
  const bytes = Buffer.concat(content)
  return Buffer.concat([Buffer.of(tag), derLength(bytes.length), bytes])
}

function derLength (length: number): Buffer {
  if (length < 128) return Buffer.of(length)
  return length < 256 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 255)
}

const INTEGER = 0x02
const BIT_STRING = 0x03
const NULL = 0x05
const OBJECT_IDENTIFIER = 0x06
const UTF8_STRING = 0x0c
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const SET = 0x31
const VERSION_TAG = 0xa0

const VERSION_3 = der(VERSION_TAG, der(INTEGER, Buffer.of(2)))
const SERIAL = der(INTEGER, Buffer.of(1))
/** sha256WithRSAEncryption, 1.2.840.113549.1.1.11 */
const RS256 = der(SEQUENCE, der(OBJECT_IDENTIFIER, Buffer.from('2a864886f70d01010b', 'hex')), der(NULL))
/** commonName, 2.5.4.3 */
const NAME = der(
  SEQUENCE,
  der(
    SET,
    der(SEQUENCE, der(OBJECT_IDENTIFIER, Buffer.from('550403', 'hex')), der(UTF8_STRING, Buffer.from('fastify-cloud-tasks emulator')))
  )
)
/** Until the date that RFC 5280 reserves for certificates without an expiry. */
const VALIDITY = der(SEQUENCE, der(UTC_TIME, Buffer.from('200101000000Z')), der(GENERALIZED_TIME, Buffer.from('99991231235959Z')))

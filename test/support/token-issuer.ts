import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, base64url, exportJWK, generateKeyPair, type CryptoKey, type JWK } from 'jose'

export const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
export const AUDIENCE = 'https://worker.example.com'

/** A signing key with its public half as the key server shows it, which leaves it to the verifier to insist on an algorithm. */
export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
  readonly jwk: JWK
}

export interface TokenIssuer {
  readonly jwksUri: string
  readonly key: SigningKey
  /** Keys that the server shows; tests rotate them. */
  keys: SigningKey[]
  /** How the server answers: with its keys, with an error, with something else, or not at all. */
  mode: 'up' | 'error' | 'html' | 'hangs' | 'empty' | 'redirect'
  /** How often it was asked. */
  requests: number
}

/** The claims of Cloud Tasks' token, valid for the next hour. */
export function goodClaims (): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000)
  return {
    iss: 'https://accounts.google.com',
    aud: AUDIENCE,
    azp: '1234567890',
    sub: '1234567890',
    email: ACCOUNT,
    email_verified: true,
    iat: now,
    exp: now + 3600
  }
}

/** Stands in for Google: real keys, real tokens, a key server on a free port that ends with the test. */
export async function startIssuer (t: { teardown: (close: () => Promise<void>) => void }): Promise<TokenIssuer> {
  const key = await (firstKey ??= makeKey('key-1'))
  const issuer = { key, keys: [key], mode: 'up' as TokenIssuer['mode'], requests: 0, jwksUri: '' }
  const server = createServer((request, response) => {
    issuer.requests++
    if (issuer.mode === 'hangs') return
    // Where it leads, the same keys are shown.
    if (issuer.mode === 'redirect' && request.url !== '/moved') response.writeHead(302, { location: '/moved' })
    else response.statusCode = issuer.mode === 'error' ? 500 : 200
    const keys = issuer.mode === 'empty' ? [] : issuer.keys.map(one => one.jwk)
    response.end(issuer.mode === 'html' ? '<html>captive portal</html>' : JSON.stringify({ keys }))
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise(resolve => { server.close(resolve) })
  })
  return Object.assign(issuer, { jwksUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/certs` })
}

/** Making keys is slow, and every issuer may begin with the same one. */
let firstKey: Promise<SigningKey> | undefined

export async function makeKey (kid: string, alg: string = 'RS256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, privateKey, publicKey, jwk: { ...await exportJWK(publicKey), kid, use: 'sig' } }
}

export async function sign (key: SigningKey, claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  return await new SignJWT({ ...goodClaims(), ...claims })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: key.kid, ...header })
    .sign(key.privateKey)
}

/** A token of any three parts, for those that no honest library makes. */
export function assemble (header: unknown, payload: unknown, signature: string | Uint8Array): string {
  const text = (part: unknown) => base64url.encode(typeof part === 'string' ? part : JSON.stringify(part))
  return `${text(header)}.${text(payload)}.${typeof signature === 'string' ? signature : base64url.encode(signature)}`
}

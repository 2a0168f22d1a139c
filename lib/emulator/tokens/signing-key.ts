import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CompactSign, calculateJwkThumbprint, compactVerify, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose'
import { replaceFile } from '../../store/durable-file.js'
import { StoreError } from '../../store/store-error.js'

export interface KeyPair {
  readonly privateKey: CryptoKey
  /** As it is published. */
  readonly publicKey: JWK
  readonly keyId: string
}

/** The RSA key that signs tokens. Created lazily; with a directory, persisted there. */
export class SigningKey {
  readonly #directory: string | undefined
  #pair: Promise<KeyPair> | undefined

  /** @param directory must be in exclusive use, such as an open store's */
  constructor (directory?: string) {
    this.#directory = directory
  }

  get (): Promise<KeyPair> {
    if (this.#pair === undefined) {
      this.#pair = this.#make()
      // A failure is not cached.
      this.#pair.catch(() => { this.#pair = undefined })
    }
    return this.#pair
  }

  /** Reads the persisted key, if there is one. @throws StoreError damaged, access */
  async load (): Promise<void> {
    if (this.#directory === undefined) return
    const file = join(this.#directory, FILE)
    const kept = readKept(file)
    if (kept === undefined) return
    try {
      const pair = await pairOf(kept)
      await check(pair)
      this.#pair = Promise.resolve(pair)
    } catch (error) {
      throw damaged(file, error)
    }
  }

  async #make (): Promise<KeyPair> {
    const { privateKey } = await generateKeyPair('RS256', { extractable: true })
    const jwk = await exportJWK(privateKey)
    // Readable by this user only.
    if (this.#directory !== undefined) replaceFile(join(this.#directory, FILE), JSON.stringify(jwk) + '\n', 0o600)
    return await pairOf(jwk)
  }
}

async function pairOf (jwk: JWK): Promise<KeyPair> {
  const { kty, n, e } = jwk
  const keyId = await calculateJwkThumbprint(jwk)
  return {
    privateKey: await importJWK(jwk, 'RS256') as CryptoKey,
    publicKey: { kty, n, e, alg: 'RS256', use: 'sig', kid: keyId } as JWK,
    keyId
  }
}

/** Numbers in the right format may still not be a valid key. */
async function check ({ privateKey, publicKey }: KeyPair): Promise<void> {
  const signed = await new CompactSign(Buffer.from('probe')).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
  await compactVerify(signed, await importJWK(publicKey, 'RS256'))
}

/** Undefined when there is no file. */
function readKept (file: string): JWK | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StoreError('access', `${file} cannot be read: ${(error as Error).message}`, error)
  }
  const jwk = parse(text) as JWK | null | undefined
  if (jwk?.kty === 'RSA' && [jwk.n, jwk.e, jwk.d, jwk.p, jwk.q, jwk.dp, jwk.dq, jwk.qi].every(part => typeof part === 'string')) return jwk
  throw damaged(file)
}

function damaged (file: string, cause?: unknown): StoreError {
  return new StoreError('damaged', `${file} is not a private RSA key; delete it, and the next start creates a new one`, cause)
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const FILE = 'oidc-key.json'

import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLocalJWKSet, decodeProtectedHeader, importX509, jwtVerify, type JSONWebKeySet } from 'jose'
import t from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { SigningKey } from '../../lib/emulator/tokens/signing-key.js'
import { TokenIssuer } from '../../lib/emulator/tokens/token-issuer.js'

const issuer = 'http://127.0.0.1:8123'
const email = 'tasks@demo.iam.gserviceaccount.com'
/** Shared, because creating one takes a fifth of a second. */
const key = new SigningKey()

function issuing (options: { maxReused?: number } = {}): { tokens: TokenIssuer, clock: ManualClock } {
  const clock = new ManualClock()
  return { tokens: new TokenIssuer({ clock, key, issuer: () => issuer, ...options }), clock }
}

t.test('an ID token names issuer, audience and account, is valid for an hour, and fits the published key', async t => {
  const { tokens, clock } = issuing()
  clock.set(clock.now() + 999)
  const keys = await tokens.keys() as JSONWebKeySet
  t.strictSame(keys.keys.map(one => Object.keys(one).sort()), [['alg', 'e', 'kid', 'kty', 'n', 'use']], 'nothing private')
  const [scheme, token = ''] = (await tokens.oidc(email, 'https://w.example/work')).split(' ')
  t.equal(scheme, 'Bearer')
  const { payload } = await jwtVerify(token, createLocalJWKSet(keys), { currentDate: new Date(clock.now()) })
  const account = '100783936588356035548'
  const iat = Math.floor(clock.now() / 1000)
  t.strictSame(payload, {
    iss: issuer,
    aud: 'https://w.example/work',
    azp: account,
    sub: account,
    email,
    email_verified: true,
    iat,
    exp: iat + 3600
  })
  t.strictSame(decodeProtectedHeader(token), { alg: 'RS256', kid: keys.keys[0]!.kid, typ: 'JWT' })
})

t.test('a token is reused for five minutes for its account and audience, then a new one is issued', async t => {
  const { tokens, clock } = issuing()
  const first = await tokens.oidc(email, 'a')
  t.equal(tokens.oidc(email, 'a'), first, 'without a promise')
  t.not(await tokens.oidc(email, 'b'), first)
  t.not(await tokens.oidc('other@p', 'a'), first)
  await clock.advance(299_999)
  t.equal(tokens.oidc(email, 'a'), first)
  await clock.advance(1)
  const second = await tokens.oidc(email, 'a')
  t.not(second, first)
  t.equal(tokens.oidc(email, 'a'), second)
  clock.set(clock.now() - 1000)
  t.not(await tokens.oidc(email, 'a'), second, 'nor is one that was issued in the future, after the clock was set back')
})

t.test('of more tokens than are kept for reuse, the one that was issued first is signed again', async t => {
  const { tokens, clock } = issuing({ maxReused: 2 })
  const issue = async (audience: string): Promise<'reused' | 'signed'> => {
    const token = tokens.oidc(email, audience)
    await token
    return typeof token === 'string' ? 'reused' : 'signed'
  }
  await issue('a')
  await issue('b')
  await clock.advance(300_000)
  await issue('b')
  await issue('a')
  t.equal(await issue('b'), 'reused', 'a token that replaces another takes no second place')
  t.equal(await issue('c'), 'signed')
  t.strictSame([await issue('a'), await issue('c'), await issue('b')], ['reused', 'reused', 'signed'])
})

t.test('an access token is opaque, and the same for the same account and scope', async t => {
  const { tokens } = issuing()
  const token = tokens.oauth(email)
  t.match(token, /^Bearer ya29\.[\w-]{43}$/)
  t.equal(tokens.oauth(email, 'https://www.googleapis.com/auth/cloud-platform'), token)
  const others = [tokens.oauth(email, 'other'), tokens.oauth('other@p'), issuing().tokens.oauth(email)]
  t.equal(new Set([token, ...others]).size, 4)
})

t.test('the discovery document names the issuer, its keys and what they sign', async t => {
  t.strictSame(issuing().tokens.discovery(), {
    issuer,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    scopes_supported: ['openid', 'email'],
    claims_supported: ['iss', 'aud', 'sub', 'azp', 'email', 'email_verified', 'iat', 'exp']
  })
})

t.test('the key is published as a PEM certificate by key id, too, and that verifies the same tokens', async t => {
  const { tokens, clock } = issuing()
  const [published] = (await tokens.keys() as JSONWebKeySet).keys
  const certificates = await tokens.certificates()
  t.strictSame(Object.keys(certificates), [published!.kid])
  const pem = certificates[published!.kid!]!
  t.ok(pem.endsWith('\n-----END CERTIFICATE-----\n'))
  t.ok(pem.split('\n').every(line => line.length <= 64))
  const certificate = new X509Certificate(pem)
  t.strictSame(certificate.publicKey.export({ format: 'jwk' }), { kty: 'RSA', n: published!.n, e: published!.e })
  t.ok(certificate.verify(certificate.publicKey), 'signed with its own key')
  t.equal(certificate.serialNumber, '01')
  t.equal(certificate.subject, 'CN=fastify-cloud-tasks emulator')
  t.equal(certificate.issuer, certificate.subject)
  t.equal(Date.parse(certificate.validFrom), Date.parse('2020-01-01T00:00:00Z'))
  t.equal(Date.parse(certificate.validTo), Date.parse('9999-12-31T23:59:59Z'))

  const token = (await tokens.oidc(email, 'aud')).replace('Bearer ', '')
  const { payload } = await jwtVerify(token, await importX509(pem, 'RS256'), { currentDate: new Date(clock.now()) })
  t.equal(payload.email, email)
})

t.test('with a directory the key is stored when it is first needed, for this user only, and loaded again', async t => {
  const directory = join(t.testdir(), 'data')
  const file = join(directory, 'oidc-key.json')
  const first = new SigningKey(directory)
  await t.rejects(first.get(), { code: 'ENOENT' }, 'there is no directory yet')
  mkdirSync(directory)
  await first.load()
  t.notOk(existsSync(file))
  const { keyId } = await first.get()
  t.equal((await first.get()).keyId, keyId)
  if (process.platform !== 'win32') t.equal(statSync(file).mode & 0o777, 0o600)

  const second = new SigningKey(directory)
  await second.load()
  t.equal((await second.get()).keyId, keyId)

  const whole = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>
  const without = (part: string): object => Object.fromEntries(Object.entries(whole).filter(([name]) => name !== part))
  for (const broken of [
    '{"kty":"RSA"', 'null', { ...whole, kty: 'EC' }, { ...whole, n: 'AQAB' }, { ...whole, d: 5 },
    ...['kty', 'n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'].map(without)
  ]) {
    writeFileSync(file, typeof broken === 'string' ? broken : JSON.stringify(broken))
    await t.rejects(new SigningKey(directory).load(), {
      name: 'StoreError',
      problem: 'damaged',
      message: `${file} is not a private RSA key; delete it, and the next start creates a new one`
    })
  }
})

t.test('a key file that cannot be read is an error of access, not a reason to create another key', async t => {
  const directory = t.testdir({ 'oidc-key.json': {} })
  await t.rejects(new SigningKey(directory).load(), { name: 'StoreError', problem: 'access' })
  await new SigningKey().load()
})

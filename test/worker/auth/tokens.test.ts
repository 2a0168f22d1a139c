import { constants, createHmac, sign as signBytes } from 'node:crypto'
import { connect, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { CompactEncrypt, CompactSign, exportPKCS8, exportSPKI } from 'jose'
import t from 'tap'
import { SECRET_HEADER } from '../../../lib/delivery/headers.js'
import {
  ACCOUNT,
  AUDIENCE,
  assemble,
  goodClaims,
  makeKey,
  sign,
  startIssuer,
  type SigningKey,
  type TokenIssuer
} from '../../support/token-issuer.js'
import { CLOUD, startWorker } from '../../support/authenticated-worker.js'

type Wrong = [what: string, headers: Record<string, string>, code: string]

t.test('an HTTP target', async t => {
  const issuer = await startIssuer(t)
  const otherKey = await makeKey('other')
  const worker = await startWorker(t, { ...CLOUD, auth: { jwksUri: issuer.jwksUri } })
  const good = await sign(issuer.key)

  t.test("accepts Cloud Tasks' token repeatedly", async t => {
    for (let i = 0; i < 3; i++) t.equal((await worker.call({ authorization: `Bearer ${good}` })).status, 204)
    t.equal((await worker.call({ authorization: `bearer ${await sign(issuer.key, { iss: 'accounts.google.com' })}` })).status, 204)
    t.equal(worker.ran.splice(0).length, 4)
  })

  t.test('accepts a token within 30 s of its expiry and of its issue, because of clock skew', async t => {
    const now = Math.floor(Date.now() / 1000)
    for (const claims of [{ exp: now - 20 }, { iat: now + 20 }, { nbf: now + 20 }]) {
      t.equal((await worker.call({ authorization: `Bearer ${await sign(issuer.key, claims)}` })).status, 204)
    }
    worker.ran.length = 0
  })

  const wrong = await wrongTokens(issuer, otherKey, good)
  t.ok(wrong.length >= 25)
  for (const [what, headers, code] of wrong) {
    t.test(`rejects ${what}`, async t => {
      worker.log.length = 0
      const { status, body } = await worker.call(headers)
      t.equal(status, code === 'FST_TASKS_FORBIDDEN' ? 403 : 401)
      t.equal(JSON.parse(body).code, code)
      t.equal(worker.ran.length, 0, 'nothing ran')
      const token = headers.authorization?.split(' ').at(-1) ?? ''
      for (const secret of [...token.split('.'), 'mallory'].filter(part => part.length > 5)) {
        t.notOk(body.includes(secret) || worker.log.join('').includes(secret), 'neither the response nor the log contains the token')
      }
    })
  }

  t.test('still accepts the right token after all of them', async t => {
    t.equal((await worker.call({ authorization: `Bearer ${good}` })).status, 204)
    worker.ran.length = 0
  })

  t.test('verifies calls of unknown paths below the prefix, too', async t => {
    const known = await worker.call({})
    const unknown = await worker.call({}, '/tasks/nothing')
    t.equal(unknown.status, 401)
    t.equal(unknown.body, known.body, 'and are answered like those of known ones')
    t.equal((await worker.call({ authorization: `Bearer ${good}` }, '/tasks/nothing')).status, 404)
  })

  t.test('answers before the body has come', async t => {
    await worker.app.listen({ host: '127.0.0.1', port: 0 })
    for (const path of ['/tasks/count', '/tasks/nothing']) {
      const socket = connect((worker.app.server.address() as AddressInfo).port, '127.0.0.1')
      t.teardown(() => { socket.destroy() })
      socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{`)
      const [answer] = await once(socket, 'data') as [Buffer]
      t.match(answer.toString(), /^HTTP\/1\.1 401 /)
    }
  })
})

async function wrongTokens (issuer: TokenIssuer, otherKey: SigningKey, good: string): Promise<Wrong[]> {
  const { key } = issuer
  const now = Math.floor(Date.now() / 1000)
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const otherSignature = (await sign(key, { jti: 'another' })).split('.')[2]!
  const pem = await exportSPKI(key.publicKey)
  const hmac = (secret: string) => {
    const signed = assemble({ alg: 'HS256', kid: key.kid }, goodClaims(), '')
    return signed + createHmac('sha256', secret).update(signed.slice(0, -1)).digest('base64url')
  }
  const rsa = async (alg: string, hash: string, padding: number) => {
    const signed = assemble({ alg, kid: key.kid }, goodClaims(), '')
    return (
      signed +
      signBytes(hash, Buffer.from(signed.slice(0, -1)), {
        key: await exportPKCS8(key.privateKey),
        padding,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST
      }).toString('base64url')
    )
  }
  const elliptic = await makeKey(key.kid, 'ES256')
  const encrypted = await new CompactEncrypt(Buffer.from('{}'))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
    .encrypt(new Uint8Array(32))
  const critical = async () =>
    await new CompactSign(Buffer.from(JSON.stringify(goodClaims())))
      .setProtectedHeader({ alg: 'RS256', kid: key.kid, crit: ['b64'], b64: true })
      .sign(key.privateKey)
  const payloadOf = async (text: string) =>
    await new CompactSign(Buffer.from(text)).setProtectedHeader({ alg: 'RS256', kid: key.kid }).sign(key.privateKey)

  const unusable: Array<[string, string]> = [
    ['a token of two parts', `${header}.${payload}`],
    ['a token of four parts', `${good}.x`],
    ['an encrypted token', encrypted],
    ['a token of letters that base64url does not have', `${header}.${payload}.${signature.slice(0, -2)}+/`],
    ['two tokens in one header', `${good}, Bearer ${good}`],
    ['a token with an empty signature', `${header}.${payload}.`],
    ['a header that is no JSON', assemble('hello', goodClaims(), 'c2ln')],
    ['algorithm none without a signature', assemble({ alg: 'none', kid: key.kid }, goodClaims(), '')],
    ['algorithm none with a signature', assemble({ alg: 'none', kid: key.kid }, goodClaims(), signature)],
    ['algorithm NONE in capitals', assemble({ alg: 'NONE', kid: key.kid }, goodClaims(), signature)],
    ['no algorithm', assemble({ kid: key.kid }, goodClaims(), signature)],
    ['HS256 with the public key as its secret', hmac(pem)],
    ['HS256 with the modulus as its secret', hmac(key.jwk.n!)],
    ['RS512 by the right key', await rsa('RS512', 'sha512', constants.RSA_PKCS1_PADDING)],
    ['PS256 by the right key', await rsa('PS256', 'sha256', constants.RSA_PKCS1_PSS_PADDING)],
    ['ES256 by a key of that id', await sign(elliptic, {}, { alg: 'ES256' })],
    ["another key's signature under the right key id", await sign({ ...otherKey, kid: key.kid })],
    ['a key id that the issuer does not have', await sign(otherKey)],
    ['no key id', await sign(key, {}, { kid: undefined })],
    ['a key id that is no string', await sign(key, {}, { kid: 7 })],
    ['another key inside the token', await sign({ ...otherKey, kid: key.kid }, {}, { jwk: otherKey.jwk })],
    [
      'the address of other keys inside the token',
      await sign({ ...otherKey, kid: key.kid }, {}, { jku: 'http://127.0.0.1:1/certs' })
    ],
    [
      'claims that were changed after signing',
      assemble({ alg: 'RS256', typ: 'JWT', kid: key.kid }, { ...goodClaims(), jti: 'mallory' }, signature)
    ],
    ['the signature of another token', `${header}.${payload}.${otherSignature}`],
    ['a signature that is cut short', `${header}.${payload}.${signature.slice(0, -8)}`],
    ['a signature that Cloud Run has removed', `${header}.${payload}.SIGNATURE_REMOVED_BY_GOOGLE`],
    ['an unknown critical extension', assemble({ alg: 'RS256', kid: key.kid, crit: ['x'], x: 1 }, goodClaims(), signature)],
    ['a critical extension that the library knows', await critical()],
    ['an unencoded payload', assemble({ alg: 'RS256', kid: key.kid, crit: ['b64'], b64: false }, goodClaims(), signature)],
    ['claims that are no JSON', await payloadOf('hello')],
    ['claims that are null', await payloadOf('null')],
    ['claims that are a list', await payloadOf('[]')],
    ['another issuer', await sign(key, { iss: 'https://accounts.mallory.example' })],
    ['an issuer with a slash too many', await sign(key, { iss: 'https://accounts.google.com/' })],
    ['a list of issuers', await sign(key, { iss: ['https://accounts.google.com'] as never })],
    ['no issuer', await sign(key, { iss: undefined })],
    ['another audience', await sign(key, { aud: 'https://mallory.example' })],
    ['an audience with a slash too many', await sign(key, { aud: `${AUDIENCE}/` })],
    ['the URL of the route as its audience', await sign(key, { aud: `${AUDIENCE}/tasks/count` })],
    ['an audience that begins like ours', await sign(key, { aud: `${AUDIENCE}.mallory.example` })],
    ['a list of audiences with ours in it', await sign(key, { aud: ['https://mallory.example', AUDIENCE] })],
    ['no audience', await sign(key, { aud: undefined })],
    ['a token that has expired', await sign(key, { iat: now - 3700, exp: now - 31 })],
    ['an expiry that is no number', await sign(key, { exp: String(now + 3600) as never })],
    ['no expiry', await sign(key, { exp: undefined })],
    ['a token of the future', await sign(key, { iat: now + 60 })],
    ['no time of issue', await sign(key, { iat: undefined })],
    ['a token that is not valid yet', await sign(key, { nbf: now + 60 })],
    ['a begin that is no number', await sign(key, { nbf: 'now' as never })]
  ]
  const forbidden: Array<[string, string]> = [
    [
      "the right audience from another project's service account",
      await sign(key, { email: 'mallory@other-project.iam.gserviceaccount.com', sub: '666' })
    ],
    ['the right account in capitals', await sign(key, { email: ACCOUNT.toUpperCase() })],
    ['an account that begins like ours', await sign(key, { email: `${ACCOUNT}.mallory.example` })],
    ['an account that ends like ours', await sign(key, { email: `mallory-${ACCOUNT}` })],
    ['a list of accounts with ours in it', await sign(key, { email: [ACCOUNT] })],
    ['no account', await sign(key, { email: undefined })],
    ['an account that is not verified', await sign(key, { email_verified: false })],
    ['an account that says it is verified in words', await sign(key, { email_verified: 'true' })],
    ['an account that is verified by a 1', await sign(key, { email_verified: 1 })],
    ['an account that does not say whether it is verified', await sign(key, { email_verified: undefined })]
  ]
  const queue = {
    'x-cloudtasks-queuename': 'default',
    'x-cloudtasks-taskname': '1',
    'x-cloudtasks-taskretrycount': '0',
    'x-cloudtasks-taskexecutioncount': '0',
    'x-cloudtasks-tasketa': '1800000000'
  }
  return [
    ['a call without any token', {}, 'FST_TASKS_UNAUTHENTICATED'],
    ["Cloud Tasks' own headers without a token", { ...queue, 'user-agent': 'Google-Cloud-Tasks' }, 'FST_TASKS_UNAUTHENTICATED'],
    ["App Engine's header", { 'x-appengine-queuename': 'default' }, 'FST_TASKS_UNAUTHENTICATED'],
    ['a secret of the embedded queue', { [SECRET_HEADER]: 'x'.repeat(43) }, 'FST_TASKS_UNAUTHENTICATED'],
    ['an empty header', { authorization: '' }, 'FST_TASKS_UNAUTHENTICATED'],
    ['a password', { authorization: `Basic ${Buffer.from('user:password').toString('base64')}` }, 'FST_TASKS_UNAUTHENTICATED'],
    ['a bearer without a token', { authorization: 'Bearer ' }, 'FST_TASKS_UNAUTHENTICATED'],
    ['the token without its scheme', { authorization: good }, 'FST_TASKS_UNAUTHENTICATED'],
    [
      'the token in another header',
      { 'x-serverless-authorization': `Bearer ${good}`, 'proxy-authorization': `Bearer ${good}`, cookie: `authorization=${good}` },
      'FST_TASKS_UNAUTHENTICATED'
    ],
    ...unusable.map(([what, token]): Wrong => [what, { ...queue, authorization: `Bearer ${token}` }, 'FST_TASKS_UNAUTHENTICATED']),
    ...forbidden.map(([what, token]): Wrong => [what, { ...queue, authorization: `Bearer ${token}` }, 'FST_TASKS_FORBIDDEN'])
  ]
}

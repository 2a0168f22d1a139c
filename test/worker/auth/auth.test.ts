import { constants, createHmac, sign as signBytes } from 'node:crypto'
import { connect, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { CompactEncrypt, CompactSign, exportPKCS8, exportSPKI } from 'jose'
import t, { type Test } from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import type { OidcCallers } from '../../../lib/options/auth.js'
import { resolveConfig, type Config } from '../../../lib/options/config.js'
import type { ResolvedHttpTarget } from '../../../lib/options/target.js'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../../lib/index.js'
import { SECRET_HEADER } from '../../../lib/delivery/headers.js'
import { KeySet } from '../../../lib/worker/auth/key-set.js'
import { OidcVerifier } from '../../../lib/worker/auth/oidc.js'
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

const tasks = defineTasks({ count: { payload: Type.Object({ n: Type.Integer() }) } })
const CLOUD: Partial<CloudTasksOptions> = {
  transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url: AUDIENCE, serviceAccountEmail: ACCOUNT }
}

interface Worker {
  readonly app: FastifyInstance
  /** Payloads that the handler got. */
  readonly ran: unknown[]
  readonly log: string[]
  call (headers: Record<string, string>, path?: string): Promise<{ status: number, body: string }>
}

async function startWorker (t: Test, options: Partial<CloudTasksOptions>): Promise<Worker> {
  const log: string[] = []
  const ran: unknown[] = []
  const app = Fastify({ logger: { level: 'trace', stream: { write: (line: string) => { log.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(cloudTasks, {
    tasks,
    handlers: {
      count: (payload: unknown) => {
        ran.push(payload)
      }
    },
    ...options
  } as CloudTasksOptions)
  await app.ready()
  return {
    app,
    ran,
    log,
    async call (headers, path = '/tasks/count') {
      const { statusCode, body } = await app.inject({ method: 'POST', url: path, headers, payload: { n: 1 } })
      return { status: statusCode, body }
    }
  }
}

/** Sets variables of the environment until the end of the test. */
function environment (t: Test, variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) {
    const before = process.env[name]
    process.env[name] = value
    t.teardown(() => {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    })
  }
}

type Wrong = [what: string, headers: Record<string, string>, code: string]

t.test('an HTTP target', async t => {
  const issuer = await startIssuer(t)
  const stranger = await makeKey('stranger')
  const worker = await startWorker(t, { ...CLOUD, auth: { jwksUri: issuer.jwksUri } })
  const good = await sign(issuer.key)

  t.test("takes Cloud Tasks' own token, again and again", async t => {
    for (let i = 0; i < 3; i++) t.equal((await worker.call({ authorization: `Bearer ${good}` })).status, 204)
    t.equal((await worker.call({ authorization: `bearer ${await sign(issuer.key, { iss: 'accounts.google.com' })}` })).status, 204)
    t.equal(worker.ran.splice(0).length, 4)
  })

  t.test('takes a token within 30 s of its expiry and of its issue, because clocks differ', async t => {
    const now = Math.floor(Date.now() / 1000)
    for (const claims of [{ exp: now - 20 }, { iat: now + 20 }, { nbf: now + 20 }]) {
      t.equal((await worker.call({ authorization: `Bearer ${await sign(issuer.key, claims)}` })).status, 204)
    }
    worker.ran.length = 0
  })

  const wrong = await wrongTokens(issuer, stranger, good)
  t.ok(wrong.length >= 25)
  for (const [what, headers, code] of wrong) {
    t.test(`refuses ${what}`, async t => {
      worker.log.length = 0
      const { status, body } = await worker.call(headers)
      t.equal(status, code === 'FST_TASKS_FORBIDDEN' ? 403 : 401)
      t.equal(JSON.parse(body).code, code)
      t.equal(worker.ran.length, 0, 'nothing ran')
      const token = headers.authorization?.split(' ').at(-1) ?? ''
      for (const secret of [...token.split('.'), 'mallory'].filter(part => part.length > 5)) {
        t.notOk(body.includes(secret) || worker.log.join('').includes(secret), 'neither the answer nor the log tell of the token')
      }
    })
  }

  t.test('still takes the right token after all of them', async t => {
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

async function wrongTokens (issuer: TokenIssuer, stranger: SigningKey, good: string): Promise<Wrong[]> {
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
    ["a stranger's signature under the right key id", await sign({ ...stranger, kid: key.kid })],
    ['a key id that the issuer does not have', await sign(stranger)],
    ['no key id', await sign(key, {}, { kid: undefined })],
    ['a key id that is no string', await sign(key, {}, { kid: 7 })],
    ["a stranger's key inside the token", await sign({ ...stranger, kid: key.kid }, {}, { jwk: stranger.jwk })],
    [
      "the address of a stranger's keys inside the token",
      await sign({ ...stranger, kid: key.kid }, {}, { jku: 'http://127.0.0.1:1/certs' })
    ],
    [
      'claims that were changed after signing',
      assemble({ alg: 'RS256', typ: 'JWT', kid: key.kid }, { ...goodClaims(), jti: 'mallory' }, signature)
    ],
    ['the signature of another token', `${header}.${payload}.${otherSignature}`],
    ['a signature that is cut short', `${header}.${payload}.${signature.slice(0, -8)}`],
    ['a signature that Cloud Run has cut off', `${header}.${payload}.SIGNATURE_REMOVED_BY_GOOGLE`],
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
      "the right audience from a stranger's service account",
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

t.test('keys', async t => {
  /** A key set whose clock the test moves. */
  const keySet = (t: Test, issuer: TokenIssuer) => {
    const clock = new ManualClock()
    const keys = new KeySet(issuer.jwksUri, { clock })
    t.teardown(() => keys.close())
    return {
      keys,
      clock,
      pass: (ms: number) => {
        clock.pass(ms)
      },
      has: async (kid: string) => (await keys.find({ alg: 'RS256', kid })) !== undefined
    }
  }
  /** Waits for a request in the background to have its effect. */
  const until = async (happened: () => unknown) => {
    while (!happened()) await new Promise(resolve => { setImmediate(resolve) })
  }

  t.test('are fetched once for many calls at a time', async t => {
    const issuer = await startIssuer(t)
    const { has } = keySet(t, issuer)
    const found = await Promise.all(Array.from({ length: 50 }, async () => await has('key-1')))
    t.ok(found.every(Boolean))
    t.equal(issuer.requests, 1)
  })

  t.test('with invented ids do not make us hammer the key server', async t => {
    const issuer = await startIssuer(t)
    const { has, pass } = keySet(t, issuer)
    t.equal(await has('key-1'), true)
    for (let i = 0; i < 100; i++) t.equal(await has(`invented-${i}`), false)
    t.equal(issuer.requests, 1)
    pass(10_000)
    await Promise.all(Array.from({ length: 100 }, async (_, i) => await has(`invented-${i}`)))
    t.equal(issuer.requests, 2, 'one request in ten seconds')
    issuer.mode = 'error'
    pass(10_000)
    for (let i = 0; i < 100; i++) await has(`invented-${i}`)
    t.equal(issuer.requests, 3, 'nor when it fails')
  })

  t.test('that are new are found when a token names them', async t => {
    const issuer = await startIssuer(t)
    const { has, pass } = keySet(t, issuer)
    t.equal(await has('key-1'), true)
    issuer.keys = [issuer.key, await makeKey('key-2')]
    pass(10_000)
    t.equal(await has('key-2'), true)
    t.equal(await has('key-1'), true)
  })

  t.test('that are withdrawn are forgotten at the next refresh, for which nobody waits', async t => {
    const issuer = await startIssuer(t)
    const { keys, has, pass } = keySet(t, issuer)
    t.equal(await has('key-1'), true)
    issuer.keys = [await makeKey('key-2')]
    pass(599_999)
    t.equal(await has('key-1'), true)
    t.equal(issuer.requests, 1)
    pass(1)
    const before = keys.version
    t.equal(await has('key-1'), true, 'the old ones still do while the new ones come')
    await until(() => keys.version !== before)
    t.equal(await has('key-1'), false)
    t.equal(await has('key-2'), true)
  })

  for (const mode of ['error', 'html', 'hangs'] as const) {
    t.test(`outlive a day in which the key server ${mode === 'hangs' ? 'hangs' : `answers with ${mode}`}`, async t => {
      const issuer = await startIssuer(t)
      const { has, pass } = keySet(t, issuer)
      t.equal(await has('key-1'), true)
      issuer.mode = mode
      for (let hours = 1; hours < 24; hours++) {
        pass(3_600_000)
        t.equal(await has('key-1'), true)
      }
      pass(3_600_000)
      let refused: unknown
      const refusal = has('key-1').catch((error: unknown) => { refused = error })
      if (mode === 'hangs') await until(() => { pass(1000); return refused })
      await refusal
      t.hasStrict(refused, { code: 'FST_TASKS_KEYS_UNAVAILABLE' })
      issuer.mode = 'up'
      pass(1000)
      t.equal(await has('key-1'), true, 'and come back')
    })
  }

  t.test('are fetched though the wall clock was set back', async t => {
    const issuer = await startIssuer(t)
    issuer.mode = 'error'
    const { has, pass, clock } = keySet(t, issuer)
    await t.rejects(has('key-1'), { code: 'FST_TASKS_KEYS_UNAVAILABLE' })
    issuer.mode = 'up'
    clock.set(clock.now() - 3_600_000)
    pass(1000)
    t.equal(await has('key-1'), true)
    issuer.keys = [issuer.key, await makeKey('key-2')]
    clock.set(clock.now() - 3_600_000)
    pass(10_000)
    t.equal(await has('key-2'), true)
  })

  for (const mode of ['empty', 'redirect'] as const) {
    t.test(`are kept when the key server ${mode === 'empty' ? 'shows none' : 'sends us elsewhere, which is not followed'}`, async t => {
      const issuer = await startIssuer(t)
      const { has, pass } = keySet(t, issuer)
      t.equal(await has('key-1'), true)
      issuer.mode = mode
      pass(600_000)
      t.equal(await has('key-2'), false)
      t.equal(await has('key-1'), true)
      t.equal(issuer.requests, 2)
    })

    t.test(`are missing where the key server has only ever ${mode === 'empty' ? 'shown none' : 'sent us elsewhere'}`, async t => {
      const issuer = await startIssuer(t)
      issuer.mode = mode
      const { has } = keySet(t, issuer)
      await t.rejects(has('key-1'), { code: 'FST_TASKS_KEYS_UNAVAILABLE' })
      t.equal(issuer.requests, 1)
    })
  }

  t.test('that never came are asked for once a second', async t => {
    const issuer = await startIssuer(t)
    issuer.mode = 'error'
    const { has, pass } = keySet(t, issuer)
    for (let i = 0; i < 20; i++) await t.rejects(has('key-1'), { code: 'FST_TASKS_KEYS_UNAVAILABLE', statusCode: 503 })
    t.equal(issuer.requests, 1)
    issuer.mode = 'up'
    await t.rejects(has('key-1'))
    pass(1000)
    t.equal(await has('key-1'), true)
  })

  t.test('that cannot be had answer 503 on the route, and 401 where there is no token at all', async t => {
    const issuer = await startIssuer(t)
    issuer.mode = 'error'
    const worker = await startWorker(t, { ...CLOUD, auth: { jwksUri: issuer.jwksUri } })
    const answer = await worker.call({ authorization: `Bearer ${await sign(issuer.key)}` })
    t.equal(answer.status, 503)
    t.equal(JSON.parse(answer.body).code, 'FST_TASKS_KEYS_UNAVAILABLE')
    t.equal((await worker.call({})).status, 401)
    t.equal(worker.ran.length, 0)
  })

  t.test('are fetched when the server listens, not by the first call', async t => {
    const issuer = await startIssuer(t)
    const worker = await startWorker(t, { ...CLOUD, auth: { jwksUri: issuer.jwksUri } })
    t.equal(issuer.requests, 0)
    await worker.app.listen({ host: '127.0.0.1', port: 0 })
    await until(() => issuer.requests === 1)
    t.equal((await worker.call({ authorization: `Bearer ${await sign(issuer.key)}` })).status, 204)
    t.equal(issuer.requests, 1)
  })

  t.test('that are on their way when the server closes do not hold it up', async t => {
    const issuer = await startIssuer(t)
    issuer.mode = 'hangs'
    const { keys } = keySet(t, issuer)
    const refreshed = keys.refresh()
    await until(() => issuer.requests === 1)
    await keys.close()
    await refreshed
  })
})

t.test('a verdict that is remembered', async t => {
  const verifier = async (t: Test) => {
    const issuer = await startIssuer(t)
    const clock = new ManualClock(Date.now())
    const callers = {
      verify: 'oidc',
      issuers: ['https://accounts.google.com'],
      jwksUri: issuer.jwksUri,
      audiences: [AUDIENCE],
      emails: [ACCOUNT],
      cloudRunIam: false
    } as const
    const oidc = new OidcVerifier(callers, { clock })
    t.teardown(() => oidc.close())
    return {
      issuer,
      clock,
      pass: (ms: number) => { clock.pass(ms) },
      verify: async (token: string) => { await oidc.verify({ headers: { authorization: `Bearer ${token}` }, rawHeaders: [] }) }
    }
  }

  t.test('ends with the token', async t => {
    const { issuer, pass, verify } = await verifier(t)
    const token = await sign(issuer.key, { exp: Math.floor(Date.now() / 1000) + 60 })
    await verify(token)
    pass(89_000)
    await verify(token)
    pass(2000)
    await t.rejects(verify(token), { code: 'FST_TASKS_UNAUTHENTICATED' })
  })

  t.test('ends when its key is withdrawn', async t => {
    const { issuer, pass, verify } = await verifier(t)
    const [token, other] = [await sign(issuer.key), await sign(issuer.key, { jti: 'other' })]
    await verify(token)
    pass(590_000)
    await verify(token) // Remembered for five minutes from here.
    issuer.keys = [await makeKey('key-2')]
    pass(10_000)
    await verify(other) // Makes the keys be refreshed in the background.
    let refused: unknown
    while (refused === undefined) {
      await new Promise(resolve => { setImmediate(resolve) })
      await verify(token).catch(error => { refused = error })
    }
    t.hasStrict(refused, { code: 'FST_TASKS_UNAUTHENTICATED' })
  })

  t.test('does not come back when a token of the next key is verified', async t => {
    const { issuer, pass, verify } = await verifier(t)
    const next = await makeKey('key-2')
    const [old, current] = [await sign(issuer.key), await sign(next)]
    await verify(old)
    issuer.keys = [next]
    pass(10_000)
    await verify(current) // Its key is new, so the keys are fetched again.
    t.equal(issuer.requests, 2)
    for (let i = 0; i < 2; i++) {
      await t.rejects(verify(old), { code: 'FST_TASKS_UNAUTHENTICATED' })
      await verify(current)
    }
  })

  t.test('is not that of a token with the same claims and another signature', async t => {
    const { issuer, verify } = await verifier(t)
    const token = await sign(issuer.key)
    await verify(token)
    const last = token.at(-5) === 'A' ? 'B' : 'A'
    await t.rejects(verify(token.slice(0, -5) + last + token.slice(-4)), { code: 'FST_TASKS_UNAUTHENTICATED' })
    await verify(token)
  })
})

t.test('behind the IAM check of Cloud Run, which cuts signatures off,', async t => {
  environment(t, { K_SERVICE: 'worker' })
  const issuer = await startIssuer(t)
  const worker = await startWorker(t, { ...CLOUD, auth: { jwksUri: issuer.jwksUri, cloudRunIam: true } })
  const unsigned = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    assemble({ alg: 'RS256', kid: 'x', typ: 'JWT', ...header }, { ...goodClaims(), ...claims }, 'SIGNATURE_REMOVED_BY_GOOGLE')
  const status = async (token: string, headers: Record<string, string> = {}) =>
    (await worker.call({ authorization: `Bearer ${token}`, ...headers })).status

  t.test('a token without its signature is taken if its claims are right', async t => {
    t.equal(await status(unsigned()), 204)
    t.equal(await status(await sign(issuer.key)), 204, 'a whole one, too')
  })

  t.test('claims are checked as ever', async t => {
    t.equal(await status(unsigned({ email: 'mallory@other-project.iam.gserviceaccount.com' })), 403)
    t.equal(await status(unsigned({ email_verified: 'true' })), 403)
    t.equal(await status(unsigned({ aud: 'https://mallory.example' })), 401)
    t.equal(await status(unsigned({ exp: 1 })), 401)
    t.equal(await status(unsigned({}, { alg: 'none' })), 401)
    t.equal(await status(assemble('hello', 'hello', 'SIGNATURE_REMOVED_BY_GOOGLE')), 401)
    t.equal(await status(assemble({ alg: 'RS256' }, goodClaims(), 'signature_removed_by_google')), 401)
    for (const signature of ['x-SIGNATURE_REMOVED_BY_GOOGLE', 'xSIGNATURE_REMOVED_BY_GOOGLE', 'SIGNATURE_REMOVED_BY_GOOGLEx']) {
      t.equal(await status(assemble({ alg: 'RS256', kid: 'x' }, goodClaims(), signature)), 401, signature)
    }
  })

  t.test('it is refused where Cloud Run has looked at another header', async t => {
    t.equal(await status(unsigned(), { 'x-serverless-authorization': 'Bearer x' }), 401)
    const callers = {
      verify: 'oidc',
      issuers: ['https://accounts.google.com'],
      jwksUri: issuer.jwksUri,
      audiences: [AUDIENCE],
      emails: [ACCOUNT],
      cloudRunIam: true
    } as const
    const oidc = new OidcVerifier(callers, { clock: systemClock })
    t.teardown(() => oidc.close())
    const authorization = `Bearer ${unsigned()}`
    await oidc.verify({ headers: { authorization }, rawHeaders: ['Authorization', authorization] })
    await t.rejects(
      oidc.verify({ headers: { authorization }, rawHeaders: ['Authorization', authorization, 'authorization', 'Bearer x'] }),
      { code: 'FST_TASKS_UNAUTHENTICATED' }
    )
  })
})

t.test('App Engine', async t => {
  const target = { type: 'appEngine' } as const
  const options = { ...CLOUD, target }

  t.test('takes its own calls only', async t => {
    environment(t, { GAE_SERVICE: 'default' })
    const issuer = await startIssuer(t)
    const worker = await startWorker(t, options)
    t.equal((await worker.call({ 'x-appengine-queuename': 'default' })).status, 204)
    // From outside, App Engine lets through everything but its own headers.
    for (const headers of [
      {},
      { 'x-appengine-queuename': '' },
      {
        'x-cloudtasks-queuename': 'default',
        'x-cloudtasks-taskname': '1',
        'user-agent': 'AppEngine-Google; (+http://code.google.com/appengine)'
      },
      { 'x-appengine-cron': 'true' },
      { authorization: `Bearer ${await sign(issuer.key)}` },
      { [SECRET_HEADER]: 'x'.repeat(43) }
    ]) { t.equal((await worker.call(headers as Record<string, string>)).status, 401, JSON.stringify(Object.keys(headers))) }
    t.equal(worker.ran.length, 1)
  })

  t.test('is refused elsewhere, where its header can be forged', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(
      async () => {
        await app.register(cloudTasks, { tasks, handlers: { count: () => {} }, ...options } as CloudTasksOptions)
      },
      { code: 'FST_TASKS_INVALID_OPTION' }
    )
  })

  t.test('may be enqueued to from elsewhere', async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, ...options } as CloudTasksOptions)
    await app.ready()
  })
})

t.test('the embedded queue', async t => {
  t.test('takes its own calls only', async t => {
    const issuer = await startIssuer(t)
    const worker = await startWorker(t, { transport: 'local' })
    let seen: Record<string, unknown> = {}
    const spy = Fastify()
    t.teardown(() => spy.close())
    spy.addHook('onRequest', async request => { seen = { ...request.headers } })
    await spy.register(cloudTasks, {
      tasks,
      handlers: {
        count: (_: unknown, task: { request: { headers: object } }) => {
          t.notOk(SECRET_HEADER in task.request.headers, 'the handler does not see the secret')
        }
      }
    } as never)
    await spy.ready()
    await spy.enqueue('count', { n: 1 })
    while (seen[SECRET_HEADER] === undefined) await new Promise(resolve => { setImmediate(resolve) })
    t.notOk('authorization' in seen, 'the secret does not sit in Authorization')

    for (const headers of [
      {},
      { [SECRET_HEADER]: '' },
      { [SECRET_HEADER]: 'x' },
      { [SECRET_HEADER]: 'x'.repeat(43) },
      { [SECRET_HEADER]: seen[SECRET_HEADER] },
      { authorization: `Bearer ${seen[SECRET_HEADER]}` },
      { 'x-appengine-queuename': 'default' },
      { 'x-cloudtasks-queuename': 'default', 'x-cloudtasks-taskname': '1' },
      { authorization: `Bearer ${await sign(issuer.key)}` }
    ]) t.equal((await worker.call(headers as Record<string, string>)).status, 401, JSON.stringify(Object.keys(headers)))
    t.equal(worker.ran.length, 0)
  })
})

t.test('without verification', async t => {
  t.test('everybody is let in, and one warning says so', async t => {
    const worker = await startWorker(t, { ...CLOUD, auth: false })
    t.equal((await worker.call({})).status, 204)
    t.equal((await worker.call({ authorization: 'Bearer x' })).status, 204)
    t.strictSame(
      worker.log
        .map(line => JSON.parse(line))
        .filter(line => line.level === 40 && line.queue === undefined)
        .map(line => line.msg),
      ["'auth' is false: anyone who reaches this server can run any task"]
    )
  })

  t.test('a producer warns of nothing', async t => {
    const worker = await startWorker(t, { ...CLOUD, auth: false, handlers: {} })
    t.equal(worker.log.filter(line => JSON.parse(line).level >= 40).length, 0)
  })
})

t.test('at boot', async t => {
  const http = (target: object) => ({ ...CLOUD, target: { type: 'http', url: AUDIENCE, serviceAccountEmail: ACCOUNT, ...target } })
  const resolve = (options: object, environment: Record<string, string> = {}, worker = true) => {
    try {
      return resolveConfig({ tasks, ...options }, environment, worker)
    } catch (error) {
      return error as { code: string, message: string }
    }
  }

  const refused: Array<[what: string, options: object, environment?: Record<string, string>]> = [
    ['http with a service account', http({ url: 'http://worker.example.com' })],
    ['a URL with credentials', http({ url: 'https://user:pass@worker.example.com' })],
    ['a URL with a query', http({ url: `${AUDIENCE}?key=1` })],
    ['a URL with a fragment', http({ url: `${AUDIENCE}#top` })],
    ['a URL that is a path', http({ url: '/tasks' })],
    ['a URL of another protocol', http({ url: 'ftp://worker.example.com' })],
    ['an account that is a name', http({ serviceAccountEmail: 'tasks' })],
    ['an account with its IAM prefix', http({ serviceAccountEmail: `serviceAccount:${ACCOUNT}` })],
    [
      'an account that is a name in the environment',
      { ...CLOUD, target: { type: 'http', url: AUDIENCE } },
      { CLOUD_TASKS_SERVICE_ACCOUNT: 'tasks' }
    ],
    ['an empty audience', http({ audience: '' })],
    ['App Engine off App Engine', { ...CLOUD, target: { type: 'appEngine' } }],
    ['token rules for App Engine', { ...CLOUD, target: { type: 'appEngine' }, auth: { audience: 'x' } }, { GAE_SERVICE: 'default' }],
    ['keys over plain http', { ...CLOUD, auth: { jwksUri: 'http://keys.example.com/certs' } }],
    ['keys at no URL', { ...CLOUD, auth: { jwksUri: 'certs' } }],
    ['an audience that is an empty list', { ...CLOUD, auth: { audience: [] } }],
    ['an account to accept that is a name', { ...CLOUD, auth: { serviceAccountEmail: ['tasks'] } }],
    ['the IAM check of Cloud Run off Cloud Run', { ...CLOUD, auth: { cloudRunIam: true } }],
    ["the emulator's tokens without an emulator", { ...CLOUD, auth: 'emulator' }],
    [
      "the emulator's tokens without an emulator, on the embedded queue",
      { transport: 'local', auth: 'emulator' },
      { CLOUD_TASKS_EMULATOR_HOST: '' }
    ],
    [
      "the emulator's tokens for App Engine",
      { ...CLOUD, target: { type: 'appEngine' }, auth: 'emulator' },
      { GAE_SERVICE: 'default', CLOUD_TASKS_EMULATOR_HOST: 'localhost:8123' }
    ],
    ['an emulator without a port', CLOUD, { CLOUD_TASKS_EMULATOR_HOST: 'localhost' }],
    ['an emulator with a port that cannot be', CLOUD, { CLOUD_TASKS_EMULATOR_HOST: 'localhost:99999' }]
  ]
  for (const [what, options, environment] of refused) {
    t.test(`${what} is refused`, async t => { t.hasStrict(resolve(options, environment), { code: 'FST_TASKS_INVALID_OPTION' }) })
  }

  t.test('everything that is missing is named in one message, each with its option and its variable', async t => {
    const { code, message } = resolve({ transport: 'cloud' }, { CLOUD_TASKS_EMULATOR_HOST: '[::1]:8123' }) as {
      code: string
      message: string
    }
    t.equal(code, 'FST_TASKS_MISSING_SETTING')
    for (const name of [
      "'location'",
      'CLOUD_TASKS_LOCATION',
      "'project'",
      'GOOGLE_CLOUD_PROJECT',
      "'target'",
      'CLOUD_TASKS_TARGET_URL',
      "'target.serviceAccountEmail'",
      'CLOUD_TASKS_SERVICE_ACCOUNT'
    ]) {
      t.ok(message.includes(name), name)
    }
  })

  t.test('a service account is not missed where nobody is verified, and where nothing runs', async t => {
    const target = { type: 'http', url: AUDIENCE }
    t.hasStrict(resolve({ ...CLOUD, target }), { code: 'FST_TASKS_MISSING_SETTING' })
    t.hasStrict(resolve({ ...CLOUD, target, auth: false }), { callers: { verify: 'none' } })
    t.hasStrict(resolve({ ...CLOUD, target }, {}, false), { transport: 'cloud' })
    t.hasStrict(resolve({ ...CLOUD, target, auth: { serviceAccountEmail: ACCOUNT } }), { callers: { emails: [ACCOUNT] } })
  })

  t.test("the region of the app is not taken for the queue's", async t => {
    t.hasStrict(
      resolve(
        { ...CLOUD, location: undefined },
        { K_SERVICE: 'web', CLOUD_RUN_REGION: 'us-east1', GOOGLE_CLOUD_REGION: 'us-east1', FUNCTION_REGION: 'us-east1' }
      ),
      { code: 'FST_TASKS_MISSING_SETTING' }
    )
  })

  t.test('the audience is the origin of the URL, unless one is chosen', async t => {
    t.hasStrict(resolve(http({ url: `${AUDIENCE}/base/` })), {
      target: { url: `${AUDIENCE}/base`, audience: AUDIENCE },
      callers: { audiences: [AUDIENCE], emails: [ACCOUNT] }
    })
    t.hasStrict(resolve(http({ audience: 'tasks' })), { target: { audience: 'tasks' }, callers: { audiences: ['tasks'] } })
    t.hasStrict(resolve({ ...CLOUD, auth: { audience: ['a', 'b'], issuer: 'c', serviceAccountEmail: ['d@e'] } }), {
      callers: { audiences: ['a', 'b'], issuers: ['c'], emails: ['d@e'] }
    })
  })

  t.test("auth: 'emulator' takes keys from the emulator alone, and checks audience and account", async t => {
    const environment = { CLOUD_TASKS_EMULATOR_HOST: 'emulator:8123' }
    const { callers, target } = resolve({ ...http({ serviceAccountEmail: ACCOUNT }), auth: 'emulator' }, environment) as Config
    t.strictSame(callers, {
      verify: 'oidc',
      issuers: undefined,
      jwksUri: 'http://emulator:8123/jwks',
      audiences: [AUDIENCE],
      emails: [ACCOUNT],
      cloudRunIam: false
    })
    t.strictSame(target, { type: 'http', url: AUDIENCE, audience: AUDIENCE, serviceAccountEmail: ACCOUNT })
    const withoutAccount = resolve({ ...CLOUD, target: { type: 'http', url: AUDIENCE }, auth: 'emulator' }, environment) as Config
    t.strictSame((withoutAccount.callers as OidcCallers).emails, ['tasks@emulator.iam.gserviceaccount.com'])
    t.equal((withoutAccount.target as ResolvedHttpTarget).serviceAccountEmail, 'tasks@emulator.iam.gserviceaccount.com')
  })

  t.test('an emulator may be reached, and have its keys, over plain http', async t => {
    const options = {
      ...http({ url: 'http://localhost:3000' }),
      auth: { issuer: 'http://emulator', jwksUri: 'http://emulator:8123/certs' }
    }
    t.hasStrict(resolve(options, { CLOUD_TASKS_EMULATOR_HOST: 'emulator:8123' }), {
      emulatorHost: 'emulator:8123',
      callers: { verify: 'oidc' }
    })
  })
})

import t, { type Test } from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { KeySet } from '../../../lib/worker/auth/key-set.js'
import { OidcVerifier } from '../../../lib/worker/auth/oidc.js'
import { ACCOUNT, AUDIENCE, makeKey, sign, startIssuer, type SigningKey, type TokenIssuer } from '../../support/token-issuer.js'
import { gate } from '../../support/app.js'
import { CLOUD, startWorker } from '../../support/authenticated-worker.js'

/** When the clock of a test begins, in epoch seconds. */
const NOW = new ManualClock().now() / 1000

/** One that the issuer of a test does not have at first; the same for all tests, as making keys is slow. */
const nextKey = async (): Promise<SigningKey> => await (secondKey ??= makeKey('key-2'))
let secondKey: Promise<SigningKey> | undefined

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
    issuer.keys = [issuer.key, await nextKey()]
    pass(10_000)
    t.equal(await has('key-2'), true)
    t.equal(await has('key-1'), true)
  })

  t.test('that are revoked are dropped at the next refresh, for which no caller waits', async t => {
    const issuer = await startIssuer(t)
    const { keys, has, pass } = keySet(t, issuer)
    t.equal(await has('key-1'), true)
    issuer.keys = [await nextKey()]
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
    issuer.keys = [issuer.key, await nextKey()]
    clock.set(clock.now() - 3_600_000)
    pass(10_000)
    t.equal(await has('key-2'), true)
  })

  for (const mode of ['empty', 'redirect'] as const) {
    t.test(`are kept when the key server ${mode === 'empty' ? 'shows none' : 'redirects'}`, async t => {
      const issuer = await startIssuer(t)
      const { has, pass } = keySet(t, issuer)
      t.equal(await has('key-1'), true)
      issuer.mode = mode
      pass(600_000)
      t.equal(await has('key-2'), false)
      t.equal(await has('key-1'), true)
      t.equal(issuer.requests, 2)
    })

    t.test(`are missing where the key server has only ${mode === 'empty' ? 'shown none' : 'redirected'}`, async t => {
      const issuer = await startIssuer(t)
      issuer.mode = mode
      const { has } = keySet(t, issuer)
      await t.rejects(has('key-1'), { code: 'FST_TASKS_KEYS_UNAVAILABLE' })
      t.equal(issuer.requests, 1)
    })
  }

  t.test('that were never fetched are requested once a second', async t => {
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
    const clock = new ManualClock()
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
      /** A token that was issued when the test began, by its clock. */
      sign: async (key: SigningKey, claims: object = {}) => await sign(key, { iat: NOW, exp: NOW + 3600, ...claims }),
      pass: (ms: number) => { clock.pass(ms) },
      verify: async (token: string) => { await oidc.verify({ headers: { authorization: `Bearer ${token}` }, rawHeaders: [] }) }
    }
  }

  t.test('ends with the token', async t => {
    const { issuer, sign, pass, verify } = await verifier(t)
    const token = await sign(issuer.key, { exp: NOW + 60 })
    await verify(token) // Fetches the keys.
    await verify(token)
    pass(89_999)
    await verify(token)
    pass(1)
    await t.rejects(verify(token), { code: 'FST_TASKS_UNAUTHENTICATED' })
  })

  t.test('ends when its key is withdrawn', async t => {
    const { issuer, sign, pass, verify } = await verifier(t)
    const [token, other] = [await sign(issuer.key), await sign(issuer.key, { jti: 'other' })]
    await verify(token)
    pass(590_000)
    await verify(token) // Remembered for five minutes from here.
    issuer.keys = [await nextKey()]
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
    const { issuer, sign, pass, verify } = await verifier(t)
    const next = await nextKey()
    const [old, current] = [await sign(issuer.key), await sign(next)]
    await verify(old) // Fetches the keys, so that only the next verdict is remembered.
    await verify(old)
    issuer.keys = [next]
    pass(10_000)
    await verify(current) // Its key is new, so the keys are fetched again.
    await verify(current)
    t.equal(issuer.requests, 2)
    for (let i = 0; i < 2; i++) {
      await t.rejects(verify(old), { code: 'FST_TASKS_UNAUTHENTICATED' })
      await verify(current)
    }
  })

  t.test('lasts five minutes, for which the keys are not needed', async t => {
    const { issuer, sign, pass, verify } = await verifier(t)
    const token = await sign(issuer.key)
    await verify(token) // Fetches the keys.
    pass(590_000)
    await verify(token)
    pass(299_999)
    await verify(token)
    t.equal(issuer.requests, 1)
    pass(1)
    await verify(token) // Verified again, so that the old keys are refreshed.
    while (issuer.requests === 1) await new Promise(resolve => { setImmediate(resolve) })
    t.equal(issuer.requests, 2)
  })

  t.test('is not kept of a verification during which its key was withdrawn', async t => {
    const { issuer, sign, pass, verify } = await verifier(t)
    const next = await nextKey()
    const [first, old, current] = [await sign(issuer.key), await sign(issuer.key, { jti: 'old' }), await sign(next)]
    await verify(first)
    const held = holdVerification(t)
    const verified = verify(old)
    await held.begun
    issuer.keys = [next]
    pass(10_000)
    await verify(current) // Its key is new, so the keys are fetched again.
    await verify(current) // From here it is remembered.
    held.release()
    await verified
    await verify(current)
    t.equal(held.count(), 3, 'the token of the new key was still remembered')
    await t.rejects(verify(old), { code: 'FST_TASKS_UNAUTHENTICATED' })
    await t.rejects(verify(first), { code: 'FST_TASKS_UNAUTHENTICATED' })
  })

  t.test('is not that of a token with the same claims and another signature', async t => {
    const { issuer, sign, verify } = await verifier(t)
    const token = await sign(issuer.key)
    await verify(token)
    const last = token.at(-5) === 'A' ? 'B' : 'A'
    await t.rejects(verify(token.slice(0, -5) + last + token.slice(-4)), { code: 'FST_TASKS_UNAUTHENTICATED' })
    await verify(token)
  })
})

/** Holds the next verification of a signature until `release`. `count` is the number of verifications. */
function holdVerification (t: Test) {
  const [begun, released] = [gate(), gate()]
  let count = 0
  const { subtle } = globalThis.crypto
  const verify = subtle.verify.bind(subtle)
  subtle.verify = async (...parameters) => {
    if (++count === 1) {
      begun.open()
      await released.opened
    }
    return await verify(...parameters)
  }
  t.teardown(() => { delete (subtle as Partial<typeof subtle>).verify })
  return { begun: begun.opened, release: released.open, count: () => count }
}

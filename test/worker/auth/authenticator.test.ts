import t from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { SECRET_HEADER } from '../../../lib/delivery/headers.js'
import { OneTimeSecrets } from '../../../lib/delivery/one-time-secrets.js'
import { GOOGLE_KEYS } from '../../../lib/options/auth.js'
import { createAuthenticator, warnAboutCallers } from '../../../lib/worker/auth/authenticator.js'
import { startIssuer } from '../../support/token-issuer.js'

/** What becomes of a request with these headers, and the headers that a handler would see. */
async function authenticate (callers: object, given: (secrets: OneTimeSecrets) => Record<string, unknown>, substituted = false) {
  const secrets = new OneTimeSecrets()
  const hooks: string[] = []
  const app = { addHook (name: string) { hooks.push(name) } }
  const authenticator = await createAuthenticator({
    app: app as never, callers: callers as never, secrets, clock: new ManualClock(), isSubstituted: () => substituted
  })
  const headers = given(secrets)
  let code = 'accepted'
  try {
    await authenticator({ headers, raw: { headers, rawHeaders: [] } } as never)
  } catch (error) {
    code = (error as { code: string }).code
  }
  return { code, headers, hooks }
}

const UNAUTHENTICATED = 'FST_TASKS_UNAUTHENTICATED'
const bySecret = (secrets: OneTimeSecrets) => ({ [SECRET_HEADER]: secrets.issue(), a: '1' })
const twice = (secrets: OneTimeSecrets) => ({ [SECRET_HEADER]: [secrets.issue(), secrets.issue()], a: '1' })
const wrong = () => ({ [SECRET_HEADER]: '0-x', a: '1' })
const without = () => ({ a: '1' })
const oidc = { verify: 'oidc', jwksUri: 'http://127.0.0.1:1/', issuers: undefined, audiences: [], emails: [], cloudRunIam: false }

t.test('the embedded queue is known by its secret alone, which no handler sees', async t => {
  for (const callers of [{ verify: 'secret' }, { verify: 'none' }, { verify: 'appEngine' }, oidc]) {
    for (const [given, code] of [[bySecret, 'accepted'], [wrong, UNAUTHENTICATED], [twice, UNAUTHENTICATED]] as const) {
      const { code: got, headers } = await authenticate(callers, given, true)
      t.equal(got, code, callers.verify)
      t.strictSame(headers, { a: '1' })
    }
  }
  t.equal((await authenticate({ verify: 'secret' }, without)).code, UNAUTHENTICATED)
})

t.test('a secret counts for nothing where no embedded queue replaces Cloud Tasks', async t => {
  for (const [callers, code] of [[{ verify: 'none' }, 'accepted'], [{ verify: 'appEngine' }, UNAUTHENTICATED], [oidc, UNAUTHENTICATED]] as const) {
    t.equal((await authenticate(callers, wrong)).code, code)
    t.equal((await authenticate(callers, bySecret)).code, code)
  }
})

t.test('where an embedded queue replaces Cloud Tasks, other callers are accepted as before', async t => {
  for (const [callers, code] of [[{ verify: 'none' }, 'accepted'], [{ verify: 'appEngine' }, UNAUTHENTICATED], [oidc, UNAUTHENTICATED]] as const) {
    t.equal((await authenticate(callers, without, true)).code, code)
  }
})

t.test("App Engine's calls name a queue", async t => {
  for (const [queue, code] of [
    ['default', 'accepted'], ['', UNAUTHENTICATED], ['a b', UNAUTHENTICATED], [['default'], UNAUTHENTICATED], [undefined, UNAUTHENTICATED]
  ] as const) {
    t.equal((await authenticate({ verify: 'appEngine' }, () => ({ 'x-appengine-queuename': queue }))).code, code)
  }
})

t.test('only tokens need hooks of the server, for their keys', async t => {
  t.strictSame((await authenticate(oidc, without)).hooks, ['onListen', 'onClose'])
  for (const verify of ['none', 'appEngine', 'secret']) t.strictSame((await authenticate({ verify }, without)).hooks, [])
})

t.test('keys are fetched from listening to closing, unless an embedded queue replaces Cloud Tasks', async t => {
  for (const substituted of [false, true]) {
    const issuer = await startIssuer(t)
    issuer.mode = 'hangs'
    const clock = new ManualClock()
    const listeners = new Map<string, () => unknown>()
    await createAuthenticator({
      app: { addHook (name: string, listener: () => unknown) { listeners.set(name, listener) } } as never,
      callers: { ...oidc, jwksUri: issuer.jwksUri } as never,
      secrets: new OneTimeSecrets(),
      clock,
      isSubstituted: () => substituted
    })
    listeners.get('onListen')!()
    if (!substituted) while (issuer.requests === 0) await new Promise(resolve => { setImmediate(resolve) })
    t.equal(clock.pending, substituted ? 0 : 1)
    await listeners.get('onClose')!()
    t.strictSame([issuer.requests, clock.pending], [substituted ? 0 : 1, 0])
  }
})

t.test('one line warns of a server that accepts all callers, and of one that rejects its emulator', async t => {
  for (const [callers, emulatorHost, count] of [
    [{ verify: 'none' }, undefined, 1],
    [{ verify: 'none' }, 'localhost:1', 1],
    [{ verify: 'secret' }, 'localhost:1', 0],
    [{ verify: 'appEngine' }, 'localhost:1', 0],
    [{ ...oidc, jwksUri: GOOGLE_KEYS }, undefined, 0],
    [{ ...oidc, jwksUri: GOOGLE_KEYS }, 'localhost:1', 1],
    [oidc, 'localhost:1', 0]
  ] as const) {
    const lines: string[] = []
    warnAboutCallers({ warn (line: string) { lines.push(line) } } as never, { callers, emulatorHost } as never)
    t.equal(lines.length, count, `${callers.verify} ${emulatorHost}`)
    if (count === 1) t.equal(lines[0]?.startsWith(callers.verify === 'none' ? "'auth' is false" : 'CLOUD_TASKS_EMULATOR_HOST'), true)
  }
})

import t from 'tap'
import { resolveConfig, type Config } from '../../lib/options/config.js'

const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const ORIGIN = 'https://worker.example.com'
const CLOUD = {
  tasks: {},
  transport: 'cloud',
  project: 'demo',
  location: 'us-central1',
  target: { type: 'http', url: ORIGIN, serviceAccountEmail: ACCOUNT }
}
const EMULATOR = { CLOUD_TASKS_EMULATOR_HOST: 'emulator:8123' }
const APP_ENGINE = { GAE_SERVICE: 'default' }
type Variables = Readonly<Record<string, string>>

function resolve (options: object, environment: Variables = {}, worker = true): Config {
  return resolveConfig({ ...CLOUD, ...options }, environment, worker)
}

/** The code and the first words of the message with which options are rejected. */
function rejection (options: object, environment: Variables = {}, worker = true): readonly [string, string] {
  try {
    resolve(options, environment, worker)
  } catch (error) {
    const { code, message } = error as { code: string, message: string }
    return [code, /^(?:'[^']*'(?: \(or [A-Z_]+\))?|[A-Z_]+)/.exec(message)?.[0] ?? message]
  }
  return ['was accepted', '']
}

function http (target: object): object {
  return { target: { ...CLOUD.target, ...target } }
}

const INVALID = 'FST_TASKS_INVALID_OPTION'
const URL_OPTION = "'target.url' (or CLOUD_TASKS_TARGET_URL)"

t.test('a target to which Cloud Tasks cannot deliver is rejected', async t => {
  for (const [what, options, option, environment = {}] of [
    ['http with a service account', http({ url: 'http://worker.example.com' }), URL_OPTION],
    ['http to this host with a service account', http({ url: 'http://localhost:3000' }), URL_OPTION],
    ['a user', http({ url: 'https://user@worker.example.com' }), URL_OPTION],
    ['a password', http({ url: 'https://:pass@worker.example.com' }), URL_OPTION],
    ['a query', http({ url: `${ORIGIN}?key=1` }), URL_OPTION],
    ['a fragment', http({ url: `${ORIGIN}#top` }), URL_OPTION],
    ['a path without an origin', http({ url: '/tasks' }), URL_OPTION],
    ['another protocol', http({ url: 'ftp://worker.example.com' }), URL_OPTION],
    ['an empty URL', http({ url: '' }), "'target.url'"],
    ['an account without a host', http({ serviceAccountEmail: 'tasks' }), "'target.serviceAccountEmail'"],
    ['an account with its IAM prefix', http({ serviceAccountEmail: `serviceAccount:${ACCOUNT}` }), "'target.serviceAccountEmail'"],
    ['an account with a name', http({ serviceAccountEmail: `Tasks <${ACCOUNT}>` }), "'target.serviceAccountEmail'"],
    ['an account with two hosts', http({ serviceAccountEmail: `${ACCOUNT}@b` }), "'target.serviceAccountEmail'"],
    ['an account in a list', http({ serviceAccountEmail: [ACCOUNT] }), "'target.serviceAccountEmail'"],
    [
      'an account without a host in the environment', { target: { type: 'http', url: ORIGIN } },
      'CLOUD_TASKS_SERVICE_ACCOUNT', { CLOUD_TASKS_SERVICE_ACCOUNT: 'tasks' }
    ],
    ['an empty audience', http({ audience: '' }), "'target.audience'"],
    ['a list of audiences', http({ audience: [ORIGIN] }), "'target.audience'"],
    ['a URL as the target', { target: ORIGIN }, "'target'"],
    ['a list of targets', { target: [CLOUD.target] }, "'target'"],
    ['no type', { target: {} }, "'target.type'"],
    ['another type', { target: { type: 'ftp' } }, "'target.type'"],
    ['an unknown key', { target: { type: 'http', ulr: ORIGIN } }, "'target'"],
    ['a URL for App Engine', { target: { type: 'appEngine', url: ORIGIN } }, "'target'", APP_ENGINE],
    ['a version for HTTP', http({ version: '1' }), "'target'"],
    ['an empty service', { target: { type: 'appEngine', service: '' } }, "'target.service'", APP_ENGINE],
    ['an empty version', { target: { type: 'appEngine', version: '' } }, "'target.version'", APP_ENGINE]
  ] as Array<[string, object, string, Variables?]>) t.strictSame(rejection(options, environment), [INVALID, option], what)
})

t.test('the audience is the origin of the URL, unless one is given, and the URL loses its trailing slashes', async t => {
  for (const [given, expected] of [
    [{ url: `${ORIGIN}/` }, { url: ORIGIN, audience: ORIGIN }],
    [{ url: `${ORIGIN}/base//` }, { url: `${ORIGIN}/base`, audience: ORIGIN }],
    [{ url: `${ORIGIN}:8443/a/b` }, { url: `${ORIGIN}:8443/a/b`, audience: `${ORIGIN}:8443` }],
    [{ url: `${ORIGIN}/base`, audience: 'tasks' }, { url: `${ORIGIN}/base`, audience: 'tasks' }]
  ] as const) {
    const { target, callers } = resolve(http(given))
    t.strictSame(target, { type: 'http', serviceAccountEmail: ACCOUNT, ...expected })
    t.strictSame((callers as { audiences?: unknown }).audiences, [expected.audience])
  }
})

t.test('plain http is accepted for a target without a token, and for an emulator', async t => {
  const plain = { url: 'http://worker.internal/x', audience: 'http://worker.internal' }
  t.strictSame(resolve({ target: { type: 'http', url: plain.url }, auth: false }).target, { type: 'http', ...plain })
  t.strictSame(resolve(http({ url: plain.url }), EMULATOR).target, { type: 'http', serviceAccountEmail: ACCOUNT, ...plain })
})

t.test('a target of App Engine keeps its service and version, in the cloud only', async t => {
  const target = { type: 'appEngine', service: 'worker', version: 'v2' }
  t.strictSame(resolve({ target }, {}, false).target, target)
  t.strictSame(resolve({ target, transport: 'local' }).target, { type: 'appEngine' })
  t.strictSame(resolve({ transport: 'local' }).target, { type: 'http', url: 'http://localhost', audience: 'http://localhost' })
})

t.test('callers that could not be authenticated are rejected', async t => {
  const appEngine = { type: 'appEngine' }
  for (const [what, options, option, environment = {}] of [
    ['true', { auth: true }, "'auth'"],
    ['another word', { auth: 'none' }, "'auth'"],
    ['a number', { auth: 5 }, "'auth'"],
    ['an unknown key', { auth: { isuer: 'x' } }, "'auth'"],
    ['keys over plain http', { auth: { jwksUri: 'http://keys.example.com/certs' } }, "'auth.jwksUri'"],
    ['keys on a host that is called like this one', { auth: { jwksUri: 'http://localhost.evil.com/certs' } }, "'auth.jwksUri'"],
    ['keys on a host whose name ends like this one', { auth: { jwksUri: 'http://evil-localhost/certs' } }, "'auth.jwksUri'"],
    ['keys on a host that is named like an address', { auth: { jwksUri: 'http://127.0.0.1.evil.com/certs' } }, "'auth.jwksUri'"],
    ['keys by another protocol, on this host', { auth: { jwksUri: 'ftp://localhost/certs' } }, "'auth.jwksUri'"],
    ['keys by another protocol, with an emulator', { auth: { jwksUri: 'ftp://localhost/certs' } }, "'auth.jwksUri'", EMULATOR],
    ['keys at no URL', { auth: { jwksUri: 'certs' } }, "'auth.jwksUri'"],
    ['keys at a number', { auth: { jwksUri: 7 } }, "'auth.jwksUri'"],
    ['keys for a user', { auth: { jwksUri: 'https://user@keys.example.com/certs' } }, "'auth.jwksUri'"],
    ['keys for a password', { auth: { jwksUri: 'https://:pass@keys.example.com/certs' } }, "'auth.jwksUri'"],
    ['no audience', { auth: { audience: [] } }, "'auth.audience'"],
    ['an empty issuer', { auth: { issuer: ['a', ''] } }, "'auth.issuer'"],
    ['an account without a host', { auth: { serviceAccountEmail: [ACCOUNT, 'tasks'] } }, "'auth.serviceAccountEmail'"],
    ['a word for cloudRunIam', { auth: { cloudRunIam: 'yes' } }, "'auth.cloudRunIam'"],
    ['the IAM check of Cloud Run elsewhere', { auth: { cloudRunIam: true } }, "'auth.cloudRunIam'"],
    ['an emulator that is not set', { auth: 'emulator' }, "'auth'"],
    ['an emulator that is empty', { auth: 'emulator', transport: 'local' }, "'auth'", { CLOUD_TASKS_EMULATOR_HOST: '' }],
    ['an emulator for App Engine', { auth: 'emulator', target: appEngine }, "'auth'", { ...APP_ENGINE, ...EMULATOR }],
    ['an audience for App Engine', { auth: { audience: 'x' }, target: appEngine }, "'auth'", APP_ENGINE],
    ['cloudRunIam for App Engine', { auth: { cloudRunIam: true }, target: appEngine }, "'auth'", APP_ENGINE],
    ['handlers for App Engine elsewhere', { target: appEngine }, "'handlers'"]
  ] as Array<[string, object, string, Variables?]>) t.strictSame(rejection(options, environment), [INVALID, option], what)
})

t.test('tokens are those of Google for the target, unless the options say otherwise', async t => {
  const google = {
    verify: 'oidc',
    issuers: ['https://accounts.google.com', 'accounts.google.com'],
    jwksUri: 'https://www.googleapis.com/oauth2/v3/certs',
    audiences: [ORIGIN],
    emails: [ACCOUNT],
    cloudRunIam: false
  }
  t.strictSame(resolve({}).callers, google)
  t.strictSame(resolve({ auth: { cloudRunIam: true } }, { K_SERVICE: 'worker' }).callers, { ...google, cloudRunIam: true })
  t.strictSame(resolve({ target: { type: 'http', url: ORIGIN } }, {}, false).callers, { ...google, emails: [] }, 'of a producer')
  const auth = { audience: ['a', 'b'], issuer: 'c', serviceAccountEmail: ['d@e'], jwksUri: 'https://f.example' }
  t.strictSame(resolve({ auth }).callers, {
    verify: 'oidc', issuers: ['c'], jwksUri: 'https://f.example', audiences: ['a', 'b'], emails: ['d@e'], cloudRunIam: false
  })
})

t.test('keys may come over plain http from this host, and with an emulator', async t => {
  const keysOf = (jwksUri: string, environment: Variables = {}) =>
    (resolve({ auth: { jwksUri } }, environment).callers as { jwksUri?: string }).jwksUri
  for (const jwksUri of ['http://localhost:1/certs', 'http://127.0.0.1/certs', 'http://127.1.2.3:9/certs', 'http://[::1]:9/certs']) {
    t.equal(keysOf(jwksUri), jwksUri)
  }
  t.equal(keysOf('http://keys.example.com/certs', EMULATOR), 'http://keys.example.com/certs')
})

t.test("auth: 'emulator' takes keys from the emulator alone, and checks audience and account", async t => {
  const { callers, target } = resolve({ auth: 'emulator' }, EMULATOR)
  t.strictSame(callers, {
    verify: 'oidc',
    issuers: undefined,
    jwksUri: 'http://emulator:8123/jwks',
    audiences: [ORIGIN],
    emails: [ACCOUNT],
    cloudRunIam: false
  })
  t.strictSame(target, { type: 'http', url: ORIGIN, audience: ORIGIN, serviceAccountEmail: ACCOUNT })
  const generated = 'tasks@emulator.iam.gserviceaccount.com'
  const withoutAccount = resolve({ target: { type: 'http', url: ORIGIN }, auth: 'emulator' }, EMULATOR)
  t.strictSame(withoutAccount.callers, { ...callers, emails: [generated] })
  t.strictSame(withoutAccount.target, { type: 'http', url: ORIGIN, audience: ORIGIN, serviceAccountEmail: generated })
})

t.test('other callers are accepted by a secret, by the header of App Engine, or all of them', async t => {
  const target = { type: 'appEngine' }
  t.strictSame(resolve({ auth: false }).callers, { verify: 'none' })
  t.strictSame(resolve({ target, auth: false }).callers, { verify: 'none' }, 'also with handlers elsewhere than on App Engine')
  t.strictSame(resolve({ target }, APP_ENGINE).callers, { verify: 'appEngine' })
  t.strictSame(resolve({ target, auth: {} }, APP_ENGINE).callers, { verify: 'appEngine' })
  t.strictSame(resolve({ target }, {}, false).callers, { verify: 'appEngine' }, 'of a producer elsewhere')
  t.strictSame(resolve({ transport: 'local' }).callers, { verify: 'secret' })
  t.strictSame(resolve({ transport: 'local', auth: false }).callers, { verify: 'none' })
})

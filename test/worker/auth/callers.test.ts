import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import type { OidcCallers } from '../../../lib/options/auth.js'
import { resolveConfig, type Config } from '../../../lib/options/config.js'
import type { ResolvedHttpTarget } from '../../../lib/options/target.js'
import cloudTasks, { type CloudTasksOptions } from '../../../lib/index.js'
import { SECRET_HEADER } from '../../../lib/delivery/headers.js'
import { OidcVerifier } from '../../../lib/worker/auth/oidc.js'
import { ACCOUNT, AUDIENCE, assemble, goodClaims, sign, startIssuer } from '../../support/token-issuer.js'
import { tasks, CLOUD, startWorker } from '../../support/authenticated-worker.js'

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

  t.test('it is rejected where Cloud Run has looked at another header', async t => {
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

  t.test('accepts its own calls only', async t => {
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

  t.test('is rejected elsewhere, where its header can be forged', async t => {
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
  t.test('accepts its own calls only', async t => {
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
  t.test('all callers are accepted, with one warning', async t => {
    const worker = await startWorker(t, { ...CLOUD, auth: false })
    t.equal((await worker.call({})).status, 204)
    t.equal((await worker.call({ authorization: 'Bearer x' })).status, 204)
    t.strictSame(
      worker.log
        .map(line => JSON.parse(line))
        .filter(line => line.level === 40 && line.queue === undefined)
        .map(line => line.msg),
      ["'auth' is false: anyone who can reach this server can run any task"]
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
    t.test(`${what} is rejected`, async t => { t.hasStrict(resolve(options, environment), { code: 'FST_TASKS_INVALID_OPTION' }) })
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

  t.test('a service account is not required without authentication, or without handlers', async t => {
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

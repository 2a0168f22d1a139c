import Fastify from 'fastify'
import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import cloudTasks, { type CloudTasksOptions } from '../../../lib/index.js'
import { SECRET_HEADER } from '../../../lib/delivery/headers.js'
import { OidcVerifier } from '../../../lib/worker/auth/oidc.js'
import { environment } from '../../support/environment.js'
import { ACCOUNT, AUDIENCE, assemble, goodClaims, sign, startIssuer } from '../../support/token-issuer.js'
import { tasks, CLOUD, startWorker } from '../../support/authenticated-worker.js'

t.test('behind the IAM check of Cloud Run, which removes signatures,', async t => {
  environment(t, { K_SERVICE: 'worker' })
  const issuer = await startIssuer(t)
  const worker = await startWorker(t, { ...CLOUD, auth: { jwksUri: issuer.jwksUri, cloudRunIam: true } })
  const unsigned = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    assemble({ alg: 'RS256', kid: 'x', typ: 'JWT', ...header }, { ...goodClaims(), ...claims }, 'SIGNATURE_REMOVED_BY_GOOGLE')
  const status = async (token: string, headers: Record<string, string> = {}) =>
    (await worker.call({ authorization: `Bearer ${token}`, ...headers })).status

  t.test('a token without its signature is accepted if its claims are right', async t => {
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

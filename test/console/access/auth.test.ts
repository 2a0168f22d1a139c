import fastifyAuth from '@fastify/auth'
import basicAuth from '@fastify/basic-auth'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type preHandlerHookHandler } from 'fastify'
import t from 'tap'
import type { Overview } from '../../../lib/console/api/api.js'
import taskConsole, { type ConsoleAuth, type ConsoleOptions } from '../../../lib/console/plugin.js'
import { serve } from '../console-app.js'

const urls = ['/console/', '/console/assets/icon.svg', '/console/api/overview', '/console/api/events', '/console/api/none']
const isAda = (request: FastifyRequest): boolean => request.headers['x-user'] === 'ada'
const refusal = (statusCode: number): Error => Object.assign(new Error('refused'), { statusCode })
const later = (work: () => void): void => { setImmediate(work) }

/** Statuses of every page, read and write of the console. */
async function statuses (app: FastifyInstance, headers: Record<string, string> = {}): Promise<Set<number>> {
  const responses = await Promise.all([
    ...urls.filter(url => headers['x-user'] !== 'ada' || !url.endsWith('/events')).map(async url => await app.inject({ url, headers })),
    app.inject({ method: 'POST', url: '/console/api/run', headers, payload: {} })
  ])
  return new Set(responses.map(({ statusCode }) => statusCode))
}

t.test('auth protects the page and everything below it, with one function or with several', async t => {
  const refusals: Array<[what: string, auth: NonNullable<ConsoleOptions['auth']>, status: number]> = [
    ['throws', () => { throw refusal(418) }, 418],
    ['replies', async (_request, reply) => await reply.code(403).send('log in'), 403],
    ['calls done later', (_request, _reply, done) => { later(() => { done(refusal(403)) }) }, 403],
    [
      'is one of several',
      [() => true, async () => {}, (_request, _reply, done) => { done() }, () => false, () => { throw refusal(500) }],
      401
    ]
  ]
  for (const [what, auth, status] of refusals) {
    const { app } = await serve(t, { console: { auth } })
    t.strictSame([...await statuses(app)], [status], what)
  }
})

t.test('auth accepts a caller whom all its functions accept', async t => {
  const byDone: ConsoleAuth = (request, _reply, done) => { done(isAda(request) ? undefined : refusal(401)) }
  for (const auth of [isAda, [isAda, async (request: FastifyRequest) => isAda(request), byDone]]) {
    const { app } = await serve(t, { console: { auth } })
    t.strictSame([...await statuses(app)], [401])
    const accepted = [...await statuses(app, { 'x-user': 'ada', host: 'shop.example' })]
    t.strictSame(accepted.sort(), [200, 403, 404], 'her write lacks the token')
  }
})

t.test('the hooks of @fastify/basic-auth and @fastify/auth are auth', async t => {
  const login = (user: string): Record<string, string> => ({ authorization: `Basic ${Buffer.from(`${user}:secret`).toString('base64')}` })
  const before = async (app: FastifyInstance): Promise<void> => {
    await app.register(basicAuth, {
      authenticate: { realm: 'Shop' },
      async validate (user) { if (user !== 'ada') throw new Error('unknown user') }
    })
    await app.register(fastifyAuth)
  }
  const byHeader: preHandlerHookHandler = (request, _reply, done) => { done(isAda(request) ? undefined : refusal(401)) }
  const guards: Array<
    [what: string, auth: (app: FastifyInstance) => NonNullable<ConsoleOptions['auth']>, headers: Array<Record<string, string>>]
  > = [
    ['app.basicAuth', app => app.basicAuth, [login('ada')]],
    [
      'app.basicAuth, looked up for each request',
      app =>
        (...args) => {
          app.basicAuth(...args)
        },
      [login('ada')]
    ],
    ['app.auth([...])', app => app.auth([app.basicAuth, byHeader]), [login('ada'), { 'x-user': 'ada' }]],
    [
      'app.auth([...]), all of them',
      app => app.auth([app.basicAuth, byHeader], { relation: 'and' }),
      [{ ...login('ada'), 'x-user': 'ada' }]
    ],
    ['both', app => [app.basicAuth, app.auth([byHeader])], [{ ...login('ada'), 'x-user': 'ada' }]]
  ]
  for (const [what, auth, accepted] of guards) {
    const { app } = await serve(t, { before, console: app => ({ auth: auth(app) }) })
    for (const headers of [{}, login('eve'), { authorization: 'Basic' }, { authorization: 'Bearer x' }]) {
      t.strictSame([...(await statuses(app, headers))], [401], what)
    }
    for (const headers of accepted) {
      t.equal((await app.inject({ url: '/console/', headers })).statusCode, 200, what)
      t.equal((await app.inject({ url: '/console/api/overview', headers })).statusCode, 200, what)
    }
  }
  const { app } = await serve(t, { before, console: app => ({ auth: app.basicAuth }) })
  t.equal(
    (await app.inject('/console/')).headers['www-authenticate'],
    'Basic realm="Shop", charset="UTF-8"',
    'a browser asks for the password'
  )
})

t.test('auth gets the instance as this, and the request and the reply of the call', async t => {
  const seen: unknown[] = []
  const { app } = await serve(t, {
    before: app => app.decorate('users', ['ada']),
    console: {
      auth (request, reply, done) {
        seen.push((this as unknown as { users: string[] }).users, request.url, reply.request === request)
        done()
      }
    }
  })
  seen.length = 0
  await app.inject('/console/')
  t.strictSame(seen, [['ada'], '/console/', true])
})

t.test('a hook of the instance around the console may decide, and must be there', async t => {
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const) {
    const decide = async ({ url }: FastifyRequest, reply: FastifyReply) => url.startsWith('/console') ? await reply.code(403).send() : undefined
    const { app } = await serve(t, { console: { auth: 'inherited' }, before: app => app.addHook(hook as 'onRequest', decide) })
    t.equal((await app.inject('/console/')).statusCode, 403, hook)
  }
  await t.rejects(serve(t, { console: { auth: 'inherited' } }), { code: 'FST_TASKS_INVALID_OPTION', message: /no hook/ })
})

t.test('in production auth is required', async t => {
  const { NODE_ENV } = process.env
  t.teardown(() => { process.env.NODE_ENV = NODE_ENV })
  process.env.NODE_ENV = 'production'
  const app = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => { await app.register(taskConsole) }, { code: 'FST_TASKS_NOT_FOR_PRODUCTION', message: /'auth'/ })
  const guarded = Fastify()
  t.teardown(() => guarded.close())
  await t.resolves(async () => { await guarded.register(taskConsole, { auth: () => false }) })
  process.env.NODE_ENV = NODE_ENV
})

t.test('without auth, a server that other machines reach logs a warning', async t => {
  const warnings: string[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => { warnings.push(line) } } }
  for (const host of ['127.0.0.1', '0.0.0.0']) {
    const { app, read } = await serve(t, { server: { logger } })
    t.ok((await read<Overview>('overview')).token)
    t.ok((await read<{ error: unknown }>('letters?limit=0')).error, 'which is not logged')
    await app.listen({ port: 0, host })
    await app.close()
  }
  t.strictSame(warnings.map(line => line.includes("no 'auth'")), [true])
})

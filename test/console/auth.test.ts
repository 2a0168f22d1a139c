import Fastify from 'fastify'
import t from 'tap'
import taskConsole, { type ConsoleOptions } from '../../lib/console/plugin.js'
import { serve } from './console-app.js'

t.test('who may use it', async t => {
  const urls = ['/console/', '/console/assets/icon.svg', '/console/api/overview', '/console/api/events', '/console/api/none']

  t.test('is decided by auth, for the page and all below it', async t => {
    const refusals: Array<[string, ConsoleOptions['auth'], number]> = [
      ['throws', () => { throw Object.assign(new Error('no'), { statusCode: 418 }) }, 418],
      ['rejects', async () => { throw Object.assign(new Error('no'), { statusCode: 402 }) }, 402],
      ['answers', async (_request, reply) => await reply.code(401).header('www-authenticate', 'Basic').send('log in'), 401],
      ['answers and returns nothing', (_request, reply) => { reply.code(401).send('log in') }, 401],
      ['returns false', () => false, 401],
      ['resolves to false', async () => false, 401]
    ]
    for (const [what, auth, status] of refusals) {
      const { app } = await serve(t, { console: { auth: auth! } })
      for (const url of urls) t.equal((await app.inject(url)).statusCode, status, `${what}: ${url}`)
      t.equal((await app.inject({ method: 'POST', url: '/console/api/run', payload: {} })).statusCode, status)
    }
    for (const [what, auth, status] of refusals) {
      const { app } = await serve(t, { console: { auth: auth! }, before: app => app.addHook('onSend', async () => { await new Promise(resolve => setImmediate(resolve)) }) })
      for (const url of urls) t.equal((await app.inject(url)).statusCode, status, `${what}, and the app has a hook that takes time: ${url}`)
    }
    const { app, read } = await serve(t, { console: { auth: request => request.headers['x-user'] === 'ada' } })
    t.match(await read('overview'), { error: { code: 'FST_TASKS_UNAUTHENTICATED' } })
    t.equal((await app.inject({ url: '/console/api/overview', headers: { 'x-user': 'ada' } })).statusCode, 200)
  })

  t.test('may be decided by a hook of the instance around it, which must be there', async t => {
    const { app } = await serve(t, { console: { auth: 'inherited' }, before: app => app.addHook('onRequest', async (request, reply) => request.url.startsWith('/console') ? await reply.code(403).send() : undefined) })
    t.equal((await app.inject('/console/')).statusCode, 403)
    await t.rejects(serve(t, { console: { auth: 'inherited' } }), { code: 'FST_TASKS_INVALID_OPTION', message: /no hook/ })
  })

  t.test('must be decided in production', async t => {
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

  t.test('is anybody in development, and a server that others reach says so', async t => {
    const warnings: string[] = []
    const logger = { level: 'warn', stream: { write: (line: string) => { warnings.push(line) } } }
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      const { app } = await serve(t, { server: { logger } })
      await app.listen({ port: 0, host })
      await app.close()
    }
    t.equal(warnings.filter(line => line.includes("no 'auth'")).length, 1)
  })
})

import { Type } from '@sinclair/typebox'
import type { RouteOptions } from 'fastify'
import t from 'tap'
import { defineTasks } from '../../lib/index.js'
import { start } from '../support/app.js'

const payload = Type.Object({ n: Type.Integer() })
const tasks = defineTasks({ work: { payload }, put: { payload, method: 'PUT', path: '/put/it' }, elsewhere: { payload } })
const handlers = { work: () => {}, put: () => {} }

t.test('a route per handler accepts a whole task, is free of rate limits, and is hidden by default', async t => {
  for (const [options, log] of [[{}, undefined], [{ logLevel: 'warn', exposeRoutes: true }, 'warn']] as const) {
    const routes: RouteOptions[] = []
    await start(t, { tasks, handlers, ...options }, app => {
      app.addHook('onRoute', route => { if (route.method !== 'HEAD') routes.push({ ...route }) })
    })
    const facts = routes.map(({ method, url, bodyLimit, config, logLevel, handlerTimeout }: RouteOptions & { handlerTimeout?: number }) =>
      [method, url, bodyLimit, (config as { rateLimit?: boolean })?.rateLimit, logLevel || undefined, handlerTimeout])
    t.strictSame(facts, [
      ['POST', '/tasks/work', 1_048_576, false, log, undefined],
      ['PUT', '/tasks/put/it', 1_048_576, false, log, undefined],
      [['POST', 'PUT', 'PATCH'], '/tasks/*', 1_048_576, undefined, undefined, undefined]
    ])
    const schemas = routes.map(({ schema }) => schema as { hide?: boolean, tags?: string[], summary?: string, body?: object })
    const shown = (name: string) => log === undefined
      ? [true, undefined, undefined, false]
      : [undefined, ['tasks'], `Attempt of task ${name}`, true]
    t.strictSame(schemas.map(({ hide, tags, summary, body }) => [hide, tags, summary, body !== undefined]), [
      shown('work'), shown('put'), [true, undefined, undefined, false]
    ])
  }
})

t.test('without handlers, no route is mounted', async t => {
  const routes: string[] = []
  await start(t, { tasks }, app => { app.addHook('onRoute', ({ url }) => { routes.push(url) }) })
  t.strictSame(routes, [])
})

t.test('an unknown path below the prefix is answered 404 whatever its body is, and by the host elsewhere', async t => {
  const { app } = await start(t, { tasks, auth: false, handlers }, app => {
    app.setNotFoundHandler((_request, reply) => reply.code(418).send())
  })
  const json = { 'content-type': 'application/json' }
  for (const [method, url, payload, status] of [
    ['POST', '/tasks/elsewhere', '{"n":1}', 404],
    ['POST', '/tasks/work/more', '{"n":', 404],
    ['PUT', '/tasks/work', '', 404],
    ['PATCH', '/tasks/', 'x'.repeat(1_048_577), 404],
    ['GET', '/tasks/work', undefined, 418],
    ['POST', '/other', '{}', 418]
  ] as const) {
    const response = await app.inject({ method, url, ...(payload === undefined ? {} : { headers: json, payload }) })
    t.equal(response.statusCode, status, `${method} ${url}`)
    if (status === 404) t.strictSame(response.json(), { statusCode: 404, result: 'retry', code: 'FST_TASKS_NOT_REGISTERED' })
  }
})

t.test("a hook's error for an unknown path is a rejected call, and so is one that looks like a parser's", async t => {
  for (const [auth, code, status] of [
    [false, 'FST_ERR_OTHER', 429], [undefined, 'FST_ERR_CTP_BODY_TOO_LARGE', 413]
  ] as const) {
    const { app } = await start(t, { tasks, handlers, ...(auth === undefined ? {} : { auth }) }, app => {
      app.addHook('onRequest', async () => { throw Object.assign(new Error('no'), { code, statusCode: status }) })
    })
    const response = await app.inject({ method: 'POST', url: '/tasks/renamed', payload: {} })
    t.strictSame([response.statusCode, response.json()], [status, { statusCode: status, result: 'refused', code }])
    t.equal(response.headers['fastify-cloud-tasks-result'], 'refused')
  }
})

t.test("an app's error without a status is a rejected call with 500, and one of a success too", async t => {
  for (const statusCode of [undefined, 200, 399, 400]) {
    const { app, log } = await start(t, { tasks, auth: false, handlers }, app => {
      app.addHook('preHandler', async () => { throw Object.assign(new Error('no'), { statusCode }) })
    })
    const response = await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 1 } })
    t.equal(response.statusCode, statusCode === 400 ? 400 : 500)
    t.strictSame(response.json(), { statusCode: response.statusCode, result: 'refused' })
    const lines = log.filter(({ msg }) => msg === 'task call rejected')
    t.strictSame(lines.map(({ level, task }) => [level, task]), [[statusCode === 400 ? 40 : 50, 'work']])
  }
})

t.test("an onSend hook that throws again leaves the answer to the routes, not to the host's error handler", async t => {
  const { app } = await start(t, { tasks, auth: false, handlers }, app => {
    const thrown = new WeakMap<object, number>()
    app.setErrorHandler((_error, _request, reply) => reply.code(200).send('all fine'))
    app.addHook('onSend', async request => {
      const count = thrown.get(request) ?? 0
      thrown.set(request, count + 1)
      if (count < 2) throw new Error('no compression today')
    })
  })
  for (const path of ['work', 'renamed']) {
    const response = await app.inject({ method: 'POST', url: `/tasks/${path}`, payload: { n: 1 } })
    t.strictSame([response.statusCode, response.json()], [500, { statusCode: 500, result: 'refused' }])
  }
})

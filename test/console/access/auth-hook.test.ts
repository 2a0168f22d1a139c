import { EventEmitter, once } from 'node:events'
import { get, type IncomingMessage, type ServerResponse } from 'node:http'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { authHook, isMixedStyle, type ConsoleAuth } from '../../../lib/console/access/auth-hook.js'

const isAda = (request: FastifyRequest): boolean => request.headers['x-user'] === 'ada'
const refusal = (statusCode: number): Error => Object.assign(new Error('refused'), { statusCode })
const check = (request: FastifyRequest, ..._rest: unknown[]): boolean => isAda(request)
const later = (work: () => void): void => { setImmediate(work) }
function passOn (...args: Parameters<ConsoleAuth>): void { later(() => { args[2](refusal(403)) }) }
function rejectLater (_request: unknown, _reply: unknown, done: (error: Error) => void): void { later(() => { done(refusal(403)) }) }

/** An app with a route for each function, at its index, which is reached where the function accepts the caller, and answers 200. */
function guarded (t: Test, auths: readonly ConsoleAuth[], options: FastifyServerOptions = {}, reached: unknown[] = []): FastifyInstance {
  const app = Fastify(options)
  t.teardown(() => app.close())
  for (const [index, auth] of auths.entries()) app.get(`/${index}`, { onRequest: authHook(auth) }, async () => reached.push(index))
  return app
}

t.test('auth rejects callers, in every style of a hook', async t => {
  const refusals: Array<[what: string, auth: ConsoleAuth, status: number]> = [
    ['throws', () => { throw refusal(418) }, 418],
    ['rejects', async () => { throw refusal(402) }, 402],
    [
      'throws undefined',
      () => {
        // eslint-disable-next-line no-throw-literal
        throw undefined
      },
      401
    ],
    [
      'rejects with undefined',
      async () => {
        // eslint-disable-next-line no-throw-literal
        throw undefined
      },
      401
    ],
    [
      'throws a text',
      () => {
        // eslint-disable-next-line no-throw-literal
        throw 'no'
      },
      401
    ],
    ['answers', async (_request, reply) => await reply.code(403).header('www-authenticate', 'Basic').send('log in'), 403],
    ['answers and returns nothing', (_request, reply) => { reply.code(403).send('log in') }, 403],
    ['answers by a redirect', (_request, reply) => { reply.redirect('/login') }, 302],
    ['answers that there is nothing', (_request, reply) => { reply.callNotFound() }, 404],
    ['answers and then throws', (_request, reply) => { reply.code(403).send('log in'); throw new Error('late') }, 403],
    ['answers by the raw response', (_request, reply) => { reply.raw.writeHead(403).end() }, 403],
    ['takes the reply over', (_request, reply) => { reply.hijack(); later(() => { reply.raw.writeHead(403).end() }) }, 403],
    ['returns the reply and answers later', (_request, reply) => { later(() => { reply.code(403).send() }); return reply }, 403],
    ['returns false', () => false, 401],
    ['resolves to false', async () => false, 401],
    ['has done and returns false', (_request, _reply, _done) => false, 401],
    ['calls done with an error', (_request, _reply, done) => { done(refusal(403)) }, 403],
    ['calls done with an error, later', (_request, _reply, done) => { later(() => { done(refusal(403)) }) }, 403],
    ['calls done with what is no error', (_request, _reply, done) => { (done as (error: unknown) => void)('no') }, 401],
    ['calls done with false', (_request, _reply, done) => { later(() => { (done as (error: unknown) => void)(false) }) }, 401],
    ['calls done with an error and again without', (_request, _reply, done) => { done(refusal(403)); done(); later(done) }, 403],
    ['throws and calls done later', (_request, _reply, done) => { later(done); throw refusal(403) }, 403],
    ['has done and answers, without calling it', (_request, reply, _done) => { later(() => { reply.code(403).send() }) }, 403],
    ['has done and answers, and calls it', (_request, reply, done) => { reply.code(403).send(); done() }, 403],
    ['has done and returns something', (_request, _reply, done) => setImmediate(() => { done(refusal(403)) }), 403],
    ['passes its arguments on', (...args) => { later(() => { args[2](refusal(403)) }) }, 403],
    ['passes its arguments on, in the old way', function () { const done = arguments[2]; later(() => { done(refusal(403)) }) }, 403],
    ['is bound, and passes its arguments on', passOn.bind(undefined), 403],
    ['is bound, and has done', rejectLater.bind(undefined), 403],
    ['passes its arguments on, as an object', (...{ 2: done }) => { later(() => { done(refusal(403)) }) }, 403],
    ['passes some of its arguments on', (_request, ...[, done]) => { later(() => { done(refusal(403)) }) }, 403],
    ['is a function that passes its arguments on', function (...args) { later(() => { args[2](refusal(403)) }) }, 403],
    ['is a method that passes its arguments on', { auth (...args: Parameters<ConsoleAuth>) { passOn(...args) } }.auth, 403],
    ['is a method with a quoted name', { 'has-auth' (...args: Parameters<ConsoleAuth>) { passOn(...args) } }['has-auth'], 403],
    // eslint-disable-next-line no-new-func
    ['has a comment before its arguments', new Function('/* (all) */ ...args', 'setImmediate(args[2], {})') as ConsoleAuth, 401],
    ['is a function with another alphabet', function prüft (...args) { passOn(...args) }, 403],
    // eslint-disable-next-line no-new-func
    ['is minified, and has a default for done', new Function('a', 'b', 'c=0', 'setImmediate(c,{})') as ConsoleAuth, 401],
    ['has a default for done', (_request, _reply, done = () => {}) => { later(() => { done(refusal(403)) }) }, 403]
  ]
  for (const slow of [false, true]) {
    const reached: unknown[] = []
    const notFound: string[] = []
    const app = guarded(t, refusals.map(([, auth]) => auth), {}, reached)
    if (slow) {
      app.addHook('onSend', async () => { await new Promise(resolve => { setImmediate(resolve) }) })
      app.setNotFoundHandler(({ url }, reply) => {
        notFound.push(refusals[Number(url.slice(1))]![0])
        later(() => { reply.code(404).send() })
      })
    }
    for (const [index, [what, , status]] of refusals.entries()) {
      const { statusCode } = await app.inject(`/${index}`)
      t.strictSame([statusCode, reached.splice(0)], [status, []], slow ? `${what}, and a hook of the app delays the response` : what)
    }
    if (slow) t.strictSame(notFound, ['answers that there is nothing'])
  }
})

t.test('auth accepts callers, in every style of a hook', async t => {
  const styles: Array<[what: string, auth: ConsoleAuth]> = [
    ['returns', isAda],
    ['is bound, and returns', isAda.bind(undefined)],
    ['returns nothing', request => { if (!isAda(request)) throw refusal(401) }],
    [
      'returns nothing, and has a callback in it',
      request => {
        const check = (...all: boolean[]): boolean => all.every(Boolean)
        return check(isAda(request))
      }
    ],
    ['resolves', async request => { if (!isAda(request)) throw refusal(401) }],
    [
      'resolves, and has done as an async function compiled for old runtimes has',
      (request, _reply, _done) => Promise.resolve(isAda(request))
    ],
    ['calls done', (request, _reply, done) => { done(isAda(request) ? undefined : refusal(401)) }],
    ['calls done later', (request, _reply, done) => { later(() => { done(isAda(request) ? undefined : refusal(401)) }) }],
    ['calls done with null', (request, _reply, done) => { (done as (error: unknown, value?: unknown) => void)(null, isAda(request)) }],
    ['passes its arguments on', (...[request, , done]) => { later(() => { done(isAda(request) ? undefined : refusal(401)) }) }],
    ['calls done twice', (request, _reply, done) => { if (isAda(request)) later(done); done(isAda(request) ? undefined : refusal(401)) }],
    ['returns, and takes three fields of the request', ({ headers, ip, url }) => headers['x-user'] === 'ada' && ip !== url],
    ['returns, and takes the rest of the request', ({ headers, ...rest }) => headers['x-user'] === 'ada' && rest.url !== ''],
    [
      'returns, and its two parameters have comments and a comma at the end',
      // eslint-disable-next-line no-new-func
      new Function('request', 'reply, // unused, (as yet)\n', "return request.headers['x-user'] === 'ada'") as ConsoleAuth
    ],
    ['returns the result of a function with more parameters', (request, _reply) => check(request, ...[1, 2, 3])]
  ]
  const app = guarded(t, styles.map(([, auth]) => auth))
  for (const [index, [what]] of styles.entries()) {
    t.equal((await app.inject(`/${index}`)).statusCode, 401, `${what}: no caller`)
    t.equal((await app.inject({ url: `/${index}`, headers: { 'x-user': 'ada' } })).statusCode, 200, `${what}: Ada`)
  }
})

t.test('auth that fails after it has decided changes nothing, and is logged', async t => {
  const lines: string[] = []
  const late: Array<[what: string, auth: ConsoleAuth, status: number, logged?: string[]]> = [
    ['throws after done', (_request, _reply, done) => { done(); throw new Error('late') }, 200],
    ['calls done twice', (_request, _reply, done) => { done(); done(new Error('late')) }, 200],
    ['rejects after done', (_request, _reply, done) => { done(); return Promise.reject(new Error('late')) }, 200],
    ['throws after it has answered', (_request, reply) => { reply.code(403).send(); throw new Error('late') }, 403],
    ['accepts twice', (_request, _reply, done) => { done(); done() }, 200, []],
    ['rejects in time', (_request, _reply, done) => { done(refusal(403)) }, 403, []]
  ]
  const logger = { level: 'error', stream: { write: (line: string) => { lines.push(line) } } }
  const app = guarded(t, late.map(([, auth]) => auth), { logger })
  for (const [index, [what, , status, logged = ['late']]] of late.entries()) {
    lines.length = 0
    t.equal((await app.inject(`/${index}`)).statusCode, status, what)
    t.strictSame(lines.map(line => (JSON.parse(line) as { err: { message: string } }).err.message), logged, what)
  }
})

t.test('the error of a rejection is the one that auth gives, or has what it gives as cause', async t => {
  const given = refusal(403)
  const app = guarded(t, [given, 'no', 0].map(thrown => (_request, _reply, done) => { (done as (error: unknown) => void)(thrown) }))
  const errors: Array<Error & { code?: string }> = []
  app.setErrorHandler<Error>(async (error, _request, reply) => {
    errors.push(error)
    return await reply.code(401).send()
  })
  for (const index of [0, 1, 2]) await app.inject(`/${index}`)
  t.equal(errors[0], given)
  t.strictSame(errors.slice(1).map(({ code, cause }) => [code, cause]), [
    ['FST_TASKS_UNAUTHENTICATED', 'no'], ['FST_TASKS_UNAUTHENTICATED', 0]
  ])
})

t.test('an async function with a parameter for done is of a mixed style', async t => {
  t.equal(isMixedStyle(async (_request, _reply, _done) => {}), true)
  t.equal(isMixedStyle(async (_request, _reply) => {}), false)
  t.equal(isMixedStyle((_request, _reply, _done) => {}), false)
})

t.test('a request on which auth does not decide waits, and gets nothing once its client has left', async t => {
  const reached: string[] = []
  const waiting = new EventEmitter()
  const app = guarded(t, [(request, reply, done) => { waiting.emit(request.url, reply.raw, done) }])
  app.addHook('preHandler', async ({ url }) => { reached.push(url) })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const wait = async (path: string) => {
    const held = once(waiting, path)
    const client = get(url + path, { agent: false }).on('error', () => {}) // Of the one that the test destroys.
    const [response, done] = await held as [ServerResponse, () => void]
    return { client, response, done }
  }
  const left = await wait('/0?left')
  const stayed = await wait('/0?stayed')
  t.strictSame(reached, [])
  const closed = once(left.response, 'close')
  left.client.destroy()
  await closed
  const answered = once(stayed.client, 'response')
  for (const { done } of [left, stayed]) done()
  const [answer] = await answered as [IncomingMessage]
  t.equal(answer.resume().statusCode, 200)
  t.strictSame(reached, ['/0?stayed'])
})

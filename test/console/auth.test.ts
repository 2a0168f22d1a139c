import fastifyAuth from '@fastify/auth'
import basicAuth from '@fastify/basic-auth'
import Fastify, { type FastifyInstance, type FastifyRequest, type preHandlerHookHandler } from 'fastify'
import t from 'tap'
import type { Overview } from '../../lib/console/api/api.js'
import taskConsole, { type ConsoleAuth, type ConsoleOptions } from '../../lib/console/plugin.js'
import { serve } from './console-app.js'

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

t.test('auth protects the page and everything below it', async t => {
  const refusals: Array<[what: string, auth: ConsoleOptions['auth'], status: number]> = [
    [
      'throws',
      () => {
        throw refusal(418)
      },
      418
    ],
    [
      'rejects',
      async () => {
        throw refusal(402)
      },
      402
    ],
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
    [
      'answers and returns nothing',
      (_request, reply) => {
        reply.code(403).send('log in')
      },
      403
    ],
    [
      'answers by a redirect',
      (_request, reply) => {
        reply.redirect('/login')
      },
      302
    ],
    [
      'answers that there is nothing',
      (_request, reply) => {
        reply.callNotFound()
      },
      404
    ],
    [
      'answers and then throws',
      (_request, reply) => {
        reply.code(403).send('log in')
        throw new Error('late')
      },
      403
    ],
    [
      'answers by the raw response',
      (_request, reply) => {
        reply.raw.writeHead(403).end()
      },
      403
    ],
    [
      'takes the reply over',
      (_request, reply) => {
        reply.hijack()
        later(() => {
          reply.raw.writeHead(403).end()
        })
      },
      403
    ],
    [
      'returns the reply and answers later',
      (_request, reply) => {
        later(() => {
          reply.code(403).send()
        })
        return reply
      },
      403
    ],
    ['returns false', () => false, 401],
    ['resolves to false', async () => false, 401],
    [
      'calls done with an error',
      (_request, _reply, done) => {
        done(refusal(403))
      },
      403
    ],
    [
      'calls done with an error, later',
      (_request, _reply, done) => {
        later(() => {
          done(refusal(403))
        })
      },
      403
    ],
    [
      'calls done with what is no error',
      (_request, _reply, done) => {
        ;(done as (error: unknown) => void)('no')
      },
      401
    ],
    [
      'calls done with false',
      (_request, _reply, done) => {
        later(() => {
          ;(done as (error: unknown) => void)(false)
        })
      },
      401
    ],
    [
      'calls done with an error and again without',
      (_request, _reply, done) => {
        done(refusal(403))
        done()
        later(done)
      },
      403
    ],
    [
      'throws and calls done later',
      (_request, _reply, done) => {
        later(done)
        throw refusal(403)
      },
      403
    ],
    [
      'has done and answers, without calling it',
      (_request, reply, _done) => {
        later(() => {
          reply.code(403).send()
        })
      },
      403
    ],
    [
      'has done and answers, and calls it',
      (_request, reply, done) => {
        reply.code(403).send()
        done()
      },
      403
    ],
    [
      'has done and returns something',
      (_request, _reply, done) =>
        setImmediate(() => {
          done(refusal(403))
        }),
      403
    ],
    [
      'passes its arguments on',
      (...args) => {
        later(() => {
          args[2](refusal(403))
        })
      },
      403
    ],
    [
      'passes its arguments on, in the old way',
      function () {
        const done = arguments[2]
        later(() => {
          done(refusal(403))
        })
      },
      403
    ],
    [
      'is bound',
      (...args: Parameters<ConsoleAuth>) => {
        later(() => {
          args[2](refusal(403))
        })
      },
      403
    ],
    [
      'has a default for done',
      (_request, _reply, done = () => {}) => {
        later(() => {
          done(refusal(403))
        })
      },
      403
    ],
    [
      'is one of several',
      [
        () => true,
        async () => {},
        (_request, _reply, done) => {
          done()
        },
        () => false,
        () => {
          throw refusal(500)
        }
      ],
      401
    ]
  ]
  const slow = (app: FastifyInstance): unknown =>
    app.addHook('onSend', async () => {
      await new Promise(resolve => {
        setImmediate(resolve)
      })
    })
  for (const [what, auth, status] of refusals) {
    for (const before of [undefined, slow]) {
      const { app } = await serve(t, { console: { auth: auth! }, ...(before === undefined ? undefined : { before }) })
      t.strictSame([...await statuses(app)], [status], before === undefined ? what : `${what}, and a hook of the app delays the response`)
    }
  }
})

t.test('auth accepts callers, in every style of a hook', async t => {
  const styles: Array<[what: string, auth: ConsoleOptions['auth']]> = [
    ['returns', isAda],
    [
      'returns nothing',
      request => {
        if (!isAda(request)) throw refusal(401)
      }
    ],
    [
      'returns nothing, and has a callback in it',
      request => {
        const check = (...all: boolean[]): boolean => all.every(Boolean)
        return check(isAda(request))
      }
    ],
    [
      'resolves',
      async request => {
        if (!isAda(request)) throw refusal(401)
      }
    ],
    [
      'resolves, and has done as an async function compiled for old runtimes has',
      (request, _reply, _done) => Promise.resolve(isAda(request))
    ],
    [
      'calls done',
      (request, _reply, done) => {
        if (isAda(request)) done()
        else done(refusal(401))
      }
    ],
    [
      'calls done later',
      (request, _reply, done) => {
        later(() => {
          if (isAda(request)) done()
          else done(refusal(401))
        })
      }
    ],
    [
      'calls done with null',
      (request, _reply, done) => {
        ;(done as (error: unknown, value?: unknown) => void)(null, isAda(request))
      }
    ],
    [
      'passes its arguments on',
      (...[request, , done]) => {
        later(() => {
          if (isAda(request)) done()
          else done(refusal(401))
        })
      }
    ],
    [
      'calls done twice',
      (request, _reply, done) => {
        if (!isAda(request)) {
          done(refusal(401))
          return
        }
        done()
        later(done)
      }
    ],
    [
      'is several',
      [
        isAda,
        async request => isAda(request),
        (request, _reply, done) => {
          if (isAda(request)) done()
          else done(refusal(401))
        }
      ]
    ]
  ]
  for (const [what, auth] of styles) {
    const { app } = await serve(t, { console: { auth: auth! } })
    t.strictSame([...await statuses(app)], [401], `${what}: no caller`)
    t.strictSame(
      [...(await statuses(app, { 'x-user': 'ada', host: 'shop.example' }))].sort(),
      [200, 403, 404],
      `${what}: Ada, whose write lacks the token`
    )
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

t.test('auth that fails after it has decided changes nothing, and is logged', async t => {
  const lines: string[] = []
  const server = { logger: { level: 'error', stream: { write: (line: string) => { lines.push(line) } } } }
  const late: Array<[what: string, auth: ConsoleAuth, status: number]> = [
    ['throws after done', (_request, _reply, done) => { done(); throw new Error('late') }, 200],
    ['calls done twice', (_request, _reply, done) => { done(); done(new Error('late')) }, 200],
    ['rejects after done', (_request, _reply, done) => { done(); return Promise.reject(new Error('late')) }, 200],
    ['throws after it has answered', (_request, reply) => { reply.code(403).send(); throw new Error('late') }, 403]
  ]
  for (const [what, auth, status] of late) {
    const { app } = await serve(t, { server, console: { auth } })
    lines.length = 0
    t.equal((await app.inject('/console/')).statusCode, status, what)
    t.equal(lines.length, 1, what)
    t.equal((JSON.parse(lines[0]!) as { err: { message: string } }).err.message, 'late', what)
  }
})

t.test('a request on which auth does not decide waits, and gets nothing once its client has left', async t => {
  const reached: string[] = []
  const waiting: Array<() => void> = []
  let onWait = (): void => {}
  const { app } = await serve(t, {
    before: app => app.addHook('preHandler', async ({ url }) => { reached.push(url) }),
    console: {
      auth (request, _reply, done) {
        if (request.headers['x-wait'] === undefined) { done(); return }
        waiting.push(done)
        onWait()
      }
    }
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  reached.length = 0
  const leaving = new AbortController()
  const held = new Promise<void>(resolve => { onWait = () => { if (waiting.length === 2) resolve() } })
  const [left, stayed] = ['/?left', '/?stayed'].map(async path => {
    const response = await fetch(`${url}/console${path}`, {
      headers: { 'x-wait': '1' },
      signal: path === '/?left' ? leaving.signal : null
    })
    return response.status
  })
  await held
  t.strictSame(reached, [])
  leaving.abort()
  await t.rejects(left!, { name: 'AbortError' })
  while (await connections(app) > 1) await new Promise(resolve => { setImmediate(resolve) })
  for (const done of waiting) done()
  t.equal(await stayed, 200)
  t.strictSame(reached, ['/console/?stayed'])
})

t.test('a hook of the instance around the console may decide, and must be there', async t => {
  const { app } = await serve(t, {
    console: { auth: 'inherited' },
    before: app =>
      app.addHook('onRequest', async (request, reply) => (request.url.startsWith('/console') ? await reply.code(403).send() : undefined))
  })
  t.equal((await app.inject('/console/')).statusCode, 403)
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
    await app.listen({ port: 0, host })
    await app.close()
  }
  t.equal(warnings.filter(line => line.includes("no 'auth'")).length, 1)
})

async function connections (app: FastifyInstance): Promise<number> {
  return await new Promise((resolve, reject) => {
    app.server.getConnections((error, count) => { if (error === null) resolve(count); else reject(error) })
  })
}

import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import compress from '@fastify/compress'
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import multipart from '@fastify/multipart'
import rateLimit from '@fastify/rate-limit'
import requestContext from '@fastify/request-context'
import session from '@fastify/session'
import underPressure from '@fastify/under-pressure'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { RESULT_HEADER } from '../../../lib/delivery/headers.js'
import { loopback } from '../../../lib/transport/local/loopback.js'

interface Scenario {
  readonly options?: FastifyServerOptions
  readonly build: (app: FastifyInstance, note: (...what: unknown[]) => void) => unknown
  readonly url?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** @default 'application/json' */
  readonly type?: string
  /** Over HTTP, when a body that is read as a stream ends depends on its packets. */
  readonly streamed?: boolean
}

const JSON_BODY = '{"n":1}'

/** What a host saw and what the caller got, over HTTP and over the loopback. */
async function both (t: Test, scenario: Scenario): Promise<void> {
  const http = await observe(t, scenario, overHttp)
  const loopback = await observe(t, scenario, overLoopback)
  t.strictSame(loopback, http)
}

async function observe (
  t: Test,
  { options = {}, build, streamed = false, ...request }: Scenario,
  send: typeof overHttp
): Promise<unknown[]> {
  const seen: unknown[] = []
  const app = Fastify(options)
  t.teardown(async () => {
    await app.close()
  })
  const note = (...what: unknown[]): void => {
    seen.push(what)
  }
  app.addHook('onRequest', async ({ raw }, reply) => {
    for (const event of ['end', 'aborted', 'close', 'error']) {
      raw.on(event, () => {
        note('request', event)
      })
    }
    for (const event of ['finish', 'close', 'error']) {
      reply.raw.on(event, () => {
        note('response', event)
      })
    }
  })
  for (const hook of ['onRequest', 'preParsing', 'preValidation', 'preHandler', 'onSend', 'onResponse', 'onError', 'onTimeout'] as const) {
    app.addHook(hook as 'onRequest', async () => {
      note(hook)
    })
  }
  app.addHook('onRequestAbort', async _request => {
    note('onRequestAbort')
  })
  await build(app, note)
  const answer = await send(app, {
    method: 'POST',
    url: request.url ?? '/work',
    headers: { 'content-type': request.type ?? 'application/json', ...request.headers },
    body: request.body ?? JSON_BODY
  })
  for (let turns = 0; turns < 20; turns++) {
    await new Promise(resolve => {
      setImmediate(resolve)
    })
  }
  note('answer', answer)
  return streamed ? seen.map(one => JSON.stringify(one)).sort() : seen
}

interface Sent { readonly method: string, readonly url: string, readonly headers: Readonly<Record<string, string>>, readonly body: string }

async function overHttp (app: FastifyInstance, sent: Sent): Promise<unknown> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return await new Promise(resolve => {
    const request = httpRequest(
      {
        host: '127.0.0.1',
        port,
        method: sent.method,
        path: sent.url,
        agent: false,
        headers: { Host: 'localhost', Connection: 'keep-alive', ...sent.headers, 'Content-Length': Buffer.byteLength(sent.body) }
      },
      response => {
        response.resume()
        response.on('end', () => {
          resolve({ status: response.statusCode, result: response.headers[RESULT_HEADER] })
        })
        response.on('error', () => {
          resolve('broken')
        })
      }
    )
    request.on('error', () => { resolve('broken') })
    request.end(sent.body)
  })
}

async function overLoopback (app: FastifyInstance, sent: Sent): Promise<unknown> {
  await app.ready()
  return await loopback(app, systemClock, { ...sent, body: Buffer.from(sent.body) }).response.catch(() => 'broken')
}

t.test('a host sees the same events in the same order as over HTTP', async t => {
  await t.test('an answer', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => reply.header(RESULT_HEADER, 'done').send(request.body))
      }
    })
  )
  await t.test('an empty answer', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => reply.code(204).header(RESULT_HEADER, 'done').send())
      }
    })
  )
  await t.test('a thrown error', t => both(t, { build: app => { app.post('/work', async () => { throw new Error('no') }) } }))
  await t.test('a body that is no JSON', t => both(t, { body: '{', build: app => { app.post('/work', async () => 'ok') } }))
  await t.test('no route', t => both(t, { url: '/none', build: () => {} }))
  await t.test('a stream', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => reply.send(Readable.from(['a', 'b', 'c'].map(one => one.repeat(70_000)))))
      }
    })
  )
  await t.test('a web stream', t => both(t, { build: app => { app.post('/work', async () => new Response('x'.repeat(100_000))) } }))
  await t.test('a stream that fails after the head', t => both(t, {
    build: app => {
      app.post('/work', async (request, reply) => reply.send(Readable.from((async function * () {
        yield 'a'
        await new Promise(resolve => { setImmediate(resolve) })
        throw new Error('broke')
      })())))
    }
  }))
  await t.test('a hijacked response', t => both(t, {
    build: app => {
      app.post('/work', async (request, reply) => {
        reply.hijack()
        reply.raw.writeHead(202, { [RESULT_HEADER]: 'done' })
        reply.raw.write('a')
        setImmediate(() => { reply.raw.end('b') })
      })
    }
  }))
  await t.test('a socket destroyed before the head', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.hijack()
          request.raw.socket.destroy()
        })
      }
    })
  )
  await t.test('a response destroyed with an error', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.hijack()
          reply.raw.destroy(new Error('x'))
        })
      }
    })
  )
  await t.test('a socket destroyed in onRequest', t =>
    both(t, {
      build: app => {
        app.addHook('onRequest', async request => {
          request.raw.socket.destroy()
        })
        app.post('/work', async () => 'ok')
      }
    })
  )
  await t.test('a response that ends twice', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.hijack()
          reply.raw.end('a')
          reply.raw.end('b')
        })
      }
    })
  )
  await t.test('a reply sent twice', t =>
    both(t, {
      build: app => {
        app.post('/work', (request, reply) => {
          reply.send('a')
          reply.send('b')
        })
      }
    })
  )
  await t.test('an answer before the body is read', t =>
    both(t, {
      build: app => {
        app.addHook('onRequest', async (request, reply) => reply.code(401).send('no'))
        app.post('/work', async () => 'ok')
      }
    })
  )
  await t.test('early hints and a continue', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.raw.writeEarlyHints({ link: '</a>; rel=preload' })
          return await reply.header(RESULT_HEADER, 'done').send('ok')
        })
      }
    })
  )
  await t.test('connection: close', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => reply.header('connection', 'close').header(RESULT_HEADER, 'done').send('ok'))
      }
    })
  )
  await t.test('trailers', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.trailer('x-t', async () => 'v')
          return await reply.send('ok')
        })
      }
    })
  )
  await t.test('900 kB', t =>
    both(t, {
      body: JSON.stringify({ text: 'x'.repeat(900_000) }),
      build: app => {
        app.post('/work', async (request: any) => ({ length: request.body.text.length }))
      }
    })
  )
})

t.test('timeouts of a host work as over HTTP', async t => {
  await t.test('an unhandled socket timeout closes the connection', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.hijack()
          request.raw.socket.setTimeout(20)
        })
      }
    })
  )
  await t.test('a socket timeout with a listener', t => both(t, {
    build: (app, note) => {
      app.post('/work', async (request, reply) => {
        reply.hijack()
        request.raw.socket.setTimeout(20, () => { note('timed out'); reply.raw.end('late') })
      })
    }
  }))
  await t.test('a timeout of the response', t =>
    both(t, {
      build: app => {
        app.post('/work', async (request, reply) => {
          reply.hijack()
          reply.raw.setTimeout(20, () => {
            reply.raw.end('late')
          })
        })
      }
    })
  )
  await t.test('a timeout that is taken back', t => both(t, {
    build: app => {
      app.post('/work', async (request, reply) => {
        request.raw.socket.setTimeout(20)
        request.raw.socket.setTimeout(0)
        await new Promise(resolve => { setTimeout(resolve, 40) })
        return await reply.header(RESULT_HEADER, 'done').send('ok')
      })
    }
  }))
  await t.test('the handler timeout of Fastify', t => both(t, {
    build: app => {
      app.post('/work', { handlerTimeout: 20 }, async (request, reply) => {
        await new Promise(resolve => { setTimeout(resolve, 40) })
        return 'late'
      })
    }
  }))
})

t.test("Fastify's own plugins work as over HTTP", async t => {
  const route = (app: FastifyInstance): void => {
    app.post('/work', async (request, reply) => reply.header(RESULT_HEADER, 'done').send({ text: 'x'.repeat(5000) }))
  }
  await t.test('helmet', t => both(t, { build: async app => { await app.register(helmet); route(app) } }))
  await t.test('cors', t =>
    both(t, {
      headers: { origin: 'https://a.example' },
      build: async app => {
        await app.register(cors)
        route(app)
      }
    })
  )
  await t.test('compress', t =>
    both(t, {
      headers: { 'accept-encoding': 'gzip' },
      build: async app => {
        await app.register(compress)
        route(app)
      }
    })
  )
  await t.test('cookie and session', t => both(t, {
    build: async app => {
      await app.register(cookie)
      await app.register(session, { secret: 'x'.repeat(32), cookie: { secure: false } })
      app.post('/work', async (request: any, reply) => {
        request.session.seen = 1
        return await reply.header(RESULT_HEADER, 'done').send('ok')
      })
    }
  }))
  await t.test('rate-limit, allowed and rejected', async t => {
    await both(t, { build: async app => { await app.register(rateLimit, { max: 1 }); route(app) } })
    await both(t, { build: async app => { await app.register(rateLimit, { max: 0 }); route(app) } })
  })
  await t.test('under-pressure', t =>
    both(t, {
      build: async app => {
        await app.register(underPressure, { maxEventLoopDelay: 10_000 })
        route(app)
      }
    })
  )
  await t.test('request-context', t => both(t, {
    build: async (app, note) => {
      await app.register(requestContext, { defaultStoreValues: (request: { url: string }) => ({ url: request.url }) } as never)
      app.post('/work', async (request: any, reply) => {
        note(request.requestContext.get('url'))
        return await reply.header(RESULT_HEADER, 'done').send('ok')
      })
    }
  }))
  await t.test('multipart', t => both(t, {
    streamed: true,
    type: 'multipart/form-data; boundary=b',
    body: '--b\r\ncontent-disposition: form-data; name="f"; filename="a.txt"\r\ncontent-type: text/plain\r\n\r\nhello\r\n--b--\r\n',
    build: async (app, note) => {
      await app.register(multipart)
      app.post('/work', async (request: any, reply) => {
        const file = await request.file()
        note(file.filename, (await file.toBuffer()).toString())
        return await reply.header(RESULT_HEADER, 'done').send('ok')
      })
    }
  }))
})

t.test('a host reads the same of the request', async t => {
  const properties = (request: any): unknown => ({
    ip: request.ip,
    ips: request.ips,
    host: request.host,
    hostname: request.hostname,
    port: request.port,
    protocol: request.protocol,
    url: request.url,
    originalUrl: request.originalUrl,
    headers: request.headers,
    raw: [
      request.raw.httpVersion,
      request.raw.method,
      request.raw.url,
      request.raw.rawHeaders,
      request.raw.complete,
      request.raw.aborted,
      request.raw.headersDistinct,
      request.raw.trailers
    ],
    socket: [
      request.socket.remoteAddress,
      request.socket.remoteFamily,
      request.socket.localAddress,
      request.socket.encrypted,
      request.socket.destroyed,
      request.socket.readable,
      request.socket.writable,
      typeof request.socket.address().address
    ],
    keepAlive: request.raw.httpVersionMajor
  })
  await t.test('plain', t =>
    both(t, {
      headers: { 'x-a': '1', cookie: 'a=b' },
      build: (app, note) => {
        app.post('/work', async (request: any) => {
          note(properties(request))
          return 'ok'
        })
      }
    })
  )
  await t.test('behind a proxy', t =>
    both(t, {
      options: { trustProxy: true },
      headers: { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'a.example' },
      build: (app, note) => {
        app.post('/work', async (request: any) => {
          note(properties(request))
          return 'ok'
        })
      }
    })
  )
  await t.test('a rewritten URL', t =>
    both(t, {
      options: { rewriteUrl: () => '/other' },
      build: (app, note) => {
        app.post('/other', async (request: any) => {
          note(properties(request))
          return 'ok'
        })
      }
    })
  )
  await t.test('constraints', t =>
    both(t, {
      headers: { 'accept-version': '2.0.0' },
      build: app => {
        app.post('/work', { constraints: { version: '1.0.0' } }, async () => 'one')
        app.post('/work', { constraints: { version: '2.0.0' } }, async (request, reply) => reply.header(RESULT_HEADER, 'done').send('two'))
      }
    })
  )
})

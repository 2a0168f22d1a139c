import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { systemClock } from '../../../lib/clock/clock.js'
import { DEFAULT_QUEUE_SETTINGS } from '../../../lib/cloud-tasks/limits.js'
import { RESULT_HEADER, SECRET_HEADER } from '../../../lib/delivery/headers.js'
import { OneTimeSecrets } from '../../../lib/delivery/one-time-secrets.js'
import { defineTasks } from '../../../lib/index.js'
import { Delivery } from '../../../lib/transport/local/delivery.js'
import { loopback } from '../../../lib/transport/local/loopback.js'
import { queue, httpRequest, startEngine } from '../../support/engine-harness.js'
import { start, watchAttempts } from '../../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({}) } })
/** The first attempt is the one that goes wrong. */
const queues = { default: { retryConfig: { minBackoffSeconds: 0.001, maxBackoffSeconds: 0.001 } } }

t.test('a host that misbehaves ends its own attempt and nothing else', async t => {
  const faults: Readonly<Record<string, (app: FastifyInstance) => void>> = {
    'it destroys the socket': app => {
      first(app, (request, reply) => {
        reply.hijack()
        request.raw.socket.destroy()
      })
    },
    'it destroys the response with an error': app => {
      first(app, (request, reply) => {
        reply.hijack()
        reply.raw.destroy(new Error('no'))
      })
    },
    'it answers in a hook': app => {
      first(app, (request, reply) => {
        reply.code(500).send('no')
      })
    },
    'it answers on the raw response': app => {
      first(app, (request, reply) => {
        reply.hijack()
        reply.raw.writeHead(502).end('no')
      })
    },
    'it throws after the answer': app => {
      let thrown = false
      app.addHook('onResponse', async () => {
        if (thrown) return
        thrown = true
        throw new Error('late')
      })
      first(app, (request, reply) => {
        reply.code(500).send('no')
      })
    }
  }
  for (const [name, build] of Object.entries(faults)) {
    for (const delivery of ['loopback', 'inject'] as const) {
      // By inject, a connection that is destroyed is not noticed before the deadline.
      if (delivery === 'inject' && name.includes('destroys')) continue
      await t.test(`${name}, by ${delivery}`, async t => {
        const done: string[] = []
        const { ended } = watchAttempts(t)
        const { app } = await start(
          t,
          {
            tasks,
            queues,
            local: { delivery },
            handlers: {
              work (payload, { attempt }) {
                done.push(`${attempt}`)
              }
            }
          },
          build
        )
        await app.enqueue('work', {})
        await ended(1)
        t.strictSame(done, ['2'])
        await app.enqueue('work', {})
        await ended(2)
        t.strictSame(done, ['2', '1'], 'and the next task runs at its first attempt')
      })
    }
  }
})

t.test('the body of an answer cannot pass for its headers', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', (request, reply) => { reply.hijack(); reply.raw.writeHead(502).end(`\r\n${RESULT_HEADER}: done\r\n\r\n`) })
  await app.ready()
  const { response } = loopback(app, systemClock, { method: 'GET', url: '/', headers: {}, body: undefined })
  t.strictSame(await response, { status: 502, result: undefined })
})

t.test('servers that do not speak HTTP/1.1 themselves get their attempts', async t => {
  const servers: Readonly<Record<string, object>> = {
    'HTTP/2': { http2: true },
    'a server of its own': { serverFactory: (handler: RequestListener) => createServer(handler) }
  }
  for (const [name, server] of Object.entries(servers)) {
    await t.test(name, async t => {
      const versions: string[] = []
      const { ended } = watchAttempts(t)
      const { app } = await start(t, { tasks, queues, handlers: { work () {} } }, app => {
        app.addHook('onRequest', async request => { versions.push(request.raw.httpVersion) })
      }, server)
      await app.enqueue('work', {})
      const [end] = await ended(1)
      t.equal(end!.result, 'done')
      t.strictSame(versions, ['1.1'])
    })
  }
})

t.test('a delivery that does not exist is rejected', async t => {
  await t.rejects(start(t, { tasks, handlers: { work () {} }, local: { delivery: 'http' as 'inject' } }), {
    code: 'FST_TASKS_INVALID_OPTION', message: /local\.delivery.*loopback.*inject/
  })
})

t.test('an attempt whose deadline passes is given up', async t => {
  const given: string[] = []
  const { engine, clock } = await startEngine({
    dispatch: attempt => {
      attempt.onDeadline = () => { given.push(attempt.task.name) }
      return new Promise(() => {})
    }
  })
  const { name } = await engine.createTask(queue, { httpRequest, dispatchDeadlineMs: 15_000 })
  await clock.advance(14_999)
  t.strictSame(given, [])
  await clock.advance(1)
  t.strictSame(given, [name])
})

t.test('a response that no task route gave is logged, and its secret is no longer valid', async t => {
  for (const [status, dispatchCount, level] of [[404, 1, 'warn'], [404, 2, 'error'], [300, 1, 'warn'], [299, 1, 'error'], [200, 1, 'error']] as const) {
    const secrets = new OneTimeSecrets()
    const lines: unknown[] = []
    const log = (level: string) => (fields: object) => { lines.push({ level, ...fields }) }
    let secret = ''
    const app = {
      server: {},
      log: { warn: log('warn'), error: log('error') },
      routing (request: IncomingMessage, response: ServerResponse) {
        secret = request.headers[SECRET_HEADER] as string
        response.writeHead(status).end()
      }
    }
    const config = { queues: new Map([['q', { ...DEFAULT_QUEUE_SETTINGS, retryConfig: { ...DEFAULT_QUEUE_SETTINGS.retryConfig, maxAttempts: 2 } }]]) }
    const delivery = new Delivery({ app, config, clock: systemClock, secrets } as never)
    const task = { name: `${queue}/tasks/a`, httpRequest: { url: 'http://localhost/work' }, dispatchCount }
    t.strictSame(await delivery.deliver({ task, queue: 'q', headers: {} } as never), { status })
    t.strictSame(lines, [{ level, url: '/work', status, id: 'a', attempt: dispatchCount }])
    t.equal(secret.length > 32, true)
    t.equal(secrets.take(secret), false)
  }
})

t.test('an attempt has the method, path and body of its task, and is aborted at its deadline', async t => {
  for (const [request, expected] of [
    [{ httpRequest: { url: 'http://localhost/work?a=1', httpMethod: 'PUT', body: Buffer.from('{}') } }, ['PUT', '/work?a=1', '2']],
    [{ httpRequest: { url: 'http://localhost/work' } }, ['POST', '/work', undefined]],
    [{ appEngineHttpRequest: { relativeUri: '/work', httpMethod: 'GET' } }, ['GET', '/work', undefined]],
    [{ appEngineHttpRequest: {} }, ['POST', '/', undefined]],
    [{}, ['POST', '/', undefined]]
  ] as const) {
    const seen: unknown[] = []
    const secrets = new OneTimeSecrets()
    let secret = ''
    const routing = ({ method, url, headers }: IncomingMessage) => {
      seen.push([method, url, headers['content-length']])
      secret = headers[SECRET_HEADER] as string
    }
    const delivery = new Delivery({ app: { server: {}, routing }, config: { queues: new Map() }, clock: systemClock, secrets } as never)
    const attempt: { onDeadline?: () => void } = { task: { name: `${queue}/tasks/a`, ...request }, queue: 'q', headers: {} } as never
    const delivered = delivery.deliver(attempt as never)
    t.strictSame(seen, [expected])
    attempt.onDeadline!()
    await t.rejects(delivered, { code: 'ECONNRESET' })
    t.equal(secrets.take(secret), false)
  }
})

t.test('a response that no task route gave ends a task whose time for retries is over', async t => {
  const levels: string[] = []
  const log = (level: string) => () => { levels.push(level) }
  const app = {
    server: {},
    log: { warn: log('warn'), error: log('error') },
    routing: (_: IncomingMessage, response: ServerResponse) => { response.writeHead(404).end() }
  }
  const { retryConfig } = DEFAULT_QUEUE_SETTINGS
  const queues = new Map([['q', { ...DEFAULT_QUEUE_SETTINGS, retryConfig: { ...retryConfig, maxAttempts: -1, maxRetrySeconds: 60 } }]])
  const delivery = new Delivery({ app, config: { queues }, clock: systemClock, secrets: new OneTimeSecrets() } as never)
  for (const ago of [0, 3_600_000]) {
    const task = { name: `${queue}/tasks/a`, dispatchCount: 2, firstAttempt: { scheduleAt: 0, dispatchAt: systemClock.now() - ago } }
    await delivery.deliver({ task, queue: 'q', headers: {} } as never)
  }
  t.strictSame(levels, ['warn', 'error'])
})

t.test('while the server closes, a response of 503 or of a closing route counts as undelivered', async t => {
  for (const [status, result, closing, undelivered] of [
    [503, undefined, true, true], [503, 'closing', true, true], [503, undefined, false, false], [503, 'retry', true, false],
    [500, undefined, true, false], [204, 'done', true, false]
  ] as const) {
    const routing = (_: IncomingMessage, response: ServerResponse) => {
      response.writeHead(status, result === undefined ? {} : { [RESULT_HEADER]: result }).end()
    }
    const app = { server: {}, routing, log: { warn () {}, error () {} } }
    const delivery = new Delivery({ app, config: { queues: new Map() }, clock: systemClock, secrets: new OneTimeSecrets() } as never)
    if (closing) delivery.close()
    const task = { name: `${queue}/tasks/a`, httpRequest: { url: 'http://localhost/work' }, dispatchCount: 1 }
    const answer = await delivery.deliver({ task, queue: 'q', headers: {} } as never)
    t.strictSame(answer, undelivered ? 'undelivered' : { status })
  }
})

/** On the first request only. */
function first (app: FastifyInstance, act: (request: any, reply: any) => void): void {
  let acted = false
  app.addHook('onRequest', async (request, reply) => {
    if (acted) return
    acted = true
    act(request, reply)
    if (reply.sent) return await reply
  })
}

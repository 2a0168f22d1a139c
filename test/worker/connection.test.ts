import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import { gate, watchAttempts, type LogLine } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
/** The limit of the host for idle connections, which no test reaches. */
const IDLE_MS = 500_000
/** That of an attempt with the default deadline of ten minutes. */
const ATTEMPT_MS = 630_000

interface Listening {
  readonly app: FastifyInstance
  readonly port: number
  readonly log: LogLine[]
  /** Sockets of the server, in the order in which they were opened. */
  readonly sockets: Socket[]
  /** Idle limits of the connection while a handler ran, in their order. */
  readonly limits: Array<number | undefined>
}

/** A worker that listens. Its handler ends at once, unless `options` has another. */
async function listen (
  t: Test,
  server: object,
  options: Partial<CloudTasksOptions<typeof tasks>> = {},
  prepare: (app: FastifyInstance) => void = () => {}
): Promise<Listening> {
  const log: LogLine[] = []
  const sockets: Socket[] = []
  const limits: Array<number | undefined> = []
  const app = Fastify({
    logger: { level: 'info', stream: { write: (line: string) => { log.push(JSON.parse(line)) } } }, ...server
  } as FastifyServerOptions)
  t.teardown(() => app.close())
  app.server.on('connection', socket => { sockets.push(socket) })
  prepare(app)
  app.get('/host', async request => request.raw.socket.timeout)
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    auth: false,
    handlers: { work: (_: unknown, task: TaskContext) => { limits.push(task.request?.raw.socket.timeout) } },
    ...options
  } as CloudTasksOptions)
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, log, sockets, limits, port: (app.server.address() as AddressInfo).port }
}

/** Node then leaves the limit on a socket that waits for its next request as it is. */
function withoutKeepAliveTimeout (app: FastifyInstance): void {
  app.server.keepAliveTimeout = 0
}

/** An agent with one connection, which it keeps. */
function keepAlive (t: Test): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => { agent.destroy() })
  return agent
}

/** The status of an answer, and its text. */
async function call (port: number, path = '/tasks/work', agent?: Agent): Promise<[status: number, body: string]> {
  const method = path === '/host' ? 'GET' : 'POST'
  const headers = { 'content-type': 'application/json' }
  const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, ...(agent === undefined ? {} : { agent }) })
  request.end(method === 'GET' ? undefined : '{"n":1}')
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return [response.statusCode!, body]
}

t.test("the host's limit for idle connections", async t => {
  for (const [what, server, prepare] of [
    ['connectionTimeout', { connectionTimeout: IDLE_MS }, () => {}],
    ['server.setTimeout', {}, (app: FastifyInstance) => { app.server.setTimeout(IDLE_MS) }],
    ['a timeout of the request in a hook', {}, (app: FastifyInstance) => {
      app.addHook('onRequest', async request => { request.raw.setTimeout(IDLE_MS) })
    }]
  ] as const) {
    t.test(`set by ${what}, is replaced while an attempt runs, and only then`, async t => {
      const { port, limits } = await listen(t, server, {}, prepare)
      t.strictSame(await call(port, '/host'), [200, String(IDLE_MS)])
      t.strictSame(await call(port), [204, ''])
      t.strictSame(limits, [ATTEMPT_MS])
    })
  }

  for (const [when, definitions] of [
    ['', tasks],
    [', whose payload was validated asynchronously', {
      work: { payload: { '~standard': { version: 1, vendor: 'test', validate: async (value: unknown) => ({ value }) } } }
    }]
  ] as const) {
    t.test(`is back once an attempt was answered${when}`, async t => {
      const options = { tasks: definitions } as never
      const { port, sockets } = await listen(t, { connectionTimeout: IDLE_MS }, options, withoutKeepAliveTimeout)
      const agent = keepAlive(t)
      t.strictSame(await call(port, '/tasks/work', agent), [204, ''])
      t.equal(sockets[0]?.timeout, IDLE_MS)
      t.strictSame(await call(port, '/host', agent), [200, String(IDLE_MS)])
      t.equal(sockets.length, 1, 'both came over one connection')
    })
  }

  t.test('leaves keepAliveTimeout in force between two attempts', async t => {
    const { port, sockets } = await listen(t, { connectionTimeout: IDLE_MS, keepAliveTimeout: 50_000 })
    const agent = keepAlive(t)
    t.equal((await call(port, '/tasks/none', agent))[0], 404)
    const plain = sockets[0]?.timeout ?? 0
    t.ok(plain >= 50_000)
    t.equal((await call(port, '/tasks/work', agent))[0], 204)
    t.equal(sockets[0]?.timeout, plain)
  })

  t.test('is restored only when the last of several pipelined attempts has ended', async t => {
    const go = gate()
    const { port, sockets } = await listen(t, { connectionTimeout: IDLE_MS }, {
      handlers: { work: async ({ n }: { n: number }) => { if (n === 2) await go.opened } }
    } as never, withoutKeepAliveTimeout)
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    const post = (n: number) =>
      `POST /tasks/work HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"n":${n}}`
    let answers = ''
    socket.on('data', chunk => { answers += String(chunk) })
    const answered = async (count: number) => {
      while ((answers.match(/HTTP\/1\.1 204 /g) ?? []).length < count) await once(socket, 'data')
    }
    socket.write(post(1) + post(2))
    await answered(1)
    t.equal(sockets[0]?.timeout, ATTEMPT_MS)
    go.open()
    await answered(2)
    t.equal(sockets[0]?.timeout, IDLE_MS)
  })

  t.test('that is longer than a deadline stays', async t => {
    const { port, limits } = await listen(t, { connectionTimeout: 5_000_000 })
    await call(port)
    t.strictSame(limits, [5_000_000])
  })

  t.test('counts for a caller that is not verified, and for a body that is still being received', async t => {
    const seen: unknown[] = []
    const unverified = await listen(t, { connectionTimeout: IDLE_MS }, { auth: {} }, app => {
      app.addHook('onError', async request => { seen.push(request.raw.socket.timeout) })
    })
    t.equal((await call(unverified.port))[0], 401)
    const receiving = gate()
    const { port, sockets } = await listen(t, { connectionTimeout: IDLE_MS }, {}, app => {
      app.addHook('preParsing', async () => { receiving.open() })
    })
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    socket.write('POST /tasks/work HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{')
    await receiving.opened
    t.strictSame([...seen, sockets[0]?.timeout], [IDLE_MS, IDLE_MS])
  })

  t.test('does not keep requestTimeout from ending a body that comes too slowly', async t => {
    const { port } = await listen(t, {
      connectionTimeout: IDLE_MS, requestTimeout: 150, http: { connectionsCheckingInterval: 20, headersTimeout: 150 }
    })
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    socket.on('error', () => {})
    socket.write('POST /tasks/work HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{')
    const slow = setInterval(() => { socket.write(' ') }, 30)
    t.teardown(() => { clearInterval(slow) })
    const [answer] = await once(socket, 'data') as [Buffer]
    t.equal(answer.toString().split('\r\n')[0], 'HTTP/1.1 408 Request Timeout')
  })
})

t.test('over HTTP/2', async t => {
  t.test('the limit of an idle session is replaced while attempts run, and is back after the last', async t => {
    const sessions: Array<{ timeout?: number }> = []
    const [started, go] = [gate(), gate()]
    const { port } = await listen(t, { http2: true, connectionTimeout: IDLE_MS + 1, http2SessionTimeout: IDLE_MS }, {
      handlers: {
        async work ({ n }: { n: number }) {
          if (n === 1) return
          started.open()
          await go.opened
        }
      }
    } as never, app => {
      app.server.on('session', session => { sessions.push(session) })
    })
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    t.teardown(() => { session.destroy() })
    const post = async (n: number): Promise<number> => {
      const stream = session.request({ ':method': 'POST', ':path': '/tasks/work', 'content-type': 'application/json' })
      stream.end(JSON.stringify({ n }))
      const [headers] = await once(stream, 'response')
      stream.resume()
      await once(stream, 'close')
      return headers[':status']
    }
    const slow = post(2)
    await started.opened
    t.equal(await post(1), 204)
    t.equal(sessions[0]?.timeout, ATTEMPT_MS)
    go.open()
    t.equal(await slow, 204)
    t.equal(sessions[0]?.timeout, IDLE_MS)
  })

  t.test('a caller that resets its stream ends the attempt', async t => {
    const attempts = watchAttempts(t)
    const started = gate()
    const { port } = await listen(t, { http2: true }, {
      handlers: {
        work: async () => {
          started.open()
          await new Promise(() => {})
        }
      }
    } as never)
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    t.teardown(() => { session.destroy() })
    const stream = session.request({ ':method': 'POST', ':path': '/tasks/work', 'content-type': 'application/json' })
    stream.on('error', () => {})
    stream.end('{"n":1}')
    await started.opened
    stream.close(8)
    t.strictSame((await attempts.ended(1)).map(({ result, status }) => [result, status]), [['retry', 499]])
  })
})

t.test('a caller that closes the connection', async t => {
  /** Calls and hangs up once the handler has started. */
  const hangUp = async (port: number, started: Promise<void>): Promise<void> => {
    const request = httpRequest({
      host: '127.0.0.1',
      port,
      path: '/tasks/work',
      method: 'POST',
      headers: { 'content-type': 'application/json' }
    })
    request.on('error', () => {})
    request.end('{"n":1}')
    await started
    request.destroy()
  }

  t.test('aborts task.signal with a reason, is logged at warn once, and counts as a retry', async t => {
    const attempts = watchAttempts(t)
    const [started, aborted] = [gate(), gate()]
    let reason: unknown
    const { app, port, log } = await listen(t, {}, {
      handlers: {
        work: async (_: unknown, task: TaskContext) => {
          started.open()
          await once(task.signal, 'abort')
          reason = task.signal.reason
          aborted.open()
          throw new Error('gave up')
        }
      }
    } as never)
    await hangUp(port, started.opened)
    await aborted.opened
    const [end] = await attempts.ended(1)
    t.equal((reason as { code: string }).code, 'FST_TASKS_DISCONNECTED')
    t.equal(end?.error, reason)
    t.strictSame([end?.result, end?.status, end?.exhausted], ['retry', 499, false])
    t.strictSame(app.tasks.list()[0]?.counts, { done: 0, retry: 1, dropped: 0, postponed: 0, exhausted: 0, expired: 0 })
    await app.close()
    t.strictSame(
      log
        .filter(line => line.level >= 40 && line.msg !== "'auth' is false: anyone who can reach this server can run any task")
        .map(line => [line.level, line.msg, (line.err as { code: string }).code]),
      [[40, 'attempt failed, it will be retried', 'FST_TASKS_DISCONNECTED']]
    )
  })

  t.test('does not make the server wait at close for a handler that ignores its signal', async t => {
    const attempts = watchAttempts(t)
    const started = gate()
    const { app, port } = await listen(t, {}, {
      closeGraceSeconds: 3600,
      handlers: {
        work: async () => {
          started.open()
          await new Promise(() => {})
        }
      }
    } as never)
    await hangUp(port, started.opened)
    await attempts.ended(1)
    await app.close()
  })

  t.test('before the handler was started leaves the work to the next attempt', async t => {
    const attempts = watchAttempts(t)
    const [arrived, go] = [gate(), gate()]
    const { port } = await listen(t, {}, { handlers: { work: () => { t.fail('must not run') } } } as never, app => {
      app.addHook('preHandler', async request => {
        arrived.open()
        if (!request.raw.socket.destroyed) await once(request.raw.socket, 'close')
        await go.opened
      })
    })
    await hangUp(port, arrived.opened)
    go.open()
    t.strictSame((await attempts.ended(1)).map(({ result, status }) => [result, status]), [['retry', 499]])
  })

  t.test('once the handler has returned changes nothing', async t => {
    const attempts = watchAttempts(t)
    const [sending, go] = [gate(), gate()]
    const { app, port } = await listen(t, {}, {}, app => {
      app.addHook('onSend', async () => {
        sending.open()
        await go.opened
      })
    })
    await hangUp(port, sending.opened)
    go.open()
    await attempts.ended(1)
    await app.close()
    t.strictSame(attempts.ends.map(({ result, status }) => [result, status]), [['done', 204]])
  })
})

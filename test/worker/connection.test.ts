import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { createEmulator } from '../../lib/emulator/index.js'
import cloudTasks, { defineTasks, type CloudTasksOptions, type TaskContext } from '../../lib/index.js'
import { gate, watchAttempts, type LogLine } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ ms: Type.Integer() }) } })
const pause = async (ms: number) => await new Promise<void>(resolve => { setTimeout(resolve, ms) })
/** Longer than every limit below for idle connections. */
const LONG_MS = 300

interface Listening {
  readonly app: FastifyInstance
  readonly port: number
  readonly log: LogLine[]
  /** Sockets of the server, in the order in which they were opened. */
  readonly sockets: Socket[]
}

/** A worker that listens, with handlers that take as long as their payload says. */
async function listen (
  t: Test,
  server: object,
  options: Partial<CloudTasksOptions<typeof tasks>> = {},
  prepare: (app: FastifyInstance) => void = () => {}
): Promise<Listening> {
  const log: LogLine[] = []
  const sockets: Socket[] = []
  const app = Fastify({
    logger: {
      level: 'info',
      stream: {
        write: (line: string) => {
          log.push(JSON.parse(line))
        }
      }
    },
    ...server
  } as FastifyServerOptions)
  t.teardown(() => app.close())
  app.server.on('connection', socket => {
    sockets.push(socket)
  })
  prepare(app)
  app.get('/host', async () => {
    await pause(LONG_MS)
  })
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    auth: false,
    handlers: {
      work: async ({ ms }) => {
        await pause(ms)
      }
    },
    ...options
  } as CloudTasksOptions)
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, log, sockets, port: (app.server.address() as AddressInfo).port }
}

/** Node then leaves the limit on a socket that waits for its next request as it is. */
function withoutKeepAliveTimeout (app: FastifyInstance): void {
  app.server.keepAliveTimeout = 0
}

/** The status of an answer, or the code of the error that came instead. */
async function call (
  port: number,
  { path = '/tasks/work', ms = LONG_MS, agent }: { path?: string, ms?: number, agent?: Agent } = {}
): Promise<number | string> {
  const method = path === '/host' ? 'GET' : 'POST'
  const request = httpRequest({
    host: '127.0.0.1',
    port,
    path,
    method,
    headers: { 'content-type': 'application/json' },
    ...(agent === undefined ? {} : { agent })
  })
  request.end(method === 'GET' ? undefined : JSON.stringify({ ms }))
  try {
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    response.resume()
    await once(response, 'end')
    return response.statusCode!
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

t.test("the host's limit for idle connections", async t => {
  for (const [what, server, prepare] of [
    ['connectionTimeout', { connectionTimeout: 60 }, () => {}],
    [
      'server.setTimeout',
      {},
      (app: FastifyInstance) => {
        app.server.setTimeout(60)
      }
    ],
    [
      'a timeout of the request in a hook',
      {},
      (app: FastifyInstance) => {
        app.addHook('onRequest', async request => {
          request.raw.setTimeout(60, () => {
            request.raw.socket.destroy()
          })
        })
      }
    ]
  ] as const) {
    t.test(`set by ${what}, does not cut an attempt off`, async t => {
      const { port } = await listen(t, server, {}, prepare)
      t.equal(await call(port, { path: '/host' }), 'ECONNRESET', 'it is in force on the routes of the host')
      t.equal(await call(port), 204)
    })
  }

  t.test('is back once an attempt was answered', async t => {
    const { port, sockets } = await listen(t, { connectionTimeout: 60 }, {}, withoutKeepAliveTimeout)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => { agent.destroy() })
    t.equal(await call(port, { agent }), 204)
    t.equal(sockets[0]?.timeout, 60)
    t.equal(await call(port, { agent, path: '/host' }), 'ECONNRESET')
    t.equal(sockets.length, 1, 'both came over one connection')
  })

  t.test('leaves keepAliveTimeout in force between two attempts', async t => {
    const { port, sockets } = await listen(t, { connectionTimeout: 60, keepAliveTimeout: 50_000 })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => { agent.destroy() })
    t.equal(await call(port, { agent, path: '/tasks/none' }), 404)
    const plain = sockets[0]?.timeout ?? 0
    t.ok(plain >= 50_000)
    t.equal(await call(port, { agent }), 204)
    t.equal(sockets[0]?.timeout, plain)
  })

  t.test('is restored only when the last of several pipelined attempts has ended', async t => {
    const { port, sockets } = await listen(t, { connectionTimeout: 60 }, {}, withoutKeepAliveTimeout)
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    const body = (ms: number) => JSON.stringify({ ms })
    const post = (ms: number) =>
      `POST /tasks/work HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body(ms).length}\r\n\r\n${body(ms)}`
    let answers = ''
    socket.on('data', chunk => { answers += String(chunk) })
    socket.write(post(1) + post(LONG_MS))
    const answered = () => (answers.match(/HTTP\/1\.1 204 /g) ?? []).length
    while (answered() < 2 && !socket.closed) await Promise.race([once(socket, 'data'), once(socket, 'close')])
    t.equal(answered(), 2)
    t.equal(sockets[0]?.timeout, 60)
  })

  t.test('lasts as long as the deadline of the attempt and half a minute for its answer', async t => {
    let limit: number | undefined
    const { port } = await listen(t, { connectionTimeout: 60 }, {
      handlers: { work: (_: unknown, task: TaskContext) => { limit = task.request?.raw.socket.timeout } }
    } as never)
    t.equal(await call(port), 204)
    t.ok(limit! > 629_000 && limit! <= 630_000, `${limit} ms`)
  })

  t.test('that is longer than a deadline stays', async t => {
    let limit: number | undefined
    const { port } = await listen(t, { connectionTimeout: 5_000_000 }, {
      handlers: { work: (_: unknown, task: TaskContext) => { limit = task.request?.raw.socket.timeout } }
    } as never)
    t.equal(await call(port), 204)
    t.equal(limit, 5_000_000)
  })

  t.test('and a limit that a handler has set itself is not replaced', async t => {
    const { port, sockets } = await listen(t, { connectionTimeout: 60 }, {
      handlers: { work: (_: unknown, task: TaskContext) => { task.request?.raw.socket.setTimeout(70_000) } }
    } as never, withoutKeepAliveTimeout)
    const agent = new Agent({ keepAlive: true })
    t.teardown(() => { agent.destroy() })
    t.equal(await call(port, { agent }), 204)
    t.equal(sockets[0]?.timeout, 70_000)
  })

  t.test('counts for a caller that is not verified', async t => {
    const limits = new Set<number | undefined>()
    const { port } = await listen(t, { connectionTimeout: 60 }, { auth: {} }, app => {
      app.addHook('onError', async request => { limits.add(request.raw.socket.timeout) })
    })
    t.equal(await call(port), 401)
    t.strictSame([...limits], [60])
  })
})

t.test('limits for a request that is still being received stay in force', async t => {
  const partial = 'POST /tasks/work HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'

  t.test('connectionTimeout ends a body that stops coming', async t => {
    const { port } = await listen(t, { connectionTimeout: 60 })
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    socket.write(partial)
    socket.resume()
    await once(socket, 'close')
  })

  t.test('requestTimeout ends a body that comes too slowly', async t => {
    const { port } = await listen(t, { requestTimeout: 150, http: { connectionsCheckingInterval: 20, headersTimeout: 150 } })
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => { socket.destroy() })
    socket.on('error', () => {})
    socket.write(partial)
    const slow = setInterval(() => { socket.write(' ') }, 30)
    t.teardown(() => { clearInterval(slow) })
    const [answer] = await once(socket, 'data') as [Buffer]
    t.equal(answer.toString().split('\r\n')[0], 'HTTP/1.1 408 Request Timeout')
  })
})

t.test('over HTTP/2', async t => {
  const post = async (session: ReturnType<typeof connectHttp2>, ms: number): Promise<number | string> => {
    const stream = session.request({ ':method': 'POST', ':path': '/tasks/work', 'content-type': 'application/json' })
    stream.end(JSON.stringify({ ms }))
    try {
      const [headers] = await once(stream, 'response')
      stream.resume()
      await once(stream, 'close')
      return headers[':status']
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    }
  }

  t.test('an idle session is not closed while an attempt runs, and its limit is back afterwards', async t => {
    const sessions: Array<{ timeout?: number }> = []
    const { port } = await listen(t, { http2: true, connectionTimeout: 60, http2SessionTimeout: 70 }, {}, app => {
      app.server.on('session', session => { sessions.push(session) })
    })
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    session.on('error', () => {})
    t.teardown(() => { session.destroy() })
    t.strictSame(await Promise.all([post(session, 1), post(session, LONG_MS), post(session, 2 * LONG_MS)]), [204, 204, 204])
    t.equal(sessions[0]?.timeout, 70)
    if (!session.closed) await once(session, 'close')
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
    stream.end('{"ms":1}')
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
    request.end('{"ms":1}')
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

t.test("an attempt of the emulator is acknowledged, though the host's connectionTimeout is shorter than the work", async t => {
  const queue = 'projects/demo/locations/us-central1/queues/default'
  const emulator = createEmulator({ port: 0, queues: [queue] })
  t.teardown(() => emulator.close())
  await emulator.listen()
  const attempts = watchAttempts(t)
  const { port } = await listen(t, { connectionTimeout: 60 })
  await emulator.engine.createTask(queue, {
    httpRequest: {
      url: `http://127.0.0.1:${port}/tasks/work`,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(`{"ms":${LONG_MS}}`)
    }
  })
  await attempts.ended(1)
  while (emulator.engine.counts(queue).waiting + emulator.engine.counts(queue).running > 0) await pause(5)
  t.strictSame(attempts.ends.map(({ result, attempt }) => [result, attempt]), [['done', 1]])
})

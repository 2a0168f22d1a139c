import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose'
import t, { type Test } from 'tap'
import { createEmulator, type Emulator, type EmulatorOptions } from '../../lib/emulator/index.js'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { grpcClient, type ServedService } from '../support/emulator-harness.js'

const queue = 'projects/p/locations/l/queues/q'
const hasIPv6 = Object.values(networkInterfaces()).flat().some(found => found?.address === '::1')

t.test('one port speaks gRPC and REST, and both see the same queues', async t => {
  const emulator = await listening(t, { queues: [queue] })
  const { port, url, address, host } = emulator
  t.equal(url, `http://127.0.0.1:${port}`)
  t.equal(address, `127.0.0.1:${port}`)
  t.equal(host, '127.0.0.1')
  const grpc = clientOf(t, emulator)
  t.equal((await grpc('CreateQueue', { parent: 'projects/p/locations/l', queue: { name: `${queue}2` } })).body.name, `${queue}2`)
  t.match(await (await fetch(`${url}/v2/projects/p/locations/l/queues`)).json(), {
    queues: [{ name: queue, state: 'RUNNING' }, { name: `${queue}2` }]
  })
  t.equal(emulator.engine.getQueue(`${queue}2`).state, 'RUNNING')
})

t.test('its address can be called: that of all interfaces is 127.0.0.1, and one of IPv6 has brackets', async t => {
  const everywhere = await listening(t, { host: '0.0.0.0' })
  t.equal(everywhere.url, `http://127.0.0.1:${everywhere.port}`)
  for (const host of hasIPv6 ? ['::', '::1'] : []) {
    const emulator = await listening(t, { host })
    t.equal(emulator.address, `${host === '::' ? '127.0.0.1' : '[::1]'}:${emulator.port}`)
    t.equal((await fetch(`${emulator.url}/v2/${queue}`)).status, 404)
  }
})

t.test('only where it listens on a loopback address are names that a web page can have rejected', async t => {
  const status = async (options: EmulatorOptions): Promise<number> => {
    const { port } = await listening(t, { queues: [queue], ...options })
    const request = httpRequest({ port, host: '127.0.0.1', path: `/v2/${queue}`, headers: { host: 'evil.example' } }).end()
    const [response] = await once(request, 'response') as [IncomingMessage]
    response.resume()
    return response.statusCode!
  }
  t.equal(await status({}), 403)
  t.equal(await status({ host: '0.0.0.0' }), 200)
  t.equal(await status({ allowedHosts: ['Evil.example'] }), 200)
})

t.test('before it listens there is no address, and once closed it does not listen again', async t => {
  const emulator = createEmulator({ port: 0 })
  t.throws(() => emulator.port, /listen/)
  t.throws(() => emulator.engine, /listen/)
  await emulator.close()
  await t.rejects(emulator.listen(), /closed/)
  const other = await listening(t)
  t.equal(await other.listen(), other.url, 'listening twice is listening once')
  await Promise.all([other.close(), other.close()])
  await t.rejects(connectOnce(other.port), { code: 'ECONNREFUSED' })
})

t.test('two emulators live side by side, and a port that is taken is rejected', async t => {
  const first = await listening(t)
  await listening(t)
  const second = createEmulator({ port: first.port })
  await t.rejects(second.listen(), { code: 'EADDRINUSE' })
  await second.close()
})

t.test('names are rejected for as long as the options say', async t => {
  const clock = new ManualClock()
  const emulator = await listening(t, { queues: [queue], taskTombstoneSeconds: 30, queueTombstoneSeconds: 0, clock })
  const { engine } = emulator
  const task = { name: `${queue}/tasks/t`, httpRequest: { url: 'http://127.0.0.1:1/' }, scheduleAt: clock.now() + 60_000 }
  await engine.createTask(queue, task)
  await engine.deleteTask(task.name)
  await t.rejects(engine.createTask(queue, task), { code: 'ALREADY_EXISTS' })
  await clock.advance(30_000)
  await engine.createTask(queue, task)
  await engine.deleteQueue(queue)
  await engine.createQueue(queue)
})

t.test('a task for a queue that is missing creates it, if that was asked for', async t => {
  const task = { httpRequest: { url: 'http://127.0.0.1:1/' }, scheduleTime: { seconds: Math.ceil(Date.now() / 1000) + 3600 } }
  const strict = await listening(t)
  t.equal((await clientOf(t, strict)('CreateTask', { parent: queue, task })).code, 'NOT_FOUND')
  const lenient = await listening(t, { autoCreateQueues: true })
  t.equal((await clientOf(t, lenient)('CreateTask', { parent: queue, task })).code, 'OK')
  t.equal(lenient.engine.counts(queue).waiting, 1)
})

t.test('tokens are verified with the keys that the same port publishes, in both of their forms', async t => {
  const target = await recordingTarget(t)
  const emulator = await listening(t, { queues: [queue] })
  const httpRequest = { url: `${target.url}/work?x=1`, oidcToken: { serviceAccountEmail: 'tasks@demo.iam.gserviceaccount.com' } }
  await emulator.engine.createTask(queue, { httpRequest })
  const { authorization } = await target.next()
  const json = async <T> (path: string): Promise<T> => await (await fetch(emulator.url + path)).json() as T
  const { issuer, jwks_uri: keysUrl } = await json<Record<string, unknown>>('/.well-known/openid-configuration')
  t.strictSame([issuer, keysUrl], [emulator.url, `${emulator.url}/jwks`])
  const keys = await json<JSONWebKeySet>('/jwks')
  t.strictSame(Object.keys(await json<Record<string, string>>('/certs')), [keys.keys[0]!.kid])
  const { payload } = await jwtVerify(authorization!.replace('Bearer ', ''), createLocalJWKSet(keys), {
    issuer: emulator.url,
    audience: httpRequest.url,
    algorithms: ['RS256']
  })
  t.equal(payload.email, 'tasks@demo.iam.gserviceaccount.com')
})

t.test("with a directory everything is there after a restart, and only this user may read the tokens' key", async t => {
  const data = folder(t)
  const target = await recordingTarget(t)
  const jwks = async (emulator: Emulator) => await (await fetch(`${emulator.url}/jwks`)).json()
  const first = createEmulator({ port: 0, data, queues: [queue] })
  await first.listen()
  const keys = await jwks(first)
  const file = join(data, 'oidc-key.json')
  if (process.platform !== 'win32') t.equal(statSync(file).mode & 0o777, 0o600)
  await first.engine.pauseQueue(queue)
  await first.engine.createTask(queue, { name: `${queue}/tasks/waits`, httpRequest: { url: target.url } })
  await first.engine.createTask(queue, { name: `${queue}/tasks/gone`, httpRequest: { url: target.url } })
  await first.engine.deleteTask(`${queue}/tasks/gone`)
  await first.close()

  const second = createEmulator({ port: 0, data, queues: [queue] })
  await second.listen()
  t.same(await jwks(second), keys)
  t.equal(second.engine.getQueue(queue).state, 'PAUSED', 'a queue of the options that is there already stays as it is')
  await t.rejects(second.engine.createTask(queue, { name: `${queue}/tasks/gone`, httpRequest: { url: target.url } }), {
    code: 'ALREADY_EXISTS'
  })
  await second.engine.resumeQueue(queue)
  t.equal((await target.next())['x-cloudtasks-taskname'], 'waits')
  await t.rejects(createEmulator({ port: 0, data }).listen(), { name: 'StoreError', message: /open/ })
  await second.close()
  writeFileSync(file, 'null')
  await t.rejects(createEmulator({ port: 0, data }).listen(), { name: 'StoreError', problem: 'damaged' })
})

t.test('after a start that failed, the directory can be used again', async t => {
  const data = folder(t)
  const listen = async (options: EmulatorOptions): Promise<unknown> => await listening(t, { data, ...options })
  const { port } = await listening(t)
  await t.rejects(listen({ port }), { code: 'EADDRINUSE' })
  writeFileSync(join(data, 'oidc-key.json'), 'null')
  await t.rejects(listen({}), { name: 'StoreError', problem: 'damaged' })
  rmSync(join(data, 'oidc-key.json'))
  await t.rejects(listen({ plugin: () => async () => { throw new Error('of the plugin') } }), { message: 'of the plugin' })
  const first = await listening(t, { data, queues: [queue] })
  await first.engine.deleteQueue(queue)
  await first.close()
  await t.rejects(listen({ queues: [queue] }), { code: 'FAILED_PRECONDITION' }, 'a queue that was deleted recently cannot be created')
  await listen({})
})

t.test('with a directory, closing lets an attempt that is under way finish', async t => {
  const data = folder(t)
  const target = await recordingTarget(t, ['held'])
  const first = await listening(t, { data, queues: [queue] })
  await first.engine.createTask(queue, { name: `${queue}/tasks/t`, httpRequest: { url: target.url } })
  await target.next()
  const { port } = first
  const closing = first.close()
  while (await connectOnce(port).then(socket => socket.destroy(), () => undefined) !== undefined) await turn()
  for (let i = 0; i < 10; i++) await turn()
  target.release()
  await closing
  const { engine } = await listening(t, { data })
  t.throws(() => engine.getTask(`${queue}/tasks/t`), { code: 'NOT_FOUND', message: /no longer exists/ })
})

t.test('a directory that holds something else, or that cannot be, is rejected', async t => {
  const data = folder(t)
  writeFileSync(join(data, 'thesis.txt'), 'precious')
  await t.rejects(createEmulator({ port: 0, data }).listen(), { name: 'StoreError', message: /thesis\.txt/ })
  await t.rejects(createEmulator({ port: 0, data: join(data, 'thesis.txt') }).listen(), {
    name: 'StoreError',
    message: /thesis\.txt cannot be used/
  })
})

t.test('a target that is down is logged once per task, not per attempt, and is not an error of the emulator', async t => {
  const clock = new ManualClock()
  const lines: Array<[fields: object, message: string]> = []
  const warn = (fields: object, message: string): void => { lines.push([fields, message]) }
  const target = await recordingTarget(t, [404, 404, 404])
  const faults: unknown[] = []
  const emulator = await listening(t, {
    queues: [queue],
    clock,
    onError: error => {
      faults.push(error)
    },
    logger: { info: warn, warn, error: warn }
  })
  const { engine } = emulator
  const ended: unknown[] = []
  engine.observe({ attempted: attempt => { ended.push(attempt) } })
  await engine.createTask(queue, { name: `${queue}/tasks/down`, httpRequest: { url: 'http://127.0.0.1:1/' } })
  await engine.createTask(queue, { name: `${queue}/tasks/missing`, httpRequest: { url: target.url } })
  await engine.createTask(queue, { name: `${queue}/tasks/nowhere`, appEngineHttpRequest: {} })
  for (const attempts of [3, 6, 9]) {
    while (ended.length < attempts) await clock.settle()
    await clock.advance(1000)
  }
  t.same(faults, [])
  const logged = (task: string) => lines.filter(([fields]) => (fields as { task: string }).task === `${queue}/tasks/${task}`)
  t.match(logged('down'), [[{ kind: 'ECONNREFUSED' }, '127.0.0.1:1 refused the connection']])
  t.match(logged('missing'), [[{ status: 404 }, 'the target answered 404']])
  t.match(logged('nowhere'), [[{ kind: 'appEngineUrl' }, '--app-engine-url']])
  t.equal(lines.length, 3)
})

t.test('an attempt without a response in time is logged, and so are tasks that are dropped for their age', async t => {
  const clock = new ManualClock()
  const lines: object[] = []
  const log = (level: string) => (fields: object): void => { lines.push({ level, ...fields }) }
  const target = await recordingTarget(t, ['held'])
  const { engine } = await listening(t, { queues: [queue], clock, logger: { info: log('info'), warn: log('warn'), error: log('error') } })
  const late = `${queue}/tasks/late`
  await engine.createTask(queue, { name: late, httpRequest: { url: target.url }, dispatchDeadlineMs: 15_000 })
  await clock.settle()
  await target.next()
  await engine.pauseQueue(queue)
  await clock.advance(15_100)
  while (lines.length === 0) await turn()
  t.strictSame(lines, [{ level: 'warn', task: late, kind: 'deadline' }])
  clock.pass(31 * 86_400_000)
  await engine.resumeQueue(queue)
  await clock.advance(1000)
  t.strictSame(lines.slice(1), [{ level: 'error', count: 1, tasks: [late] }])
})

t.test('App Engine tasks go to the URL of the options, with the host that they ask for', async t => {
  const target = await recordingTarget(t, [400])
  const { host } = new URL(target.url)
  const warnings: string[] = []
  const warn = (fields: object, message: string): void => { warnings.push(message) }
  const logger = { info () {}, warn, error () {} }
  const dispatch = async (options: EmulatorOptions): Promise<string> => {
    const clock = new ManualClock() // It stands still, so that no attempt is repeated.
    const { engine } = await listening(t, { queues: [queue], appEngineUrl: target.url, logger, clock, ...options })
    const attempted = new Promise(resolve => { engine.observe({ attempted: resolve }) })
    await engine.createTask(queue, { appEngineHttpRequest: { appEngineRouting: { service: 'worker' } } })
    await clock.settle()
    await attempted
    return (await target.next()).host!
  }
  t.equal(await dispatch({}), 'worker.p.xx.r.appspot.com')
  t.match(warnings, [/--app-engine-host url/])
  t.equal(await dispatch({ appEngineHost: 'url' }), host)
  t.equal(warnings.length, 1)
})

t.test('no garbage on the port ends it', async t => {
  const faults: unknown[] = []
  const emulator = await listening(t, { queues: [queue], onError: error => { faults.push(error) } })
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
    const head = Buffer.alloc(9)
    head.writeUIntBE(payload.length, 0, 3)
    head.writeUInt8(type, 3)
    head.writeUInt8(flags, 4)
    head.writeUInt32BE(stream, 5)
    return Buffer.concat([head, payload])
  }
  const settings = frame(4, 0, 0, Buffer.alloc(0))
  const garbage: Array<Buffer | string> = [
    '',
    '\0',
    '\r\n',
    'GET',
    'PRI',
    'PRI * HTTP/2.0\r\n',
    preface,
    `${preface}garbage garbage garbage`,
    'PRINT / HTTP/1.1\r\n\r\n',
    Buffer.concat([Buffer.from(preface), settings, frame(1, 4, 1, Buffer.from('ffffffff', 'hex'))]),
    Buffer.concat([Buffer.from(preface), settings, frame(0, 0, 0, Buffer.from('x'))]),
    Buffer.concat([Buffer.from(preface), settings, frame(200, 255, 77, Buffer.alloc(100, 1))]),
    Buffer.concat([Buffer.from(preface), Buffer.alloc(20_000, 255)]),
    'GET / HTTP/9.9\r\n\r\n',
    'POST /v2/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{',
    `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    'POST /v2/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    Buffer.alloc(100_000, 'P')
  ]
  for (const bytes of garbage) {
    for (const leave of ['end', 'reset'] as const) {
      const socket = await connectOnce(emulator.port)
      socket.on('error', () => {}).resume()
      await new Promise<void>(resolve => { socket.write(bytes, () => { resolve() }) })
      await turn()
      if (leave === 'reset') socket.resetAndDestroy()
      else socket.end()
    }
  }
  t.equal((await clientOf(t, emulator)('GetQueue', { name: queue })).body.name, queue)
  t.equal((await fetch(`${emulator.url}/v2/${queue}`)).status, 200)
  t.same(faults, [])
})

t.test('it ends with connections open, idle and half-way through a request, and answers calls that came', async t => {
  const emulator = createEmulator({ port: 0, queues: [queue] })
  await emulator.listen()
  t.equal((await clientOf(t, emulator)('GetQueue', { name: queue })).code, 'OK')
  const session = connectHttp2(emulator.url)
  session.on('error', () => {})
  const [settings] = await once(session, 'remoteSettings') as [{ maxConcurrentStreams: number }]
  t.equal(settings.maxConcurrentStreams, 1000, 'a client cannot open any number of calls that never end')
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: '/google.cloud.tasks.v2.CloudTasks/GetQueue',
    'content-type': 'application/grpc'
  })
  stream.on('error', () => {})
  stream.write(Buffer.from([0, 0, 0, 1, 0]))
  const [silent, halfway, idle] = [await connectOnce(emulator.port), await connectOnce(emulator.port), await connectOnce(emulator.port)]
  halfway!.write('POST /v2/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{')
  idle!.write('GET /.well-known/openid-configuration HTTP/1.1\r\nHost: h\r\n\r\n')
  await text(idle!, '"issuer"')
  await emulator.close()
  await Promise.all([closed(silent!), closed(halfway!), closed(idle!)])
  session.destroy()
})

t.test('an attempt under way when it ends is cut off', async t => {
  const arrived: Array<() => void> = []
  const server = createServer(() => { arrived.shift()!() })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close() })
  const emulator = createEmulator({ port: 0, queues: [queue] })
  await emulator.listen()
  const here = new Promise<void>(resolve => { arrived.push(resolve) })
  await emulator.engine.createTask(queue, { httpRequest: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } })
  await here
  await emulator.close()
  t.equal(await new Promise(resolve => { server.getConnections((error, count) => { resolve(error ?? count) }) }), 0)
})

t.test('a plugin adds routes of its own, and nothing else changes', async t => {
  const emulator = await listening(t, {
    queues: [queue],
    plugin: engine => async app => {
      app.get('/', async () => engine.getQueue(queue).state)
    }
  })
  t.equal(await (await fetch(emulator.url)).text(), 'RUNNING')
  t.equal((await fetch(`${emulator.url}/nowhere`)).status, 404)
})

async function listening (t: Test, options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = createEmulator({ port: 0, ...options })
  await emulator.listen()
  t.teardown(async () => { await emulator.close() })
  return emulator
}

function clientOf (t: Test, { port }: Emulator): ServedService['grpc'] {
  const { call, close } = grpcClient(port)
  t.teardown(close)
  return call
}

/** A target that notes the headers of what comes, and answers `statuses` in turn, then 200. What is held is answered by `release`. */
async function recordingTarget (t: Test, statuses: Array<number | 'held'> = []) {
  const seen: Array<Record<string, string>> = []
  let arrived = (): void => {}
  let release = (): void => {}
  const server: Server = createServer((request, response) => {
    seen.push(request.headers as Record<string, string>)
    const status = statuses.shift() ?? 200
    if (status === 'held') release = () => { response.end() }
    else response.writeHead(status).end()
    arrived()
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close(); server.closeAllConnections() })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    release: () => { release() },
    /** The next request that was not returned yet. */
    next: async () => {
      while (seen.length === 0) await new Promise<void>(resolve => { arrived = resolve })
      return seen.shift()!
    }
  }
}

async function connectOnce (port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await new Promise<void>((resolve, reject) => { socket.on('connect', resolve).on('error', reject) })
  return socket
}

async function closed (socket: Socket): Promise<void> {
  socket.resume()
  if (!socket.destroyed) await new Promise(resolve => { socket.on('close', resolve).on('error', () => {}) })
}

async function text (socket: Socket, until: string): Promise<string> {
  let received = ''
  while (!received.includes(until)) received += String(await new Promise(resolve => { socket.once('data', resolve) }))
  return received
}

async function turn (): Promise<void> {
  await new Promise(resolve => { setTimeout(resolve, 5) })
}

function folder (t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'fastify-cloud-tasks-emulator-'))
  t.teardown(() => { rmSync(path, { recursive: true }) })
  return path
}

import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { credentials } from '@grpc/grpc-js'
import { CloudTasksClient } from '@google-cloud/tasks'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { PassThroughClient } from 'google-auth-library'
import t from 'tap'
import cloudTasks, { defineTasks } from '../../lib/index.js'
import { createEmulator, type Emulator, type EmulatorOptions } from '../../lib/emulator/index.js'
import { command } from '../cli/terminal.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`

async function started (options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = createEmulator({ port: 0, queues: [queue], ...options })
  t.teardown(async () => { await emulator.close() })
  await emulator.listen()
  return emulator
}

/** A target that keeps what it gets and answers as it is told. */
async function target (answer: (count: number) => number = () => 200) {
  const requests: Array<{ headers: NodeJS.Dict<string | string[]>, url: string, body: string }> = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', piece => { body += piece }).on('end', () => {
      requests.push({ headers: request.headers, url: request.url!, body })
      response.writeHead(answer(requests.length), { location: 'http://127.0.0.1:1/elsewhere' }).end('said')
      server.emit('answered')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { requests, server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const clients: Array<[name: string, make: (port: number) => CloudTasksClient]> = [
  ['gRPC', port => new CloudTasksClient({ projectId: 'p', apiEndpoint: '127.0.0.1', port, sslCreds: credentials.createInsecure() })],
  ['REST', port => new CloudTasksClient({ projectId: 'p', apiEndpoint: '127.0.0.1', port, protocol: 'http', fallback: true, authClient: new PassThroughClient() as never })]
]

for (const [name, make] of clients) {
  t.test(`Google's own client works over ${name}: queues, tasks, and an attempt that arrives`, async t => {
    const { url } = await started()
    const { requests, server, url: at } = await target(count => count === 1 ? 302 : 200)
    const client = make(Number(new URL(url).port))
    t.teardown(async () => { await client.close() })
    const [made] = await client.createQueue({ parent, queue: { name: `${parent}/queues/fast`, retryConfig: { minBackoff: { nanos: 1_000_000 } } } })
    t.match(made, { name: `${parent}/queues/fast`, state: 'RUNNING' })
    await t.rejects(client.createQueue({ parent, queue: { name: made.name! } }), { message: /Queue already exists/ })
    const [queues] = await client.listQueues({ parent })
    t.same(queues.map(queue => queue.name), [`${parent}/queues/fast`, queue])
    await client.pauseQueue({ name: made.name! })
    const [task] = await client.createTask({ parent: made.name!, task: { httpRequest: { url: `${at}/work`, body: Buffer.from('hi').toString('base64'), httpMethod: 'POST', headers: { 'content-type': 'text/plain' } } } })
    t.match((await client.listTasks({ parent: made.name! }))[0], [{ name: task.name! }])
    const answered = new Promise<void>(resolve => { server.on('answered', () => { if (requests.length === 2) resolve() }) })
    await client.resumeQueue({ name: made.name! })
    await answered
    t.match(requests, [
      { url: '/work', body: 'hi', headers: { 'user-agent': 'Google-Cloud-Tasks', 'content-type': 'text/plain', 'x-cloudtasks-queuename': 'fast', 'x-cloudtasks-taskretrycount': '0' } },
      { url: '/work', body: 'hi', headers: { 'x-cloudtasks-taskretrycount': '1', 'x-cloudtasks-taskpreviousresponse': '302' } }
    ], 'a redirect is a failed attempt and is not followed')
  })
}

t.test('what keeps a target from answering is an attempt without a response, and nothing breaks', async t => {
  const { engine } = await started()
  const silent = createServer(request => { request.socket.destroy() })
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => { silent.close() })
  const ends = new Map<string, unknown>()
  const heard = new Promise<void>(resolve => {
    engine.observe({
      attempted: ({ attempt, how, text }) => {
        ends.set(attempt.task.name.slice(queue.length + 7), [how, text])
        if (ends.size === 4) resolve()
      }
    })
  })
  const add = async (id: string, task: object): Promise<void> => { await engine.createTask(queue, { name: `${queue}/tasks/${id}`, ...task }) }
  await add('reset', { httpRequest: { url: `http://127.0.0.1:${(silent.address() as AddressInfo).port}/` } })
  await add('nobody', { httpRequest: { url: 'http://127.0.0.1:1/' } })
  await add('header', { httpRequest: { url: 'http://127.0.0.1:1/', headers: { 'x-bad': 'a\r\nx-injected: b' } } })
  await add('engine', { appEngineHttpRequest: { relativeUri: '/work' } })
  await heard
  t.match(ends.get('reset'), ['unreachable', /closed|socket/i])
  t.match(ends.get('nobody'), ['unreachable', /ECONNREFUSED/])
  t.match(ends.get('header'), ['unreachable', /invalid x-bad header/i])
  t.match(ends.get('engine'), ['unreachable', /--app-engine-url/])
})

t.test('App Engine tasks go to the app that was named', async t => {
  const { requests, server, url } = await target()
  const { engine } = await started({ appEngineUrl: `${url}/` })
  await engine.createTask(queue, { appEngineHttpRequest: { relativeUri: '/work?x=1', body: Buffer.from('hi') } })
  if (requests.length === 0) await once(server, 'answered')
  t.match(requests, [{ url: '/work?x=1', body: 'hi', headers: { 'x-appengine-queuename': 'q', 'content-type': 'application/octet-stream' } }])
})

t.test('from end to end: enqueued by gRPC, dispatched with a signed token, verified, handled', async t => {
  const { url, engine } = await started()
  const app = Fastify()
  process.env['CLOUD_TASKS_EMULATOR_HOST'] = new URL(url).host
  t.teardown(async () => {
    delete process.env['CLOUD_TASKS_EMULATOR_HOST']
    await app.close()
  })
  const port = await freePort()
  const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }) } })
  let greeted!: (text: string) => void
  const greeting = new Promise<string>(resolve => { greeted = resolve })
  await app.register(cloudTasks, {
    tasks,
    handlers: { greet: async ({ name }, task) => { greeted(`${name} ${task.attempt}`) } },
    project: 'p',
    location: 'l',
    queue: 'q',
    target: { type: 'http', url: `http://127.0.0.1:${port}`, serviceAccountEmail: 'tasks@p.iam.gserviceaccount.com', audience: 'the-app' },
    auth: { issuer: url, jwksUri: `${url}/jwks` }
  })
  await app.listen({ host: '127.0.0.1', port })
  await app.enqueue('greet', { name: 'ada' })
  t.equal(await greeting, 'ada 1')

  const refused = new Promise(resolve => { engine.observe({ attempted: ({ attempt, how }) => { if (attempt.task.name.endsWith('/stranger')) resolve(how) } }) })
  await engine.createTask(queue, { name: `${queue}/tasks/stranger`, httpRequest: { url: `http://127.0.0.1:${port}/tasks/greet`, body: Buffer.from('{"name":"eve"}'), oidcToken: { serviceAccountEmail: 'eve@example.com', audience: 'the-app' } } })
  t.equal(await refused, 403, "another account's token opens nothing")
  const { jwks_uri: keys } = await (await fetch(`${url}/.well-known/openid-configuration`)).json() as { jwks_uri: string }
  t.equal(keys, `${url}/jwks`)
  t.notMatch(await (await fetch(keys)).text(), /"d":/, 'the private key stays inside')
})

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

t.test('what is kept in a directory is there after a restart, and so is the key', async t => {
  const data = join(t.testdir(), 'data')
  const keys = async (url: string): Promise<unknown> => await (await fetch(`${url}/jwks`)).json()
  const first = await started({ data })
  await first.engine.pauseQueue(queue)
  await first.engine.createTask(queue, { name: `${queue}/tasks/kept`, httpRequest: { url: 'http://127.0.0.1:1/' } })
  const key = await keys(first.url)
  await t.rejects(started({ data }), { message: /has this directory open/ })
  await first.close()
  const second = await started({ data })
  t.equal(second.engine.getTask(`${queue}/tasks/kept`).httpRequest!.url, 'http://127.0.0.1:1/')
  t.equal(second.engine.getQueue(queue).state, 'PAUSED')
  t.same(await keys(second.url), key)
  await second.close()
})

t.test('garbage, half requests and silent connections break nothing, and close waits for none of them', async t => {
  const { url } = await started()
  const port = Number(new URL(url).port)
  const sockets = ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense', 'P', '\x00\xff\x16\x03\x01', 'GET / HTTP/1.1\r\nhost', ''].map(text => {
    const socket = connect(port, '127.0.0.1', () => { socket.write(text, 'latin1') })
    socket.on('error', () => {})
    return socket
  })
  await Promise.all(sockets.map(async socket => { if (socket.connecting) await once(socket, 'connect') }))
  t.match(await (await fetch(`${url}/v2/${queue}`)).json(), { name: queue })
  t.equal((await fetch(`${url}/nothing/here`)).status, 404)
})

t.test('the command says where it listens, and ends with one line for what cannot be', async t => {
  const interrupted = new AbortController()
  const [first] = await Promise.all([
    command(['emulator', '--port', '0', '--queue', queue], { signal: interrupted.signal }),
    new Promise(resolve => setImmediate(resolve)).then(() => { interrupted.abort('SIGTERM') })
  ])
  t.match(first, { code: 0, out: /^listening on http:\/\/127\.0\.0\.1:\d+\n$/, err: '' })
  const { url } = await started()
  t.match(await command(['emulator', '--port', new URL(url).port]), { code: 1, out: '', err: /EADDRINUSE.*\n$/ })
  t.match(await command(['emulator', '--port', 'http']), { code: 2, err: /--port takes a number/ })
  t.match(await command(['emulator', '--queue', 'q']), { code: 2, err: /'q' is no queue; it must be projects\// })
  t.match(await command(['emulator', '--task-tombstone', '5']), { code: 2, err: /--task-tombstone takes a time/ })
  t.match(await command(['emulator', '--app-engine-url', 'app']), { code: 2, err: /no URL of an app/ })
  t.match(await command(['emulator', '--prot', '1']), { code: 2, err: /did you mean '--port'/ })
})

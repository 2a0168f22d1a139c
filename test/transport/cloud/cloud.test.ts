import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { credentials } from '@grpc/grpc-js'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { LIFE_HEADER } from '../../../lib/delivery/headers.js'
import { resolveConfig } from '../../../lib/options/config.js'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../../lib/index.js'
import { explain } from '../../../lib/server-error.js'
import { classifyError } from '../../../lib/transport/cloud/fault.js'
import { CloudTransport } from '../../../lib/transport/cloud/cloud.js'
import type { OutgoingTask } from '../../../lib/transport/transport.js'
import { environment } from '../../support/environment.js'
import { echo, startRecordingServer, type RecordingServer, type Reply } from '../../support/recording-server.js'

const tasks = defineTasks({
  mail: { payload: Type.Object({ to: Type.String(), body: Type.Optional(Type.String()) }) },
  change: { path: '/users/change', method: 'PUT', payload: Type.Any(), queue: 'slow', dispatchDeadlineSeconds: 90 }
})
const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const PARENT = 'projects/demo/locations/us-central1/queues'
const CLOUD: Partial<CloudTasksOptions> = {
  transport: 'cloud',
  project: 'demo',
  location: 'us-central1',
  target: { type: 'http', url: 'https://worker.example.com', serviceAccountEmail: ACCOUNT }
}

async function startServer (t: Test): Promise<RecordingServer> {
  const server = await startRecordingServer()
  t.teardown(() => server.close())
  return server
}

/** An app with the plugin on the cloud transport, all of whose calls go to `server`. */
async function startApp (
  t: Test,
  server: RecordingServer,
  options: Partial<CloudTasksOptions> = {},
  instance: FastifyInstance = Fastify()
): Promise<FastifyInstance> {
  environment(t, { CLOUD_TASKS_EMULATOR_HOST: server.host })
  t.teardown(() => instance.close())
  await instance.register(cloudTasks, { tasks, ...CLOUD, ...options } as CloudTasksOptions)
  await instance.ready()
  return instance
}

/** The transport alone, on a clock that only its own waits move. */
function startTransport (t: Test, host: string, options: object = {}, chance = 1) {
  const clock = new EagerClock()
  const config = resolveConfig({ tasks, ...CLOUD, ...options }, { CLOUD_TASKS_EMULATOR_HOST: host }, false)
  const transport = new CloudTransport({ prefix: '', addHook: () => {} } as never, config, clock, () => chance)
  t.teardown(() => transport.close())
  return { transport, waits: clock.waits, clock }
}

/** Moves on at once by whatever is waited for, unless it is held. */
class EagerClock extends ManualClock {
  readonly waits: number[] = []
  held = false

  override setTimeout (callback: () => void, ms: number): unknown {
    this.waits.push(ms)
    if (!this.held) queueMicrotask(() => { this.step(ms) })
    return super.setTimeout(callback, ms)
  }
}

const outgoing: OutgoingTask = {
  id: undefined,
  method: 'POST',
  path: '/mail',
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{}'),
  scheduleAt: undefined,
  dispatchDeadlineMs: undefined
}

/** Lets the server give these answers first, then whatever it gave before. */
function replies (server: RecordingServer, ...first: Array<Reply | (() => Reply)>): void {
  server.reply = call => {
    const next = first.shift() ?? echo(call)
    return typeof next === 'function' ? next() : next
  }
}

const turn = async () => await new Promise(resolve => { setImmediate(resolve) })
const sockets = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length

t.test('the official client', async t => {
  t.test('is loaded while the app starts, connects when the server listens, and is closed on close', async t => {
    const { cache } = createRequire(import.meta.url)
    const loaded = () => Object.keys(cache).some(file => file.includes('google-gax'))
    const server = await startServer(t)
    const local = Fastify()
    await local.register(cloudTasks, { tasks, transport: 'local', handlers: { mail: () => {} } } as never)
    await local.ready()
    await local.enqueue('mail', { to: 'a' })
    await local.close()
    t.equal(loaded(), false, "not for the transport 'local'")
    const before = sockets()
    const app = await startApp(t, server)
    t.equal(loaded(), true)
    for (let i = 0; i < 10; i++) await turn()
    t.equal(sockets(), before)
    await app.listen({ host: '127.0.0.1', port: 0 })
    while (sockets() === before) await turn()
    t.equal(server.calls.length, 0, 'connected, though nothing was enqueued yet')
    const { CloudTasksClient } = await import('@google-cloud/tasks')
    const { prototype } = CloudTasksClient
    const closes = t.capture(prototype, 'close', prototype.close)
    await app.close()
    t.equal(closes().length, 1)
  })

  t.test('that is given is used as it is and not closed', async t => {
    const server = await startServer(t)
    const { CloudTasksClient } = await import('@google-cloud/tasks')
    const client = new CloudTasksClient({
      apiEndpoint: '127.0.0.1',
      port: server.port,
      sslCreds: credentials.createInsecure(),
      projectId: 'of-the-credentials'
    })
    t.teardown(() => client.close())
    const app = Fastify()
    await app.register(cloudTasks, { tasks, ...CLOUD, project: undefined, client } as never)
    await app.enqueue('mail', { to: 'a' })
    await app.close()
    t.equal(
      server.calls[0]?.request.parent,
      'projects/of-the-credentials/locations/us-central1/queues/default',
      'the project is that of its credentials'
    )
    await client.createTask({ parent: `${PARENT}/default`, task: {} })
    t.equal(server.calls.length, 2)
  })

  t.test('without credentials fails the call, not the process, and is tried again by the next call', async t => {
    const folder = await mkdtemp(join(tmpdir(), 'no-credentials-'))
    t.teardown(() => rm(folder, { recursive: true }))
    environment(t, { CLOUDSDK_CONFIG: folder, HOME: folder, GOOGLE_APPLICATION_CREDENTIALS: undefined, METADATA_SERVER_DETECTION: 'none' })
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, ...CLOUD } as CloudTasksOptions)
    for (let i = 0; i < 2; i++) {
      const error = await app.enqueue('mail', { to: 'a' }).catch(error => error)
      t.equal(error.code, 'FST_TASKS_SEND_FAILED')
      t.type(error.cause, Error)
      t.match(error.explanation, /gcloud auth application-default login/)
    }
    await turn()
  })
})

t.test('a task for an HTTP target', async t => {
  t.test('has everything that was asked for', async t => {
    const server = await startServer(t)
    const app = await startApp(t, server)
    const at = new Date(Date.now() + 60_000)
    const payload = { to: 'Zoë', body: '😀' }
    const result = await app.enqueue('mail', payload, {
      id: 'order 42',
      scheduleTime: at,
      dispatchDeadlineSeconds: 20.5,
      queue: 'fast',
      headers: { 'x-trace': 'abc' }
    })
    const name = `${PARENT}/fast/tasks/${result.id}`
    t.match(result.id, /^[0-9a-f]{32}-order-42$/)
    t.strictSame(result, { id: result.id, name: 'mail', queue: 'fast', scheduleTime: at, duplicate: false })
    const [call] = server.calls
    const life = (call?.request as { task: { httpRequest: { headers: Record<string, string> } } }).task.httpRequest.headers[LIFE_HEADER]
    t.match(life, /^[0-9a-f-]{36}$/)
    t.strictSame(call?.request, {
      parent: `${PARENT}/fast`,
      task: {
        name,
        httpRequest: {
          url: 'https://worker.example.com/tasks/mail',
          httpMethod: 'POST',
          headers: {
            'x-trace': 'abc',
            'content-type': 'application/json',
            'fastify-cloud-tasks-deadline': '20.5',
            'fastify-cloud-tasks-retry': 'queue',
            [LIFE_HEADER]: life
          },
          body: Buffer.from(JSON.stringify(payload)),
          oidcToken: { serviceAccountEmail: ACCOUNT, audience: 'https://worker.example.com' }
        },
        scheduleTime: { seconds: Math.floor(at.getTime() / 1000), nanos: (at.getTime() % 1000) * 1_000_000 },
        dispatchDeadline: { seconds: 20, nanos: 500_000_000 }
      }
    })
    t.equal(call?.metadata['x-goog-request-params'], `parent=${encodeURIComponent(`${PARENT}/fast`)}`)
  })

  t.test('has the method, queue and deadline of its definition', async t => {
    const server = await startServer(t)
    const app = await startApp(t, server)
    const result = await app.enqueue('change', null)
    t.hasStrict(
      result,
      { id: '16520968670258952483', queue: 'slow', scheduleTime: new Date(1_800_000_000_500) },
      'id and time are those that Cloud Tasks chose'
    )
    t.hasStrict(server.calls[0]?.request, {
      parent: `${PARENT}/slow`,
      task: {
        httpRequest: { url: 'https://worker.example.com/tasks/users/change', httpMethod: 'PUT', body: Buffer.from('null') },
        dispatchDeadline: { seconds: 90 }
      }
    })
    t.notOk('name' in server.calls[0]?.request.task)
    t.notOk('scheduleTime' in server.calls[0]?.request.task)
  })

  t.test("beside an emulator, says at warn that it waits for Google's tokens, unless 'auth' names the keys", async t => {
    const server = await startServer(t)
    const warnings = async (options: Partial<CloudTasksOptions>): Promise<unknown[]> => {
      const lines: Array<{ level: number, msg: string }> = []
      await startApp(t, server, options, Fastify({ logger: { stream: { write (line: string) { lines.push(JSON.parse(line)) } } } }))
      return lines.filter(({ level }) => level >= 40).map(({ msg }) => msg)
    }
    const handlers = { mail: () => {} }
    t.strictSame(await warnings({ handlers }), [
      "CLOUD_TASKS_EMULATOR_HOST is set, but the task routes accept Google's tokens only; for those of the emulator set auth: 'emulator'"
    ])
    t.same(await warnings({ handlers, auth: 'emulator' }), [])
    t.same(await warnings({ handlers, auth: { issuer: 'http://emulator.example', jwksUri: `http://${server.host}/jwks` } }), [])
    t.same(await warnings({}), [], 'a producer waits for nobody')
  })

  t.test('reaches the route, whatever prefixes and slashes there are', async t => {
    const server = await startServer(t)
    environment(t, { CLOUD_TASKS_EMULATOR_HOST: server.host })
    for (const [url, parent, prefix, base, route] of [
      ['https://w.example', '', '/tasks', 'https://w.example', '/tasks/mail'],
      ['https://w.example/', '', '/tasks', 'https://w.example', '/tasks/mail'],
      ['https://w.example/base', '', '/tasks', 'https://w.example/base', '/tasks/mail'],
      ['https://w.example/base/', '', '', 'https://w.example/base', '/mail'],
      ['https://W.example:443/base//', '/v1', '/internal/tasks', 'https://w.example/base', '/v1/internal/tasks/mail'],
      ['https://w.example:8443', '/v1/', '/tasks', 'https://w.example:8443', '/v1/tasks/mail'],
      ['https://w.example', 'v1', '', 'https://w.example', '/v1/mail']
    ] as const) {
      const app = Fastify()
      const children: FastifyInstance[] = []
      app.register(async scope => {
        children.push(scope)
        await scope.register(cloudTasks, {
          tasks,
          ...CLOUD,
          prefix,
          target: { type: 'http', url, serviceAccountEmail: ACCOUNT },
          handlers: { mail: () => {} }
        } as CloudTasksOptions)
      }, { prefix: parent })
      await app.ready()
      server.calls.length = 0
      await children[0]?.enqueue('mail', { to: 'a' })
      t.hasStrict(server.calls[0]?.request.task.httpRequest, { url: base + route, oidcToken: { audience: new URL(url).origin } })
      t.equal(app.hasRoute({ method: 'POST', url: route }), true, `${route} is mounted`)
      await app.close()
    }
  })

  t.test('has the audience that was chosen, and no token without a service account', async t => {
    const server = await startServer(t)
    const one = await startApp(t, server, {
      target: { type: 'http', url: 'https://w.example', serviceAccountEmail: ACCOUNT, audience: 'tasks' }
    })
    await one.enqueue('mail', { to: 'a' })
    t.strictSame(server.calls[0]?.request.task.httpRequest.oidcToken, { serviceAccountEmail: ACCOUNT, audience: 'tasks' })
    const other = await startApp(t, server, { target: { type: 'http', url: 'http://w.example' } })
    await other.enqueue('mail', { to: 'a' })
    t.notOk('oidcToken' in server.calls[1]?.request.task.httpRequest)
  })

  t.test('gets its settings from the environment alone', async t => {
    const server = await startServer(t)
    environment(t, {
      CLOUD_TASKS_LOCATION: 'europe-west1',
      GOOGLE_CLOUD_PROJECT: 'env',
      CLOUD_TASKS_QUEUE: 'q-env',
      CLOUD_TASKS_TARGET_URL: 'https://env.example',
      CLOUD_TASKS_SERVICE_ACCOUNT: 'env@x.example'
    })
    const app = await startApp(t, server, { transport: undefined, project: undefined, location: undefined, target: undefined } as never)
    await app.enqueue('mail', { to: 'a' })
    t.hasStrict(server.calls[0]?.request, {
      parent: 'projects/env/locations/europe-west1/queues/q-env',
      task: {
        httpRequest: {
          url: 'https://env.example/tasks/mail',
          oidcToken: { serviceAccountEmail: 'env@x.example', audience: 'https://env.example' }
        }
      }
    })
  })
})

t.test('a task for App Engine', async t => {
  const server = await startServer(t)
  const app = await startApp(t, server, { target: { type: 'appEngine', service: 'worker', version: 'v2' } })
  await app.enqueue('mail', { to: 'a' })
  t.strictSame(server.calls[0]?.request.task, {
    appEngineHttpRequest: {
      httpMethod: 'POST',
      appEngineRouting: { service: 'worker', version: 'v2' },
      relativeUri: '/tasks/mail',
      headers: { 'content-type': 'application/json', 'fastify-cloud-tasks-retry': 'queue' },
      body: Buffer.from('{"to":"a"}')
    }
  }, 'is called by a relative URI, on its service and version, with JSON')

  const plain = await startApp(t, server, { target: { type: 'appEngine' } })
  await plain.enqueue('change', 1)
  t.hasStrict(server.calls[1]?.request.task, {
    appEngineHttpRequest: { httpMethod: 'PUT', relativeUri: '/tasks/users/change' },
    dispatchDeadline: { seconds: 90 }
  })
  t.notOk('appEngineRouting' in server.calls[1]?.request.task.appEngineHttpRequest, 'goes where the queue says, if nothing was chosen')
})

t.test('an id that is there already makes a duplicate, which is a result', async t => {
  const server = await startServer(t)
  const app = await startApp(t, server)
  const first = await app.enqueue('mail', { to: 'a' }, { id: 'x' })
  for (const details of [
    'Requested entity already exists',
    'The task cannot be created because a task with this name existed too recently.'
  ]) {
    replies(server, { code: 'ALREADY_EXISTS', details })
    t.hasStrict(await app.enqueue('mail', { to: 'a' }, { id: 'x' }), { id: first.id, duplicate: true })
  }
})

t.test('a call that fails for good', async t => {
  const actAs = `The principal (user or service account) lacks IAM permission "iam.serviceAccounts.actAs" for the resource "${ACCOUNT}" (or the resource may not exist).`
  const failures: Array<[Reply & object, string, RegExp]> = [
    [
      {
        code: 'PERMISSION_DENIED',
        details: 'The principal (user or service account) lacks IAM permission "cloudtasks.tasks.create" for the resource "projects/demo".'
      },
      'FST_TASKS_SEND_FAILED',
      /gcloud tasks queues add-iam-policy-binding default --location=us-central1 --project=demo .*roles\/cloudtasks\.enqueuer/
    ],
    [
      { code: 'PERMISSION_DENIED', details: actAs },
      'FST_TASKS_SEND_FAILED',
      /add-iam-policy-binding tasks@demo\.iam\.gserviceaccount\.com .*roles\/iam\.serviceAccountUser/
    ],
    [
      { code: 'PERMISSION_DENIED', details: 'Cloud Tasks API has not been used in project 1 before or it is disabled.' },
      'FST_TASKS_SEND_FAILED',
      /gcloud services enable cloudtasks\.googleapis\.com --project=demo/
    ],
    [
      {
        code: 'NOT_FOUND',
        details: 'Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize.'
      },
      'FST_TASKS_QUEUE_NOT_FOUND',
      /create it in the emulator/
    ],
    [{ code: 'FAILED_PRECONDITION', details: 'Queue does not exist.' }, 'FST_TASKS_QUEUE_NOT_FOUND', /default/],
    [{ code: 'NOT_FOUND', details: `Service account ${ACCOUNT} not found` }, 'FST_TASKS_SEND_FAILED', /CLOUD_TASKS_SERVICE_ACCOUNT/],
    [
      { code: 'INVALID_ARGUMENT', details: "Location 'us-central1' is not a valid location. Use ListLocations to list valid locations." },
      'FST_TASKS_SEND_FAILED',
      /CLOUD_TASKS_LOCATION/
    ],
    [
      {
        code: 'INVALID_ARGUMENT',
        details: "HttpRequest.url must start with 'https://' for request with HttpRequest.authorization_header"
      },
      'FST_TASKS_SEND_FAILED',
      /CLOUD_TASKS_TARGET_URL/
    ],
    [{ code: 'INVALID_ARGUMENT', details: 'Task size too large' }, 'FST_TASKS_TOO_LARGE', /\d{2,} bytes/],
    [
      { code: 'UNAUTHENTICATED', details: 'Request had invalid authentication credentials.' },
      'FST_TASKS_SEND_FAILED',
      /gcloud auth application-default login/
    ],
    [{ code: 'INTERNAL', details: 'Internal error encountered.' }, 'FST_TASKS_SEND_FAILED', /INTERNAL/],
    [{ code: 'ALREADY_EXISTS', details: 'Requested entity already exists' }, 'FST_TASKS_SEND_FAILED', /without an id/]
  ]
  const server = await startServer(t)
  const app = await startApp(t, server)
  for (const [reply, code, hint] of failures) {
    const { code: status, details } = reply as { code: string, details: string }
    t.test(`with ${status} (${details.slice(0, 40)}) is not tried again, and the error says what to do`, async t => {
      server.calls.length = 0
      replies(server, reply)
      const error = await app.enqueue('mail', { to: 'secret@example.com' }).catch(error => error)
      t.equal(error.code, code)
      t.match(explain(error), hint)
      t.notMatch(`${error.message} ${error.explanation}`, /secret@/)
      if (code === 'FST_TASKS_QUEUE_NOT_FOUND' || /gcloud|CLOUD_TASKS/.test(explain(error))) t.hasStrict(error.cause, { details })
      t.equal(server.calls.length, 1)
    })
  }

  t.test('for want of a queue in Google Cloud names the command that makes it', async t => {
    const { CloudTasksClient } = await import('@google-cloud/tasks')
    const client = new CloudTasksClient({ apiEndpoint: '127.0.0.1', port: server.port, sslCreds: credentials.createInsecure() })
    t.teardown(() => client.close())
    environment(t, { CLOUD_TASKS_EMULATOR_HOST: undefined })
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, ...CLOUD, client } as never)
    replies(server, { code: 'NOT_FOUND', details: 'Queue does not exist.' })
    const error = await app.enqueue('mail', { to: 'a' }, { queue: 'fast' }).catch(error => error)
    t.equal(error.code, 'FST_TASKS_QUEUE_NOT_FOUND')
    t.match(error.explanation, /gcloud tasks queues create fast --location=us-central1 --project=demo/)
  })

  t.test('because the task is too large is told before anything is sent', async t => {
    server.calls.length = 0
    await t.rejects(app.enqueue('mail', { to: 'a', body: 'x'.repeat(1_046_300) }), { code: 'FST_TASKS_TOO_LARGE' })
    t.equal(server.calls.length, 0)
    await app.enqueue('mail', { to: 'a', body: 'x'.repeat(1_045_800) })
    t.equal(server.calls.length, 1)
  })
})

t.test('a call that may go better the next time', async t => {
  const unavailable: Reply = { code: 'UNAVAILABLE', details: 'The service is currently unavailable.' }
  const exists: Reply = { code: 'ALREADY_EXISTS', details: 'Requested entity already exists' }
  const exhausted: Reply = { code: 'RESOURCE_EXHAUSTED', details: 'Quota exceeded' }

  for (const reply of [unavailable, exhausted, { code: 'DEADLINE_EXCEEDED', details: 'Deadline exceeded' }] as const) {
    t.test(`is tried again after ${(reply as { code: string }).code}`, async t => {
      const server = await startServer(t)
      const { transport, waits } = startTransport(t, server.host)
      replies(server, reply, reply)
      t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
      t.equal(server.calls.length, 3)
      t.strictSame(waits, [100, 200])
    })
  }

  t.test('is tried again after a connection reset', async t => {
    const server = await startServer(t)
    const opened = new Set<Socket>()
    const proxy = createServer(socket => {
      const upstream = connect(server.port, '127.0.0.1')
      for (const one of [socket, upstream]) one.on('error', () => {}).on('close', () => { opened.delete(socket) })
      opened.add(socket.on('close', () => { upstream.destroy() }))
      socket.pipe(upstream).pipe(socket)
    })
    await new Promise<void>(resolve => { proxy.listen(0, '127.0.0.1', resolve) })
    t.teardown(() => { proxy.close() })
    const { transport } = startTransport(t, `127.0.0.1:${(proxy.address() as AddressInfo).port}`)
    replies(server, () => {
      for (const socket of opened) socket.resetAndDestroy()
      return 'silence'
    })
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x' }), { outcome: 'created', id: 'x' })
    t.equal(server.calls.length, 2)
    await transport.close()
  })

  t.test('is tried again when no answer comes', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host, { sendTimeoutSeconds: 0.4 })
    replies(server, 'silence')
    t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
    t.equal(server.calls.length, 2)
  })

  t.test('waits twice as long each time, up to 2 s, and a half of it at least', async t => {
    const server = await startServer(t)
    server.reply = () => unavailable
    for (const [chance, expected] of [
      [1, [100, 200, 400, 800, 1600, 2000, 2000, 2000]],
      [0, [50, 100, 200, 400, 800, 1000, 1000, 1000]]
    ] as const) {
      const { transport, waits } = startTransport(t, server.host, { sendTimeoutSeconds: 60 }, chance)
      await transport.createTask('default', outgoing)
      t.strictSame(waits.slice(0, 8), expected)
    }
  })

  t.test('is given up within the time budget, and the message tells it may have arrived', async t => {
    const server = await startServer(t)
    const { transport, waits } = startTransport(t, server.host, { sendTimeoutSeconds: 1 })
    server.reply = () => unavailable
    const sent = await transport.createTask('default', outgoing)
    t.hasStrict(sent, { outcome: 'failed', cause: { details: 'The service is currently unavailable.' } })
    t.match((sent as { problem: string }).problem, /sendTimeoutSeconds.*may have arrived/)
    t.strictSame(waits, [100, 200, 400])
    t.equal(server.calls.length, 4)
  })

  t.test('to an emulator that is not there names it, and knows that nothing arrived', async t => {
    const server = await startRecordingServer()
    await server.close()
    const { transport } = startTransport(t, server.host, { sendTimeoutSeconds: 0.2 })
    const { outcome, problem } = await transport.createTask('default', outgoing) as { outcome: string, problem: string }
    t.equal(outcome, 'failed')
    t.ok(problem.includes(server.host) && problem.includes('CLOUD_TASKS_EMULATOR_HOST'), problem)
    t.notMatch(problem, /may have arrived/)
  })

  t.test('and finds its own task there, is a success', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host)
    replies(server, unavailable, exists)
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x', scheduleAt: 5000 }), {
      outcome: 'created',
      id: 'x',
      scheduleAt: 5000
    })
  })

  t.test('and finds a task there, though no try of its own can have made it, is a duplicate', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host)
    replies(server, exhausted, exists)
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x' }), { outcome: 'duplicate' })
    replies(server, exists)
    t.hasStrict(await transport.createTask('default', { ...outgoing, id: 'x' }), { outcome: 'duplicate' })
  })

  t.test('and finds its task gone, has deleted it', async t => {
    const server = await startServer(t)
    const { transport } = startTransport(t, server.host)
    const gone: Reply = { code: 'NOT_FOUND', details: 'Requested entity was not found.' }
    replies(server, unavailable, gone)
    t.hasStrict(await transport.deleteTask('default', 'x'), { outcome: 'deleted' })
    replies(server, exhausted, gone)
    t.hasStrict(await transport.deleteTask('default', 'x'), { outcome: 'notFound' })
    t.equal(server.calls.length, 4, 'the client has no retries of its own besides')
  })

  t.test('does not outlast the close', async t => {
    const server = await startServer(t)
    const { transport, clock } = startTransport(t, server.host)
    clock.held = true
    server.reply = () => unavailable
    const sent = transport.createTask('default', outgoing)
    while (clock.pending === 0) await turn()
    await transport.close()
    t.hasStrict(await sent, { outcome: 'failed' })
    t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'closing' })
    t.hasStrict(await transport.deleteTask('default', 'x'), { outcome: 'closing' })
    t.equal(clock.pending, 0)
  })
})

t.test('every error of the client has one code, wherever it comes from', async t => {
  const error = (code: unknown, message = '') => Object.assign(new Error(message), { code })
  for (const [given, code, transient, mayHaveArrived] of [
    [error(14, '14 UNAVAILABLE: read ECONNRESET'), 'UNAVAILABLE', true, true],
    [error(14, 'No connection established. Last error: connect ECONNREFUSED'), 'UNAVAILABLE', true, false],
    [error(14, 'Name resolution failed for target dns:x'), 'UNAVAILABLE', true, false],
    [error(13, 'Received RST_STREAM with code 2 triggered by internal client error: read ECONNRESET'), 'UNAVAILABLE', true, true],
    [error(13, 'Something else'), 'INTERNAL', false, false],
    [
      error(
        2,
        'Getting metadata from plugin failed with error: request to https://oauth2.googleapis.com/token failed, reason: ECONNRESET'
      ),
      'UNAVAILABLE',
      true,
      false
    ],
    [error(2, 'Getting metadata from plugin failed with error: invalid_grant'), 'UNAUTHENTICATED', false, false],
    [error('ECONNRESET', 'socket hang up'), 'UNAVAILABLE', true, true],
    [error('ENOTFOUND', 'getaddrinfo ENOTFOUND cloudtasks.googleapis.com'), 'UNAVAILABLE', true, false],
    [error(4), 'DEADLINE_EXCEEDED', true, true],
    [error(8), 'RESOURCE_EXHAUSTED', true, false],
    [error(404), 'NOT_FOUND', false, false],
    [error(409), 'ALREADY_EXISTS', false, false],
    [error(403), 'PERMISSION_DENIED', false, false],
    [error(401), 'UNAUTHENTICATED', false, false],
    [error(400), 'INVALID_ARGUMENT', false, false],
    [error(429), 'RESOURCE_EXHAUSTED', true, false],
    [error(503), 'UNAVAILABLE', true, true],
    [error(504), 'DEADLINE_EXCEEDED', true, true],
    [new TypeError('no code'), 'UNKNOWN', false, false],
    ['The client has already been closed.', 'UNKNOWN', false, false],
    [undefined, 'UNKNOWN', false, false]
  ] as const) { t.hasStrict(classifyError(given), { code, transient, mayHaveArrived }, String(given)) }
})

t.test('enqueueMany', async t => {
  t.test('answers thousands in their order with few calls open, and reads ahead no further', async t => {
    const server = await startServer(t)
    const app = await startApp(t, server, { enqueueConcurrency: 20 })
    let read = 0
    let answered = 0
    let ahead = 0
    server.reply = async call => {
      ahead = Math.max(ahead, read - answered)
      await turn()
      answered++
      return echo(call)
    }
    function * items () {
      for (; read < 500; read++) yield { payload: { to: `a${read}` }, id: String(read) }
    }
    const results = await app.tasks.enqueueMany('mail', items())
    t.equal(results.length, 500)
    t.ok(results.every((result, index) => result.status === 'fulfilled' && result.value.id.endsWith(`-${index}`)))
    t.ok(server.open.peak <= 20 && server.open.peak > 1, `${server.open.peak} calls at once`)
    t.ok(ahead <= 21, `${ahead} items ahead`)
  })

  t.test('lets one bad item fail alone', async t => {
    const server = await startServer(t)
    const app = await startApp(t, server)
    server.reply = call =>
      call.request.task.httpRequest.body.includes('refused') ? { code: 'INVALID_ARGUMENT', details: 'no' } : echo(call)
    const results = await app.tasks.enqueueMany('mail', [
      { payload: { to: 'a' } },
      { payload: { to: {} } },
      { payload: { to: 'refused' } },
      { payload: { to: 'b' }, scheduleDelaySeconds: -1 },
      { payload: { to: 'c' } }
    ])
    t.hasStrict(results, [
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'FST_TASKS_INVALID_PAYLOAD' } },
      { status: 'rejected', reason: { code: 'FST_TASKS_SEND_FAILED' } },
      { status: 'rejected', reason: { code: 'FST_TASKS_INVALID_ENQUEUE_OPTION' } },
      { status: 'fulfilled' }
    ])
  })
})

t.test('delete', async t => {
  const server = await startServer(t)
  const app = await startApp(t, server)
  const gone: Reply = { code: 'NOT_FOUND', details: 'Requested entity was not found.' }

  t.test('takes the id that was chosen, in the queue of the task', async t => {
    const { id } = await app.enqueue('change', 1, { id: 'order 42' })
    t.equal(await app.tasks.delete('change', 'order 42'), true)
    t.hasStrict(server.calls.at(-1), { method: 'DeleteTask', request: { name: `${PARENT}/slow/tasks/${id}` } })
  })

  t.test('takes the id that was returned', async t => {
    server.calls.length = 0
    replies(server, gone)
    t.equal(await app.tasks.delete('mail', '16520968670258952483'), true)
    t.equal(server.calls.at(-1)?.request.name, `${PARENT}/default/tasks/16520968670258952483`)
  })

  t.test('is false when the task is gone', async t => {
    replies(server, gone, gone)
    t.equal(await app.tasks.delete('mail', 'x'), false)
  })

  t.test('that is not allowed names the role', async t => {
    replies(server, { code: 'PERMISSION_DENIED', details: 'lacks IAM permission "cloudtasks.tasks.delete"' })
    const error = await app.tasks.delete('mail', 'x').catch(error => error)
    t.equal(error.code, 'FST_TASKS_SEND_FAILED')
    t.match(error.explanation, /roles\/cloudtasks\.taskDeleter/)
  })
})

t.test('the example for Cloud Run boots in a pretended environment, and refuses everybody', async t => {
  const root = join(import.meta.dirname, '../../..')
  const env: NodeJS.ProcessEnv = { PATH: process.env.PATH, TSX_TSCONFIG_PATH: join(root, 'example/tsconfig.json') }
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', join(root, 'example/05-cloud-run.ts')], {
    cwd: root,
    env
  })
  t.equal(stdout.includes('mounts POST /tasks/send-receipt'), true)
  t.equal(stdout.match(/: 401$/gm)?.length, 3)
})

t.test('a request in flight when the server closes can still enqueue', async t => {
  const server = await startServer(t)
  const app = Fastify()
  let arrived = (): void => {}
  const arrival = new Promise<void>(resolve => { arrived = resolve })
  app.get('/', async () => {
    arrived()
    while (app.server.listening) await turn()
    return await app.enqueue('mail', { to: 'a' })
  })
  await startApp(t, server, {}, app)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const response = fetch(address, { headers: { connection: 'close' } })
  await arrival
  await app.close()
  t.equal((await response).status, 200)
  t.equal(server.calls.length, 1)
  await t.rejects(app.enqueue('mail', { to: 'a' }), { code: 'FST_TASKS_CLOSING' })
})

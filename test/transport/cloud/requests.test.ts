import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { credentials } from '@grpc/grpc-js'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { LIFE_HEADER } from '../../../lib/delivery/headers.js'
import cloudTasks, { type CloudTasksOptions } from '../../../lib/index.js'
import { environment } from '../../support/environment.js'
import { echo, type Reply } from '../../support/recording-server.js'
import { tasks, ACCOUNT, CLOUD, startServer, startApp, replies, turn } from '../../support/cloud-app.js'

const PARENT = 'projects/demo/locations/us-central1/queues'
const sockets = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length

t.test('the official client', async t => {
  t.test('is loaded while the app starts, connects when the server listens, and is closed on close', async t => {
    const { cache } = createRequire(import.meta.url)
    const loaded = () => Object.keys(cache).some(file => file.includes('google-gax'))
    const server = await startServer(t)
    // By another file of tests, where several share a process.
    const wasLoaded = loaded()
    const local = Fastify()
    await local.register(cloudTasks, { tasks, transport: 'local', handlers: { mail: () => {} } } as never)
    await local.ready()
    await local.enqueue('mail', { to: 'a' })
    await local.close()
    t.equal(loaded(), wasLoaded, "not for the transport 'local'")
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
  t.test('has all options', async t => {
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
      "CLOUD_TASKS_EMULATOR_HOST is set, but the task routes accept only Google's tokens; to accept those of the emulator, set auth: 'emulator'"
    ])
    t.same(await warnings({ handlers, auth: 'emulator' }), [])
    t.same(await warnings({ handlers, auth: { issuer: 'http://emulator.example', jwksUri: `http://${server.host}/jwks` } }), [])
    t.same(await warnings({}), [], 'a producer waits for no listener')
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

  t.test('is not affected by one invalid item', async t => {
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

  t.test('accepts the chosen id, in the queue of the task', async t => {
    const { id } = await app.enqueue('change', 1, { id: 'order 42' })
    t.equal(await app.tasks.delete('change', 'order 42'), true)
    t.hasStrict(server.calls.at(-1), { method: 'DeleteTask', request: { name: `${PARENT}/slow/tasks/${id}` } })
  })

  t.test('accepts the returned id', async t => {
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

t.test('the example for Cloud Run starts in a simulated environment, and rejects all callers', async t => {
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

import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { CloudTasksClient, protos } from '@google-cloud/tasks'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { deleteApp, initializeApp } from 'firebase-admin/app'
import { getFunctions } from 'firebase-admin/functions'
import t, { type Test } from 'tap'
import cloudTasks, { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { createEmulator, type Emulator, type EmulatorOptions } from '../../lib/emulator/index.js'
import { freePort } from '../support/free-port.js'

const parent = 'projects/demo/locations/us-central1'
const queue = `${parent}/queues/mail`

/** The second major wants Node.js 22, so it is installed apart. */
const SECOND_MAJOR = join(import.meta.dirname, '../clients/google-cloud-tasks-7')
const noSecondMajor = existsSync(join(SECOND_MAJOR, 'node_modules'))
  ? false
  : "the second major of Google's client is not installed: npm ci --prefix test/clients/google-cloud-tasks-7"

const clients: Array<[name: string, skip: string | false, make: (port: number) => CloudTasksClient]> = []
for (const [version, skip, origin] of [
  ['6', false, import.meta.filename],
  ['7', noSecondMajor, join(SECOND_MAJOR, 'package.json')]
] as const) {
  const make = (settings: (libraries: typeof import('google-gax')) => object): CloudTasksClient => {
    const require = createRequire(origin)
    const { CloudTasksClient } = require('@google-cloud/tasks') as typeof import('@google-cloud/tasks')
    // Of the copies that it uses itself: it refuses those of another.
    const libraries = createRequire(require.resolve('@google-cloud/tasks'))('google-gax') as typeof import('google-gax')
    return new CloudTasksClient({ projectId: 'demo', apiEndpoint: '127.0.0.1', ...settings(libraries) } as never)
  }
  clients.push(
    [
      `@google-cloud/tasks ${version} over gRPC`,
      skip,
      port => make(({ grpc }) => ({ port, sslCreds: grpc.credentials.createInsecure() }))
    ],
    [
      `@google-cloud/tasks ${version} with fallback`,
      skip,
      port =>
        make(({ googleAuthLibrary }) => ({
          port,
          protocol: 'http',
          fallback: true,
          authClient: new googleAuthLibrary.PassThroughClient()
        }))
    ]
  )
}

for (const [name, skip, make] of clients) {
  t.test(`${name} works unchanged: every method, and an attempt that arrives`, { skip }, async t => {
    const target = await recordingTarget(t, [302])
    const { port } = await listening(t)
    const client = make(port)
    t.teardown(async () => { await client.close() })

    const [created] = await client.createQueue({
      parent,
      queue: { name: queue, retryConfig: { minBackoff: { nanos: 1_000_000 } }, rateLimits: { maxDispatchesPerSecond: 100 } }
    })
    t.match(created, { name: queue, state: 'RUNNING', rateLimits: { maxDispatchesPerSecond: 100, maxConcurrentDispatches: 1000 } })
    await t.rejects(client.createQueue({ parent, queue: { name: queue } }), { message: /Queue already exists/ })
    t.match((await client.getQueue({ name: queue }))[0], {
      name: queue,
      retryConfig: { maxAttempts: 100, minBackoff: { nanos: 1_000_000 } }
    })
    const [updated] = await client.updateQueue({
      queue: { name: queue, retryConfig: { maxAttempts: 7 } },
      updateMask: { paths: ['retry_config.max_attempts'] }
    })
    t.match(updated, { retryConfig: { maxAttempts: 7 }, rateLimits: { maxDispatchesPerSecond: 100 } }, 'what the mask leaves out stays')
    t.same((await client.listQueues({ parent }))[0].map(({ name }) => name), [queue])

    t.match((await client.pauseQueue({ name: queue }))[0], { state: 'PAUSED' })
    const task: protos.google.cloud.tasks.v2.ITask = {
      name: `${queue}/tasks/one`,
      httpRequest: {
        url: `${target.url}/work`,
        httpMethod: 'POST',
        body: Buffer.from('hello').toString('base64'),
        headers: { 'Content-Type': 'text/plain' }
      }
    }
    const [stored] = await client.createTask({ parent: queue, task })
    t.match(stored, {
      name: task.name,
      httpRequest: { httpMethod: 'POST', headers: { 'User-Agent': 'Google-Cloud-Tasks' } },
      dispatchDeadline: { seconds: /600/ },
      view: 'BASIC'
    })
    await t.rejects(client.createTask({ parent: queue, task }), { message: /Requested entity already exists/ })
    t.match((await client.listTasks({ parent: queue }))[0], [{ name: task.name }])
    const [full] = await client.getTask({ name: task.name!, responseView: 'FULL' })
    t.equal(
      Buffer.from(full.httpRequest!.body as string, typeof full.httpRequest!.body === 'string' ? 'base64' : undefined).toString(),
      'hello'
    )
    await client.createTask({
      parent: queue,
      task: { ...task, name: `${queue}/tasks/two`, scheduleTime: { seconds: Math.ceil(Date.now() / 1000) + 3600 } }
    })
    await client.deleteTask({ name: `${queue}/tasks/two` })
    await t.rejects(client.getTask({ name: `${queue}/tasks/two` }), { message: /no longer exists/ })

    const [run] = await client.runTask({ name: task.name! })
    t.equal(run.dispatchCount, 1)
    t.match(await target.next(), {
      url: '/work',
      method: 'POST',
      body: 'hello',
      headers: {
        'content-type': 'text/plain',
        'x-cloudtasks-queuename': 'mail',
        'x-cloudtasks-taskname': 'one',
        'x-cloudtasks-taskretrycount': '0'
      }
    })
    t.match((await client.resumeQueue({ name: queue }))[0], { state: 'RUNNING' })
    t.match(
      (await target.next()).headers,
      { 'x-cloudtasks-taskretrycount': '1', 'x-cloudtasks-taskpreviousresponse': '302' },
      'a redirect is a failed attempt'
    )

    await client.setIamPolicy({ resource: queue, policy: { bindings: [{ role: 'roles/viewer', members: ['user:ada@example.com'] }] } })
    t.match((await client.getIamPolicy({ resource: queue }))[0], {
      bindings: [{ role: 'roles/viewer', members: ['user:ada@example.com'] }]
    })
    t.same((await client.testIamPermissions({ resource: queue, permissions: ['cloudtasks.tasks.create'] }))[0].permissions, [
      'cloudtasks.tasks.create'
    ])
    const locations = []
    for await (const location of client.listLocationsAsync({ name: 'projects/demo' })) locations.push(location.name)
    t.ok(locations.includes(parent))
    t.ok((await client.purgeQueue({ name: queue }))[0].purgeTime)
    await client.deleteQueue({ name: queue })
    await t.rejects(client.getQueue({ name: queue }), { message: /Queue does not exist/ })
    await t.rejects(client.createQueue({ parent, queue: { name: queue } }), { message: /existed too recently/ })
  })
}

t.test("firebase-admin's task queue works with CLOUD_TASKS_EMULATOR_HOST alone", async t => {
  const target = await recordingTarget(t, [])
  const emulator = await listening(t, { queues: [queue], defaultUrl: `${target.url}/{project}/{location}/{queue}` })
  setEmulatorHost(t, emulator)
  const app = initializeApp(
    { projectId: 'demo', credential: { getAccessToken: async () => ({ access_token: 'owner', expires_in: 3600 }) } },
    'emulator'
  )
  t.teardown(async () => { await deleteApp(app) })
  const tasks = getFunctions(app).taskQueue('locations/us-central1/functions/mail')
  await tasks.enqueue({ order: 42 }, { id: 'order-42', scheduleDelaySeconds: 0, headers: { 'X-Mine': 'yes' } })
  const { url, body, headers } = await target.next()
  t.equal(url, '/demo/us-central1/mail', 'where its function is')
  t.same(JSON.parse(body), { data: { order: 42 } })
  t.match(headers, { 'content-type': 'application/json', 'x-mine': 'yes', 'x-cloudtasks-taskname': 'order-42', authorization: /^Bearer / })
  await t.rejects(tasks.enqueue({}, { id: 'order-42' }), { code: 'functions/task-already-exists' })
  await tasks.enqueue({}, { id: 'later', scheduleDelaySeconds: 3600, uri: `${target.url}/elsewhere` })
  t.equal(emulator.engine.getTask(`${queue}/tasks/later`).httpRequest!.url, `${target.url}/elsewhere`)
  await tasks.delete('later')
  await tasks.delete('never-there')
  t.throws(() => emulator.engine.getTask(`${queue}/tasks/later`), { code: 'NOT_FOUND' })
})

const noCurl = spawnSync('curl', ['--version']).error === undefined ? false : 'curl is not installed'

t.test('plain curl works', { skip: noCurl }, async t => {
  const target = await recordingTarget(t, [])
  const { url } = await listening(t, { queues: [queue] })
  const ask = async (...args: string[]): Promise<unknown> =>
    JSON.parse((await promisify(execFile)('curl', ['-sS', '--max-time', '20', ...args])).stdout)
  const task = { httpRequest: { url: target.url, body: Buffer.from('hi').toString('base64') } }
  t.match(await ask(`${url}/v2/${queue}/tasks`, '-H', 'Content-Type: application/json', '-d', JSON.stringify({ task })), {
    httpRequest: { url: target.url }
  })
  t.equal((await target.next()).body, 'hi')
  t.match(await ask('-X', 'POST', `${url}/v2/${queue}:pause`), { state: 'PAUSED' })
  t.match(await ask(`${url}/v2/${parent}/queues/none`), { error: { code: 404, status: 'NOT_FOUND' } })
  t.match(await ask(`${url}/nonsense`), { error: { code: 404 } })
  t.match(await ask('--http2', `${url}/v2/${queue}`), { name: queue }, 'an offer to upgrade is passed over')
})

t.test(
  "auth: 'emulator' needs no account, verifies tokens by any name of the emulator, and is advised",
  async t => {
    const emulator = await listening(t, { queues: [queue] })
    const warnings = (lines: string[]) => lines.map(line => (JSON.parse(line) as { msg: string }).msg)
    setEmulatorHost(t, { address: `localhost:${emulator.port}` })
    const tasks = defineTasks({ greet: { payload: Type.Object({}) } })
    const workerPort = await freePort()
    let done = (): void => {}
    const finished = new Promise<void>(resolve => {
      done = resolve
    })
    const start = async (options: Partial<CloudTasksOptions>, target: object): Promise<{ worker: FastifyInstance, lines: string[] }> => {
      const lines: string[] = []
      const worker = Fastify({
        logger: {
          level: 'warn',
          stream: {
            write (line: string) {
              lines.push(line)
            }
          }
        }
      })
      t.teardown(async () => {
        await worker.close()
      })
      await worker.register(cloudTasks, {
        tasks,
        handlers: {
          greet: async () => {
            done()
          }
        },
        project: 'demo',
        location: 'us-central1',
        queue: 'mail',
        target: { type: 'http', url: `http://127.0.0.1:${workerPort}`, ...target },
        ...options
      })
      await worker.ready()
      return { worker, lines }
    }
    const advised = await start({}, { serviceAccountEmail: 'tasks@demo.iam.gserviceaccount.com' })
    t.strictSame(warnings(advised.lines), [
      "CLOUD_TASKS_EMULATOR_HOST is set, but the task routes accept only Google's tokens; to accept those of the emulator, set auth: 'emulator'"
    ])

    const { worker, lines } = await start({ auth: 'emulator' }, {})
    await worker.listen({ host: '127.0.0.1', port: workerPort })
    await worker.enqueue('greet', {})
    await finished
    t.strictSame(warnings(lines), [])
    t.equal(
      (
        await fetch(`http://127.0.0.1:${workerPort}/tasks/greet`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{}'
        })
      ).status,
      401
    )
  }
)

t.test('from end to end: enqueued over gRPC, dispatched with a signed token, verified, handled', async t => {
  const emulator = await listening(t, { queues: [queue] })
  setEmulatorHost(t, emulator)
  const handled: unknown[] = []
  let done = (): void => {}
  const tasks = defineTasks({ greet: { payload: Type.Object({ name: Type.String() }), dispatchDeadlineSeconds: 15 } })
  const serviceAccountEmail = 'tasks@demo.iam.gserviceaccount.com'
  const worker = Fastify()
  const workerPort = await freePort()
  await worker.register(cloudTasks, {
    tasks,
    handlers: {
      async greet (payload, task) {
        handled.push([payload, task.id, task.attempt, task.previousResponse])
        if (handled.length === 1) throw new Error('not yet')
        done()
      }
    },
    project: 'demo',
    location: 'us-central1',
    queue: 'mail',
    target: { type: 'http', url: `http://127.0.0.1:${workerPort}`, serviceAccountEmail },
    auth: 'emulator'
  })
  t.teardown(async () => { await worker.close() })
  await worker.listen({ host: '127.0.0.1', port: workerPort })
  const finished = new Promise<void>(resolve => { done = resolve })
  const { id, duplicate } = await worker.enqueue('greet', { name: 'Ada' }, { id: 'ada' })
  t.equal(duplicate, false)
  t.equal((await worker.enqueue('greet', { name: 'Ada' }, { id: 'ada' })).duplicate, true)
  await finished
  t.same(handled, [[{ name: 'Ada' }, id, 1, undefined], [{ name: 'Ada' }, id, 2, 500]])

  const httpRequest = {
    url: `http://127.0.0.1:${workerPort}/tasks/greet`,
    headers: { 'Content-Type': 'application/json' },
    body: Buffer.from('{"name":"Eve"}')
  }
  const wrongCallers = [
    httpRequest,
    { ...httpRequest, oidcToken: { serviceAccountEmail: 'eve@example.com', audience: `http://127.0.0.1:${workerPort}` } },
    { ...httpRequest, oidcToken: { serviceAccountEmail, audience: 'http://another.example.com' } }
  ]
  const { engine } = emulator
  await engine.pauseQueue(queue)
  const ends: unknown[] = []
  for (const [index, caller] of wrongCallers.entries()) {
    const name = `${queue}/tasks/caller-${index}`
    const ended = new Promise<void>(resolve => {
      engine.observe({
        attempted: ({ attempt, result }) => {
          if (attempt.task.name !== name) return
          ends.push(result)
          resolve()
        }
      })
    })
    await engine.createTask(queue, { name, httpRequest: caller })
    await engine.runTask(name)
    await ended
  }
  t.same(ends, [401, 403, 401], 'no token, that of another account, or one for another audience is refused')
  t.equal(handled.length, 2)
})

async function listening (t: Test, options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = createEmulator({ port: 0, ...options })
  await emulator.listen()
  t.teardown(async () => { await emulator.close() })
  return emulator
}

function setEmulatorHost (t: Test, { address }: Pick<Emulator, 'address'>): void {
  const before = process.env.CLOUD_TASKS_EMULATOR_HOST
  process.env.CLOUD_TASKS_EMULATOR_HOST = address
  t.teardown(() => {
    if (before === undefined) delete process.env.CLOUD_TASKS_EMULATOR_HOST
    else process.env.CLOUD_TASKS_EMULATOR_HOST = before
  })
}

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: string
}

/** A target that notes what comes, and answers `statuses` in turn, then 200. */
async function recordingTarget (t: Test, statuses: number[]): Promise<{ url: string, next: () => Promise<Seen> }> {
  const seen: Seen[] = []
  let arrived = (): void => {}
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', piece => { body += piece }).on('end', () => {
      seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
      response.writeHead(statuses.shift() ?? 200, { location: '/elsewhere' }).end()
      arrived()
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    next: async () => {
      while (seen.length === 0) await new Promise<void>(resolve => { arrived = resolve })
      return seen.shift()!
    }
  }
}

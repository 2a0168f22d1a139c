import { createRequire } from 'node:module'
import { CloudTasksClient } from '@google-cloud/tasks'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import type { HttpRequest } from '../../lib/cloud-tasks/task.js'
import { createEmulator, type Emulator } from '../../lib/emulator/index.js'
import { defineTasks, type CloudTasksClientLike, type TaskContext } from '../../lib/index.js'
import { gate, watchAttempts } from '../support/app.js'
import { PARENT, startCloudWorker } from '../support/cloud-worker.js'

type Library = typeof import('google-gax')
const library = createRequire(createRequire(import.meta.filename).resolve('@google-cloud/tasks'))('google-gax') as Library

const tasks = defineTasks({
  work: { payload: Type.Any() },
  change: { path: '/users/change', method: 'PUT', payload: Type.Object({ n: Type.Integer() }) }
})
const queues = { default: { maxAttempts: 1, minBackoffSeconds: 0.001 }, dead: { maxAttempts: -1 } }

/** The official client on an emulator, in the ways in which it can be called. */
const wires: Readonly<Record<string, (emulator: Emulator) => CloudTasksClientLike>> = {
  gRPC: ({ address }) => clientOf(address, ({ grpc }) => ({ sslCreds: grpc.credentials.createInsecure() })),
  REST: ({ address }) => clientOf(address, ({ googleAuthLibrary: { PassThroughClient } }) => {
    return { protocol: 'http', fallback: true, authClient: new PassThroughClient() }
  }),
  'gRPC without the permission to read tasks': ({ address }) => {
    const client = clientOf(address, ({ grpc }) => ({ sslCreds: grpc.credentials.createInsecure() }))
    client.getTask = async () => {
      throw Object.assign(new Error('7 PERMISSION_DENIED: lacks it'), { code: 7, details: 'lacks IAM permission "cloudtasks.tasks.get"' })
    }
    return client
  }
}

function clientOf (address: string, settings: (library: Library) => object): CloudTasksClient {
  const { hostname, port } = new URL(`http://${address}`)
  return new CloudTasksClient({ projectId: 'demo', apiEndpoint: hostname, port: Number(port), ...settings(library) } as never)
}

/** A worker whose client is that of a wire, with a queue of dead letters. */
async function startWorker (t: Test, wire: string, work: (payload: unknown, task: TaskContext) => unknown) {
  const attempts = watchAttempts(t)
  let client: CloudTasksClientLike | undefined
  const later = (method: keyof CloudTasksClientLike) => async (...args: unknown[]) => {
    return await (client![method] as (...args: unknown[]) => Promise<unknown>).apply(client, args)
  }
  const methods = ['createTask', 'deleteTask', 'getQueue', 'getProjectId', 'getTask', 'listTasks'] as const
  const { app, emulator, url, log } = await startCloudWorker(t, {
    tasks,
    deadLetterQueue: 'dead',
    client: Object.fromEntries(methods.map(method => [method, later(method)])) as unknown as CloudTasksClientLike,
    handlers: { work, change: () => { throw new Error('no') } }
  }, queues, async emulator => {
    await emulator.engine.pauseQueue(`${PARENT}/queues/dead`)
    client = wires[wire]!(emulator)
    t.teardown(async () => { await (client as CloudTasksClient).close() })
  })
  const { engine } = emulator
  /** Creates a task as another client would, and resolves with its id. */
  const add = async (path: string, request: Partial<HttpRequest>) => {
    const oidcToken = { serviceAccountEmail: 'tasks@emulator.iam.gserviceaccount.com', audience: url }
    const { name } = await engine.createTask(`${PARENT}/queues/default`, { httpRequest: { url: url + path, oidcToken, ...request } })
    return name.slice(name.lastIndexOf('/') + 1)
  }
  const letterOf = async (taskId: string) => {
    const { letters } = await app.tasks.deadLetters.list()
    const letter = letters.find(one => one.taskId === taskId)!
    return { letter, task: engine.getTask(`${PARENT}/queues/dead/tasks/${letter.id}`) }
  }
  return { app, engine, attempts, add, letterOf, url, log, deadLetters: app.tasks.deadLetters }
}

for (const wire of Object.keys(wires)) {
  const isDenied = wire.includes('without')
  t.test(`tasks of other clients are kept, replayed and discarded over ${wire}`, async t => {
    const seen: unknown[] = []
    let fails = true
    const { app, attempts, add, letterOf, url, log, deadLetters } = await startWorker(t, wire, (payload, task) => {
      const { url, method, headers } = task.request!
      seen.push({ payload, url, method, tenant: headers['x-tenant'] })
      if (fails) throw new Error('no')
    })

    const body = Buffer.from([0x7b, 0xff, 0xfe, 0, 0x80, 0x0a])
    const headers = { 'Content-Type': 'application/x-raw', 'X-Tenant': 'one', 'X-Empty': '' }
    const raw = await add('/tasks/users/change?a=1&b=%20', { httpMethod: 'PUT', headers, body })
    const empty = await add('/tasks/users/change', { httpMethod: 'PUT' })
    const unknown = await add('/tasks/gone', { httpMethod: 'PATCH', headers: { 'X-Tenant': 'two' }, body: Buffer.from('{') })
    await attempts.ended(2)
    while ((await deadLetters.list()).letters.length < 3) await new Promise(resolve => { setImmediate(resolve) })

    const { letter, task } = await letterOf(raw)
    t.hasStrict(letter, { task: 'change', path: '/tasks/users/change', queue: 'default', attempts: 1, error: { code: 'FST_ERR_CTP_INVALID_JSON_BODY' } })
    const { httpRequest } = task
    t.strictSame([httpRequest!.url, httpRequest!.httpMethod], [`${url}/tasks/users/change?a=1&b=%20`, 'PUT'])
    t.ok(body.equals(httpRequest!.body!), 'byte for byte')
    t.equal(httpRequest!.oidcToken?.audience, url)
    const kept = Object.fromEntries(Object.entries(httpRequest!.headers!).map(([key, value]) => [key.toLowerCase(), value]))
    t.hasStrict(kept, { 'content-type': 'application/x-raw', 'x-tenant': 'one', 'x-empty': '' })
    t.strictSame(Object.keys(kept).filter(key => /^x-cloudtasks|^authorization$|^host$|^content-length$/.test(key)), [])
    t.equal((await letterOf(empty)).task.httpRequest!.body?.length ?? 0, 0)
    const lost = await letterOf(unknown)
    t.hasStrict(lost.letter, { task: undefined, path: '/tasks/gone', error: { code: 'FST_TASKS_NOT_REGISTERED' } })
    t.hasStrict(lost.task.httpRequest, { httpMethod: 'PATCH', url: `${url}/tasks/gone` })

    const first = await deadLetters.list({ pageSize: 2 })
    const second = await deadLetters.list({ pageSize: 2, pageToken: first.nextPageToken! })
    t.equal(new Set([...first.letters, ...second.letters].map(({ id }) => id)).size, 3)
    t.equal(second.nextPageToken, undefined)

    if (isDenied) {
      const [result] = await deadLetters.replay(letter.id)
      t.hasStrict(result, { id: letter.id, outcome: 'failed' })
      t.match(result!.problem, /cloudtasks\.tasks\.get/)
      t.equal((await deadLetters.list()).letters.length, 3, 'it is still there')
    } else {
      attempts.ends.length = 0
      t.strictSame(await deadLetters.replay([letter.id, letter.id]), [{ id: letter.id, outcome: 'replayed' }])
      await attempts.ended(1)
      const again = (await deadLetters.list()).letters.find(one => one.originalId === raw)!
      t.not(again.id, letter.id, 'the replay failed again, and left a letter of its own')
      t.hasStrict(again, { originalId: raw, attempts: 1, error: { code: 'FST_ERR_CTP_INVALID_JSON_BODY' } })
      t.ok(body.equals((await letterOf(again.taskId!)).task.httpRequest!.body!))
    }
    t.strictSame(await deadLetters.discard({ code: 'FST_TASKS_NOT_REGISTERED' }), [{ id: lost.letter.id, outcome: 'discarded' }])
    t.strictSame(await deadLetters.discard(lost.letter.id), [{ id: lost.letter.id, outcome: 'notFound' }])
    t.hasStrict(await deadLetters.discard({ task: 'change' }), [{ outcome: 'discarded' }, { outcome: 'discarded' }])

    attempts.ends.length = 0
    const { id } = await app.enqueue('work', { text: 'ü' }, { id: 'own', headers: { 'x-tenant': 'three' } })
    await attempts.ended(1)
    const own = (await letterOf(id)).letter
    if (isDenied) return
    fails = false
    t.hasStrict(await deadLetters.replay({ after: own.time!, code: own.error!.code ?? 'none' }), [], 'it has no code')
    t.hasStrict(await deadLetters.replay({ after: own.time! }), [{ outcome: 'replayed' }])
    t.hasStrict(await attempts.ended(2), [{}, { result: 'done' }])
    t.strictSame(seen[0], { payload: { text: 'ü' }, url: '/tasks/work', method: 'POST', tenant: 'three' })
    t.strictSame(seen[1], seen[0])
    t.strictSame(log.filter(line => line.level >= 50 && /could not be kept/.test(line.msg)), [])
  })
}

t.test('a last attempt that Cloud Tasks gives up at its deadline leaves a letter of its request', async t => {
  const attempts = watchAttempts(t)
  const clock = new ManualClock(Date.now())
  const begun = gate()
  const work = async () => {
    begun.open()
    await new Promise(() => {})
  }
  const { app, emulator } = await startCloudWorker(t, { tasks, deadLetterQueue: 'dead', handlers: { work, change () {} } }, queues, async emulator => { await emulator.engine.pauseQueue(`${PARENT}/queues/dead`) }, createEmulator({ port: 0, clock }))
  const { id } = await app.enqueue('work', { text: 'ü' }, { id: 'own', headers: { 'x-own': 'kept' }, dispatchDeadlineSeconds: 15 })
  await clock.advance(0)
  await begun.opened
  await clock.advance(20_000)
  await attempts.ended(1)
  const { letters } = await app.tasks.deadLetters.list()
  t.hasStrict(letters, [{ task: 'work', taskId: id, attempts: 1, error: { code: 'FST_TASKS_DISCONNECTED' } }])
  const { httpRequest } = emulator.engine.getTask(`${PARENT}/queues/dead/tasks/${letters[0]!.id}`)
  t.equal(Buffer.from(httpRequest!.body!).toString(), '{"text":"ü"}')
  t.equal(httpRequest!.headers!['x-own'], 'kept')
})

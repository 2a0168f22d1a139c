import t, { type Test } from 'tap'
import { ManualClock } from '../../../lib/clock/manual-clock.js'
import { withStoredDefaults } from '../../../lib/cloud-tasks/new-task.js'
import { MAX_TASK_BYTES, storedSize } from '../../../lib/cloud-tasks/size.js'
import { resolveConfig } from '../../../lib/options/config.js'
import { CloudTransport } from '../../../lib/transport/cloud/cloud.js'
import { ClientError, ClientSource } from '../../../lib/transport/cloud/client.js'
import { classifyError } from '../../../lib/transport/cloud/fault.js'
import { parseTask, printTask } from '../../../lib/transport/cloud/task.js'
import { newTask } from '../../../lib/transport/new-task.js'
import type { OutgoingTask } from '../../../lib/transport/transport.js'
import { gate } from '../../support/app.js'

const ACCOUNT = 'tasks@demo.iam.gserviceaccount.com'
const LOCATION = 'projects/demo/locations/us-central1'
const QUEUE = `${LOCATION}/queues/default`
const httpRequest = { url: 'https://worker.example.com', httpMethod: 'POST' } as const

const outgoing: OutgoingTask = {
  id: undefined,
  method: 'POST',
  path: '/mail',
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{}'),
  scheduleAt: undefined,
  dispatchDeadlineMs: undefined
}

const coded = (code: number, details = 'no luck') => Object.assign(new Error(`${code}: ${details}`), { code, details })
const UNAVAILABLE = coded(14, 'try again')
const EXHAUSTED = coded(8, 'quota exceeded')
const GONE = coded(5, 'Requested entity was not found.')
const DENIED = coded(7, 'lacks it')
const EXISTS = coded(6, 'exists')

type Method = 'createTask' | 'deleteTask' | 'getTask' | 'listTasks' | 'initialize' | 'getProjectId'

/** A client of the official one's form. Each call is answered by the next of its method's answers, or by the last one again. */
function fakeClient (answers: Partial<Record<Method, unknown[]>>) {
  const calls: Array<[method: Method, ...args: unknown[]]> = []
  const method = (name: Method) => async (...args: unknown[]) => {
    calls.push([name, ...args])
    const left = answers[name]!
    const answer = await (left.length > 1 ? left.shift() : left[0])
    if (answer instanceof Error) throw answer
    return answer
  }
  const given = { createTask: [[{}]], deleteTask: [[{}]], getProjectId: ['of-the-credentials'], ...answers }
  Object.assign(answers, given)
  const client: any = Object.fromEntries(Object.keys(given).map(name => [name, method(name as Method)]))
  return Object.assign(client, { calls, getQueue: async () => [{}] })
}

function startTransport (t: Test, answers: Partial<Record<Method, unknown[]>> = {}, options: object = {}) {
  const client = fakeClient(answers)
  const cloud = { transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url: httpRequest.url, serviceAccountEmail: ACCOUNT } }
  const config = resolveConfig({ tasks: {}, client, ...cloud, ...options } as never, {}, false)
  const clock = new EagerClock()
  const transport = new CloudTransport({ prefix: '' } as never, config, clock, () => 1)
  t.teardown(() => transport.close())
  return { transport, clock, calls: client.calls as Array<[Method, any, any]> }
}

/** Moves on at once by whatever is waited for. */
class EagerClock extends ManualClock {
  override setTimeout (callback: () => void, ms: number): unknown {
    queueMicrotask(() => { this.step(ms) })
    return super.setTimeout(callback, ms)
  }
}

t.test('createTask answers with the id and the time of the stored task', async t => {
  const at = { seconds: '1800000000', nanos: 500_000_000 }
  for (const [stored, task, id, scheduleAt] of [
    [{ name: `${QUEUE}/tasks/42`, scheduleTime: at }, outgoing, '42', 1_800_000_000_500],
    [{ name: `${QUEUE}/tasks/42`, scheduleTime: null }, { ...outgoing, scheduleAt: 5000 }, '42', 5000],
    [{ name: `${QUEUE}/tasks/42` }, { ...outgoing, id: 'mine' }, 'mine', Date.parse('2030-01-01T00:00:00Z')],
    [{}, outgoing, '', Date.parse('2030-01-01T00:00:00Z')]
  ] as const) {
    const { transport, calls } = startTransport(t, { createTask: [[stored]] })
    t.strictSame(await transport.createTask('default', task), { outcome: 'created', id, scheduleAt })
    const [, { parent }, options] = calls[0]!
    t.equal(parent, QUEUE)
    t.strictSame(options, { timeout: 5000 })
  }
})

t.test('createTask and putTask send the task under the name of its queue', async t => {
  const { transport, calls } = startTransport(t)
  await transport.createTask('fast', { ...outgoing, id: 'x', scheduleAt: 1500 })
  await transport.putTask('fast', 'x', { httpRequest, dispatchDeadlineMs: 20_500 }, 1500)
  await transport.putTask('fast', 'x', { httpRequest })
  const parent = `${LOCATION}/queues/fast`
  const name = `${parent}/tasks/x`
  const scheduleTime = { seconds: 1, nanos: 500_000_000 }
  t.strictSame(calls.map(([, request]) => request), [
    {
      parent,
      task: {
        name,
        httpRequest: {
          url: `${httpRequest.url}/tasks/mail`,
          httpMethod: 'POST',
          headers: { 'content-type': 'application/json', 'fastify-cloud-tasks-retry': 'queue' },
          body: outgoing.body,
          oidcToken: { serviceAccountEmail: ACCOUNT, audience: httpRequest.url }
        },
        scheduleTime
      }
    },
    { parent, task: { name, httpRequest, scheduleTime, dispatchDeadline: { seconds: 20, nanos: 500_000_000 } } },
    { parent, task: { name, httpRequest } }
  ])
})

t.test('a task that exists is a duplicate, unless an earlier try may have created it', async t => {
  for (const [errors, id, expected] of [
    [[EXISTS], 'x', { outcome: 'duplicate' }],
    [[EXHAUSTED, EXISTS], 'x', { outcome: 'duplicate' }],
    [[UNAVAILABLE, EXISTS], 'x', { outcome: 'created', id: 'x', scheduleAt: 5000 }],
    [[UNAVAILABLE, EXISTS], undefined, { outcome: 'duplicate' }]
  ] as const) {
    const { transport } = startTransport(t, { createTask: [...errors] })
    t.strictSame(await transport.createTask('default', { ...outgoing, id, scheduleAt: 5000 }), expected)
  }
})

t.test('a task that a copy would not fit beside is too large, and nothing is sent', async t => {
  const { transport, calls, clock } = startTransport(t)
  const sized = (length: number): OutgoingTask => ({ ...outgoing, id: 'x', body: Buffer.alloc(length) })
  await transport.createTask('default', sized(1_000_000))
  const sent = (calls[0]![1] as { task: any }).task
  const stored = withStoredDefaults(QUEUE, { name: sent.name, httpRequest: sent.httpRequest }, clock.now())
  const largest = 1_000_000 + MAX_TASK_BYTES - 2048 - storedSize(stored)
  t.hasStrict(await transport.createTask('default', sized(largest)), { outcome: 'created' })
  t.equal(calls.length, 2)
  t.strictSame(await transport.createTask('default', sized(largest + 1)), {
    outcome: 'tooLarge', bytes: MAX_TASK_BYTES - 2047, limit: MAX_TASK_BYTES - 2048
  })
  t.equal(calls.length, 2)
})

t.test('a task that Cloud Tasks finds too large is reported with its size', async t => {
  const { transport, calls, clock } = startTransport(t, { createTask: [coded(3, 'Task size too large')] })
  const failure = await transport.createTask('default', outgoing)
  const { httpRequest } = (calls[0]![1] as { task: any }).task
  const bytes = storedSize(withStoredDefaults(QUEUE, { name: `${QUEUE}/tasks/${'1'.repeat(20)}`, httpRequest }, clock.now()))
  t.hasStrict(failure, { outcome: 'tooLarge', limit: MAX_TASK_BYTES })
  t.ok(Math.abs((failure as { bytes: number }).bytes - bytes) <= 2, 'generated ids have 17 to 20 digits')
})

t.test('readTask distinguishes a task that ended, one that is unknown, and one that may not be read', async t => {
  const stored = { httpRequest, createTime: { seconds: 2 } }
  for (const [answer, expected] of [
    [[stored], { outcome: 'read', task: { createdAt: 2000, httpRequest: { ...httpRequest, headers: {} } } }],
    [coded(5, 'The task no longer exists, though a task with this name existed recently.'), { outcome: 'gone' }],
    [GONE, { outcome: 'notFound' }],
    [coded(9, 'Queue does not exist.'), { outcome: 'queueNotFound' }],
    [coded(13), { outcome: 'failed' }],
    [DENIED, { outcome: 'denied' }]
  ] as const) {
    const { transport, calls } = startTransport(t, { getTask: [answer] })
    t.hasStrict(await transport.readTask('default', 'x'), expected)
    t.strictSame(calls, [['getTask', { name: `${QUEUE}/tasks/x`, responseView: 'FULL' }, { timeout: 5000, retry: null }]])
  }
  const { transport } = startTransport(t, { getTask: [DENIED] })
  t.ok((await transport.readTask('default', 'x') as { problem: string }).problem.includes('roles/cloudtasks.viewer'))
  t.strictSame(await startTransport(t).transport.readTask('default', 'x'), { outcome: 'denied', problem: 'the given client has no getTask' })
})

t.test('listTasks reads one page', async t => {
  const tasks = [{ name: `${QUEUE}/tasks/a`, httpRequest, createTime: { seconds: 2 } }, {}]
  const { transport, calls } = startTransport(t, { listTasks: [[tasks, null, { nextPageToken: 'more' }], [[], null, { nextPageToken: '' }], [[]]] })
  t.strictSame(await transport.listTasks('default', 50), {
    outcome: 'listed',
    tasks: [{ id: 'a', createdAt: 2000, httpRequest: { ...httpRequest, headers: {} } }, { id: '', createdAt: 0 }],
    nextPageToken: 'more'
  })
  t.strictSame(await transport.listTasks('default', 50, 'more'), { outcome: 'listed', tasks: [], nextPageToken: undefined })
  t.strictSame(await transport.listTasks('default', 50), { outcome: 'listed', tasks: [], nextPageToken: undefined })
  const options = { timeout: 5000, retry: null, autoPaginate: false }
  t.strictSame(calls.slice(0, 2), [
    ['listTasks', { parent: QUEUE, pageSize: 50 }, options],
    ['listTasks', { parent: QUEUE, pageSize: 50, pageToken: 'more' }, options]
  ])
  t.hasStrict(await startTransport(t).transport.listTasks('default', 50), { outcome: 'failed', problem: 'the given client has no listTasks' })
  const denied = await startTransport(t, { listTasks: [DENIED] }).transport.listTasks('default', 50)
  t.hasStrict(denied, { outcome: 'failed', cause: DENIED })
  t.ok((denied as { problem: string }).problem.includes('roles/cloudtasks.viewer'))
})

t.test('findTask looks through pages of a thousand tasks', async t => {
  const page = (id: string, nextPageToken?: string) => [[{ name: `${QUEUE}/tasks/${id}` }], null, { nextPageToken }]
  const { transport, calls } = startTransport(t, { listTasks: [page('1-a', 'two'), page('2-b')] })
  t.strictSame(await transport.findTask('default', ['-b']), { outcome: 'found', id: '2-b' })
  t.strictSame(calls.map(([, request]) => request), [{ parent: QUEUE, pageSize: 1000 }, { parent: QUEUE, pageSize: 1000, pageToken: 'two' }])
})

t.test('deleteTask succeeds where an earlier try may have deleted the task', async t => {
  for (const [answers, expected] of [
    [[[{}]], { outcome: 'deleted' }],
    [[GONE], { outcome: 'notFound' }],
    [[EXHAUSTED, GONE], { outcome: 'notFound' }],
    [[UNAVAILABLE, GONE], { outcome: 'deleted' }],
    [[coded(5, 'Queue does not exist.')], { outcome: 'queueNotFound' }],
    [[coded(13)], { outcome: 'failed' }]
  ] as const) {
    const { transport, calls } = startTransport(t, { deleteTask: [...answers] })
    t.hasStrict(await transport.deleteTask('default', 'x'), expected)
    t.strictSame(calls[0], ['deleteTask', { name: `${QUEUE}/tasks/x` }, { timeout: 5000, retry: null }])
  }
  const { transport } = startTransport(t, { deleteTask: [DENIED] })
  t.ok((await transport.deleteTask('default', 'x') as { problem: string }).problem.includes('roles/cloudtasks.taskDeleter'))
})

t.test('a failure names the account of the target, and the project of the credentials if there is no other', async t => {
  const missing = await startTransport(t, { createTask: [GONE] }, { project: undefined }).transport.createTask('default', outgoing)
  t.hasStrict(missing, { outcome: 'queueNotFound', cause: GONE })
  t.ok((missing as { hint: string }).hint.includes('--project=of-the-credentials'))
  const account = coded(5, 'Service account x not found')
  const problem = async (options: object) =>
    (await startTransport(t, { createTask: [account] }, options).transport.createTask('default', outgoing) as { problem: string }).problem
  t.equal((await problem({})).includes(ACCOUNT), true)
  t.equal((await problem({ target: { type: 'appEngine' } })).includes('the service account  (NOT_FOUND'), true, 'App Engine has none')
})

t.test('a transport that is closed sends nothing', async t => {
  const { transport, calls } = startTransport(t, { getTask: [[{}]], listTasks: [[[]]] })
  await transport.stop()
  t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' }, 'it still accepts tasks while the server closes')
  await transport.close()
  const closing = { outcome: 'closing' }
  t.strictSame(await transport.createTask('default', outgoing), closing)
  t.strictSame(await transport.putTask('default', 'x', { httpRequest }), closing)
  t.strictSame(await transport.readTask('default', 'x'), closing)
  t.strictSame(await transport.listTasks('default', 1), closing)
  t.strictSame(await transport.deleteTask('default', 'x'), closing)
  t.strictSame(await transport.findTask('default', ['x']), { outcome: 'unknown', problem: 'closing' })
  t.equal(calls.length, 1)
})

t.test('the client is initialized once for calls at the same time, and again after a failure', async t => {
  const initialized = gate()
  const failure = new Error('no credentials')
  const client = fakeClient({ initialize: [initialized.opened.then(() => failure), {}] })
  const clients = new ClientSource({ client, project: 'demo' } as never)
  const opening = [clients.open(), clients.open()]
  initialized.open()
  for (const result of await Promise.allSettled(opening)) {
    const { reason } = result as { reason: ClientError }
    t.equal(reason instanceof ClientError, true)
    t.strictSame([reason.lacks, reason.cause, reason.message], ['credentials', failure, 'the Cloud Tasks client has no credentials'])
  }
  t.equal(client.calls.length, 1)
  t.equal(clients.ready, undefined)
  t.strictSame(await clients.open(), { client, project: 'demo' })
  t.equal(clients.ready?.client, client)
  t.strictSame(client.calls.map(([name]: [string]) => name), ['initialize', 'initialize'], 'the project of the options is not asked for')
  await clients.close()
  t.equal(clients.ready, undefined)
})

t.test('a project that the credentials do not have is the fault of a call, which is not cached', async t => {
  const { transport } = startTransport(t, { getProjectId: [new Error('Unable to detect a Project Id'), 'found'] }, { project: undefined })
  const sent = await transport.createTask('default', outgoing) as { outcome: string, problem: string, cause: unknown }
  t.equal(sent.outcome, 'failed')
  t.ok(sent.problem.includes('(Unable to detect a Project Id)') && sent.problem.includes('GOOGLE_CLOUD_PROJECT'), sent.problem)
  t.equal(classifyError(sent.cause).code, 'NO_PROJECT')
  t.hasStrict(await transport.createTask('default', outgoing), { outcome: 'created' })
})

t.test('warming up connects, waits for the connection, and never rejects', async t => {
  const waits: number[] = []
  const stub = { waitForReady: (deadline: number, callback: () => void) => { waits.push(deadline - Date.now()); callback() } }
  const source = (answers: unknown[]) => new ClientSource({ client: fakeClient({ initialize: answers }), project: 'demo' } as never)
  await source([stub]).warmUp()
  t.ok(waits.length === 1 && waits[0]! > 4000 && waits[0]! <= 5000, 'for up to five seconds')
  await source([{}]).warmUp()
  await source([new Error('no')]).warmUp()
  await new ClientSource({ client: fakeClient({}), project: 'demo' } as never).warmUp()
  t.equal(waits.length, 1)
})

t.test('closing waits for an initialization under way, and leaves a given client open', async t => {
  const initialized = gate()
  let closes = 0
  const client = Object.assign(fakeClient({ initialize: [initialized.opened] }), { close: async () => { closes++ } })
  const clients = new ClientSource({ client, project: 'demo' } as never)
  const opening = clients.open()
  let closed = false
  const closing = clients.close().then(() => { closed = true })
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(closed, false)
  initialized.open()
  await Promise.all([opening, closing])
  t.equal(clients.ready, undefined)
  t.equal(closes, 0)
})

t.test('a task is printed in the form of the client, and only with the fields that it has', async t => {
  t.strictSame(printTask({}), {})
  t.strictSame(printTask({ name: 'n', httpRequest, scheduleAt: 1234.567, dispatchDeadlineMs: 15_000 }), {
    name: 'n', httpRequest, scheduleTime: { seconds: 1, nanos: 234_567_000 }, dispatchDeadline: { seconds: 15, nanos: 0 }
  })
  t.strictSame(printTask({ appEngineHttpRequest: { relativeUri: '/' }, scheduleAt: 0 }), {
    appEngineHttpRequest: { relativeUri: '/' }, scheduleTime: { seconds: 0, nanos: 0 }
  })
  t.strictSame(printTask({ scheduleAt: 1999.999_999_9 }).scheduleTime, { seconds: 1, nanos: 999_999_999 }, 'never a whole second of nanos')
})

t.test('a task is parsed from the form of the client, with defaults for what the wire leaves out', async t => {
  for (const [given, parsed] of [
    [{}, { createdAt: 0 }],
    [{ createTime: null, httpRequest: null, appEngineHttpRequest: null, dispatchDeadline: null }, { createdAt: 0 }],
    [{ createTime: { seconds: '3', nanos: 5_000_000 }, dispatchDeadline: { seconds: 15 } }, { createdAt: 3005, dispatchDeadlineMs: 15_000 }],
    [{ createTime: { nanos: 5_000_000 } }, { createdAt: 5 }],
    [{ httpRequest: {} }, { createdAt: 0, httpRequest: { url: '', httpMethod: undefined, headers: {} } }],
    [
      { httpRequest: { url: 'u', httpMethod: 4, headers: { a: 'b' }, body: 'e30=', oidcToken: {} } },
      { createdAt: 0, httpRequest: { url: 'u', httpMethod: 'PUT', headers: { a: 'b' }, body: Buffer.from('{}'), oidcToken: { serviceAccountEmail: '', audience: '' } } }
    ],
    [
      { httpRequest: { url: 'u', httpMethod: 'PATCH', body: new Uint8Array([123]), oidcToken: { serviceAccountEmail: 'a', audience: 'b' } } },
      { createdAt: 0, httpRequest: { url: 'u', httpMethod: 'PATCH', headers: {}, body: Buffer.from('{'), oidcToken: { serviceAccountEmail: 'a', audience: 'b' } } }
    ],
    [
      { httpRequest: { httpMethod: 0, body: '', oauthToken: { serviceAccountEmail: 'a', scope: 's' } } },
      { createdAt: 0, httpRequest: { url: '', httpMethod: 'POST', headers: {}, oauthToken: { serviceAccountEmail: 'a', scope: 's' } } }
    ],
    [
      { httpRequest: { httpMethod: 1, body: null, oauthToken: {} } },
      { createdAt: 0, httpRequest: { url: '', httpMethod: 'POST', headers: {}, oauthToken: { serviceAccountEmail: '', scope: '' } } }
    ],
    [
      { appEngineHttpRequest: { httpMethod: 5 } },
      { createdAt: 0, appEngineHttpRequest: { relativeUri: '/', httpMethod: 'DELETE', headers: {}, appEngineRouting: { service: '', version: '', instance: '' } } }
    ],
    [
      { appEngineHttpRequest: { relativeUri: '/x', httpMethod: 2, appEngineRouting: { service: 's', version: 'v', instance: 'i' } } },
      { createdAt: 0, appEngineHttpRequest: { relativeUri: '/x', httpMethod: 'GET', headers: {}, appEngineRouting: { service: 's', version: 'v', instance: 'i' } } }
    ]
  ] as const) t.strictSame(parseTask(given as never), parsed)
})

t.test('a new task has the request of its target', async t => {
  const http = { type: 'http', url: 'https://w.example', serviceAccountEmail: undefined, audience: 'a' } as const
  const request = { httpMethod: 'POST', headers: outgoing.headers, body: outgoing.body }
  for (const [target, task, expected] of [
    [http, outgoing, { httpRequest: { url: 'https://w.example/r', ...request } }],
    [
      { ...http, serviceAccountEmail: ACCOUNT }, { ...outgoing, id: 'x' },
      { name: 'q/tasks/x', httpRequest: { url: 'https://w.example/r', ...request, oidcToken: { serviceAccountEmail: ACCOUNT, audience: 'a' } } }
    ],
    [{ type: 'appEngine' }, { ...outgoing, scheduleAt: 0, dispatchDeadlineMs: 15_000 }, {
      appEngineHttpRequest: { relativeUri: '/r', ...request }, scheduleAt: 0, dispatchDeadlineMs: 15_000
    }],
    [{ type: 'appEngine', service: 's' }, outgoing, { appEngineHttpRequest: { relativeUri: '/r', ...request, appEngineRouting: { service: 's' } } }],
    [{ type: 'appEngine', version: 'v' }, outgoing, { appEngineHttpRequest: { relativeUri: '/r', ...request, appEngineRouting: { version: 'v' } } }]
  ] as const) t.strictSame(newTask('q', target as never, '/r', task), expected)
})

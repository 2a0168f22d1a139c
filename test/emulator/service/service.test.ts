import t from 'tap'
import { CloudTasksError } from '../../../lib/cloud-tasks/status.js'
import { emulatorConfig } from '../../../lib/emulator/options.js'
import { timestampMessage } from '../../../lib/emulator/messages/times.js'
import { bufferedTask, readBufferBody } from '../../../lib/emulator/service/buffer.js'
import { defaultUrlOf } from '../../../lib/emulator/service/default-url.js'
import { decodeToken, encodeToken } from '../../../lib/emulator/service/page-token.js'
import { updatedQueue } from '../../../lib/emulator/service/queue-update.js'
import { Service, type ServiceOptions } from '../../../lib/emulator/service/service.js'
import { parent, queue, startEngine } from '../../support/engine-harness.js'

const url = 'https://example.com/work'
const requestId = '3f1b6c1e-7a54-4f4b-9b5d-0c1d2e3f4a5b'
const INVALID = 'INVALID_ARGUMENT'

async function serve (options: Partial<ServiceOptions> = {}) {
  const started = await startEngine({ started: false })
  return { ...started, service: new Service(started.engine, emulatorConfig({ clock: started.clock, ...options })) }
}

t.test('a page token is valid for its query and for less than two hours', async t => {
  const now = 1_000_000
  const token = encodeToken('place', 'query', now)
  t.equal(decodeToken('', 'query', now), '')
  t.equal(decodeToken(token, 'query', now), 'place')
  t.equal(decodeToken(token, 'query', now + 2 * 3600_000 - 1), 'place')
  const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  for (const [token_, at] of [
    [token, now + 2 * 3600_000],
    [encodeToken('place', 'other', now), now],
    ['x', now],
    [json('text'), now],
    [json(null), now],
    [json({}), now],
    [json([1, 'query', now]), now],
    [json(['place', 'query', '9']), 0],
    [json(['place', 'query']), now]
  ] as const) t.throws(() => decodeToken(token_, 'query', at), { code: INVALID }, token_)
})

t.test('a batch runs once for each request id and queue, and its operation is remembered', async t => {
  const { service, clock } = await serve({ batchDuplicates: 'report' })
  const start = { seconds: clock.now() / 1000, nanos: 0 }
  await service.createQueue({ parent, queue: { name: `${queue}2` } })
  const requests = ['a', 'b', 'a'].map(id => ({ task: { name: `${queue}/tasks/${id}`, httpRequest: { url } } }))
  const made = await service.batchCreateTasks({ parent: queue, requests, requestId: requestId.toUpperCase() })
  const { response, ...rest } = made
  t.strictSame(rest, {
    name: `${parent}/operations/q-${requestId}`,
    done: true,
    metadata: {
      '@type': 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksMetadata',
      startTime: start,
      endTime: start,
      state: 'PARTIALLY_SUCCEEDED',
      failedRequests: { 2: { code: 6, message: 'Requested entity already exists' } }
    }
  })
  t.strictSame((response!.tasks as Array<{ name: string }>).map(({ name }) => name), [`${queue}/tasks/a`, `${queue}/tasks/b`])
  t.equal(await service.batchCreateTasks({ parent: queue, requests, requestId }), made)
  t.equal(await service.getOperation({ name: made.name }), made)
  const other = await service.batchDeleteTasks({ parent: `${queue}2`, names: [`${queue}2/tasks/x`], requestId })
  t.equal(other.name, `${parent}/operations/q2-${requestId}`)
  t.strictSame([other.metadata.state, other.error, other.response], [
    'FAILED',
    { code: 10, message: 'None of the requests succeeded, refer to BatchDeleteTasksMetadata.failed_requests for individual error details' },
    undefined
  ])
  const unnamed = [1, 2].map(async () => await service.batchDeleteTasks({ parent: queue, names: [`${queue}/tasks/x`] }))
  const [one, two] = await Promise.all(unnamed)
  t.not(one!.name, two!.name)
  t.match(one!.name, /^projects\/p\/locations\/l\/operations\/[0-9a-f-]{36}$/)
  const deleted = await service.batchDeleteTasks({ parent: queue, names: ['a', 'b'].map(id => `${queue}/tasks/${id}`) })
  t.strictSame([deleted.metadata.state, deleted.metadata.failedRequests, deleted.response], [
    'SUCCEEDED',
    {},
    { '@type': 'type.googleapis.com/google.protobuf.Empty' }
  ])
})

t.test('batches have limits, and tasks of another queue are rejected', async t => {
  const { service } = await serve()
  const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `${queue}/tasks/t${index}`)
  const requests = (count: number) => names(count).map(name => ({ parent: queue, task: { name, httpRequest: { url } } }))
  t.equal((await service.batchCreateTasks({ parent: queue, requests: requests(100) })).metadata.state, 'SUCCEEDED')
  t.equal((await service.batchDeleteTasks({ parent: queue, names: names(1000) })).metadata.state, 'PARTIALLY_SUCCEEDED')
  for (const [call, code] of [
    [() => service.batchCreateTasks({ parent: queue, requests: requests(101) }), INVALID],
    [() => service.batchDeleteTasks({ parent: queue, names: names(1001) }), INVALID],
    [() => service.batchDeleteTasks({ parent: queue, names: [] }), INVALID],
    [() => service.batchDeleteTasks({ parent: queue }), INVALID],
    [() => service.batchCreateTasks({ parent: queue, requests: requests(1), requestId: `${requestId}x` }), INVALID],
    [() => service.batchCreateTasks({ parent: queue, requests: requests(1), requestId: `x${requestId}` }), INVALID],
    [() => service.batchCreateTasks({ parent: queue, requests: [{ parent: `${queue}2` }] }), INVALID],
    [() => service.batchCreateTasks({ requests: requests(1) }), INVALID],
    [() => service.batchCreateTasks({ parent: `${queue}2`, requests: requests(1) }), 'NOT_FOUND'],
    [() => service.batchDeleteTasks({ parent: `${queue}2`, names: names(1) }), 'NOT_FOUND'],
    [() => service.batchDeleteTasks({ parent: 'projects/p/locations/-/queues/q', names: names(1) }), INVALID],
    [() => service.getOperation({ name: 'x' }), 'NOT_FOUND'],
    [() => service.getOperation({}), 'NOT_FOUND']
  ] as const) await t.rejects(call(), { code }, String(call))
  const foreign = await service.batchDeleteTasks({ parent: queue, names: [`${queue}2/tasks/t`] })
  t.strictSame(Object.entries(foreign.metadata.failedRequests as object).map(([index, { code }]) => [index, code]), [['0', 3]])
})

t.test('the newest thousand operations are remembered', async t => {
  const { service } = await serve()
  const run = async () => (await service.batchDeleteTasks({ parent: queue, names: ['x'] })).name
  const [first, second] = [await run(), await run()]
  for (let i = 0; i < 998; i++) await run()
  t.equal((await service.getOperation({ name: first })).name, first)
  await run()
  await t.rejects(service.getOperation({ name: first }), { code: 'NOT_FOUND' })
  t.equal((await service.getOperation({ name: second })).name, second)
})

t.test('statistics count the attempts of the last sixty seconds, and forget a deleted queue', async t => {
  const { engine, clock, attempts } = await startEngine({ queueTombstoneMs: 0 })
  const service = new Service(engine, emulatorConfig({ clock }))
  const executed = () => service.getQueue({ name: queue, readMask: [['stats']] }).stats!.executedLastMinuteCount
  const attempt = async (): Promise<void> => {
    await engine.createTask(queue, { httpRequest: { url } })
    await clock.settle()
    await attempts.at(-1)!.answer(200)
  }
  clock.set(Math.ceil(clock.now() / 60_000) * 60_000)
  const start = clock.now()
  t.equal(executed(), 0)
  await attempt()
  await attempt()
  t.equal(executed(), 2)
  clock.set(start + 30_000)
  await attempt()
  clock.set(start + 59_999)
  t.equal(executed(), 3)
  clock.set(start + 60_000)
  t.equal(executed(), 1)
  clock.set(start + 20_000)
  await attempt()
  t.equal(executed(), 2, 'the clock was set back: counted in the newest second')
  clock.set(start + 90_000)
  t.equal(executed(), 1)
  clock.set(start + 500_000)
  t.equal(executed(), 0)
  await attempt()
  await engine.createTask(queue, { httpRequest: { url } })
  await clock.settle()
  await attempts.at(-1)!.fail(new Error('unreachable'))
  t.equal(executed(), 1, 'an attempt without a response is none')
  const stats = () => service.getQueue({ name: queue, readMask: [['stats']] }).stats
  t.equal(stats()!.effectiveExecutionRate, 500)
  await engine.pauseQueue(queue)
  await engine.purgeQueue(queue)
  const paused = { tasksCount: 0, executedLastMinuteCount: 1, concurrentDispatchesCount: 0, effectiveExecutionRate: 0 }
  t.strictSame(stats(), paused)
  await engine.createTask(queue, { httpRequest: { url }, scheduleAt: start + 700_000 })
  t.strictSame(stats(), { ...paused, tasksCount: 1, oldestEstimatedArrivalTime: timestampMessage(start + 700_000) })
  await engine.deleteQueue(queue)
  await engine.createQueue(queue)
  t.equal(executed(), 0)
  t.equal(service.getQueue({ name: queue }).stats, undefined)
})

t.test('an HTTP target has one kind of token: setting one or clearing its account removes what it replaces', async t => {
  const oidcToken = { serviceAccountEmail: 'a@x', audience: 'aud' }
  const oauthToken = { serviceAccountEmail: 'b@x', scope: 's' }
  const target = (more: object = {}) => ({ httpTarget: { httpMethod: 'PUT', ...more } })
  for (const [before, given, paths, after] of [
    [target({ oidcToken }), target({ oauthToken }), [], target({ oauthToken })],
    [target({ oidcToken }), { httpTarget: { oauthToken } }, [['httpTarget', 'oauthToken']], target({ oauthToken })],
    [target({ oidcToken }), { httpTarget: { oauthToken } }, [['httpTarget']], { httpTarget: { oauthToken } }],
    [target({ oauthToken }), { httpTarget: { oidcToken } }, [['httpTarget', 'oidcToken', 'serviceAccountEmail']], {
      httpTarget: { httpMethod: 'PUT', oidcToken: { serviceAccountEmail: 'a@x' } }
    }],
    [target({ oidcToken }), {}, [['httpTarget', 'oidcToken', 'serviceAccountEmail']], target()],
    [target({ oidcToken }), { httpTarget: {} }, [['httpTarget', 'oidcToken', 'serviceAccountEmail']], target()],
    [target({ oidcToken }), {}, [['httpTarget', 'oidcToken', 'audience']], target({ oidcToken: { serviceAccountEmail: 'a@x' } })],
    [target({ oidcToken }), {}, [['httpTarget', 'oauthToken', 'serviceAccountEmail']], target({ oidcToken })],
    [target({ oidcToken }), {}, [['httpTarget', 'oauthToken']], target({ oidcToken })],
    [target({ oidcToken }), { httpTarget: { oauthToken } }, [['httpTarget', 'httpMethod']], { httpTarget: { oidcToken } }],
    [target({ oidcToken }), {}, [['httpTarget']], {}],
    [target({ oidcToken }), {}, [['httpTarget', 'oidcToken', 'audience'], ['httpTarget', 'oidcToken', 'serviceAccountEmail']], target()],
    [target({ oidcToken }), { httpTarget: { oauthToken } }, [['retryConfig'], ['httpTarget', 'oauthToken']], target({ oauthToken })],
    [target({ oidcToken }), { httpTarget: { oauthToken } }, [['rateLimits']], target({ oidcToken })],
    [{}, {}, [['httpTarget', 'oidcToken', 'serviceAccountEmail']], {}]
  ] as const) t.strictSame(updatedQueue(before, given as object, paths as never), after, JSON.stringify([before, given, paths]))
})

t.test('a payload is buffered as the reference sends it, or as it is', async t => {
  const parse = (json: unknown) => ({ data: Buffer.from(JSON.stringify(json)), contentType: 'parsed' })
  const read = (text: string | undefined, type?: string) => {
    const { data, contentType } = readBufferBody(text === undefined ? undefined : Buffer.from(text), type, parse)
    return [data === undefined ? undefined : Buffer.from(data).toString(), contentType]
  }
  for (const [text, type, expected] of [
    [undefined, 'a/b', [undefined, undefined]],
    ['', 'a/b', [undefined, undefined]],
    ['{}', 'a/b', [undefined, undefined]],
    ['{"body":{"data":"x"}}', 'a/b', ['{"data":"x"}', 'parsed']],
    ['{"body":"x"}', 'a/b', ['{"body":"x"}', 'a/b']],
    ['{"body":null}', 'a/b', ['{"body":null}', 'a/b']],
    ['{"body":{},"x":1}', 'a/b', ['{"body":{},"x":1}', 'a/b']],
    ['[]', 'a/b', ['[]', 'a/b']],
    ['null', 'a/b', ['null', 'a/b']],
    ['text', undefined, ['text', undefined]]
  ] as const) t.strictSame(read(text, type), expected, String(text))

  const uriOverride = { host: 'w.example' }
  const data = Buffer.from('x')
  for (const [target, name, body, task] of [
    [{ uriOverride }, undefined, {}, { httpRequest: { url: 'https://w.example/', httpMethod: 'POST' } }],
    [{ uriOverride }, 'n', { data, contentType: 'a/b' }, {
      name: 'n',
      httpRequest: { url: 'https://w.example/', httpMethod: 'POST', headers: { 'Content-Type': 'a/b' }, body: data }
    }],
    ...(['PUT', 'PATCH'] as const).map(httpMethod =>
      [{ uriOverride, httpMethod }, undefined, { data }, { httpRequest: { url: 'https://w.example/', httpMethod, body: data } }] as const),
    [{ uriOverride, httpMethod: 'GET' }, undefined, { data }, { httpRequest: { url: 'https://w.example/', httpMethod: 'GET' } }],
    [{ uriOverride }, undefined, { data: Buffer.alloc(0), contentType: '' }, { httpRequest: { url: 'https://w.example/', httpMethod: 'POST' } }]
  ] as const) t.strictSame(bufferedTask(target, name, body), task)
  for (const target of [undefined, {}, { uriOverride: { path: '/x' } }]) {
    t.throws(() => bufferedTask(target, undefined, {}), { code: 'FAILED_PRECONDITION' })
  }
})

t.test('an error that is not of Cloud Tasks is INTERNAL, and is reported', async t => {
  const faults: unknown[] = []
  const { service } = await serve({ onError: error => { faults.push(error) } })
  const known = new CloudTasksError('ABORTED', 'x')
  t.equal(service.toStatusError(known), known)
  t.strictSame(faults, [])
  const fault = new Error('oops')
  t.equal(service.toStatusError(fault).code, 'INTERNAL')
  t.strictSame(faults, [fault])
  const warned = new Promise<void>(resolve => {
    const listener = ({ message }: Error): void => { if (message === 'a fault of this test') resolve() }
    process.on('warning', listener)
    t.teardown(() => { process.off('warning', listener) })
  })
  t.equal((await serve()).service.toStatusError('a fault of this test').code, 'INTERNAL')
  await warned
})

t.test("the default URL has the parts of the queue's name", async t => {
  t.equal(defaultUrlOf('http://h/{project}/{location}/{queue}/{queue}/{other}', queue), 'http://h/p/l/q/q/{other}')
  t.equal(defaultUrlOf('http://h/{project}', 'no name'), 'http://h/{project}')
})

t.test('a task without a URL gets that of its queue, or the default one where firebase-admin creates it', async t => {
  const { service } = await serve({ defaultUrl: 'http://127.0.0.1:5001/{queue}' })
  const target = `${parent}/queues/target`
  const uriOverride = { host: 'w.example' }
  await service.createQueue({ parent, queue: { name: target, httpTarget: { uriOverride } } })
  await service.createQueue({ parent, queue: { name: `${parent}/queues/method`, httpTarget: { httpMethod: 'PUT' } } })
  const created = async (id: string, httpRequest: object, unprefixed?: boolean) => (await service.createTask({
    parent: `${parent}/queues/${id}`,
    task: { httpRequest },
    ...(unprefixed === undefined ? undefined : { unprefixed })
  })).httpRequest!.url
  t.equal(await created('target', {}), 'https://w.example/')
  t.equal(await created('target', { url }), url)
  t.equal(await created('target', {}, true), 'http://127.0.0.1:5001/target')
  t.equal(await created('q', { url }, true), url)
  for (const id of ['q', 'method']) await t.rejects(created(id, {}), { code: INVALID, message: 'HttpRequest.url is required.' })
})

t.test('a missing queue is created with its first task where that is configured, a deleted one is not', async t => {
  const { service, engine } = await serve({ autoCreateQueues: true })
  const create = async (id: string, service_ = service) =>
    await service_.createTask({ parent: `${parent}/queues/${id}`, task: { httpRequest: { url } } })
  await Promise.all([create('new'), create('new'), create('new')])
  t.equal(engine.counts(`${parent}/queues/new`).waiting, 3)
  await t.rejects(create('a_b'), { code: INVALID })
  await service.deleteQueue({ name: `${parent}/queues/new` })
  await t.rejects(create('new'), { code: 'NOT_FOUND' })
  await t.rejects(service.createTask({ parent: `${parent}/queues/bad` }), { code: INVALID })
  t.equal(engine.findQueue(`${parent}/queues/bad`), undefined, 'not for an invalid task')
  await t.rejects(create('new', (await serve()).service), { code: 'NOT_FOUND' })
})

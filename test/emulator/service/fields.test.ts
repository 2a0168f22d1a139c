import t from 'tap'
import { loadProtos, messageType } from '../../../lib/emulator/proto/protos.js'
import { normalize, type Version } from '../../../lib/emulator/service/requests.js'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const v2beta3 = 'google.cloud.tasks.v2beta3.CloudTasks'

t.test('a queue with a target sends tasks where it says, and buffers payloads as tasks', async t => {
  const { http, attempts, last } = await serveBoth(t)
  const name = `${parent}/queues/target`
  const httpTarget = {
    uriOverride: {
      scheme: 'HTTP',
      host: 'other.example',
      port: '8080',
      pathOverride: { path: '/hook' },
      queryOverride: { queryParams: 'a=b' }
    },
    httpMethod: 'PUT',
    headerOverrides: [{ header: { key: 'X-A', value: 'queue' } }, { header: { key: 'X-CloudTasks-QueueName', value: 'forged' } }],
    oidcToken: { serviceAccountEmail: 'queue@x', audience: 'aud' }
  }
  t.match(await http('POST', `/v2/${queue}/tasks:buffer`, {}), { status: 400, code: 'FAILED_PRECONDITION' })
  await http('POST', `/v2/${parent}/queues`, { name, httpTarget })
  const made = await http('POST', `/v2/${name}/tasks`, {
    task: { httpRequest: { url, headers: { 'x-a': 'task', 'x-b': 'task' }, oauthToken: { serviceAccountEmail: 'task@x' } } }
  })
  t.equal(made.body.httpRequest.url, url, 'it is stored as it was given')
  t.match(last().task.httpRequest, {
    url: 'http://other.example:8080/hook?a=b',
    httpMethod: 'PUT',
    oidcToken: { serviceAccountEmail: 'queue@x', audience: 'aud' },
    oauthToken: undefined
  })
  t.match(last().headers, { 'X-A': 'queue', 'x-a': undefined, 'x-b': 'task', 'X-CloudTasks-QueueName': 'target' })

  t.match((await http('POST', `/v2/${name}/tasks/:buffer?alt=json`, {})).body.task, {
    name: /\/tasks\/\d+$/,
    httpRequest: { url: 'http://other.example:8080/hook?a=b', httpMethod: 'PUT' }
  })
  t.equal(last().task.httpRequest?.body, undefined)
  t.match(
    (await http('POST', `/v2beta3/${name}/tasks:buffer`, { body: { contentType: 'text/plain', data: 'aGk=' } })).body.task.name,
    /\/tasks\/\d+$/
  )
  t.match(last(), { headers: { 'Content-Type': 'text/plain' }, task: { httpRequest: { body: Buffer.from('hi') } } })
  t.match(
    (await http('POST', `/v2/${name}/tasks/abc:buffer`, 'any=payload', { 'content-type': 'application/x-www-form-urlencoded' })).body.task,
    { name: `${name}/tasks/abc` }
  )
  t.match(last(), {
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    task: { httpRequest: { body: Buffer.from('any=payload') } }
  })
  t.match(await http('POST', `/v2/${name}/tasks/a.b:buffer`, {}), { status: 400, message: /^Task ID/ })
  t.match(
    await http('POST', `/v2/${name}/tasks`, { task: { httpRequest: {} } }),
    { status: 200, body: { httpRequest: { url: 'http://other.example:8080/hook?a=b' } } },
    'no URL is needed'
  )

  const sentAs = async (uriOverride: object, to: string): Promise<string | undefined> => {
    await http('PATCH', `/v2/${name}`, { httpTarget: { uriOverride } })
    const before = attempts.length
    await http('POST', `/v2/${name}/tasks`, { task: { httpRequest: { url: to } } })
    t.equal(attempts.length, before + 1)
    return last().task.httpRequest?.url
  }
  t.equal(
    await sentAs(
      { uriOverrideEnforceMode: 'IF_NOT_EXISTS', host: 'b.example', pathOverride: { path: '/p' }, queryOverride: { queryParams: 'q=1' } },
      'https://a.example/x'
    ),
    'https://a.example/x?q=1'
  )
  t.equal(
    await sentAs({ uriOverrideEnforceMode: 'IF_NOT_EXISTS', pathOverride: { path: '/p' } }, 'https://a.example'),
    'https://a.example/p'
  )
  t.equal(await sentAs({ port: 0, scheme: 'HTTPS' }, 'http://a.example:99/x?y'), 'https://a.example/x?y')
  t.equal(await sentAs({ pathOverride: {}, queryOverride: {} }, 'https://a.example/x?y'), 'https://a.example/')

  await http('PATCH', `/v2/${queue}`, { appEngineRoutingOverride: { service: 'worker' } })
  await http('POST', `/v2/${queue}/tasks`, { task: { appEngineHttpRequest: { appEngineRouting: { service: 'other', version: 'v' } } } })
  t.same(last().task.appEngineHttpRequest?.appEngineRouting, { service: 'worker' })
})

t.test("v2beta3: a task's own retry policy, a queue's memory for names, and statistics", async t => {
  const { http, grpc, clock, last, attempts } = await serveBoth(t)
  await http('PATCH', `/v2beta3/${queue}`, { tombstoneTtl: '7200s' })
  const name = `${queue}/tasks/t`
  const create = async () =>
    await grpc(
      'CreateTask',
      { parent: queue, task: { name, httpRequest: { url }, retryConfig: { maxAttempts: 2, minBackoff: { seconds: 7 } } } },
      v2beta3
    )
  t.match((await create()).body.retryConfig, {
    maxAttempts: 2,
    minBackoff: { seconds: 7 },
    maxBackoff: { seconds: 3600 },
    maxDoublings: 16
  })
  t.match(await grpc('CreateTask', { parent: queue, task: { httpRequest: { url }, retryConfig: { maxAttempts: -2 } } }, v2beta3), {
    code: 'INVALID_ARGUMENT',
    message: 'RetryConfig.maxAttempts must be greater or equal to -1.'
  })
  await last().answer(500)
  await clock.advance(6999)
  t.equal(attempts.length, 1)
  await clock.advance(1)
  t.equal(attempts.length, 2)
  t.match((await grpc('GetQueue', { name: queue, readMask: { paths: ['stats', 'state'] } }, v2beta3)).body, {
    name: undefined,
    state: 'RUNNING',
    stats: { tasksCount: 1, executedLastMinuteCount: 1, concurrentDispatchesCount: 1, effectiveExecutionRate: 500 }
  })
  await last().answer(500)
  t.match(await grpc('GetTask', { name }, v2beta3), { code: 'NOT_FOUND' }, 'given up after two attempts')
  await clock.advance(7200_000 - 1)
  t.match(await create(), { code: 'ALREADY_EXISTS' })
  await clock.advance(1)
  t.match(await create(), { code: 'OK' })
  await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url }, scheduleTime: new Date(clock.now() + 60_000).toISOString() } })
  const { stats, ...rest } = (await http('GET', `/v2beta3/${queue}?readMask=stats`)).body
  t.same(rest, {})
  t.match(stats, {
    tasksCount: '2',
    concurrentDispatchesCount: '1',
    executedLastMinuteCount: undefined,
    oldestEstimatedArrivalTime: new Date(clock.now() + 60_000).toISOString().replace('.000', '')
  })
  t.notOk((await http('GET', `/v2beta3/${queue}`)).body.stats, 'only for those who ask')
  t.match((await http('GET', `/v2beta3/${parent}/queues?readMask=name,stats.tasksCount`)).body.queues, [
    { name: queue, stats: { tasksCount: '2' } }
  ])
  t.match(await http('GET', `/v2/${queue}?readMask=stats`), { status: 400 }, 'v2 has none')
  t.match(await http('POST', `/v2beta3/${parent}/queues`, { name: `${parent}/queues/pull`, type: 'PULL' }), {
    status: 400,
    message: /pull queues/
  })
})

t.test('gRPC v2 has the fields and methods of September 2026, under their numbers', async t => {
  const { grpc, last, warnings } = await serveBoth(t)
  const { definitions } = await loadProtos()
  const numbers = (message: string) =>
    Object.fromEntries(
      (messageType(definitions, `google.cloud.tasks.v2.${message}`).type as { field: Array<{ name: string, number: number }> }).field.map(
        field => [field.name, field.number]
      )
    )
  t.strictSame(numbers('Queue').httpTarget, 10)
  t.strictSame(numbers('Task').retryConfig, 12)
  t.strictSame(numbers('HttpTarget'), { uriOverride: 1, httpMethod: 2, headerOverrides: 3, oauthToken: 5, oidcToken: 6 })
  t.strictSame(numbers('UriOverride'), { scheme: 1, host: 2, port: 3, pathOverride: 4, queryOverride: 5, uriOverrideEnforceMode: 6 })

  const name = `${parent}/queues/target`
  const httpTarget = { uriOverride: { scheme: 'HTTP', host: 'other.example', pathOverride: { path: '/hook' } }, httpMethod: 'PUT' }
  t.match((await grpc('CreateQueue', { parent, queue: { name, httpTarget } })).body, { httpTarget })
  t.match((await grpc('GetQueue', { name })).body, { httpTarget: { uriOverride: { host: 'other.example' } } })
  const retryConfig = { maxAttempts: 2, minBackoff: { seconds: 7 } }
  t.match((await grpc('CreateTask', { parent: name, task: { httpRequest: { url }, retryConfig } })).body, { retryConfig })
  t.match(last().task, { httpRequest: { url: 'http://other.example/hook', httpMethod: 'PUT' }, retryConfig: { maxAttempts: 2 } })
  t.match((await grpc('UpdateQueue', { queue: { name }, updateMask: { paths: ['http_target.uri_override'] } })).body.httpTarget, {
    httpMethod: 'PUT',
    uriOverride: undefined
  })

  const made = (
    await grpc('BatchCreateTasks', { parent: queue, requests: [{ task: { name: `${queue}/tasks/a`, httpRequest: { url } } }] })
  ).body
  t.match(made, {
    done: true,
    metadata: { type_url: 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksMetadata' },
    response: { type_url: 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksResponse' }
  })
  t.match(messageType(definitions, 'google.cloud.tasks.v2.BatchCreateTasksResponse').deserialize(made.response.value), {
    tasks: [{ name: `${queue}/tasks/a` }]
  })
  t.match((await grpc('BatchDeleteTasks', { parent: queue, names: [`${queue}/tasks/a`] })).body, {
    done: true,
    metadata: { type_url: /v2.BatchDeleteTasksMetadata$/ }
  })
  t.strictSame(warnings, [])
})

t.test("a location's customer-managed key is kept as it was set, in both versions and over both interfaces", async t => {
  const { http, grpc } = await serveBoth(t)
  const name = `${parent}/cmekConfig`
  const kmsKey = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'
  t.strictSame((await http('GET', `/v2/${name}`)).body, { name })
  t.strictSame((await http('PATCH', `/v2/${name}`, { kmsKey })).body, { name, kmsKey })
  t.strictSame((await http('GET', `/v2beta3/${name}`)).body, { name, kmsKey })
  t.match((await grpc('GetCmekConfig', { name })).body, { kmsKey })
  t.match((await grpc('GetCmekConfig', { name: 'projects/p/locations/other/cmekConfig' })).body, { kmsKey: undefined })
  t.match(
    (await grpc('UpdateCmekConfig', { cmekConfig: { name, kmsKey: `${kmsKey}2` }, updateMask: { paths: ['kms_key'] } }, v2beta3)).body,
    { name, kmsKey: `${kmsKey}2` }
  )
  for (const [bad, message] of [
    [{ kmsKey: 'k' }, /^CmekConfig.kmsKey must be formatted: .*, not 'k'\.$/],
    [{ kms: kmsKey }, /Unknown name "kms"/]
  ] as const) {
    t.match(await http('PATCH', `/v2/${name}`, bad), { status: 400, code: 'INVALID_ARGUMENT', message })
  }
  t.match(await http('PATCH', `/v2/${name}?updateMask=nothing`, {}), { status: 400 })
  t.match(await grpc('UpdateCmekConfig', { cmekConfig: { name: 'x' } }), { code: 'INVALID_ARGUMENT' })
  t.strictSame((await http('PATCH', `/v2/${name}?updateMask=kmsKey`, {})).body, { name }, 'removed')
})

t.test('fields that this version does not know are logged, once per method, and the rest of the call counts', async t => {
  const { grpc, warnings } = await serveBoth(t)
  const { definitions } = await loadProtos()
  const request = messageType(definitions, 'google.cloud.tasks.v2.CreateTaskRequest')
  const text = (field: number, value: Buffer): Buffer => Buffer.concat([varint(field * 8 + 2), varint(value.length), value])
  const httpRequest = messageType(definitions, 'google.cloud.tasks.v2.HttpRequest').serialize({ url }) as Buffer
  const newer = Buffer.concat([
    request.serialize({ parent: queue }) as Buffer,
    text(2, Buffer.concat([text(3, Buffer.concat([httpRequest, text(99, Buffer.from('x'))])), varint(2000 * 8), varint(5)])),
    varint(7 * 8 + 5), Buffer.from([1, 2, 3, 4])
  ])
  for (let i = 0; i < 3; i++) t.match(await grpc('CreateTask', newer), { code: 'OK', body: { httpRequest: { url } } })
  t.strictSame(warnings, [
    'google.cloud.tasks.v2.CloudTasks.CreateTask was called with fields that are unknown to this emulator and ignored: task.http_request.99, task.2000, 7. The client is newer than the emulator; update fastify-cloud-tasks.'
  ])
  t.match(await grpc('PauseQueue', Buffer.concat([text(1, Buffer.from(queue)), text(2, Buffer.from('x'))])), { code: 'OK' })
  t.match(warnings, [/CreateTask/, /PauseQueue was called .* ignored: 2\./])
})

t.test('requests of both versions become the same: masks are keys, filters are predicates', async t => {
  const { schemas } = await loadProtos()
  const read = (version: Version, method: string, request: object) => normalize(schemas, version, method, request)
  const rateLimits = { maxDispatchesPerSecond: 1, maxBurstSize: 7 }
  const override = { appEngineRoutingOverride: { service: 's' } }
  for (const [version, method, request, expected] of [
    ['v2', 'getTask', { name: 'n' }, { name: 'n' }],
    ['v2', 'batchCreateTasks', { parent: 'p' }, { parent: 'p', version: 'v2' }],
    ['v2beta3', 'batchDeleteTasks', { parent: 'p' }, { parent: 'p', version: 'v2beta3' }],
    ['v2', 'createQueue', { queue: { name: 'n', rateLimits } }, { queue: { name: 'n', rateLimits: { maxDispatchesPerSecond: 1 } } }],
    ['v2', 'createQueue', { queue: { name: 'n' } }, { queue: { name: 'n' } }],
    ['v2beta3', 'createQueue', { queue: { rateLimits, appEngineHttpQueue: override } }, { queue: { rateLimits, ...override } }],
    ['v2beta3', 'createQueue', { queue: { name: 'n', appEngineHttpQueue: {} } }, { queue: { name: 'n' } }],
    ['v2beta3', 'updateQueue', {
      updateMask: { paths: ['app_engine_http_queue', 'appEngineHttpQueue.appEngineRoutingOverride.service', 'retry_config.max_attempts'] }
    }, {
      updateMask: [['appEngineRoutingOverride'], ['appEngineRoutingOverride', 'service'], ['retryConfig', 'maxAttempts']]
    }],
    ['v2beta3', 'getQueue', { readMask: { paths: ['stats.tasks_count'] } }, { readMask: [['stats', 'tasksCount']] }],
    ['v2', 'listQueues', { filter: ' ' }, { filter: ' ' }],
    ['v2', 'setIamPolicy', { updateMask: { paths: ['bindings'] } }, { updateMask: [['bindings']] }],
    ['v2', 'updateCmekConfig', { updateMask: { paths: ['kms_key'] } }, { updateMask: [['kmsKey']] }]
  ] as const) t.strictSame(read(version, method, request), expected, `${version} ${method} ${JSON.stringify(request)}`)
  for (const [method, filter, message] of [
    ['listQueues', 'state: PAUSED', { state: 'PAUSED' }],
    ['listLocations', 'location_id = l', { locationId: 'l' }]
  ] as const) {
    const { matches } = read('v2', method, { filter }) as { matches: (message: object) => boolean }
    t.strictSame([matches(message), matches({})], [true, false], method)
  }
  for (const [version, method, request] of [
    ['v2', 'getQueue', { readMask: { paths: ['stats'] } }],
    ['v2', 'updateQueue', { updateMask: { paths: ['appEngineHttpQueue'] } }],
    ['v2', 'listQueues', { filter: 'nothing: 1' }]
  ] as const) t.throws(() => read(version, method, request), { code: 'INVALID_ARGUMENT' }, method)
})

function varint (value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push(rest % 128 + 128)
  }
}

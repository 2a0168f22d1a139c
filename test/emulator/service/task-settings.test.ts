import t from 'tap'
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

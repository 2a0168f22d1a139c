import t from 'tap'
import { LmdbStore } from '../../../lib/store/lmdb/lmdb-store.js'
import type { Engine } from '../../../lib/engine/engine.js'
import { startEngine } from '../../support/engine-harness.js'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const v2beta3 = 'google.cloud.tasks.v2beta3.CloudTasks'

t.test('a queue is shown with the defaults of the service, and without what is unset', async t => {
  const { http, grpc } = await serveBoth(t)
  const expected = {
    name: `${parent}/queues/a`,
    rateLimits: { maxDispatchesPerSecond: 500, maxBurstSize: 100, maxConcurrentDispatches: 1000 },
    retryConfig: { maxAttempts: 100, minBackoff: '0.100s', maxBackoff: '3600s', maxDoublings: 16 },
    state: 'RUNNING'
  }
  t.same(await http('POST', `/v2/${parent}/queues?alt=json`, { name: `${parent}/queues/a` }), {
    code: 'OK',
    status: 200,
    body: expected,
    details: []
  })
  t.same((await http('GET', `/v2/${parent}/queues/a?$alt=json;enum-encoding=int`)).body, { ...expected, state: 1 })
  t.same((await http('GET', `/v2beta3/${parent}/queues/a`)).body, {
    ...expected,
    appEngineHttpQueue: {},
    taskTtl: '2678400s',
    tombstoneTtl: '3600s',
    type: 'PUSH'
  })
  t.match((await grpc('GetQueue', { name: `${parent}/queues/a` })).body, {
    name: expected.name,
    state: 'RUNNING',
    rateLimits: expected.rateLimits,
    retryConfig: { maxAttempts: 100, minBackoff: { nanos: 100_000_000 }, maxBackoff: { seconds: 3600 }, maxDoublings: 16 }
  })
})

t.test('all settings of a queue come back as they were given, over both interfaces and in both versions', async t => {
  const { http, grpc } = await serveBoth(t)
  const settings = {
    name: `${parent}/queues/full`,
    rateLimits: { maxDispatchesPerSecond: 0.5, maxConcurrentDispatches: 7 },
    retryConfig: { maxAttempts: -1, maxRetryDuration: '3.000000001s', minBackoff: '1s', maxBackoff: '10.500s', maxDoublings: 3 },
    stackdriverLoggingConfig: { samplingRatio: 0.25 },
    appEngineRoutingOverride: { service: 's', version: 'v' },
    httpTarget: {
      uriOverride: {
        scheme: 'HTTP',
        host: 'example.com',
        port: '8080',
        pathOverride: { path: '/x' },
        queryOverride: { queryParams: 'a=b' },
        uriOverrideEnforceMode: 'IF_NOT_EXISTS'
      },
      httpMethod: 'PUT',
      headerOverrides: [{ header: { key: 'X-A', value: '1' } }],
      oidcToken: { serviceAccountEmail: 'sa@x', audience: 'aud' }
    }
  }
  const made = await http('POST', `/v2/${parent}/queues`, settings)
  t.match(made, { status: 200, body: { ...settings, rateLimits: { ...settings.rateLimits, maxBurstSize: 10 } } })
  t.same((await http('GET', `/v2/${settings.name}`)).body, made.body)
  const { appEngineRoutingOverride, ...rest } = settings
  t.match((await http('GET', `/v2beta3/${settings.name}`)).body, { ...rest, appEngineHttpQueue: { appEngineRoutingOverride } })
  t.match((await grpc('GetQueue', { name: settings.name }, v2beta3)).body, {
    httpTarget: { uriOverride: { port: 8080, uriOverrideEnforceMode: 'IF_NOT_EXISTS' }, httpMethod: 'PUT' },
    appEngineHttpQueue: { appEngineRoutingOverride },
    type: 'PUSH'
  })
  const copied = (await grpc('GetQueue', { name: settings.name }, v2beta3)).body
  t.match(await grpc('CreateQueue', { parent, queue: { ...copied, name: `${parent}/queues/copy` } }, v2beta3), {
    code: 'OK',
    body: { ...copied, name: `${parent}/queues/copy` }
  })
  for (const [bad, message] of [
    [{ uriOverride: { host: '' } }, /uriOverride.host is required/],
    [{ uriOverride: { port: '70000' } }, /between 0 and 65535/],
    [{ oidcToken: { serviceAccountEmail: 'sa@x' } }, /oidcToken.audience is required/],
    [{ oauthToken: { scope: 'x' } }, /oauthToken.serviceAccountEmail is required/],
    [{ uriOverride: { host: 'a/b' } }, /not a host name/]
  ] as const) {
    t.match(await http('POST', `/v2/${parent}/queues`, { name: `${parent}/queues/bad`, httpTarget: bad }), { status: 400, message })
  }
})

t.test('UpdateQueue changes what its mask names, resets what is absent, and creates a missing queue', async t => {
  const { http, grpc } = await serveBoth(t)
  const name = `${parent}/queues/u`
  t.match(
    await http('PATCH', `/v2/${name}?updateMask=rateLimits.maxDispatchesPerSecond`, {
      rateLimits: { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 6 }
    }),
    {
      status: 200,
      body: { name, rateLimits: { maxDispatchesPerSecond: 5, maxBurstSize: 10, maxConcurrentDispatches: 1000 } }
    },
    'created, and only what is named counts'
  )
  t.match(
    (
      await http('PATCH', `/v2/${name}?updateMask=rate_limits.max_concurrent_dispatches,retry_config.min_backoff`, {
        name,
        rate_limits: { max_concurrent_dispatches: 6 },
        retryConfig: { minBackoff: '2s' }
      })
    ).body,
    { rateLimits: { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 6 }, retryConfig: { minBackoff: '2s', maxAttempts: 100 } }
  )
  t.match(
    (
      await grpc('UpdateQueue', {
        queue: { name, retryConfig: {} },
        updateMask: { paths: ['rate_limits.max_dispatches_per_second', 'retryConfig.minBackoff', 'state'] }
      })
    ).body,
    {
      rateLimits: { maxDispatchesPerSecond: 500, maxConcurrentDispatches: 6, maxBurstSize: 100 },
      retryConfig: { minBackoff: { nanos: 100_000_000 } }
    }
  )
  t.match(
    (await http('PATCH', `/v2/${name}`, { retryConfig: { maxAttempts: 3 } })).body,
    { rateLimits: { maxConcurrentDispatches: 1000 }, retryConfig: { maxAttempts: 3 } },
    'no mask means all'
  )
  await http('POST', `/v2/${name}:pause`, {})
  t.match((await http('PATCH', `/v2/${name}?updateMask=*`, { state: 'RUNNING', stackdriverLoggingConfig: { samplingRatio: 1 } })).body, {
    state: 'PAUSED',
    retryConfig: { maxAttempts: 100 },
    stackdriverLoggingConfig: { samplingRatio: 1 }
  })
  t.match(
    (
      await grpc(
        'UpdateQueue',
        {
          queue: {
            name,
            appEngineHttpQueue: { appEngineRoutingOverride: { service: 's', version: 'v' } },
            rateLimits: { maxBurstSize: 77 },
            tombstoneTtl: { seconds: 7200 }
          },
          updateMask: {
            paths: ['app_engine_http_queue.app_engine_routing_override.service', 'rate_limits.max_burst_size', 'tombstone_ttl']
          }
        },
        v2beta3
      )
    ).body,
    {
      appEngineHttpQueue: { appEngineRoutingOverride: { service: 's', version: undefined } },
      rateLimits: { maxBurstSize: 77 },
      tombstoneTtl: { seconds: 7200 }
    }
  )
  t.match(
    (
      await http('PATCH', `/v2/${name}?updateMask=rateLimits.maxDispatchesPerSecond`, {
        rateLimits: { maxDispatchesPerSecond: 1, maxBurstSize: 3 }
      })
    ).body,
    { appEngineRoutingOverride: { service: 's' }, rateLimits: { maxBurstSize: 77 } },
    'v2 leaves the burst alone'
  )
  t.match(await http('PATCH', `/v2/${name}?updateMask=rateLimits.nothing`, {}), { status: 400, code: 'INVALID_ARGUMENT' })
  t.match(await grpc('UpdateQueue', { queue: { name }, updateMask: { paths: ['retry_config.min_backoff.seconds'] } }), {
    code: 'INVALID_ARGUMENT'
  })

  const updates = Array.from({ length: 20 }, (_, i) => [
    http('PATCH', `/v2/${name}?updateMask=rateLimits.maxConcurrentDispatches`, { rateLimits: { maxConcurrentDispatches: i + 1 } }),
    grpc('UpdateQueue', { queue: { name, retryConfig: { maxAttempts: i + 1 } }, updateMask: { paths: ['retry_config.max_attempts'] } })
  ]).flat()
  await Promise.all(updates)
  t.match(
    (await http('GET', `/v2/${name}`)).body,
    { rateLimits: { maxConcurrentDispatches: 20 }, retryConfig: { maxAttempts: 20 } },
    'none of many at once is lost'
  )
})

t.test('queues are listed in order, by pages, and by filters', async t => {
  const { http, grpc, clock } = await serveBoth(t)
  const list = async (query: string) => (await http('GET', `/v2/${parent}/queues?${query}`)).body
  const ids = (answer: any) => (answer.queues ?? []).map((one: any) => one.name.split('/').at(-1)).join('')
  for (const id of ['c', 'a', 'd', 'b']) {
    await http('POST', `/v2/${parent}/queues`, {
      name: `${parent}/queues/${id}`,
      rateLimits: { maxDispatchesPerSecond: id.charCodeAt(0) }
    })
  }
  for (const id of ['a', 'd', 'q']) await http('POST', `/v2/${parent}/queues/${id}:pause`, {})
  await http('POST', `/v2/${parent}/queues/b:purge`, {})
  t.equal(ids(await list('')), 'abcdq')
  const first = await list('pageSize=2')
  t.equal(ids(first), 'ab')
  const second = await list(`pageSize=2&pageToken=${first.nextPageToken}`)
  t.equal(ids(second), 'cd')
  const last = await list(`pageSize=2&page_token=${second.nextPageToken}`)
  t.equal(ids(last), 'q')
  t.notOk(last.nextPageToken)
  t.match(
    (await grpc('ListQueues', { parent, pageSize: 2, pageToken: first.nextPageToken })).body.queues.length,
    2,
    'tokens hold for both interfaces'
  )

  for (const [filter, expected] of [
    ['state: PAUSED', 'adq'],
    ['state=PAUSED', 'adq'],
    ['state != "PAUSED"', 'bc'],
    ['NOT state:PAUSED', 'bc'],
    ['-state:PAUSED', 'bc'],
    ['rateLimits.maxDispatchesPerSecond >= 99', 'cdq'],
    ['rate_limits.max_dispatches_per_second < 98', 'a'],
    ['name: /a OR name:queues/C', 'ac'],
    ['state:PAUSED AND (name:"queues/a" OR name:"queues/q")', 'aq'],
    ['state:PAUSED name:/d', 'd'],
    ['retryConfig.minBackoff <= "0.1s" AND NOT name:q', ''],
    ['retry_config.min_backoff > 0.5s', ''],
    ['purge_time:*', 'b'],
    ['purge_time > "2000-01-01T00:00:00Z"', 'b'],
    [`name = "${parent}/queues/c"`, 'c'],
    ['', 'abcdq']
  ] as const) { t.equal(ids(await list(`filter=${encodeURIComponent(filter)}`)), expected, filter) }
  for (const filter of [
    'x',
    'state',
    'state:',
    'nothing: 1',
    'rateLimits: 1',
    '(state:PAUSED',
    'state PAUSED',
    'state:"PAUSED',
    '!',
    'state:PAUSED )',
    'rateLimits.maxBurstSize > x',
    '('.repeat(100),
    `${'x'.repeat(99)}😀b = 1`
  ]) {
    t.match(
      await http('GET', `/v2/${parent}/queues?filter=${encodeURIComponent(filter)}`),
      { status: 400, code: 'INVALID_ARGUMENT' },
      filter
    )
    t.match(await grpc('ListQueues', { parent, filter }), { code: 'INVALID_ARGUMENT' }, filter)
  }
  const { nextPageToken } = await list('filter=state:PAUSED&pageSize=1')
  t.equal(ids(await list(`filter=state:PAUSED&pageSize=9&pageToken=${nextPageToken}`)), 'dq')
  t.match(await http('GET', `/v2/${parent}/queues?pageToken=${nextPageToken}`), { status: 400 }, 'another filter')
  clock.set(clock.now() + 2 * 3600 * 1000)
  t.match(await http('GET', `/v2/${parent}/queues?filter=state:PAUSED&pageToken=${nextPageToken}`), { status: 400 }, 'two hours later')
})

t.test('policies are kept with their queue, and one that was read before another change is rejected', async t => {
  const { http, grpc, engine } = await serveBoth(t)
  t.same((await http('POST', `/v2/${queue}:getIamPolicy`, {})).body, { etag: 'ACAB' })
  const bindings = [{ role: 'roles/viewer', members: ['user:a@example.com'], condition: { expression: 'true', title: 'x' } }]
  const set = await http('POST', `/v2/${queue}:setIamPolicy`, { policy: { version: 3, bindings, etag: 'ACAB' } })
  t.match(set, { status: 200, body: { version: 3, bindings } })
  t.not(set.body.etag, 'ACAB')
  t.same((await http('POST', `/v2/${queue}:getIamPolicy`, { options: { requestedPolicyVersion: 3 } })).body, set.body)
  t.match(await http('POST', `/v2/${queue}:setIamPolicy`, { policy: { etag: 'ACAB' } }), { status: 409, code: 'ABORTED' })
  t.match((await grpc('SetIamPolicy', { resource: queue, policy: { version: 1 }, updateMask: { paths: ['version'] } })).body, {
    version: 1,
    bindings
  })
  await http('PATCH', `/v2/${queue}`, {})
  t.match((await grpc('GetIamPolicy', { resource: queue }, v2beta3)).body.bindings, bindings, 'kept through an update')
  t.match(JSON.parse(JSON.stringify(engine.getQueue(queue))).policy.bindings, bindings, 'kept as JSON')
  t.same((await grpc('TestIamPermissions', { resource: queue, permissions: ['cloudtasks.tasks.create'] })).body.permissions, [
    'cloudtasks.tasks.create'
  ])
  t.same((await http('POST', `/v2/${parent}/queues/missing:testIamPermissions`, { permissions: ['cloudtasks.tasks.create'] })).body, {})
})

t.test('locations are those that have queues, any other can be looked at, and gcloud finds its default', async t => {
  const { http, grpc } = await serveBoth(t)
  const locations = 'google.cloud.location.Locations'
  await http('POST', '/v2/projects/p/locations/europe-west1/queues', { name: 'projects/p/locations/europe-west1/queues/q' })
  for (const root of ['v1', 'v2', 'v2beta3']) {
    t.match((await http('GET', `/${root}/projects/p/locations?pageSize=100`)).body.locations, [
      { name: 'projects/p/locations/europe-west1', locationId: 'europe-west1', labels: { 'cloud.googleapis.com/region': 'europe-west1' } },
      { locationId: 'l' }
    ])
    t.match(await http('GET', `/${root}/projects/p/locations/anywhere`), {
      status: 200,
      body: { name: 'projects/p/locations/anywhere', locationId: 'anywhere' }
    })
  }
  t.match((await grpc('ListLocations', { name: 'projects/none' }, locations)).body.locations, [{ locationId: 'us-central1' }])
  const first = await grpc('ListLocations', { name: 'projects/p', pageSize: 1 }, locations)
  t.match((await grpc('ListLocations', { name: 'projects/p', pageSize: 1, pageToken: first.body.nextPageToken }, locations)).body, {
    locations: [{ locationId: 'l' }]
  })
  t.match(await grpc('GetLocation', { name: `projects/p/locations/${'-'}` }, locations), {
    code: 'INVALID_ARGUMENT',
    message: /ListLocations/
  })
  t.match(await http('GET', '/v1/apps/p'), { status: 200, body: { name: 'apps/p', id: 'p', locationId: 'europe-west1' } })
  t.same((await http('GET', `/v2/${parent}/cmekConfig`)).body, { name: `${parent}/cmekConfig` })
})

t.test('settings, policies, targets and retry policies of tasks are there again after a restart', async t => {
  const directory = t.testdir()
  const look = (engine: Engine): unknown =>
    JSON.parse(JSON.stringify([engine.getQueue(queue), engine.getTask(`${queue}/tasks/t`), engine.getTask(`${queue}/tasks/ae`)]))
  const { http, grpc, engine } = await serveBoth(t, { engine: { started: false, store: new LmdbStore({ directory }) as never } })
  await http('PATCH', `/v2beta3/${queue}`, {
    httpTarget: { uriOverride: { host: 'example.com' } },
    appEngineHttpQueue: { appEngineRoutingOverride: { service: 's' } },
    tombstoneTtl: '3600s',
    taskTtl: '864000s',
    rateLimits: { maxBurstSize: 5 }
  })
  await http('POST', `/v2/${queue}:setIamPolicy`, { policy: { bindings: [{ role: 'r', members: ['allUsers'] }] } })
  await grpc(
    'CreateTask',
    { parent: queue, task: { name: `${queue}/tasks/t`, httpRequest: { url }, retryConfig: { maxAttempts: 2 } } },
    v2beta3
  )
  await grpc(
    'CreateTask',
    { parent: queue, task: { name: `${queue}/tasks/ae`, appEngineHttpRequest: {}, retryConfig: { maxAttempts: 3 } } },
    v2beta3
  )
  const before = look(engine)
  t.match(before, [
    { settings: { httpTarget: {}, chosenBurstSize: 5, taskTtlSeconds: 864_000 }, policy: { bindings: [{ role: 'r' }] } },
    { retryConfig: { maxAttempts: 2, maxDoublings: 16 } },
    { retryConfig: { maxAttempts: 3 } }
  ])
  await engine.close()
  const again = await startEngine({ started: false, store: new LmdbStore({ directory }) as never, keepQueue: true })
  t.same(look(again.engine), before)
  await again.engine.close()
})

t.test('queues are created with their first task where that is wanted, but not those that were deleted', async t => {
  const { http, grpc } = await serveBoth(t, { autoCreateQueues: true, engine: { started: false } })
  const create = async (id: string, fields = {}) =>
    await grpc('CreateTask', { parent: `${parent}/queues/${id}`, task: { httpRequest: { url }, ...fields } })
  t.same((await Promise.all([create('new'), create('new'), create('new')])).map(one => one.code), ['OK', 'OK', 'OK'])
  t.equal((await http('GET', `/v2/${parent}/queues/new/tasks`)).body.tasks.length, 3)
  t.match(await create('bad', { httpRequest: undefined }), { code: 'INVALID_ARGUMENT' })
  t.match(await http('GET', `/v2/${parent}/queues/bad`), { status: 404 })
  t.match(await create('a_b'), { code: 'INVALID_ARGUMENT' })
  await http('DELETE', `/v2/${parent}/queues/new`)
  t.match(await create('new'), { code: 'NOT_FOUND', message: /^Queue does not exist/ })
})

t.test("firebase-admin's paths are v2 without a prefix, and its tasks need no URL", async t => {
  const { http } = await serveBoth(t, { defaultUrl: 'http://127.0.0.1:5001/', engine: { started: false } })
  const create = {
    task: {
      name: `${queue}/tasks/f`,
      httpRequest: { url: '', body: 'e30=', oidcToken: { serviceAccountEmail: 'x' }, headers: { 'Content-Type': 'application/json' } }
    }
  }
  t.match(await http('POST', `/${queue}/tasks`, create), { status: 200, body: { httpRequest: { url: 'http://127.0.0.1:5001/' } } })
  t.match(await http('POST', `/${queue}/tasks`, create), { status: 409 })
  t.match(await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url: '' } } }), {
    status: 400,
    message: 'HttpRequest.url is required.'
  })
  t.match(await http('DELETE', `/${queue}/tasks/f`), { status: 200 })
  t.match(await http('DELETE', `/${queue}/tasks/f`), { status: 404 })
})

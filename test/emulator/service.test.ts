import t from 'tap'
import { loadProtos, messageType } from '../../lib/emulator/proto/protos.js'
import { LmdbStore } from '../../lib/store/lmdb/lmdb-store.js'
import type { Engine } from '../../lib/engine/engine.js'
import { stage } from '../support/engine-harness.js'
import { serveBoth } from '../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const v2beta3 = 'google.cloud.tasks.v2beta3.CloudTasks'
const seconds = (at: number) => Math.floor(at / 1000)

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

t.test('UpdateQueue changes what its mask names, resets what is named and absent, and creates what is missing', async t => {
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

t.test('a task is stored as production stores it, and shown in the view that is asked for', async t => {
  const { http, grpc, clock } = await serveBoth(t, { engine: { started: false } })
  const now = new Date(clock.now()).toISOString().replace('.000Z', 'Z')
  const made = await http('POST', `/v2/${queue}/tasks`, {
    task: { httpRequest: { url, body: 'aGk_', headers: { 'x-a': '', 'user-agent': 'me' } }, scheduleTime: null },
    response_view: 2
  })
  t.match(made.body.name, /\/tasks\/\d{1,20}$/)
  t.same(made.body, {
    name: made.body.name,
    httpRequest: { url, httpMethod: 'POST', headers: { 'x-a': '', 'User-Agent': 'Google-Cloud-Tasks' }, body: 'aGk/' },
    scheduleTime: now,
    createTime: now,
    dispatchDeadline: '600s',
    view: 'FULL'
  })
  const { body, ...request } = made.body.httpRequest
  t.same((await http('GET', `/v2/${made.body.name}`)).body, { ...made.body, httpRequest: request, view: 'BASIC' })
  t.same((await http('GET', `/v2/${made.body.name}?responseView=BASIC&$alt=json%3Benum-encoding=int`)).body, {
    ...made.body,
    httpRequest: { ...request, httpMethod: 1 },
    view: 1
  })
  t.same((await http('GET', `/v2beta3/${made.body.name}?responseView=2`)).body, made.body)

  const ae = await grpc('CreateTask', {
    parent: queue,
    task: {
      name: `${queue}/tasks/ae`,
      appEngineHttpRequest: { body: Buffer.from('x'), appEngineRouting: { service: 's', host: 'made.up' } }
    },
    responseView: 'FULL'
  })
  t.match(ae.body, {
    appEngineHttpRequest: {
      httpMethod: 'POST',
      relativeUri: '/',
      appEngineRouting: { service: 's', host: /^s\.p\..*r\.appspot\.com$/ },
      body: Buffer.from('x'),
      headers: {
        'User-Agent': 'AppEngine-Google; (+http://code.google.com/appengine)',
        'Content-Type': 'application/octet-stream',
        'Content-Length': '1'
      }
    }
  })
  t.notOk(ae.body.dispatchDeadline)
  const timed = await http('POST', `/v2/${queue}/tasks`, {
    task: {
      appEngineHttpRequest: {},
      scheduleTime: new Date(clock.now() + 5000).toISOString().replace('Z', '266817999+00:00').replace('.000', '.'),
      dispatchDeadline: '15.5s'
    }
  })
  t.equal(timed.body.scheduleTime, `${new Date(clock.now() + 5000).toISOString().slice(0, 19)}.266817Z`, 'to the microsecond')
  t.equal(timed.body.dispatchDeadline, '15.500s')
  t.equal((await grpc('ListTasks', { parent: queue, responseView: 'FULL' })).body.tasks.length, 3)

  const first = await http('GET', `/v2/${queue}/tasks?pageSize=2&responseView=FULL`)
  const second = await grpc('ListTasks', { parent: queue, pageSize: 2, pageToken: first.body.nextPageToken })
  t.same(new Set([...first.body.tasks, ...second.body.tasks].map(one => one.name)).size, 3)
})

t.test('large tasks are listed in pages that clients with the default limit of gRPC read, in either view', async t => {
  const { grpc, http } = await serveBoth(t, { engine: { started: false } })
  const list = async (responseView: string): Promise<number[]> => {
    const sizes: number[] = []
    let pageToken = ''
    do {
      const { code, body } = await grpc('ListTasks', { parent: queue, responseView, pageToken })
      t.equal(code, 'OK')
      sizes.push(body.tasks.length)
      pageToken = body.nextPageToken ?? ''
    } while (pageToken !== '')
    return sizes
  }
  for (let i = 0; i < 12; i++) {
    await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url, body: Buffer.alloc(1_048_000).toString('base64') } } })
  }
  t.strictSame(await list('FULL'), [3, 3, 3, 3])
  t.strictSame(await list('BASIC'), [12], 'bodies are not part of it')
  await http('POST', `/v2/${queue}:purge`)
  for (let i = 0; i < 100; i++) {
    await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url, headers: { 'X-A': 'x'.repeat(75_000) } } } })
  }
  t.strictSame(await list('BASIC'), [41, 41, 18], 'but headers are')
})

t.test('a task that runs and fails shows its attempts; run dispatches it also from a paused queue', async t => {
  const { http, grpc, attempts, clock, last } = await serveBoth(t, { engine: { rememberGeneratedNames: true } })
  await http('POST', `/v2/${queue}:pause`, {})
  const { body: { name } } = await http('POST', `/v2/${queue}/tasks`, { task: { httpRequest: { url } } })
  t.equal(attempts.length, 0)
  const at = seconds(clock.now())
  t.match(await grpc('RunTask', { name }), {
    code: 'OK',
    body: { dispatchCount: 1, responseCount: 0, lastAttempt: { dispatchTime: { seconds: at } } }
  })
  await last().answer(503)
  t.match((await http('GET', `/v2/${name}`)).body, {
    dispatchCount: 1,
    responseCount: 1,
    firstAttempt: { dispatchTime: /Z$/, scheduleTime: undefined, responseTime: undefined },
    lastAttempt: {
      scheduleTime: /Z$/,
      dispatchTime: /Z$/,
      responseTime: /Z$/,
      responseStatus: { code: 14, message: 'UNAVAILABLE(14): HTTP status code 503' }
    }
  })
  t.match((await http('POST', `/v2/${name}:run`, { responseView: 'FULL' })).body, { dispatchCount: 2, view: 'FULL' })
  await last().answer(200)
  t.match(await http('POST', `/v2/${name}:run`, {}), { status: 404, message: /^The task no longer exists/ })
})

t.test('purge takes what was there before it and nothing that came after, and says when', async t => {
  const { http, grpc, clock } = await serveBoth(t, { engine: { started: false } })
  for (const id of ['a', 'b']) await http('POST', `/v2/${queue}/tasks`, { task: { name: `${queue}/tasks/${id}`, httpRequest: { url } } })
  const [purged, later] = await Promise.all([
    http('POST', `/v2/${queue}:purge`, {}),
    grpc('CreateTask', { parent: queue, task: { name: `${queue}/tasks/c`, httpRequest: { url } } })
  ])
  t.equal(purged.body.purgeTime, new Date(clock.now()).toISOString().replace('.000Z', 'Z'))
  t.equal(later.code, 'OK')
  t.same((await http('GET', `/v2/${queue}/tasks`)).body.tasks.map((one: any) => one.name), [`${queue}/tasks/c`])
  t.match(
    await http('POST', `/v2/${queue}/tasks`, { task: { name: `${queue}/tasks/a`, httpRequest: { url } } }),
    { status: 409 },
    'names are remembered'
  )
})

t.test('policies are kept with their queue, and one that was read before another change is refused', async t => {
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

t.test('a batch with a name that exists is rejected as a whole, though its other tasks are created, once per request id', async t => {
  for (const version of ['v2', 'v2beta3']) {
    const { http, grpc } = await serveBoth(t, { engine: { started: false } })
    const taskOf = (id: string) => ({
      parent: queue,
      task: { ...(id === '' ? {} : { name: `${queue}/tasks/${id}` }), httpRequest: { url } }
    })
    const requestId = '3f1b6c1e-7a54-4f4b-9b5d-0c1d2e3f4a5b'
    const create = async (ids: string[], fields = {}) =>
      await http('POST', `/${version}/${queue}/tasks:batchCreate`, { requests: ids.map(taskOf), ...fields })
    const taskCount = async () => ((await http('GET', `/v2/${queue}/tasks`)).body.tasks ?? []).length
    t.match(await create(['a']), { status: 200, body: { metadata: { state: 'SUCCEEDED' } } })

    const rejected = { status: 409, code: 'ALREADY_EXISTS', message: 'Requested entity already exists' }
    t.match(await create(['', 'a', 'b'], { requestId }), rejected)
    t.equal(await taskCount(), 3, 'the others were created')
    t.match(await create(['', 'a', 'b'], { requestId }), rejected)
    t.equal(await taskCount(), 3, 'nothing is done twice')
    t.match(await http('GET', `/${version}/${parent}/operations/q-${requestId}`), { status: 404 }, 'there is no operation')
    t.match(await create(['c', 'c']), rejected, 'twice in one batch')
    await http('DELETE', `/v2/${queue}/tasks/c`)
    t.match(
      await grpc('BatchCreateTasks', { parent: queue, requests: ['c', 'd'].map(taskOf) }, `google.cloud.tasks.${version}.CloudTasks`),
      { code: 'ALREADY_EXISTS', message: /existed too recently/ },
      'a tombstone counts, too'
    )
    t.equal(await taskCount(), 4)
  }
})

t.test('duplicates of a batch are reported in its operation where that is asked for, once for each request id', async t => {
  const { http, grpc } = await serveBoth(t, { batchDuplicates: 'report', engine: { started: false } })
  const requestId = '3f1b6c1e-7a54-4f4b-9b5d-0c1d2e3f4a5b'
  const requests = ['a', 'a', 'b'].map(id => ({ parent: queue, task: { name: `${queue}/tasks/${id}`, httpRequest: { url } } }))
  const made = await http('POST', `/v2/${queue}/tasks:batchCreate`, { requests, requestId })
  t.match(made, {
    status: 200,
    body: {
      name: new RegExp(`^${parent}/operations/`),
      done: true,
      metadata: {
        '@type': 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksMetadata',
        state: 'PARTIALLY_SUCCEEDED',
        startTime: /Z$/,
        failedRequests: { 1: { code: 6, message: 'Requested entity already exists' } }
      },
      response: {
        '@type': 'type.googleapis.com/google.cloud.tasks.v2.BatchCreateTasksResponse',
        tasks: [{ name: `${queue}/tasks/a`, createTime: /Z$/ }, { name: `${queue}/tasks/b` }]
      }
    }
  })
  t.same((await http('POST', `/v2/${queue}/tasks:batchCreate`, { requests, requestId })).body, made.body)
  t.same((await http('GET', `/v2/${made.body.name}`)).body, made.body)

  const failed = await grpc('BatchCreateTasks', { parent: queue, requests }, v2beta3)
  t.match(failed.body, {
    done: true,
    error: { code: 10, message: /^None of the requests succeeded/ },
    metadata: { type_url: 'type.googleapis.com/google.cloud.tasks.v2beta3.BatchCreateTasksMetadata' }
  })
  t.match(
    messageType((await loadProtos()).definitions, 'google.cloud.tasks.v2beta3.BatchCreateTasksMetadata').deserialize(
      failed.body.metadata.value
    ),
    {
      state: 'FAILED',
      failedRequests: { 0: { code: 6 }, 2: { code: 6, message: 'Requested entity already exists' } }
    }
  )
  t.match((await grpc('GetOperation', { name: failed.body.name }, 'google.longrunning.Operations')).body, failed.body)
  t.match(await grpc('GetOperation', { name: 'x' }, 'google.longrunning.Operations'), { code: 'NOT_FOUND' })
  const deleted = await http('POST', `/v2beta3/${queue}/tasks:batchDelete`, { names: [`${queue}/tasks/a`, `${queue}/tasks/b`] })
  t.match(deleted.body, {
    metadata: { state: 'SUCCEEDED', '@type': /v2beta3.BatchDeleteTasksMetadata/ },
    response: { '@type': 'type.googleapis.com/google.protobuf.Empty' }
  })
  t.same((await http('GET', `/v2/${queue}/tasks`)).body, {})
  for (const bad of [
    {},
    { requests: Array(101).fill({}) },
    { requests, requestId: 'x' },
    { requests: [{ parent: `${parent}/queues/other` }] }
  ]) {
    t.match(await http('POST', `/v2/${queue}/tasks:batchCreate`, bad), { status: 400, code: 'INVALID_ARGUMENT' })
  }
  t.match(await http('POST', `/v2/${parent}/queues/missing/tasks:batchDelete`, { names: ['x'] }), { status: 404 })
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
    'google.cloud.tasks.v2.CloudTasks.CreateTask was called with fields that this emulator does not know, and ignores: task.http_request.99, task.2000, 7. The client is newer than the emulator: update fastify-cloud-tasks.'
  ])
  t.match(await grpc('PauseQueue', Buffer.concat([text(1, Buffer.from(queue)), text(2, Buffer.from('x'))])), { code: 'OK' })
  t.match(warnings, [/CreateTask/, /PauseQueue was called .* ignores: 2\./])
})

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
  const again = await stage({ started: false, store: new LmdbStore({ directory }) as never, keepQueue: true })
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

function varint (value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push(rest % 128 + 128)
  }
}

import t from 'tap'
import { loadProtos, messageType } from '../../../lib/emulator/proto/protos.js'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
const v2beta3 = 'google.cloud.tasks.v2beta3.CloudTasks'
const seconds = (at: number) => Math.floor(at / 1000)

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

t.test('purge removes earlier tasks and no later ones, and returns its time', async t => {
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

t.test('a batch with a name that exists is rejected, but creates its other tasks, once per request id', async t => {
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

t.test('duplicates of a batch are reported in its operation where that is configured, once per request id', async t => {
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

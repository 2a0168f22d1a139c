import t from 'tap'
import { serveBoth } from '../../support/emulator-harness.js'

const parent = 'projects/p/locations/l'
const queue = `${parent}/queues/q`
const url = 'https://example.com/work'
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

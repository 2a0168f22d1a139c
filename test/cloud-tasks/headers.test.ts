import fc from 'fast-check'
import t from 'tap'
import { dispatchHeaders, readAttempt, type TargetKind } from '../../lib/cloud-tasks/headers.js'
import type { Task } from '../../lib/cloud-tasks/task.js'

const base: Task = {
  name: 'projects/p/locations/l/queues/mail/tasks/42',
  scheduleAt: 1721236265266.817,
  createdAt: 1721236265000,
  dispatchCount: 1,
  responseCount: 0,
  executionCount: 0
}

t.test('the first attempt carries five headers and the service\'s user agent', async t => {
  const http = { ...base, httpRequest: { url: 'http://localhost/', headers: { 'User-Agent': 'Google-Cloud-Tasks', 'X-Own': '1' } } }
  t.same(dispatchHeaders(http), {
    'User-Agent': 'Google-Cloud-Tasks',
    'X-Own': '1',
    'X-CloudTasks-QueueName': 'mail',
    'X-CloudTasks-TaskName': '42',
    'X-CloudTasks-TaskRetryCount': '0',
    'X-CloudTasks-TaskExecutionCount': '0',
    'X-CloudTasks-TaskETA': '1721236265.266817'
  })
  const appEngine = { ...base, appEngineHttpRequest: { headers: {} } }
  t.same(Object.keys(dispatchHeaders(appEngine)), ['X-AppEngine-QueueName', 'X-AppEngine-TaskName', 'X-AppEngine-TaskRetryCount',
    'X-AppEngine-TaskExecutionCount', 'X-AppEngine-TaskETA'])
})

t.test('after a timeout the two target types get different headers', async t => {
  const timedOut = { ...base, dispatchCount: 2, previousResponse: 0 }
  const http = dispatchHeaders({ ...timedOut, httpRequest: { url: 'http://localhost/' } })
  t.equal(http['X-CloudTasks-TaskPreviousResponse'], '504')
  t.equal(http['X-CloudTasks-TaskRetryReason'], '')
  const appEngine = dispatchHeaders({ ...timedOut, appEngineHttpRequest: {} })
  t.equal(appEngine['X-AppEngine-TaskPreviousResponse'], '0')
  t.equal(appEngine['X-AppEngine-TaskRetryReason'], 'Instance Unavailable')
  t.notOk('X-CloudTasks-TaskPreviousResponse' in dispatchHeaders({
    ...timedOut, dispatchCount: 1, httpRequest: { url: 'http://localhost/' }
  }), 'not at a first attempt')
})

t.test('a task cannot forge the service\'s headers', async t => {
  const headers = {
    hOST: 'evil',
    'content-LENGTH': '9',
    'x-google-abc': '1',
    'X-APPENGINE-QueueName': 'q',
    'x-cloudtasks-taskname': 'x',
    authorization: 'Basic a',
    Accept: '*/*'
  }
  const oidcToken = { serviceAccountEmail: 'a@example.com' }
  const own = (task: Task): string[] => Object.keys(dispatchHeaders(task)).filter(key => key in headers)
  t.same(own({ ...base, httpRequest: { url: 'http://localhost/', headers } }), ['authorization', 'Accept'])
  t.same(own({ ...base, httpRequest: { url: 'http://localhost/', headers, oidcToken } }), ['Accept'], 'a token replaces it')
  t.same(own({ ...base, appEngineHttpRequest: { headers } }), ['x-cloudtasks-taskname', 'authorization', 'Accept'])
  for (const key of ['authorization', 'Authorization', 'AUTHORIZATION']) {
    for (const token of [{ oidcToken }, { oauthToken: oidcToken }]) {
      const sent = dispatchHeaders({ ...base, httpRequest: { url: 'http://localhost/', headers: { [key]: 'Basic a' }, ...token } })
      t.equal(sent[key], undefined, `${key} beside a token`)
    }
  }
})

function received (headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]))
}

t.test('what is printed reads back', async t => {
  fc.assert(fc.property(
    fc.constantFrom<TargetKind>('http', 'appEngine'), fc.nat(1000), fc.nat(1000), fc.constantFrom(0, 200, 404, 503),
    fc.integer({ min: 0, max: 4e15 }),
    (kind, retryCount, executionCount, previousResponse, micros) => {
      const task = {
        ...base,
        dispatchCount: retryCount + 1,
        executionCount,
        previousResponse,
        scheduleAt: micros / 1000,
        ...(kind === 'http' ? { httpRequest: { url: 'http://localhost/' } } : { appEngineHttpRequest: {} })
      }
      const read = readAttempt(received(dispatchHeaders(task)), kind)
      const previous = previousResponse === 0 && kind === 'http' ? 504 : previousResponse
      return read !== undefined && read.queue === 'mail' && read.id === '42' && read.retryCount === retryCount &&
        read.executionCount === executionCount && Math.abs(read.scheduledAt - task.scheduleAt) < 0.001 &&
        read.previousResponse === (retryCount > 0 ? previous : undefined)
    }))
  const retried = received(dispatchHeaders({ ...base, dispatchCount: 2, previousResponse: 500, appEngineHttpRequest: {} }))
  t.equal(readAttempt(retried, 'appEngine')?.retryReason, 'App Error')
  t.equal(readAttempt(retried, 'http'), undefined, 'headers of the other target do not count')
})

t.test('a request without proper task headers is no attempt', async t => {
  const proper = received(dispatchHeaders({ ...base, httpRequest: { url: 'http://localhost/' } }))
  t.ok(readAttempt(proper, 'http'))
  for (const [key, bad] of [
    ['x-cloudtasks-queuename', 'a_b'], ['x-cloudtasks-taskname', 'a b'], ['x-cloudtasks-taskretrycount', '-1'],
    ['x-cloudtasks-taskexecutioncount', '1e3'], ['x-cloudtasks-tasketa', 'soon']] as const) {
    t.equal(readAttempt({ ...proper, [key]: undefined }, 'http'), undefined, `${key} missing`)
    t.equal(readAttempt({ ...proper, [key]: bad }, 'http'), undefined, `${key}: ${bad}`)
    t.equal(readAttempt({ ...proper, [key]: ['1', '2'] }, 'http'), undefined, `${key} twice`)
  }
  for (const key of ['x-cloudtasks-taskretrycount', 'x-cloudtasks-taskexecutioncount']) {
    t.ok(readAttempt({ ...proper, [key]: '9'.repeat(9) }, 'http'))
    for (const bad of ['', ' 1', '1 ', 'x1', '1x', '9'.repeat(10)]) {
      t.equal(readAttempt({ ...proper, [key]: bad }, 'http'), undefined, `${key}: ${bad}`)
    }
  }
  for (const [eta, at] of [['1', 1000], ['1721236265', 1721236265000], ['1721236265.2668176', 1721236265266.818]] as const) {
    t.equal(readAttempt({ ...proper, 'x-cloudtasks-tasketa': eta }, 'http')?.scheduledAt, at)
  }
  for (const eta of ['', '.5', '1.', '1x', 'x1', '1.5x', '1,5', '1.1234567890', '1234567890123']) {
    t.equal(readAttempt({ ...proper, 'x-cloudtasks-tasketa': eta }, 'http'), undefined, eta)
  }
})

t.test('details of the previous attempt are read when they are well-formed, and left out otherwise', async t => {
  const retried = { ...base, dispatchCount: 3, executionCount: 1, previousResponse: 503 }
  const proper = received(dispatchHeaders({ ...retried, appEngineHttpRequest: {} }))
  const expected = { queue: 'mail', id: '42', retryCount: 2, executionCount: 1, scheduledAt: 1721236265266.817 }
  t.strictSame(readAttempt(proper, 'appEngine'), { ...expected, previousResponse: 503, retryReason: 'App Error' })
  for (const bad of ['x', ['503', '504']]) {
    const changed = { ...proper, 'x-appengine-taskpreviousresponse': bad, 'x-appengine-taskretryreason': ['a', 'b'] }
    t.strictSame(readAttempt(changed, 'appEngine'), expected)
  }
  const http = received(dispatchHeaders({ ...base, dispatchCount: 2, previousResponse: 404, httpRequest: { url: 'http://localhost/' } }))
  t.strictSame(readAttempt(http, 'http'), { ...expected, retryCount: 1, executionCount: 0, previousResponse: 404 })
})

t.test("only the service's own header names are reserved, not names that contain one", async t => {
  const headers = Object.fromEntries([
    'x-host', 'hosted', 'x-content-length', 'content-length-x', 'my-x-google-a', 'x-googlea', 'my-x-appengine-a', 'my-x-cloudtasks-a',
    'x-authorization', 'authorization-x'
  ].map(key => [key, '1']))
  const oidcToken = { serviceAccountEmail: 'a@example.com' }
  for (const request of [{ httpRequest: { url: 'http://localhost/', headers, oidcToken } }, { appEngineHttpRequest: { headers } }]) {
    const sent = dispatchHeaders({ ...base, ...request })
    for (const key of Object.keys(headers)) t.equal(sent[key], '1', key)
  }
})

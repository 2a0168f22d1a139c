import fc from 'fast-check'
import t from 'tap'
import { backoffMs, isExhausted, isPastRetention } from '../../lib/cloud-tasks/backoff.js'
import { dispatchHeaders, readAttempt, type TargetKind } from '../../lib/cloud-tasks/headers.js'
import { completeQueueSettings } from '../../lib/cloud-tasks/limits.js'
import {
  generateTaskId, isLocationId, isProjectId, isQueueId, isTaskId, parseLocationName, parseQueueName, parseTaskName,
  printLocationName, printQueueName, printTaskName, queueNameOf, shortId
} from '../../lib/cloud-tasks/names.js'
import { CloudTasksError, grpcCodeOf, grpcCodes, httpStatusOf, statusErrors, responseStatus } from '../../lib/cloud-tasks/status.js'
import type { RetryConfig, Task } from '../../lib/cloud-tasks/task.js'

t.test('resource names print and parse to the same parts', async t => {
  const name = { project: 'example.com:my-project', location: 'us-central1', queue: 'mail-1', task: 'a_B-9' }
  t.equal(printTaskName(name), 'projects/example.com:my-project/locations/us-central1/queues/mail-1/tasks/a_B-9')
  t.same(parseTaskName(printTaskName(name)), name)
  const { task, ...queue } = name
  t.same(parseQueueName(printQueueName(queue)), queue)
  t.same(parseLocationName(printLocationName(queue)), { project: name.project, location: name.location })
  t.equal(queueNameOf(printTaskName(name)), printQueueName(queue))
  t.equal(shortId(printTaskName(name)), task)
  t.equal(shortId(printQueueName(queue)), 'mail-1')
})

t.test('malformed resource names are distinguished from invalid ids', async t => {
  for (const name of ['', 'queues/q', 'projects/p/locations/l/queues/', 'projects/p/locations/l/queues/a_b',
    'projects/p/locations/l/queues/q/', 'x projects/p/locations/l/queues/q', 'projects/p q/locations/l/queues/q',
    `projects/p/locations/l/queues/${'q'.repeat(101)}`]) {
    t.equal(parseQueueName(name), undefined, name)
  }
  for (const name of ['projects/p/locations/l/queues/q/tasks/', 'projects/p/locations/l/queues/q', 'tasks/t']) {
    t.equal(parseTaskName(name), undefined, name)
  }
  t.equal(parseTaskName('projects/p/locations/l/queues/q/tasks/not a valid id')?.task, 'not a valid id')
  for (const id of ['', 'a b', 'ä', 'a/b', 'a'.repeat(501), 'a\n']) t.notOk(isTaskId(id), id)
  for (const id of ['a', 'A_-9', 'a'.repeat(500)]) t.ok(isTaskId(id))
  t.ok(isQueueId('q'.repeat(100)))
  t.notOk(isQueueId('under_score'))
  t.ok(isProjectId('example.com:p'))
  t.notOk(isProjectId('p/q'))
  t.ok(isLocationId('europe-west1'))
  t.notOk(isLocationId('europe.west1'))
})

t.test('generated ids are random unsigned 64-bit numbers in decimal', async t => {
  const ids = Array.from({ length: 2000 }, generateTaskId)
  t.equal(new Set(ids).size, ids.length, 'all differ, also past the first batch of random bytes')
  for (const id of ids) {
    if (!/^\d{1,20}$/.test(id) || BigInt(id) >= 2n ** 64n) t.fail(id)
  }
  t.ok(ids.some(id => BigInt(id) >= 2n ** 63n), 'the upper half of the range is used')
})

t.test('codes map to HTTP as the REST interface has it', async t => {
  const expected = {
    OK: 200,
    CANCELLED: 499,
    UNKNOWN: 500,
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    ALREADY_EXISTS: 409,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    ABORTED: 409,
    OUT_OF_RANGE: 400,
    UNIMPLEMENTED: 501,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    DATA_LOSS: 500,
    UNAUTHENTICATED: 401
  } as const
  for (const [code, status] of Object.entries(expected)) t.equal(httpStatusOf(code as keyof typeof expected), status, code)
  t.same(Object.values(grpcCodes), Array.from({ length: 17 }, (_, i) => i))

  const recorded = {
    200: 0,
    299: 0,
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    409: 6,
    429: 8,
    499: 1,
    500: 13,
    501: 12,
    503: 14,
    504: 4,
    302: 2,
    418: 2
  }
  for (const [status, code] of Object.entries(recorded)) t.equal(grpcCodes[grpcCodeOf(Number(status))], code, status)
  t.same(responseStatus(503), { code: 14, message: 'UNAVAILABLE(14): HTTP status code 503' })
})

t.test('refusals carry code, text and the link that production sends', async t => {
  const error = statusErrors.taskId('not a valid id')
  t.type(error, CloudTasksError)
  t.equal(error.code, 'INVALID_ARGUMENT')
  t.equal(error.message, 'Task ID "not a valid id" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), ' +
    'or underscores (_). Task ID must between 1 and 500 characters.')
  t.same(error.details, [{
    '@type': 'type.googleapis.com/google.rpc.Help',
    links: [{
      description: 'Definition of task ID',
      url: 'https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues.tasks#Task.FIELDS.name'
    }]
  }])
  t.hasStrict(statusErrors.queueName().details, [{ links: [{ description: 'Definition of queue name' }] }])
  t.equal(statusErrors.notFound().details, undefined)
  const cause = new Error('disk full')
  t.equal(statusErrors.notStored(cause).cause, cause)
})

function retry (config: Partial<RetryConfig>): RetryConfig {
  return completeQueueSettings({ retryConfig: config }).retryConfig
}

function curve (config: RetryConfig, attempts: number): number[] {
  return Array.from({ length: attempts }, (_, i) => backoffMs(config, i + 1) / 1000)
}

t.test("backoff follows the documentation's sequences", async t => {
  t.same(curve(retry({ minBackoffSeconds: 10, maxBackoffSeconds: 300, maxDoublings: 3 }), 8), [10, 20, 40, 80, 160, 240, 300, 300])
  t.same(curve(retry({ minBackoffSeconds: 1, maxBackoffSeconds: 10, maxDoublings: 0 }), 12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10])
  t.same(curve(retry({}), 5), [0.1, 0.2, 0.4, 0.8, 1.6], 'the default curve keeps fractions of a second')
  t.same(curve(retry({ minBackoffSeconds: 0, maxDoublings: 1000 }), 3), [0, 0, 0])
  t.equal(backoffMs(retry({ maxDoublings: 5000 }), 4000), 3_600_000, 'no overflow')
})

t.test('backoff never shrinks, starts at the minimum, doubles while it may and then grows in equal steps', async t => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 100, noNaN: true }),
      fc.double({ min: 1, max: 1000, noNaN: true }),
      fc.nat(20),
      fc.integer({ min: 1, max: 60 }),
      (min, factor, maxDoublings, attempt) => {
        const config = retry({ minBackoffSeconds: min, maxBackoffSeconds: min * factor, maxDoublings })
        const at = (n: number): number => backoffMs(config, n)
        const max = min * factor * 1000
        const close = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(a, b)
        if (!close(at(1), min * 1000) || at(attempt) > at(attempt + 1) || at(attempt) > max) return false
        if (at(attempt + 1) >= max) return true
        // The last step of the doubling phase is the one that repeats.
        return attempt <= maxDoublings
          ? close(at(attempt + 1), 2 * at(attempt))
          : close(at(attempt + 1) - at(attempt), min * 1000 * 2 ** maxDoublings)
      }
    )
  )
})

t.test('a task is given up when the limits that are set are all reached', async t => {
  const start = 1_000_000
  const after = (seconds: number): number => start + seconds * 1000
  const attempts = retry({ maxAttempts: 3 })
  t.notOk(isExhausted(attempts, 2, start, after(9999)))
  t.ok(isExhausted(attempts, 3, start, start))
  const time = retry({ maxAttempts: -1, maxRetrySeconds: 60 })
  t.notOk(isExhausted(time, 9999, start, after(60)))
  t.ok(isExhausted(time, 1, start, after(60.001)))
  const both = retry({ maxAttempts: 3, maxRetrySeconds: 60 })
  t.notOk(isExhausted(both, 3, start, after(60)), 'attempts alone do not do')
  t.notOk(isExhausted(both, 2, start, after(61)), 'time alone does not do')
  t.ok(isExhausted(both, 3, start, after(61)))
  t.notOk(isExhausted(retry({ maxAttempts: -1 }), 1e6, start, after(1e9)))
  const days = (n: number): number => n * 24 * 3600 * 1000
  t.notOk(isPastRetention(start, start + days(31) - 1))
  t.ok(isPastRetention(start, start + days(31)))
})

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
})

t.test('a task cannot forge the service\'s headers', async t => {
  const headers = {
    hOST: 'evil',
    'content-LENGTH': '9',
    'x-google-a': '1',
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
})

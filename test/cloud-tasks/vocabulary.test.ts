import fc from 'fast-check'
import t from 'tap'
import { backoffMs, isExhausted, RETENTION_MS } from '../../lib/cloud-tasks/backoff.js'
import { completeQueueSettings } from '../../lib/cloud-tasks/limits.js'
import {
  generateTaskId, isLocationId, isProjectId, isQueueId, isTaskId, parseLocationName, parseQueueName, parseTaskName,
  printLocationName, printQueueName, printTaskName, queueNameOf, shortId
} from '../../lib/cloud-tasks/names.js'
import {
  CloudTasksError, deadlineStatus, grpcCodeOf, grpcCodes, httpStatusOf, responseStatus, statusErrors, unreachableStatus
} from '../../lib/cloud-tasks/status.js'
import type { RetryConfig } from '../../lib/cloud-tasks/task.js'

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
    199: 2,
    200: 0,
    299: 0,
    300: 2,
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
  t.strictSame(responseStatus(503), { code: 14, message: 'UNAVAILABLE(14): HTTP status code 503' })
  t.equal(deadlineStatus().code, 4)
  t.match(deadlineStatus().message, /^DEADLINE_EXCEEDED\(4\): /)
  t.equal(unreachableStatus().code, 14)
  t.match(unreachableStatus().message, /^UNAVAILABLE\(14\): /)
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
  t.strictSame(statusErrors.queueName().details, [{
    '@type': 'type.googleapis.com/google.rpc.Help',
    links: [{
      description: 'Definition of queue name',
      url: 'https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#Queue.FIELDS.name'
    }]
  }])
  t.equal(statusErrors.notFound().details, undefined)
  t.notOk('cause' in statusErrors.notFound())
  t.equal(error.name, 'CloudTasksError')
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
  t.equal(backoffMs(retry({ minBackoffSeconds: 0, maxDoublings: 5000 }), 4000), 0)
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
  t.notOk(isExhausted(both, 3, start, after(60)), 'attempts alone are not enough')
  t.notOk(isExhausted(both, 2, start, after(61)), 'time alone is not enough')
  t.ok(isExhausted(both, 3, start, after(61)))
  t.notOk(isExhausted(retry({ maxAttempts: -1 }), 1e6, start, after(1e9)))
})

t.test('a task lives for 31 days at most', async t => {
  t.equal(RETENTION_MS, 2_678_400_000)
})

t.test('each error has the code that the service gives it', async t => {
  const codes = {
    ALREADY_EXISTS: ['queueExists', 'taskExists', 'taskExistedRecently'],
    FAILED_PRECONDITION: ['queueExistedRecently', 'noHttpTarget'],
    NOT_FOUND: ['queueNotFound', 'notFound', 'taskGone'],
    ABORTED: ['concurrentPolicyChange', 'wholeBatchFailed'],
    INTERNAL: ['internal'],
    UNAVAILABLE: ['notOpen', 'notStarted', 'notStored']
  } as const
  const expected = new Map(Object.entries(codes).flatMap(([code, names]) => names.map(name => [name as string, code])))
  for (const [name, create] of Object.entries(statusErrors)) {
    const error = (create as (...values: string[]) => CloudTasksError)('one', 'two')
    t.equal(error.code, expected.get(name) ?? 'INVALID_ARGUMENT', name)
    t.not(error.message, '', name)
  }
  const cause = new Error('a bug')
  t.equal(statusErrors.internal(cause).cause, cause)
})

t.test('an error repeats at most the first thousand characters of a value', async t => {
  const shown = (text: string): string => statusErrors.unknownLocation(text).message.split("'")[1]!
  t.equal(shown('x'.repeat(1000)), 'x'.repeat(1000))
  t.equal(shown('x'.repeat(1001)), `${'x'.repeat(1000)}...`)
  t.equal(shown(`${'x'.repeat(999)}\u{1F600}`), `${'x'.repeat(999)}...`, 'and no half of a character')
  t.equal(shown(`\u{1F600}${'x'.repeat(1000)}`), `\u{1F600}${'x'.repeat(998)}...`)
})

t.test('names and ids are checked from their first character to their last', async t => {
  const location = 'projects/p/locations/l'
  for (const [name, parse] of [
    [location, parseLocationName], [`${location}/queues/q`, parseQueueName], [`${location}/queues/q/tasks/t`, parseTaskName]
  ] as const) {
    t.not(parse(name), undefined, name)
    for (const bad of [`x${name}`, ` ${name}`, `/${name}`, name.replace('/p/', '//'), name.replace('/p/', '/p_/'), name.replace('/l', '/'),
      name.replace('/locations/l', '/locations/l.'), name.replace('projects', 'project')]) {
      t.equal(parse(bad), undefined, bad)
    }
  }
  t.equal(parseLocationName(`${location}/`), undefined)
  t.equal(parseQueueName(`${location}/queues/q `), undefined)
  t.equal(parseTaskName(`${location}/queues/${'q'.repeat(101)}/tasks/t`), undefined)
  t.strictSame(parseTaskName(`${location}/queues/q/tasks/a\nb`)?.task, 'a\nb')
  for (const [check, good] of [[isProjectId, 'a:b.c-9'], [isLocationId, 'a-9'], [isQueueId, 'a-9'], [isTaskId, 'a_-9']] as const) {
    t.ok(check(good), good)
    for (const bad of ['', ` ${good}`, `${good} `, `${good}/`, `${good}\n`]) t.notOk(check(bad), JSON.stringify(bad))
  }
  t.notOk(isQueueId('q'.repeat(101)))
})

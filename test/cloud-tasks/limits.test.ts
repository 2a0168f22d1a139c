import { protos } from '@google-cloud/tasks'
import fc from 'fast-check'
import t from 'tap'
import {
  checkQueueSettings, completeQueueSettings, deadlineProblem, DEFAULT_QUEUE_SETTINGS, maxBurstSize
} from '../../lib/cloud-tasks/limits.js'
import { checkNewTask, withStoredDefaults } from '../../lib/cloud-tasks/new-task.js'
import { appEngineHost, MAX_TASK_BYTES, storedSize } from '../../lib/cloud-tasks/size.js'
import { CloudTasksError } from '../../lib/cloud-tasks/status.js'
import type { AppEngineHttpRequest, HttpRequest, NewQueueSettings, NewTask, Task } from '../../lib/cloud-tasks/task.js'

const queue = 'projects/p/locations/l/queues/q'
const now = Date.parse('2030-01-01T00:00:00.700Z')
const url = 'http://localhost/work'

/** The text with which something is refused as INVALID_ARGUMENT; undefined when it passes. */
function refusal (check: () => unknown): string | undefined {
  try {
    check()
  } catch (error) {
    if (!(error instanceof CloudTasksError) || error.code !== 'INVALID_ARGUMENT') throw error
    return error.message
  }
}

t.test('queue settings that are absent get the service\'s defaults', async t => {
  t.same(completeQueueSettings(), DEFAULT_QUEUE_SETTINGS)
  t.same(completeQueueSettings({ rateLimits: {}, retryConfig: {} }), DEFAULT_QUEUE_SETTINGS)
  const zeros = {
    rateLimits: { maxDispatchesPerSecond: 0, maxConcurrentDispatches: 0 },
    retryConfig: { maxAttempts: 0, maxBackoffSeconds: 0 }
  }
  t.same(completeQueueSettings(zeros), DEFAULT_QUEUE_SETTINGS, '0 is how the wire writes absent')
  const given = completeQueueSettings({
    rateLimits: { maxDispatchesPerSecond: 1.5 },
    retryConfig: { maxAttempts: -1, maxDoublings: 0, minBackoffSeconds: 0 }
  })
  t.same(given.rateLimits, { maxDispatchesPerSecond: 1.5, maxConcurrentDispatches: 1000, maxBurstSize: 10 })
  t.hasStrict(given.retryConfig, { maxAttempts: -1, maxDoublings: 0, minBackoffSeconds: 0, maxBackoffSeconds: 3600 })
})

t.test('the burst follows the rate and cannot be set', async t => {
  t.same([1, 50, 51, 500].map(maxBurstSize), [10, 10, 11, 100])
  t.equal(completeQueueSettings({ rateLimits: { maxBurstSize: -5 } }).rateLimits.maxBurstSize, 100)
})

t.test('a default backoff gives way to the bound that was given', async t => {
  t.hasStrict(completeQueueSettings({ retryConfig: { maxBackoffSeconds: 0.05 } }).retryConfig, {
    minBackoffSeconds: 0.05,
    maxBackoffSeconds: 0.05
  })
  t.hasStrict(completeQueueSettings({ retryConfig: { minBackoffSeconds: 7200 } }).retryConfig, {
    minBackoffSeconds: 7200,
    maxBackoffSeconds: 7200
  })
})

t.test('invalid queue settings are rejected with the service\'s messages', async t => {
  const rate = (rateLimits: NonNullable<NewQueueSettings['rateLimits']>): string | undefined =>
    refusal(() => checkQueueSettings({ rateLimits }))
  const retry = (retryConfig: NonNullable<NewQueueSettings['retryConfig']>): string | undefined =>
    refusal(() => checkQueueSettings({ retryConfig }))
  t.equal(rate({ maxDispatchesPerSecond: -1 }), 'RateLimits.maxDispatchesPerSecond cannot be negative.')
  t.equal(rate({ maxDispatchesPerSecond: 500.1 }), 'RateLimits.maxDispatchesPerSecond must be less than or equal to 500.')
  t.equal(rate({ maxConcurrentDispatches: -1 }), 'RateLimits.maxConcurrentDispatches cannot be negative.')
  t.equal(rate({ maxConcurrentDispatches: 5001 }), 'RateLimits.maxConcurrentDispatches must be less than or equal to 5000.')
  t.equal(retry({ maxAttempts: -2 }), 'RetryConfig.maxAttempts must be greater or equal to -1.')
  t.equal(retry({ maxDoublings: -1 }), 'RetryConfig.maxDoublings cannot be negative.')
  t.equal(retry({ minBackoffSeconds: -1 }), 'RetryConfig.minBackoff cannot be negative.')
  t.equal(
    retry({ minBackoffSeconds: 10, maxBackoffSeconds: 5 }),
    'RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.'
  )
  t.equal(rate({ maxDispatchesPerSecond: 500, maxConcurrentDispatches: 5000 }), undefined)
  t.equal(retry({ minBackoffSeconds: 5, maxBackoffSeconds: 5, maxAttempts: -1, maxDoublings: 0 }), undefined)
  // Words of our own.
  t.equal(retry({ maxRetrySeconds: -1 }), 'RetryConfig.maxRetryDuration cannot be negative.')
  t.equal(retry({ maxBackoffSeconds: -1 }), 'RetryConfig.maxBackoff cannot be negative.')
  t.equal(rate({ maxDispatchesPerSecond: NaN }), 'RateLimits.maxDispatchesPerSecond must be a number.')
  t.equal(retry({ maxRetrySeconds: Infinity }), 'RetryConfig.maxRetryDuration must be a number.')
  t.equal(rate({ maxConcurrentDispatches: 1.5 }), 'RateLimits.maxConcurrentDispatches must be a whole number.')
  t.equal(retry({ maxAttempts: 1.5 }), 'RetryConfig.maxAttempts must be a whole number.')
})

t.test('settings without a default are kept as given, within their ranges', async t => {
  const day = 24 * 3600
  const extras = {
    appEngineRoutingOverride: { service: 's' },
    httpTarget: { httpMethod: 'GET' as const },
    samplingRatio: 1,
    chosenBurstSize: 500,
    taskTtlSeconds: 10 * day,
    tombstoneTtlSeconds: 3600
  }
  const { rateLimits, retryConfig } = DEFAULT_QUEUE_SETTINGS
  t.strictSame(completeQueueSettings(extras), { rateLimits: { ...rateLimits, maxBurstSize: 500 }, retryConfig, ...extras })
  t.strictSame(completeQueueSettings({ samplingRatio: undefined } as never), DEFAULT_QUEUE_SETTINGS)
  t.equal(completeQueueSettings({ chosenBurstSize: 0 }).rateLimits.maxBurstSize, 100)
  for (const good of [{ samplingRatio: 0 }, { taskTtlSeconds: 3650 * day }, { tombstoneTtlSeconds: 9 * day }]) {
    t.equal(refusal(() => checkQueueSettings(good)), undefined)
  }
  const ttl = 'Queue.taskTtl must be between 10 days and 10 years.'
  const tombstone = 'Queue.tombstoneTtl must be between 1 hour and 9 days.'
  const table: Array<[NewQueueSettings, string]> = [
    [{ samplingRatio: -0.1 }, 'StackdriverLoggingConfig.samplingRatio cannot be negative.'],
    [{ samplingRatio: 1.1 }, 'StackdriverLoggingConfig.samplingRatio must be less than or equal to 1.'],
    [{ chosenBurstSize: 501 }, 'RateLimits.maxBurstSize must be less than or equal to 500.'],
    [{ chosenBurstSize: 1.5 }, 'RateLimits.maxBurstSize must be a whole number.'],
    [{ taskTtlSeconds: 10 * day - 1 }, ttl],
    [{ taskTtlSeconds: 3650 * day + 1 }, ttl],
    [{ taskTtlSeconds: NaN }, ttl],
    [{ tombstoneTtlSeconds: 3599 }, tombstone],
    [{ tombstoneTtlSeconds: 9 * day + 1 }, tombstone],
    [{ retryConfig: { maxDoublings: 1.5 } }, 'RetryConfig.maxDoublings must be a whole number.'],
    [{ httpTarget: { uriOverride: { host: '' } } }, 'HttpTarget.uriOverride.host is required.']
  ]
  for (const [settings, message] of table) t.equal(refusal(() => checkQueueSettings(settings)), message)
})

t.test('a queue outside of Cloud Tasks can have a higher rate', async t => {
  const settings = { rateLimits: { maxDispatchesPerSecond: 2000 } }
  t.equal(completeQueueSettings(settings, 2000).rateLimits.maxBurstSize, 400)
  t.equal(refusal(() => completeQueueSettings(settings, 1999)), 'RateLimits.maxDispatchesPerSecond must be less than or equal to 1999.')
})

t.test('a dispatch deadline lies between 15 seconds and what its target allows', async t => {
  for (const [target, max, range] of [
    ['http', 1800, '1800'], ['appEngine', 86_415, '86415'], [undefined, 86_415, '1800 (86415 on App Engine)']
  ] as const) {
    for (const seconds of [15, max]) t.equal(deadlineProblem(seconds, target), undefined)
    for (const seconds of [14.9, max + 1, NaN, '20']) {
      t.equal(deadlineProblem(seconds, target), `must be a number of seconds from 15 to ${range}`)
    }
  }
})

const task = (change: Partial<NewTask> = {}): string | undefined =>
  refusal(() => {
    checkNewTask(queue, { httpRequest: { url }, ...change }, now)
  })
const http = (request: Partial<HttpRequest>): string | undefined => task({ httpRequest: { url, ...request } })
function appEngine (request: AppEngineHttpRequest, dispatchDeadlineMs?: number): string | undefined {
  return refusal(() => { checkNewTask(queue, { appEngineHttpRequest: request, ...(dispatchDeadlineMs && { dispatchDeadlineMs }) }, now) })
}

t.test('invalid task names are rejected with the service\'s messages', async t => {
  t.equal(task({ name: `${queue}/tasks/a_B-9` }), undefined)
  t.equal(task({ name: `${queue}/tasks/not a valid id` }), 'Task ID "not a valid id" can contain only letters ([A-Za-z]), ' +
    'numbers ([0-9]), hyphens (-), or underscores (_). Task ID must between 1 and 500 characters.')
  t.match(task({ name: `${queue}/tasks/${'a'.repeat(501)}` }), /^Task ID "a{501}" can contain only/)
  t.equal(task({ name: 'nonsense' }),
    'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"')
  t.equal(task({ name: `${queue}-other/tasks/t` }),
    `The queue name from request ('${queue}') must be the same as the queue name in the named task ('${queue}-other').`)
})

t.test('invalid requests are rejected with the service\'s messages', async t => {
  t.equal(refusal(() => { checkNewTask(queue, {}, now) }), 'Task.payload_type is not set.')
  t.equal(http({ url: '' }), 'HttpRequest.url is required.')
  for (const bad of ['localhost/x', 'ftp://localhost/x', '/x']) {
    t.equal(http({ url: bad }), "HttpTarget.url must start with 'http://' or 'https://'.")
  }
  t.equal(http({ url: 'x http://localhost/' }), "HttpTarget.url must start with 'http://' or 'https://'.")
  t.equal(http({ url: 'HTTPS://localhost/' }), undefined)
  t.equal(task({ appEngineHttpRequest: {} }), 'Task.payload_type is not set.', 'nor with two requests')
  t.equal(task({ retryConfig: { maxAttempts: -2 } }), 'RetryConfig.maxAttempts must be greater or equal to -1.')
  t.equal(http({ url: 'https://localhost/%zz' }), undefined, 'production accepts a bad escape')
  t.equal(http({ oidcToken: { serviceAccountEmail: 'a@example.com' } }), undefined, 'tokens over http are for local targets')

  for (const dispatchDeadlineMs of [14_999, 1_800_001, NaN]) {
    t.equal(task({ dispatchDeadlineMs }), 'Task.dispatchDeadline must be between [15s, 30m].')
  }
  for (const dispatchDeadlineMs of [15_000, 1_800_000]) t.equal(task({ dispatchDeadlineMs }), undefined)
  for (const ms of [14_999, 86_415_001]) t.equal(appEngine({}, ms), 'Task.dispatchDeadline must be between [15s, 24h15s].')
  for (const ms of [15_000, 86_415_000]) t.equal(appEngine({}, ms), undefined)
})

t.test('what production rejects only according to its documentation is rejected too', async t => {
  const body = Buffer.from('x')
  t.equal(http({ body }), undefined)
  t.equal(appEngine({ body }), undefined)
  for (const httpMethod of ['POST', 'PUT', 'PATCH'] as const) t.equal(http({ httpMethod, body }), undefined)
  for (const httpMethod of ['GET', 'HEAD', 'DELETE', 'OPTIONS'] as const) {
    t.equal(http({ httpMethod, body }), 'HttpRequest.body is only allowed with POST, PUT, PATCH.')
    t.equal(http({ httpMethod, body: Buffer.alloc(0) }), undefined)
  }
  t.equal(appEngine({ httpMethod: 'PATCH', body }), 'AppEngineHttpRequest.body is only allowed with POST, PUT.')
  t.equal(appEngine({ httpMethod: 'PUT', body }), undefined)

  const path = (length: number): string => 'http://a/'.padEnd(length, 'x')
  t.equal(http({ url: path(2083) }), undefined)
  t.equal(http({ url: path(2084) }), 'HttpRequest.url must be at most 2083 characters.')
  t.equal(http({ url: path(2074) + 'ä ' }), undefined, 'counts characters as they are when encoded')
  t.equal(http({ url: path(2075) + 'ä ' }), 'HttpRequest.url must be at most 2083 characters.')

  for (const relativeUri of ['', '/', '/a?b=c#d', '/'.padEnd(2083, 'x')]) t.equal(appEngine({ relativeUri }), undefined)
  for (const relativeUri of ['a', ' /a', '/a b']) {
    t.equal(appEngine({ relativeUri }), "AppEngineHttpRequest.relativeUri must start with '/' and contain no spaces.")
  }
  t.equal(appEngine({ relativeUri: '/'.padEnd(2084, 'x') }), 'AppEngineHttpRequest.relativeUri must be at most 2083 characters.')

  t.equal(http({ headers: { a: 'x'.repeat(80 * 1024 - 2) } }), undefined)
  t.equal(http({ headers: { a: 'ä'.repeat(40 * 1024), b: '' } }), 'HttpRequest.headers must be less than 80KB.')
  t.equal(http({ headers: { a: 'x'.repeat(80 * 1024 - 1) } }), 'HttpRequest.headers must be less than 80KB.')
})

t.test('a schedule may lie at most 30 days ahead', async t => {
  t.equal(task({ scheduleAt: now + 30 * 24 * 3600 * 1000 }), undefined)
  t.equal(task({ scheduleAt: now + 30 * 24 * 3600 * 1000 + 1 }),
    'The Task.scheduleTime, 2030-01-30T16:00:00-08:00, is too far in the future. Schedule time must be no more than 720h in the future.')
  t.equal(task({ scheduleAt: Date.parse('2100-01-01T00:00:00Z') }),
    'The Task.scheduleTime, 2099-12-31T16:00:00-08:00, is too far in the future. Schedule time must be no more than 720h in the future.')
  t.match(task({ scheduleAt: Date.parse('2031-07-01T12:00:00Z') }), /2031-07-01T05:00:00-07:00/, 'summer time')
  t.equal(task({ scheduleAt: 0 }), undefined)
  t.equal(task({ scheduleAt: NaN }), 'Task.scheduleTime must be a number.')
})

t.test('a task is stored with the service\'s times and an id of its own', async t => {
  const stored = withStoredDefaults(queue, { httpRequest: { url } }, now)
  t.match(stored.name, /^projects\/p\/locations\/l\/queues\/q\/tasks\/\d+$/)
  t.equal(stored.generatedId, true)
  t.hasStrict(stored, {
    scheduleAt: now,
    createdAt: now - 700,
    dispatchCount: 0,
    responseCount: 0,
    executionCount: 0,
    dispatchDeadlineMs: 600_000
  })
  const named = withStoredDefaults(
    queue,
    { name: `${queue}/tasks/t`, httpRequest: { url }, scheduleAt: now + 0.1234567, dispatchDeadlineMs: 15_000.9 },
    now
  )
  t.equal(named.name, `${queue}/tasks/t`)
  t.equal('generatedId' in named, false)
  t.equal('retryConfig' in named, false)
  t.strictSame(withStoredDefaults(queue, { httpRequest: { url }, retryConfig: { maxAttempts: 3 } }, now).retryConfig, {
    ...DEFAULT_QUEUE_SETTINGS.retryConfig, maxAttempts: 3
  })
  t.equal(named.scheduleAt, Math.round((now + 0.1234567) * 1000) / 1000, 'whole microseconds')
  t.equal(named.dispatchDeadlineMs, 15_000, 'whole milliseconds')
  t.equal(withStoredDefaults(queue, { httpRequest: { url }, scheduleAt: 5 }, now).scheduleAt, now, 'the past means now')
})

t.test('headers are stored as production stores them', async t => {
  const body = Buffer.from('{"hello":"world"}')
  const ownHeaders = { 'X-Mixed-Case': 'preserve-me', 'content-type': 'application/json' }
  const storedHttp = (request: Partial<HttpRequest>): HttpRequest | undefined =>
    withStoredDefaults(queue, { httpRequest: { url, ...request } }, now).httpRequest
  const storedAppEngine = (request: AppEngineHttpRequest): AppEngineHttpRequest | undefined =>
    withStoredDefaults(queue, { appEngineHttpRequest: request }, now).appEngineHttpRequest
  const agent = 'AppEngine-Google; (+http://code.google.com/appengine)'

  t.same(storedHttp({ body, headers: ownHeaders }), {
    url,
    httpMethod: 'POST',
    body,
    headers: { ...ownHeaders, 'User-Agent': 'Google-Cloud-Tasks' }
  })
  t.same(storedHttp({ headers: { 'user-AGENT': 'mine' } })?.headers, { 'User-Agent': 'Google-Cloud-Tasks' })
  t.same(storedAppEngine({ body, headers: ownHeaders }), {
    httpMethod: 'POST', relativeUri: '/', body, headers: { ...ownHeaders, 'User-Agent': agent, 'Content-Length': '17' }
  })
  t.same(storedAppEngine({ body })?.headers, { 'User-Agent': agent, 'Content-Type': 'application/octet-stream', 'Content-Length': '17' })
  t.same(storedAppEngine({ headers: { 'user-agent': 'mine' } })?.headers, { 'User-Agent': `mine ${agent}` }, 'a custom agent is kept')
  t.strictSame(storedAppEngine({ body: Buffer.alloc(0), headers: { 'CONTENT-length': '9' } })?.headers, { 'User-Agent': agent })
  const similar = { 'x-user-agent': '1', 'user-agents': '2', 'x-content-length': '3', 'content-length-x': '4' }
  t.strictSame(storedHttp({ headers: similar })?.headers, { ...similar, 'User-Agent': 'Google-Cloud-Tasks' })
  t.strictSame(storedAppEngine({ headers: similar })?.headers, { ...similar, 'User-Agent': agent })
  t.strictSame(storedHttp({ httpMethod: 'PUT' }), { url, httpMethod: 'PUT', headers: { 'User-Agent': 'Google-Cloud-Tasks' } })
  t.hasStrict(storedAppEngine({ httpMethod: 'PUT', relativeUri: '/x' }), { httpMethod: 'PUT', relativeUri: '/x' })
  const tokens = { oidcToken: { serviceAccountEmail: 'a' }, oauthToken: { serviceAccountEmail: 'b' } }
  t.hasStrict(storedHttp(tokens), tokens)
  t.equal('dispatchDeadlineMs' in withStoredDefaults(queue, { appEngineHttpRequest: {} }, now), false)
  t.equal(withStoredDefaults(queue, { appEngineHttpRequest: {}, dispatchDeadlineMs: 20_000.9 }, now).dispatchDeadlineMs, 20_000)
})

/** The size of google.cloud.tasks.v2.Task on the wire. */
function encodedSize (task: Task): number {
  const seconds = (ms: number): { seconds: number, nanos: number } => {
    const micros = Math.floor(ms * 1000)
    return { seconds: Math.floor(micros / 1e6), nanos: micros % 1e6 * 1000 }
  }
  // protobuf.js writes defaults that are set, which the canonical encoding leaves out.
  const sparse = (value: object): object =>
    Object.fromEntries(
      Object.entries(value)
        .filter(([key, value]) => key === 'headers' || (value !== undefined && value !== '' && value !== 0 && value?.length !== 0))
        .map(([key, value]) => [
          key,
          key !== 'headers' && typeof value === 'object' && !(value instanceof Uint8Array) ? sparse(value) : value
        ])
    )
  const { httpRequest, appEngineHttpRequest, dispatchDeadlineMs } = task
  const message = sparse({
    name: task.name,
    scheduleTime: seconds(task.scheduleAt),
    createTime: seconds(task.createdAt),
    dispatchDeadline: dispatchDeadlineMs === undefined ? undefined : seconds(dispatchDeadlineMs),
    httpRequest,
    appEngineHttpRequest: appEngineHttpRequest && {
      ...appEngineHttpRequest, appEngineRouting: { host: appEngineHost(appEngineHttpRequest.appEngineRouting, 'p') }
    }
  })
  const { Task } = protos.google.cloud.tasks.v2
  return Task.encode(Task.fromObject(message)).finish().length
}

t.test('the size is that of the protobuf message', async t => {
  const text = fc.string({ unit: 'grapheme', maxLength: 300 })
  const headers = fc.dictionary(fc.string({ minLength: 1, maxLength: 40 }).filter(key => key !== '__proto__'), text, { maxKeys: 5 })
  const common = {
    headers, httpMethod: fc.constantFrom('POST' as const, 'PUT' as const), body: fc.uint8Array({ maxLength: 20_000 })
  }
  const httpRequest = fc.record({
    ...common,
    url: text.map(path => `http://${path}`),
    oidcToken: fc.record({ serviceAccountEmail: text, audience: text }, { requiredKeys: ['serviceAccountEmail'] })
  }, { requiredKeys: ['url'] })
  const appEngineHttpRequest = fc.record({
    ...common,
    relativeUri: text.map(path => `/${path}`),
    appEngineRouting: fc.record({ service: text, version: text, instance: text }, { requiredKeys: [] })
  }, { requiredKeys: [] })
  const times = {
    name: fc.stringMatching(/^[A-Za-z0-9_-]{1,500}$/).map(id => `${queue}/tasks/${id}`),
    scheduleAt: fc.integer({ min: 0, max: 3e15 }).map(micros => micros / 1000),
    dispatchDeadlineMs: fc.integer({ min: 15_000, max: 86_415_000 })
  }
  const newTask = fc.oneof(
    fc.record({ ...times, httpRequest }, { requiredKeys: ['httpRequest'] }),
    fc.record({ ...times, appEngineHttpRequest }, { requiredKeys: ['appEngineHttpRequest'] }))
  fc.assert(fc.property(newTask, fc.integer({ min: 0, max: 4e12 }), (newTask, at) => {
    const stored = withStoredDefaults(queue, newTask as NewTask, at)
    t.equal(storedSize(stored), encodedSize(stored))
  }), { numRuns: 300 })
  const oauth = withStoredDefaults(queue, { httpRequest: { url, oauthToken: { serviceAccountEmail: 'a@example.com', scope: 's' } } }, now)
  t.equal(storedSize(oauth), encodedSize(oauth))
})

t.test('the largest task is one of 2^20 - 7 bytes', async t => {
  const sized = (length: number): number =>
    storedSize(withStoredDefaults(queue, { name: `${queue}/tasks/t`, httpRequest: { url, body: Buffer.alloc(length) } }, now))
  const overhead = sized(1_000_000) - 1_000_000
  t.equal(sized(MAX_TASK_BYTES - overhead), MAX_TASK_BYTES)
  t.equal(MAX_TASK_BYTES, 2 ** 20 - 7)
})

t.test('an App Engine task weighs its host, whose region has two letters', async t => {
  t.equal(appEngineHost(undefined, 'p'), 'p.xx.r.appspot.com')
  t.equal(appEngineHost({ service: 's', version: 'v' }, 'p', 'uc'), 'v.s.p.uc.r.appspot.com')
  t.equal(appEngineHost({ host: 'h' }, 'p'), 'h')
  t.equal(appEngineHost({ host: '', instance: 'i', version: '', service: 's' }, 'p'), 'i.s.p.xx.r.appspot.com')
})

import t from 'tap'
import type { QueueExtras } from '../../../lib/cloud-tasks/task.js'
import { queueMessage, readQueue, settingsMessage } from '../../../lib/emulator/messages/queue.js'
import { readTask, taskMessage } from '../../../lib/emulator/messages/task.js'
import { durationMessage, readDuration, readTimestamp, timestampMessage } from '../../../lib/emulator/messages/times.js'
import { queue } from '../../support/engine-harness.js'

const url = 'https://example.com/work'
const INVALID = 'INVALID_ARGUMENT'

t.test('times and durations are the same numbers in both directions', async t => {
  for (const [at, message] of [
    [0, { seconds: 0, nanos: 0 }],
    [1500, { seconds: 1, nanos: 500_000_000 }],
    [-1, { seconds: -1, nanos: 999_000_000 }],
    [1_721_236_265_266.817, { seconds: 1_721_236_265, nanos: 266_817_000 }]
  ] as const) {
    t.strictSame(timestampMessage(at), message)
    t.equal(readTimestamp('f', message), at)
  }
  t.equal(readTimestamp('f', { nanos: 1_999 }), 0.001, 'to the microsecond, cut off')
  t.equal(readTimestamp('f', { seconds: 3 }), 3000)
  t.throws(() => readTimestamp('Task.f', { nanos: -1 }), { code: INVALID, message: /^Task\.f / })
  for (const [seconds, message] of [
    [0, { seconds: 0, nanos: 0 }],
    [1.5, { seconds: 1, nanos: 500_000_000 }],
    [0.1, { seconds: 0, nanos: 100_000_000 }],
    [-0.25, { seconds: -1, nanos: 750_000_000 }],
    [1.9999999999, { seconds: 2, nanos: 0 }]
  ] as const) t.strictSame(durationMessage(seconds), message)
  t.equal(readDuration('f', { seconds: 1, nanos: 500_000_000 }), 1.5)
  t.equal(readDuration('f', {}), 0)
  t.throws(() => readDuration('Queue.f', { seconds: 1, nanos: -1 }), { code: INVALID, message: /^Queue\.f / })
})

t.test('a task is read without what is empty or output-only, and shown with what is set', async t => {
  const body = Buffer.from('x')
  const noRouting = { service: '', version: '', instance: '', host: 'output only' }
  const routing = { service: 's', version: 'v', instance: 'i' }
  for (const [message, task] of [
    [{ name: '', httpRequest: { body: Buffer.alloc(0) }, createTime: { seconds: 1 }, dispatchCount: 7, view: 'FULL' }, { httpRequest: { url: '' } }],
    [{ name: 'n', httpRequest: { url, httpMethod: 'HTTP_METHOD_UNSPECIFIED', headers: {}, body } }, {
      name: 'n',
      httpRequest: { url, headers: {}, body }
    }],
    [{ httpRequest: { url, oidcToken: { audience: '' }, oauthToken: { scope: '' } } }, {
      httpRequest: { url, oidcToken: { serviceAccountEmail: '' }, oauthToken: { serviceAccountEmail: '' } }
    }],
    [{ httpRequest: { url, oidcToken: { serviceAccountEmail: 'a', audience: 'b' }, oauthToken: { serviceAccountEmail: 'a', scope: 's' } } }, {
      httpRequest: { url, oidcToken: { serviceAccountEmail: 'a', audience: 'b' }, oauthToken: { serviceAccountEmail: 'a', scope: 's' } }
    }],
    [{ appEngineHttpRequest: { relativeUri: '', body: Buffer.alloc(0), appEngineRouting: noRouting } }, {
      appEngineHttpRequest: { appEngineRouting: {} }
    }],
    [{ appEngineHttpRequest: { relativeUri: '/x', httpMethod: 'PUT', headers: { a: 'b' }, body, appEngineRouting: routing } }, {
      appEngineHttpRequest: { relativeUri: '/x', httpMethod: 'PUT', headers: { a: 'b' }, body, appEngineRouting: routing }
    }],
    [{ appEngineHttpRequest: {} }, { appEngineHttpRequest: {} }],
    [{ dispatchDeadline: { seconds: 15, nanos: 500_000_000 } }, { dispatchDeadlineMs: 15_500 }],
    [{ scheduleTime: {}, retryConfig: { maxAttempts: 0, maxDoublings: 2, maxBackoff: {} } }, {
      scheduleAt: 0,
      retryConfig: { maxDoublings: 2, maxBackoffSeconds: 0 }
    }]
  ] as const) t.strictSame(readTask(message), task, JSON.stringify(message))
  for (const httpMethod of ['POST', 'GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    t.equal(readTask({ httpRequest: { url, httpMethod } }).httpRequest!.httpMethod, httpMethod)
  }
  for (const bad of [{ pullMessage: {} }, { httpRequest: { url, httpMethod: 'TRACE' } }, { appEngineHttpRequest: { httpMethod: 77 } }]) {
    t.throws(() => readTask(bad), { code: 'INVALID_ARGUMENT' }, JSON.stringify(bad))
  }

  const stored = { name: `${queue}/tasks/t`, scheduleAt: 1500, createdAt: 1000, dispatchCount: 0, responseCount: 0, executionCount: 0 }
  const shown = {
    name: stored.name,
    scheduleTime: { seconds: 1, nanos: 500_000_000 },
    createTime: { seconds: 1, nanos: 0 },
    dispatchCount: 0,
    responseCount: 0
  }
  t.strictSame(taskMessage({ ...stored, httpRequest: { url, body } }, 'BASIC'), { ...shown, httpRequest: { url }, view: 'BASIC' })
  t.strictSame(taskMessage({ ...stored, httpRequest: { url, body } }, 'FULL'), { ...shown, httpRequest: { url, body }, view: 'FULL' })
  t.strictSame(taskMessage({ ...stored, appEngineHttpRequest: { body, appEngineRouting: { service: 's' } }, dispatchDeadlineMs: 15_500 }, 'BASIC'), {
    ...shown,
    appEngineHttpRequest: { appEngineRouting: { service: 's', host: 's.p.xx.r.appspot.com' } },
    dispatchDeadline: { seconds: 15, nanos: 500_000_000 },
    view: 'BASIC'
  })
  const attempts = {
    firstAttempt: { scheduleAt: 0, dispatchAt: 2000 },
    lastAttempt: { scheduleAt: 3000, dispatchAt: 4000, responseAt: 5000, responseStatus: { code: 14, message: 'm' } }
  }
  t.strictSame(taskMessage({ ...stored, httpRequest: { url }, ...attempts }, 'FULL'), {
    ...shown,
    httpRequest: { url },
    firstAttempt: { dispatchTime: { seconds: 2, nanos: 0 } },
    lastAttempt: {
      scheduleTime: { seconds: 3, nanos: 0 },
      dispatchTime: { seconds: 4, nanos: 0 },
      responseTime: { seconds: 5, nanos: 0 },
      responseStatus: { code: 14, message: 'm' }
    },
    view: 'FULL'
  })
  t.strictSame(taskMessage({ ...stored, httpRequest: { url }, lastAttempt: { scheduleAt: 3000, dispatchAt: 4000 } }, 'FULL').lastAttempt, {
    scheduleTime: { seconds: 3, nanos: 0 },
    dispatchTime: { seconds: 4, nanos: 0 }
  })
})

t.test('a queue is read without output-only fields, and a pull queue is rejected', async t => {
  t.strictSame(readQueue({}), { rateLimits: {}, retryConfig: {} })
  t.strictSame(readQueue({ type: 'PUSH', state: 'PAUSED', rateLimits: { maxDispatchesPerSecond: 0, maxConcurrentDispatches: 0 } }), {
    rateLimits: {},
    retryConfig: {}
  })
  t.strictSame(readQueue({ type: 'TYPE_UNSPECIFIED', stackdriverLoggingConfig: {}, rateLimits: { maxBurstSize: 0 } }), {
    rateLimits: {},
    retryConfig: {},
    samplingRatio: 0
  })
  for (const type of ['PULL', 77]) t.throws(() => readQueue({ type }), { code: INVALID })
  const httpTarget = {
    uriOverride: {
      scheme: 'SCHEME_UNSPECIFIED',
      uriOverrideEnforceMode: 'URI_OVERRIDE_ENFORCE_MODE_UNSPECIFIED',
      pathOverride: {},
      queryOverride: {}
    },
    httpMethod: 'HTTP_METHOD_UNSPECIFIED',
    headerOverrides: [{ header: {} }, {}],
    oidcToken: {},
    oauthToken: { scope: 's' }
  }
  t.strictSame(readQueue({ httpTarget }).httpTarget, {
    uriOverride: { path: '', queryParams: '' },
    headerOverrides: [{ key: '', value: '' }, { key: '', value: '' }],
    oidcToken: { serviceAccountEmail: '' },
    oauthToken: { serviceAccountEmail: '', scope: 's' }
  })
  t.strictSame(readQueue({ httpTarget: { headerOverrides: [] } }).httpTarget, {})
  for (const bad of [{ httpMethod: 'TRACE' }, { httpMethod: 77 }, { uriOverride: { scheme: 'FTP' } }, { uriOverride: { uriOverrideEnforceMode: 77 } }]) {
    t.throws(() => readQueue({ httpTarget: bad }), { code: INVALID }, JSON.stringify(bad))
  }
})

t.test('a value that cannot be read is rejected with the name of its field', async t => {
  const time = { nanos: -1 }
  const duration = { seconds: 1, nanos: -1 }
  for (const [field, read] of [
    ['Task.scheduleTime', () => readTask({ scheduleTime: time })],
    ['Task.dispatchDeadline', () => readTask({ dispatchDeadline: duration })],
    ['HttpRequest.httpMethod', () => readTask({ httpRequest: { url, httpMethod: 'TRACE' } })],
    ['AppEngineHttpRequest.httpMethod', () => readTask({ appEngineHttpRequest: { httpMethod: 'TRACE' } })],
    ['RetryConfig.maxRetryDuration', () => readTask({ retryConfig: { maxRetryDuration: duration } })],
    ['RetryConfig.minBackoff', () => readTask({ retryConfig: { minBackoff: duration } })],
    ['RetryConfig.maxBackoff', () => readQueue({ retryConfig: { maxBackoff: duration } })],
    ['Queue.taskTtl', () => readQueue({ taskTtl: duration })],
    ['Queue.tombstoneTtl', () => readQueue({ tombstoneTtl: duration })],
    ['HttpTarget.httpMethod', () => readQueue({ httpTarget: { httpMethod: 'TRACE' } })],
    ['HttpTarget.uriOverride.scheme', () => readQueue({ httpTarget: { uriOverride: { scheme: 'FTP' } } })],
    ['HttpTarget.uriOverride.uriOverrideEnforceMode', () => readQueue({ httpTarget: { uriOverride: { uriOverrideEnforceMode: 77 } } })]
  ] as const) t.throws(read, { code: INVALID, message: new RegExp(`^${field} `) }, field)
})

t.test('settings of a queue become a message with what is set, and that is read as the same settings', async t => {
  const rateLimits = { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 7, maxBurstSize: 9 }
  const retryConfig = { maxAttempts: 3, maxRetrySeconds: 0, minBackoffSeconds: 0.1, maxBackoffSeconds: 10, maxDoublings: 2 }
  const plain = {
    rateLimits: { maxDispatchesPerSecond: 5, maxConcurrentDispatches: 7 },
    retryConfig: { maxAttempts: 3, minBackoff: { seconds: 0, nanos: 100_000_000 }, maxBackoff: { seconds: 10, nanos: 0 }, maxDoublings: 2 }
  }
  const read = {
    rateLimits: plain.rateLimits,
    retryConfig: { maxAttempts: 3, minBackoffSeconds: 0.1, maxBackoffSeconds: 10, maxDoublings: 2 }
  }
  const uriOverride = { scheme: 'HTTP', host: 'h', port: 0, path: '', queryParams: '', enforceMode: 'ALWAYS' } as const
  const token = { serviceAccountEmail: 'a@x' }
  for (const [extras, message] of [
    [{}, {}],
    [{ appEngineRoutingOverride: { service: 's' } }, { appEngineRoutingOverride: { service: 's' } }],
    [{ samplingRatio: 0 }, { stackdriverLoggingConfig: { samplingRatio: 0 } }],
    [{ taskTtlSeconds: 5, tombstoneTtlSeconds: 6.5 }, {
      taskTtl: { seconds: 5, nanos: 0 },
      tombstoneTtl: { seconds: 6, nanos: 500_000_000 }
    }],
    [{ httpTarget: {} }, { httpTarget: {} }],
    [{ httpTarget: { uriOverride: {} } }, { httpTarget: { uriOverride: {} } }],
    [{ httpTarget: { uriOverride } }, {
      httpTarget: {
        uriOverride: {
          scheme: 'HTTP',
          host: 'h',
          port: 0,
          pathOverride: { path: '' },
          queryOverride: { queryParams: '' },
          uriOverrideEnforceMode: 'ALWAYS'
        }
      }
    }],
    [{ httpTarget: { uriOverride: { scheme: 'HTTPS', enforceMode: 'IF_NOT_EXISTS' } } }, {
      httpTarget: { uriOverride: { scheme: 'HTTPS', uriOverrideEnforceMode: 'IF_NOT_EXISTS' } }
    }],
    [{ httpTarget: { httpMethod: 'PUT', headerOverrides: [{ key: 'a', value: 'b' }], oidcToken: { ...token, audience: 'c' } } }, {
      httpTarget: { httpMethod: 'PUT', headerOverrides: [{ header: { key: 'a', value: 'b' } }], oidcToken: { ...token, audience: 'c' } }
    }],
    [{ httpTarget: { oauthToken: { ...token, scope: 's' } } }, { httpTarget: { oauthToken: { ...token, scope: 's' } } }]
  ] as ReadonlyArray<[QueueExtras, object]>) {
    const shown = settingsMessage({ rateLimits, retryConfig, ...extras })
    t.strictSame(shown, { ...plain, ...message }, JSON.stringify(extras))
    t.strictSame(readQueue(shown), { ...read, ...extras }, JSON.stringify(extras))
  }
  const burst = settingsMessage({ rateLimits, retryConfig: { ...retryConfig, maxRetrySeconds: 3 }, chosenBurstSize: 4 })
  t.strictSame(burst, {
    rateLimits: { ...plain.rateLimits, maxBurstSize: 4 },
    retryConfig: { ...plain.retryConfig, maxRetryDuration: { seconds: 3, nanos: 0 } }
  })
  t.strictSame(readQueue(burst), { ...read, retryConfig: { ...read.retryConfig, maxRetrySeconds: 3 }, chosenBurstSize: 4 })

  const stored = { name: queue, settings: { rateLimits, retryConfig }, state: 'PAUSED' } as const
  const whole = {
    ...plain,
    name: queue,
    appEngineHttpQueue: {},
    rateLimits,
    state: 'PAUSED',
    taskTtl: { seconds: 2_678_400 },
    tombstoneTtl: { seconds: 3600 },
    type: 'PUSH'
  }
  t.strictSame(queueMessage(stored), whole)
  const appEngineRoutingOverride = { service: 's' }
  const extras = { appEngineRoutingOverride, taskTtlSeconds: 5, tombstoneTtlSeconds: 6 }
  t.strictSame(queueMessage({ ...stored, settings: { ...stored.settings, ...extras }, purgedAt: 1500 }), {
    ...whole,
    appEngineRoutingOverride,
    appEngineHttpQueue: { appEngineRoutingOverride },
    purgeTime: { seconds: 1, nanos: 500_000_000 },
    taskTtl: { seconds: 5, nanos: 0 },
    tombstoneTtl: { seconds: 6, nanos: 0 }
  })
})

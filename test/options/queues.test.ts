import t from 'tap'
import { checkDeadLetterQueue, keepsDeadLetters } from '../../lib/options/dead-letter-queue.js'
import { resolveConfig, type Config } from '../../lib/options/config.js'
import { createRegistry } from '../../lib/registry/registry.js'

const CLOUD = { transport: 'cloud', project: 'demo', location: 'us-central1', target: { type: 'http', url: 'https://worker.example.com' } }

function resolve (options: object): Config {
  return resolveConfig({ tasks: {}, ...options }, {}, false)
}

/** The code and the message with which this is rejected. */
function rejection (work: () => unknown): readonly [string, string] {
  try {
    work()
  } catch (error) {
    const { code, message } = error as { code: string, message: string }
    return [code, message]
  }
  return ['was accepted', '']
}

t.test('settings of queues that are not given are those of Cloud Tasks', async t => {
  const retryConfig = { maxAttempts: 100, maxRetrySeconds: 0, minBackoffSeconds: 0.1, maxBackoffSeconds: 3600, maxDoublings: 16 }
  const given = {
    rateLimits: { maxDispatchesPerSecond: 50, maxConcurrentDispatches: 7 },
    retryConfig: { maxAttempts: -1, maxRetrySeconds: 5, minBackoffSeconds: 2, maxBackoffSeconds: 2, maxDoublings: 0 }
  }
  t.strictSame(resolve({ queues: { plain: {}, 'A-1': given } }).queues, new Map([
    ['plain', { rateLimits: { maxDispatchesPerSecond: 500, maxConcurrentDispatches: 1000, maxBurstSize: 100 }, retryConfig }],
    ['A-1', { rateLimits: { ...given.rateLimits, maxBurstSize: 10 }, retryConfig: given.retryConfig }]
  ]))
})

t.test('invalid settings of queues are rejected with the name of the queue', async t => {
  for (const [queues, words] of [
    [[], "'queues' must be an object"],
    [{ a_b: {} }, "'queues.a_b': a queue id consists of"],
    [{ a: 5 }, "'queues.a' must be an object"],
    [{ a: [] }, "'queues.a' must be an object"],
    [{ a: { ratelimits: {} } }, "'queues.a': unknown option 'ratelimits'; did you mean 'rateLimits'?"],
    [{ a: { rateLimits: { maxBurstSize: 5 } } }, "'queues.a.rateLimits': unknown option 'maxBurstSize'"],
    [{ a: { retryConfig: { maxRetry: 5 } } }, "'queues.a.retryConfig': unknown option 'maxRetry'; valid options are 'maxAttempts', "],
    [{ a: { retryConfig: { maxAttempts: 0 } } }, "'queues.a.retryConfig.maxAttempts' counts the first attempt"],
    [{ a: { retryConfig: { maxAttempts: Infinity } } }, "'queues.a.retryConfig.maxAttempts' must be a whole number"],
    [
      { b: {}, a: { retryConfig: { minBackoffSeconds: 10, maxBackoffSeconds: 5 } } },
      "'queues.a.retryConfig.minBackoffSeconds' must not be more than 'maxBackoffSeconds'"
    ]
  ] as const) {
    const [code, message] = rejection(() => resolve({ queues }))
    t.equal(code, 'FST_TASKS_INVALID_OPTION')
    t.ok(message.startsWith(words), message)
  }
})

t.test('a bound of the backoff may be the other one, or beyond the default of the one that is not given', async t => {
  for (const [retryConfig, min, max] of [
    [{ minBackoffSeconds: 5, maxBackoffSeconds: 5 }, 5, 5],
    [{ minBackoffSeconds: 7200 }, 7200, 7200],
    [{ maxBackoffSeconds: 0.05 }, 0.05, 0.05]
  ] as const) {
    const { minBackoffSeconds, maxBackoffSeconds } = resolve({ queues: { a: { retryConfig } } }).queues.get('a')!.retryConfig
    t.strictSame([minBackoffSeconds, maxBackoffSeconds], [min, max])
  }
})

t.test('only the embedded queue may dispatch more than 500 tasks a second', async t => {
  const queues = (maxDispatchesPerSecond: number) => ({ queues: { fast: { rateLimits: { maxDispatchesPerSecond } } } })
  t.equal(resolve(queues(501)).queues.get('fast')?.rateLimits.maxDispatchesPerSecond, 501)
  t.equal(resolve({ ...CLOUD, ...queues(500) }).queues.get('fast')?.rateLimits.maxDispatchesPerSecond, 500)
  const [code, message] = rejection(() => resolve({ ...CLOUD, ...queues(501) }))
  t.equal(code, 'FST_TASKS_INVALID_OPTION')
  t.ok(message.startsWith("'queues.fast': "), message)
})

const registry = createRegistry({
  mail: { payload: {} },
  rare: { payload: {}, queue: 'slow' },
  secret: { payload: {}, queue: 'vault', deadLetterQueue: false }
})

t.test('a dead-letter queue that other tasks use is rejected', async t => {
  const check = (options: object) => rejection(() => { checkDeadLetterQueue(registry, resolve(options)) })
  t.strictSame(check({}), ['was accepted', ''])
  t.strictSame(check({ deadLetterQueue: 'dead', queues: { slow: {} } }), ['was accepted', ''])
  for (const [options, words] of [
    [{ deadLetterQueue: 'default' }, "is 'default', the plugin's own 'queue'"],
    [{ deadLetterQueue: 'mine', queue: 'mine' }, "is 'mine', the plugin's own 'queue'"],
    [{ deadLetterQueue: 'dead', queues: { dead: {} } }, "is 'dead', which the option 'queues' names"],
    [{ deadLetterQueue: 'slow' }, "is 'slow', the queue of task 'rare'"],
    [{ deadLetterQueue: 'vault' }, "is 'vault', the queue of task 'secret'"]
  ] as const) {
    const [code, message] = check(options)
    t.equal(code, 'FST_TASKS_INVALID_OPTION')
    t.ok(message.includes(words), message)
  }
})

t.test('a queue keeps dead letters if one of its tasks does', async t => {
  const keeps = (options: object) =>
    ['default', 'mine', 'slow', 'vault', 'other'].filter(id => keepsDeadLetters(id, registry, resolve(options)))
  t.strictSame(keeps({ deadLetterQueue: 'dead' }), ['default', 'slow'])
  t.strictSame(keeps({ deadLetterQueue: 'dead', queue: 'mine' }), ['mine', 'slow'])
  t.strictSame(keeps({ deadLetterQueue: 'dead', queue: 'vault' }), ['slow', 'vault'])
  t.strictSame(keeps({}), [])
})

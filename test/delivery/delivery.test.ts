import { AsyncLocalStorage, createHook } from 'node:async_hooks'
import t from 'tap'
import { AttemptScope } from '../../lib/delivery/attempt-scope.js'
import * as headers from '../../lib/delivery/headers.js'
import { OneTimeSecrets } from '../../lib/delivery/one-time-secrets.js'
import { routePath } from '../../lib/delivery/path.js'
import { scopeChannel, type ScopeEvent } from '../../lib/events.js'

t.test('a secret is valid once, in any order, and no other text is', async t => {
  const secrets = new OneTimeSecrets()
  const [first, second, third] = [secrets.issue(), secrets.issue(), secrets.issue()]
  t.strictSame([second, first, third].map(secret => secrets.take(secret)), [true, true, true])
  t.strictSame([second, first, third].map(secret => secrets.take(secret)), [false, false, false])
  const valid = secrets.issue()
  const texts = ['', 'x', '-1', '0', '0-', '99-x', 'NaN', 'undefined', `${valid}0`, valid.slice(0, -1), `${valid} `, ` ${valid}`]
  for (const text of texts) {
    t.equal(secrets.take(text), false, text)
  }
  t.equal(new OneTimeSecrets().take(valid), false, 'that of another queue')
  t.equal(secrets.take(valid), true)
})

t.test('a secret has 128 random bits behind a number that is used again', async t => {
  const secrets = new OneTimeSecrets()
  const seen = new Set<string>()
  for (let i = 0; i < 600; i++) {
    const secret = secrets.issue()
    if (/^0-[0-9a-f]{32}$/.test(secret)) seen.add(secret)
    secrets.take(secret)
  }
  t.equal(seen.size, 600)
  const [one, two] = [secrets.issue(), secrets.issue()]
  t.strictSame([one, two].map(secret => secret.split('-')[0]), ['0', '1'])
  t.equal(secrets.take(one), true)
  t.equal(secrets.take(one.replace(/^0/, '1')), false)
  t.equal(secrets.issue().split('-')[0], '0')
  t.equal(secrets.take(two), true)
})

t.test('the headers of tasks and answers have the names that other versions of this package read', async t => {
  const { reservedHeader, ...names } = headers
  t.strictSame({ ...names }, {
    DEADLINE_HEADER: 'fastify-cloud-tasks-deadline',
    RETRY_HEADER: 'fastify-cloud-tasks-retry',
    RETRY_BY_QUEUE: 'queue',
    TRACE_PARENT_HEADER: 'fastify-cloud-tasks-traceparent',
    TRACE_STATE_HEADER: 'fastify-cloud-tasks-tracestate',
    LIFE_HEADER: 'fastify-cloud-tasks-life',
    ORIGIN_HEADER: 'fastify-cloud-tasks-origin',
    SECRET_HEADER: 'fastify-cloud-tasks-secret',
    RESULT_HEADER: 'fastify-cloud-tasks-result',
    CLOSING_RESULT: 'closing'
  })
})

t.test('headers that the service, HTTP or this package sets cannot be given, in any case', async t => {
  for (const name of [
    'host', 'Content-Length', 'content-type', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer', 'expect',
    'keep-alive', 'User-Agent', 'x-google-a', 'X-AppEngine-QueueName', 'x-cloudtasks-taskname', 'Fastify-Cloud-Tasks-Secret', 'x-google-'
  ]) t.equal(headers.reservedHeader(name), true, name)
  for (const name of ['authorization', 'x-host', 'hosts', 'tea', 'x-mine', 'x-googlea', 'a-x-google-b', 'fastify-cloud-tasks', 'content-types']) {
    t.equal(headers.reservedHeader(name), false, name)
  }
})

t.test('prefixes and path are joined as by Fastify', async t => {
  for (const [above, prefix, path, expected] of [
    ['', '/tasks', '/a', '/tasks/a'],
    ['', '', '/a', '/a'],
    ['/v1', '/tasks', '/a', '/v1/tasks/a'],
    ['/v1/', '/tasks', '/a', '/v1/tasks/a'],
    ['/', '', '/a', '/a']
  ] as const) t.equal(routePath({ prefix: above }, prefix, path), expected)
})

t.test('attempts start in the async context of the registration', async t => {
  const storage = new AsyncLocalStorage<string>()
  const scope = storage.run('registration', () => new AttemptScope())
  const where = () => storage.run('request', () => scope.runInAsyncScope(function (this: unknown, ...given: unknown[]) {
    return [storage.getStore(), this, ...given]
  }, 'this', 1, 2))
  t.strictSame(where(), ['registration', 'this', 1, 2])

  t.test('from which a tracer takes its span, once', async t => {
    let asked = 0
    const subscriber = (event: unknown): void => {
      asked++
      const scopeEvent = event as { around: ScopeEvent['around'] }
      scopeEvent.around = work => storage.run('untraced', work)
    }
    scopeChannel.subscribe(subscriber)
    t.teardown(() => { scopeChannel.unsubscribe(subscriber) })
    for (let i = 0; i < 2; i++) t.strictSame(where(), ['untraced', 'this', 1, 2])
    t.equal(asked, 1)
  })

  t.test('also where a subscriber leaves it as it is', async t => {
    const other = storage.run('registration', () => new AttemptScope())
    const subscriber = (): void => {}
    scopeChannel.subscribe(subscriber)
    t.teardown(() => { scopeChannel.unsubscribe(subscriber) })
    t.equal(storage.run('request', () => other.runInAsyncScope(() => storage.getStore())), 'registration')
  })

  t.test('whose resources have the name of the package, for tools that list them', async t => {
    const names: string[] = []
    const hook = createHook({ init: (_id, name) => { names.push(name) } }).enable()
    const subscriber = (): void => {}
    scopeChannel.subscribe(subscriber)
    t.teardown(() => { scopeChannel.unsubscribe(subscriber) })
    const other = new AttemptScope()
    other.listened()
    other.runInAsyncScope(() => {})
    hook.disable()
    t.equal(names.filter(name => name === 'fastify-cloud-tasks').length, 3)
  })

  t.test('and the context of listen is kept beside it', async t => {
    t.equal(scope.listening, undefined)
    storage.run('listen', () => { scope.listened() })
    t.equal(scope.listening?.runInAsyncScope(() => storage.getStore()), 'listen')
  })
})

import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { ManualClock } from '../../lib/clock/manual-clock.js'
import { printOrigin, type Origin } from '../../lib/copies/facts.js'
import { ORIGIN_HEADER } from '../../lib/delivery/headers.js'
import { defineTasks, type CloudTasksOptions } from '../../lib/index.js'
import { handleOf } from '../../lib/plugin-handle.js'
import type { StandardSchema } from '../../lib/registry/schema.js'
import type { AttemptContext } from '../../lib/worker/context.js'
import { create, gate, watchAttempts } from '../support/app.js'

const NOW = Date.parse('2030-01-01T00:00:00Z')
const payload = Type.Object({ n: Type.Integer() })

/** What the asynchronous validator of the task `checked` waits for. */
let validated: Promise<void> = Promise.resolve()
const checked = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: async (value: unknown) => {
      await validated
      return (value as { n: number }).n === 0 ? { issues: [{ message: 'is zero' }] } : { value }
    }
  }
} as StandardSchema
const tasks = defineTasks({ work: { payload }, mailed: { payload, queue: 'mail' }, checked: { payload: checked } })

/** Headers of an attempt from a queue. */
const from = (queue: string, retryCount = 0, more: Record<string, string> = {}) => ({
  'x-cloudtasks-queuename': queue,
  'x-cloudtasks-taskname': 'one',
  'x-cloudtasks-taskretrycount': String(retryCount),
  'x-cloudtasks-taskexecutioncount': '0',
  'x-cloudtasks-tasketa': String(NOW / 1000 - 1),
  ...more
})
const origin = (origin: Origin) => ({ [ORIGIN_HEADER]: printOrigin(origin) })

/** An app of the embedded queue that accepts all callers, on a clock that the test moves. */
async function setUp (t: Test, options: Partial<CloudTasksOptions> = {}) {
  const contexts: AttemptContext[] = []
  const handler = (_: unknown, task: unknown) => { contexts.push(task as AttemptContext) }
  const { app, log } = await create(t, {
    tasks,
    auth: false,
    deadLetterQueue: 'letters',
    queues: { mail: { retryConfig: { maxAttempts: 2 } } },
    handlers: { work: handler, mailed: handler, checked: handler },
    ...options
  } as CloudTasksOptions)
  const clock = new ManualClock(NOW)
  handleOf(app)!.clock.switchTo(clock)
  await app.ready()
  const call = async (name: string, headers: Record<string, string> = {}, n = 1) =>
    await app.inject({ method: 'POST', url: `/tasks/${name}`, headers, payload: { n } })
  return {
    app,
    log,
    clock,
    call,
    /** The context of an attempt with these headers. */
    async contextOf (name: string, headers?: Record<string, string>): Promise<AttemptContext> {
      await call(name, headers)
      return contexts.pop()!
    }
  }
}

t.test('the deadline of an attempt is what its task says, from 15 s to a day, and ten minutes otherwise', async t => {
  const { contextOf } = await setUp(t)
  for (const [header, seconds] of [
    ['15', 15], ['14.9', 600], ['86415', 86_415], ['86416', 600], ['x', 600], ['', 600], ['20.5', 20.5], [undefined, 600]
  ] as const) {
    const { deadline } = await contextOf('work', header === undefined ? {} : { 'fastify-cloud-tasks-deadline': header })
    t.equal(deadline.getTime() - NOW, seconds * 1000, String(header))
  }
})

t.test('a call without the headers of a queue is the first attempt of a task of its own queue', async t => {
  const { contextOf } = await setUp(t)
  for (const [name, queue, maxAttempts] of [['work', 'default', 100], ['mailed', 'mail', 2]] as const) {
    const context = await contextOf(name)
    t.hasStrict(context, {
      name, queue, maxAttempts, attempt: 1, executionCount: 0, delivered: false, mayHaveOwnRetry: false, scheduledTime: new Date(NOW)
    })
    t.equal(context.id, context.request?.id)
  }
})

t.test('an attempt from a queue is that of its headers, which say whether it has no own retryConfig', async t => {
  const { contextOf } = await setUp(t)
  const header = 'fastify-cloud-tasks-retry'
  for (const [more, mayHaveOwnRetry] of [[{}, true], [{ [header]: 'task' }, true], [{ [header]: 'queue' }, false]] as const) {
    t.hasStrict(await contextOf('work', from('mail', 1, more)), {
      id: 'one',
      queue: 'mail',
      attempt: 2,
      delivered: true,
      mayHaveOwnRetry,
      isLetter: false,
      isLastAttempt: true,
      scheduledTime: new Date(NOW - 1000)
    })
  }
  const copy = await contextOf('work', from('mail', 0, origin({ id: 'first', postponements: 3 })))
  t.strictSame([copy.id, copy.originalId, copy.postponements, copy.isLetter], ['one', 'first', 3, false])
})

t.test('an attempt of a dead letter has the identity of the task that failed, and no last attempt', async t => {
  const { contextOf } = await setUp(t)
  const error = { name: 'Error', message: 'x' }
  const letter = { queue: 'q', attempts: 3, at: NOW, error }
  for (const [name, headers, id, queue] of [
    ['work', origin({ id: 'first', postponements: 0, letter }), 'first', 'q'],
    ['work', origin({ id: 'first', postponements: 0, letter: { ...letter, id: 'copy' } }), 'copy', 'q'],
    ['work', origin({ id: 'first', postponements: 0, letter: { ...letter, queue: 'letters' } }), 'first', 'default'],
    ['mailed', origin({ id: 'first', postponements: 0, letter: { ...letter, queue: 'letters' } }), 'first', 'mail'],
    ['work', origin({ id: 'first', postponements: 0 }), 'one', 'default'],
    ['mailed', {}, 'one', 'mail']
  ] as const) {
    t.hasStrict(await contextOf(name, from('letters', 0, headers)), {
      id, queue, isLetter: true, sourceQueue: 'letters', sourceId: 'one', maxAttempts: undefined, isLastAttempt: false
    })
  }
  const call = await contextOf('work', origin({ id: 'first', postponements: 0, letter }))
  t.strictSame([call.isLetter, call.queue], [false, 'default'], 'its origin alone makes no letter')
})

t.test('the log says whether a task without a handler here is retried', async t => {
  const perhaps = 'received a task without a handler here; it will be retried'
  const never = 'received a task without a handler here; it will not be retried'
  for (const [options, headers, message] of [
    [{}, from('mail', 1), never],
    [{}, from('mail', 0), perhaps],
    [{}, {}, perhaps],
    [{}, from('letters', 200), perhaps],
    [{ deadLetterQueue: undefined }, from('mail', 1), perhaps]
  ] as const) {
    const { call, log } = await setUp(t, options as object)
    const response = await call('renamed', headers)
    t.strictSame([response.statusCode, response.json()], [404, { statusCode: 404, result: 'retry', code: 'FST_TASKS_NOT_REGISTERED' }])
    t.strictSame(log.filter(({ msg }) => msg.startsWith('received a task')).map(({ level, msg }) => [level, msg]), [[50, message]])
  }
})

t.test('an asynchronous validation', async t => {
  /** Starts a call whose validation waits for `go`, and resolves once it does. */
  const begin = async (t: Test, n = 1, options: Partial<CloudTasksOptions> = {}) => {
    const attempts = watchAttempts(t)
    const setup = await setUp(t, options)
    const [asked, go] = [gate(), gate()]
    validated = { then: (...reactions: Parameters<Promise<void>['then']>) => { asked.open(); return go.opened.then(...reactions) } } as never
    const answer = setup.call('checked', { 'fastify-cloud-tasks-deadline': '15' }, n)
    await asked.opened
    return { ...setup, attempts, go, answer }
  }

  t.test('belongs to the time of its attempt', async t => {
    const deadlines: number[] = []
    const { clock, go, answer, attempts } = await begin(t, 1, {
      handlers: {
        checked: async (_: unknown, task: AttemptContext) => {
          deadlines.push(task.deadline.getTime())
          await new Promise(() => {})
        }
      }
    } as never)
    await clock.advance(5000)
    go.open()
    while (deadlines.length === 0) await clock.advance(0)
    t.strictSame(deadlines, [NOW + 15_000])
    await clock.advance(9999)
    t.equal(attempts.ends.length, 0)
    await clock.advance(1)
    t.equal((await answer).statusCode, 504)
    t.equal(attempts.ends[0]?.durationMs, 10_000, 'of its handler')
  })

  t.test('that never ends is ended by the deadline', async t => {
    const { clock, answer, attempts } = await begin(t)
    await clock.advance(15_000)
    t.equal((await answer).statusCode, 504)
    t.strictSame(attempts.ends.map(({ result, status, durationMs }) => [result, status, durationMs]), [['retry', 504, 15_000]])
    t.equal(clock.pending, 0)
  })

  t.test('that rejects the payload is an attempt with its duration', async t => {
    const { clock, go, answer, attempts } = await begin(t, 0)
    await clock.advance(3000)
    go.open()
    t.equal((await answer).statusCode, 400)
    t.strictSame(attempts.ends.map(({ status, durationMs }) => [status, durationMs]), [[400, 3000]])
  })

  t.test('is ended by a server that closes, and is no attempt then', async t => {
    const { app, clock, answer, attempts } = await begin(t, 1, { closeGraceSeconds: 0 })
    const responses: Array<Awaited<typeof answer>> = []
    const closed = Promise.all([app.close(), answer.then(response => { responses.push(response) })])
    while (responses.length === 0) await clock.advance(0)
    await closed
    const response = responses[0]!
    t.strictSame([response.statusCode, response.json()], [503, { statusCode: 503, result: 'closing', code: 'FST_TASKS_CLOSING' }])
    t.strictSame([response.headers['fastify-cloud-tasks-result'], response.headers['retry-after']], ['closing', '1'])
    t.equal(attempts.ends.length, 0)
  })

  t.test('that fails while the server closes is not an unhandled rejection', async t => {
    const [started, go] = [gate(), gate()]
    const work = async (): Promise<void> => {
      started.open()
      await go.opened
    }
    const { app, call } = await setUp(t, { handlers: { work, checked: () => {} } } as never)
    const running = call('work')
    await started.opened
    const closed = app.close()
    await new Promise(resolve => { setImmediate(resolve) })
    validated = { then: (_: unknown, reject: (error: Error) => void) => { reject(new Error('broken validator')) } } as never
    t.strictSame((await call('checked')).json(), { statusCode: 503, result: 'closing', code: 'FST_TASKS_CLOSING' })
    await new Promise(resolve => { setImmediate(resolve) })
    go.open()
    t.equal((await running).statusCode, 204)
    await closed
  })
})

t.test('a synchronous validation that rejects the payload takes no time of the handler', async t => {
  const attempts = watchAttempts(t)
  const { app } = await setUp(t)
  t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 'x' } })).statusCode, 400)
  t.strictSame(attempts.ends.map(({ status, durationMs }) => [status, durationMs]), [[400, 0]])
})

t.test('a watcher sees an attempt with its request when its limits are known, and a letter too', async t => {
  const { app, call } = await setUp(t)
  const seen: unknown[] = []
  handleOf(app)!.watchers.add({
    started: (attempt, { url, body }) => { seen.push([(attempt as AttemptContext).maxAttempts, url, body]) },
    logOf: (_, log) => log,
    settled () {}
  })
  await call('work', from('mail'))
  await call('work', from('letters'))
  t.strictSame(seen, [[2, '/tasks/work', '{"n":1}'], [undefined, '/tasks/work', '{"n":1}']])
})

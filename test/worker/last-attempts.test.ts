import { Type } from '@sinclair/typebox'
import t from 'tap'
import { defineTasks, type TaskContext } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create, gate, start, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({}) } })
const retry = (retryConfig: object) => ({
  default: { retryConfig: { minBackoffSeconds: 0.001, maxBackoffSeconds: 0.001, ...retryConfig } }
})

t.test('the last attempt', async t => {
  t.test('that succeeds does not exhaust its task', async t => {
    const attempts = watchAttempts(t)
    const last: boolean[] = []
    const { app, log } = await start(t, {
      tasks,
      queues: retry({ maxAttempts: 2 }),
      handlers: {
        work (_, task) {
          last.push(task.isLastAttempt)
          if (task.attempt === 1) throw new Error('not yet')
        }
      },
      onExhausted: () => { t.fail('must not be called') }
    })
    await app.enqueue('work', {})
    const ends = await attempts.ended(2)
    t.strictSame(last, [false, true])
    t.strictSame(ends.map(end => [end.result, end.exhausted]), [['retry', false], ['done', false]])
    t.strictSame(app.tasks.list()[0]?.counts, { done: 1, retry: 1, dropped: 0, postponed: 0, exhausted: 0, expired: 0 })
    t.strictSame(log.filter(line => line.level >= 50), [])
  })

  t.test('that drops its task does not exhaust it either', async t => {
    const attempts = watchAttempts(t)
    const dropped: string[] = []
    const { app } = await start(t, {
      tasks,
      queues: retry({ maxAttempts: 1 }),
      handlers: { work: (_, task) => task.drop('unwanted') },
      onExhausted: () => { t.fail('must not be called') },
      onDropped: (_, reason) => { dropped.push(reason) }
    })
    await app.enqueue('work', {})
    t.strictSame((await attempts.ended(1)).map(end => [end.result, end.exhausted]), [['dropped', false]])
    t.strictSame(dropped, ['unwanted'])
  })

  t.test('is none where attempts are unlimited', async t => {
    const seen: unknown[] = []
    const { app, log } = await create(t, {
      tasks,
      queues: { default: { retryConfig: { maxAttempts: -1 } } },
      handlers: {
        work (_, task) {
          seen.push([task.maxAttempts, task.isLastAttempt])
          if (task.attempt < 4) throw new Error('again')
        }
      },
      onExhausted: () => { t.fail('must not be called') }
    })
    const kit = testTasks(app)
    await app.enqueue('work', {})
    await kit.drain({ scheduled: true })
    t.strictSame(seen, Array.from({ length: 4 }, () => [undefined, false]))
    t.equal(log.filter(line => line.msg === 'attempt failed, it will be retried').length, 3)
  })

  t.test('is not known where a limit on time counts as well', async t => {
    const seen: unknown[] = []
    const { app, log } = await create(t, {
      tasks,
      queues: { default: { retryConfig: { maxAttempts: 2, maxRetrySeconds: 3600 } } },
      handlers: {
        work (_, task) {
          seen.push([task.maxAttempts, task.isLastAttempt])
          if (task.attempt < 3) throw new Error('again')
        }
      },
      onExhausted: () => { t.fail('must not be called') }
    })
    const kit = testTasks(app)
    await app.enqueue('work', {})
    await kit.drain({ scheduled: true })
    t.strictSame(seen, [[2, false], [2, false], [2, false]])
    t.strictSame(log.filter(line => line.level === 40).map(line => line.msg),
      ['attempt failed, it will be retried', 'attempt failed, it will be retried unless the queue allows no more attempts'])
  })
})

for (const [hook, handler, result] of [
  ['onDropped', (_: unknown, task: TaskContext) => task.drop('unwanted'), 'dropped'],
  ['onExhausted', () => { throw new Error('boom') }, 'retry']
] as const) {
  t.test(`${hook} has ended before the attempt is answered, and what it rejects with is logged`, async t => {
    const attempts = watchAttempts(t)
    const [called, go] = [gate(), gate()]
    const { app, log } = await start(t, {
      tasks,
      auth: false,
      queues: retry({ maxAttempts: 1 }),
      handlers: { work: handler },
      [hook]: async () => {
        called.open()
        await go.opened
        throw new Error('no mail server')
      }
    } as never)
    let answered = false
    const answer = app.inject({ method: 'POST', url: '/tasks/work', payload: {} }).then(response => {
      answered = true
      return response
    })
    await called.opened
    await new Promise(resolve => { setImmediate(resolve) })
    t.equal(answered, false)
    t.equal(attempts.ends.length, 0)
    go.open()
    t.equal((await answer).headers['fastify-cloud-tasks-result'], result)
    t.equal(attempts.ends.length, 1)
    const line = log.find(line => line.msg === `${hook} failed`)
    t.equal(line?.level, 50)
    t.equal((line?.err as { message: string }).message, 'no mail server')
  })
}

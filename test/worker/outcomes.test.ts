import { Type } from '@sinclair/typebox'
import t from 'tap'
import { defineTasks } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create, start, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
const quick = { default: { retryConfig: { minBackoffSeconds: 0.005, maxAttempts: 3 } } }

t.test('the outcome of an attempt', async t => {
  t.test('a handler that returns is answered 204 and done', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks, handlers: { work: () => 'discarded' } })
    await app.enqueue('work', { n: 1 })
    t.hasStrict(await attempts.ended(1), [{ task: 'work', queue: 'default', attempt: 1, result: 'done', status: 204, exhausted: false }])
    t.hasStrict(app.tasks.list()[0]?.counts, { done: 1, retry: 0, dropped: 0, postponed: 0, exhausted: 0, expired: 0 })
  })

  for (const thrown of [
    Object.assign(new Error('teapot'), { statusCode: 418 }),
    Object.assign(new Error('slow down'), { statusCode: 429 }),
    'a string',
    undefined,
    null
  ]) {
    t.test(
      `a handler that throws ${thrown instanceof Error ? thrown.message : String(thrown)} is answered 500 and retried, whatever status it carries`,
      async t => {
        const { app, log } = await create(t, {
          tasks,
          handlers: {
            work: (_, task) => {
              if (task.attempt === 1) throw thrown
            }
          }
        })
        const kit = testTasks(app)
        const { id } = await app.enqueue('work', { n: 1 })
        t.hasStrict(await kit.drain({ scheduled: true }), [
          { attempt: 1, result: 'retry', status: 500, error: thrown },
          { attempt: 2, result: 'done', status: 204 }
        ])
        t.hasStrict(
          log.find(line => line.msg === 'attempt failed, it will be retried'),
          { task: 'work', id, attempt: 1 }
        )
      }
    )
  }

  t.test('drop ends the task with 200, logged, reported, never retried, also where the handler catches it', async t => {
    for (const swallow of [false, true]) {
      const attempts = watchAttempts(t)
      const dropped: unknown[] = []
      const { app, log } = await start(t, {
        tasks,
        handlers: {
          work (_, task) {
            try {
              task.drop('no longer wanted')
            } catch (error) {
              if (!swallow) throw error
            }
          }
        },
        onDropped: (payload, reason, task) => { dropped.push(payload, reason, task.id) }
      })
      const { id } = await app.enqueue('work', { n: 1 })
      t.hasStrict(await attempts.ended(1), [{ result: 'dropped', status: 200 }])
      t.strictSame(dropped, [{ n: 1 }, 'no longer wanted', id])
      t.hasStrict(log.find(line => line.msg === 'task dropped'), { reason: 'no longer wanted', task: 'work', id, attempt: 1, level: 40 })
      await app.close()
    }
  })

  t.test('the last attempt that fails runs onExhausted before it is answered', async t => {
    const attempts = watchAttempts(t)
    const exhausted: unknown[] = []
    const last: boolean[] = []
    const { app, log } = await start(t, {
      tasks,
      queues: quick,
      handlers: {
        work (_, task) {
          last.push(task.isLastAttempt)
          throw new Error(`failure ${task.attempt} of ${task.maxAttempts}`)
        }
      },
      onExhausted: async (payload, error, task) => {
        exhausted.push(payload, (error as Error).message, task.attempt, attempts.ends.length)
        throw new Error('not even this worked')
      }
    })
    await app.enqueue('work', { n: 1 })
    t.hasStrict(await attempts.ended(3), [{ exhausted: false }, { exhausted: false }, { exhausted: true, status: 500 }])
    t.strictSame(exhausted, [{ n: 1 }, 'failure 3 of 3', 3, 2])
    t.strictSame(last, [false, false, true])
    t.ok(log.some(line => line.msg === 'onExhausted failed'), 'its own error is logged')
    t.hasStrict(app.tasks.list()[0]?.counts, { retry: 3, exhausted: 1 })
  })

  t.test('an invalid payload gets 400 and is retried, or dropped according to the option', async t => {
    for (const invalidPayload of ['retry', 'drop'] as const) {
      const attempts = watchAttempts(t)
      const dropped: unknown[] = []
      const { app, log } = await start(t, {
        tasks,
        auth: false,
        invalidPayload,
        handlers: {
          work: () => {
            t.fail('must not run')
          }
        },
        onDropped: (_, reason) => {
          dropped.push(reason)
        }
      })
      for (const payload of ['{"n":"secret-value"}', '{"n":', '', '{"__proto__":{}}']) {
        const response = await app.inject({ method: 'POST', url: '/tasks/work', headers: { 'content-type': 'application/json' }, payload })
        t.equal(response.statusCode, invalidPayload === 'retry' ? 400 : 200, payload)
        t.equal(response.body.includes('secret-value'), false)
      }
      t.equal(attempts.ends.length, 4)
      t.equal(dropped.length, invalidPayload === 'retry' ? 0 : 4)
      t.equal(JSON.stringify(log).includes('secret-value'), false)
      await app.close()
    }
  })

  t.test('a payload that a custom validator rejects is handled like any other, and its message is not logged', async t => {
    const refusals = [() => ({ error: new Error('not secret-value') }), () => { throw new Error('not secret-value') }]
    for (const validate of refusals) {
      const attempts = watchAttempts(t)
      const { app, log } = await start(
        t,
        {
          tasks,
          auth: false,
          invalidPayload: 'drop',
          handlers: {
            work: () => {
              t.fail('must not run')
            }
          }
        },
        app => {
          app.setValidatorCompiler((() => validate) as never)
        }
      )
      t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 1 } })).statusCode, 200)
      t.hasStrict(attempts.ends, [{ result: 'dropped' }])
      t.equal(JSON.stringify(log).includes('secret-value'), false)
      await app.close()
    }
  })

  t.test('a request without a body is no payload, even where the validator would make one of nothing', async t => {
    const text = defineTasks({ text: { payload: Type.String() } })
    const { app } = await start(t, { tasks: text, auth: false, handlers: { text: () => { t.fail('must not run') } } })
    t.equal((await app.inject({ method: 'POST', url: '/tasks/text' })).statusCode, 400)
  })

  t.test('a deadline that passes aborts the signal, is answered 504 and retried', async t => {
    const attempts = watchAttempts(t)
    const { app } = await create(t, {
      tasks: defineTasks({ work: { ...tasks.work, dispatchDeadlineSeconds: 15 } }),
      handlers: {
        async work (_, task) {
          await new Promise((resolve, reject) => { task.signal.addEventListener('abort', () => { reject(task.signal.reason) }) })
        }
      }
    })
    const kit = testTasks(app)
    const attempt = kit.deliver('work', { n: 1 })
    await kit.advance(14_999)
    t.strictSame(attempts.ends, [])
    await kit.advance(1)
    t.equal((await attempt).status, 504)
    t.hasStrict(attempts.ends, [{ result: 'retry', status: 504, error: { code: 'FST_TASKS_DEADLINE_EXCEEDED' } }])
  })

  t.test('an unknown path below the prefix is answered 404, even where the host answers 200 for all of them', async t => {
    const { app, log } = await start(t, { tasks, auth: false, handlers: { work: () => {} } }, app => {
      app.setNotFoundHandler((request, reply) => reply.code(200).send('<html>'))
    })
    t.equal((await app.inject({ method: 'POST', url: '/tasks/renamed', payload: { n: 1 } })).statusCode, 404)
    t.equal((await app.inject({ method: 'POST', url: '/elsewhere', payload: { n: 1 } })).statusCode, 200)
    t.ok(log.some(line => line.msg === 'received a task without a handler here; it will be retried'))
  })
})

t.test('who may call', async t => {
  t.test('without the secret of this boot nothing runs, and the body is not read', async t => {
    const { app } = await start(t, { tasks, handlers: { work: () => { t.fail('must not run') } } })
    for (const secret of [undefined, '', 'wrong', 'x'.repeat(43), 'é'.repeat(43)]) {
      const response = await app.inject({
        method: 'POST',
        url: '/tasks/work',
        headers: {
          'x-cloudtasks-queuename': 'default',
          'x-appengine-queuename': 'default',
          authorization: 'Bearer x',
          ...(secret === undefined ? {} : { 'fastify-cloud-tasks-secret': secret })
        },
        payload: '{"n": not even JSON'
      })
      t.equal(response.statusCode, 401)
      t.hasStrict(response.json(), { code: 'FST_TASKS_UNAUTHENTICATED' })
    }
    t.equal(
      (await app.inject({ method: 'POST', url: '/tasks/unknown', payload: {} })).statusCode,
      401,
      'and does not reveal which tasks exist'
    )
  })

  t.test('the secret of an attempt opens nothing a second time, wherever it was seen', async t => {
    const attempts = watchAttempts(t)
    let seen: unknown
    const { app } = await start(t, { tasks, handlers: { work: () => {} } }, app => {
      app.addHook('onRequest', async request => {
        seen ??= request.headers['fastify-cloud-tasks-secret']
      })
    })
    await app.enqueue('work', { n: 1 })
    await attempts.ended(1)
    t.type(seen, 'string')
    t.equal(
      (
        await app.inject({
          method: 'POST',
          url: '/tasks/work',
          headers: { 'fastify-cloud-tasks-secret': String(seen) },
          payload: { n: 1 }
        })
      ).statusCode,
      401
    )
    t.equal(attempts.ends.length, 1)
  })

  t.test('an error like the parser\'s, thrown by a hook before the caller is verified, is no attempt', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(
      t,
      {
        tasks,
        invalidPayload: 'drop',
        handlers: { work: () => {} },
        onDropped: () => {
          t.fail('was called for an unverified caller')
        }
      },
      app => {
        app.addHook('onRequest', async () => {
          throw Object.assign(new Error('too large'), { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 })
        })
      }
    )
    t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 1 } })).statusCode, 413)
    t.equal(attempts.ends.length, 0)
  })

  t.test('auth: false says so once, at warn', async t => {
    const { log } = await start(t, { tasks, auth: false, handlers: { work: () => {} } })
    t.equal(log.filter(line => line.level === 40 && /'auth' is false/.test(line.msg)).length, 1)
    const producer = await start(t, { tasks, auth: false })
    t.equal(producer.log.filter(line => /'auth' is false/.test(line.msg)).length, 0, 'a producer has nothing to protect')
  })
})

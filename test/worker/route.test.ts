import { mock } from 'node:test'
import swagger from '@fastify/swagger'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import cloudTasks, { defineTasks, tasksOf, type TaskContext } from '../../lib/index.js'
import { gate, start, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
const quick = { default: { retryConfig: { minBackoffSeconds: 0.005, maxAttempts: 3 } } }

t.test('what an attempt comes to', async t => {
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
        const attempts = watchAttempts(t)

        const { app, log } = await start(t, {
          tasks,
          queues: quick,
          handlers: {
            work: (_, task) => {
              if (task.attempt === 1) throw thrown
            }
          }
        })
        const { id } = await app.enqueue('work', { n: 1 })
        t.hasStrict(await attempts.ended(2), [
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

  t.test('drop ends the task: answered 200, logged, reported, never retried, also where the handler catches it', async t => {
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

  t.test('a payload that does not fit is answered 400 and retried, or dropped where the option says so', async t => {
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

  t.test('a payload that a custom validator refuses is told apart like any other, and its words stay out of the log', async t => {
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
    const started = gate()
    const { app } = await start(t, {
      tasks,
      auth: false,
      handlers: {
        async work (_, task) {
          started.open()
          await new Promise((resolve, reject) => { task.signal.addEventListener('abort', () => { reject(task.signal.reason) }) })
        }
      }
    })
    mock.timers.enable({ apis: ['setTimeout'] })
    t.teardown(() => { mock.timers.reset() })
    const answer = app.inject({ method: 'POST', url: '/tasks/work', headers: { 'fastify-cloud-tasks-deadline': '15' }, payload: { n: 1 } })
    await started.opened
    mock.timers.tick(15_000)
    t.equal((await answer).statusCode, 504)
    t.hasStrict(attempts.ends, [{ result: 'retry', status: 504, error: { code: 'FST_TASKS_DEADLINE_EXCEEDED' } }])
  })

  t.test('an unknown path below the prefix is answered 404, even where the host answers 200 for all that it does not know', async t => {
    const { app, log } = await start(t, { tasks, auth: false, handlers: { work: () => {} } }, app => {
      app.setNotFoundHandler((request, reply) => reply.code(200).send('<html>'))
    })
    t.equal((await app.inject({ method: 'POST', url: '/tasks/renamed', payload: { n: 1 } })).statusCode, 404)
    t.equal((await app.inject({ method: 'POST', url: '/elsewhere', payload: { n: 1 } })).statusCode, 200)
    t.ok(log.some(line => line.msg === 'a task arrived that has no handler here; it will be retried'))
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
      'not even which tasks exist is told'
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
          t.fail('was called for a stranger')
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

t.test('the context of a handler', async t => {
  t.test('tells the attempt from the headers of Cloud Tasks', async t => {
    let seen: TaskContext | undefined
    const { app, log } = await start(t, {
      tasks,
      auth: false,
      queues: { mail: { retryConfig: { maxAttempts: 5 } } },
      handlers: {
        work (_, task) {
          seen = task
          task.log.info('from the handler')
        }
      }
    })
    await app.inject({
      method: 'POST',
      url: '/tasks/work',
      headers: {
        'x-cloudtasks-queuename': 'mail',
        'x-cloudtasks-taskname': 'abc-1',
        'x-cloudtasks-taskretrycount': '3',
        'x-cloudtasks-taskexecutioncount': '2',
        'x-cloudtasks-tasketa': '1721236265.266817',
        'x-cloudtasks-taskpreviousresponse': '404',
        'x-cloudtasks-taskretryreason': '',
        'fastify-cloud-tasks-deadline': '60'
      },
      payload: { n: 1 }
    })
    t.hasStrict(seen, {
      name: 'work',
      id: 'abc-1',
      queue: 'mail',
      attempt: 4,
      retryCount: 3,
      executionCount: 2,
      previousResponse: 404,
      retryReason: undefined,
      maxAttempts: 5,
      isLastAttempt: false
    })
    t.equal(seen?.scheduledTime.getTime(), 1721236265266)
    t.ok(Math.abs((seen?.deadline.getTime() ?? 0) - Date.now() - 60_000) < 2000)
    t.equal(seen?.signal.aborted, false)
    t.hasStrict(log.find(line => line.msg === 'from the handler'), { task: 'work', id: 'abc-1', attempt: 4 })
  })

  t.test('without those headers, as from Cloud Scheduler, is a first attempt', async t => {
    let seen: TaskContext | undefined
    const { app } = await start(t, { tasks, auth: false, handlers: { work: (_, task) => { seen = task } } })
    t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 1 } })).statusCode, 204)
    t.hasStrict(seen, { attempt: 1, queue: 'default', isLastAttempt: false, maxAttempts: 100, previousResponse: undefined })
  })

  t.test('counts attempts of the embedded queue and knows the response before', async t => {
    const seen: unknown[] = []
    const attempts = watchAttempts(t)
    const { app } = await start(t, {
      tasks,
      queues: quick,
      handlers: {
        work (_, task) {
          seen.push([task.attempt, task.retryCount, task.executionCount, task.previousResponse])
          if (task.attempt < 3) throw new Error('again')
        }
      }
    })
    await app.enqueue('work', { n: 1 })
    await attempts.ended(3)
    t.strictSame(
      seen,
      [
        [1, 0, 0, undefined],
        [2, 1, 0, 500],
        [3, 2, 0, 500]
      ],
      'the execution count leaves 5xx out, as recorded from production'
    )
  })

  t.test('of an App Engine target follows App Engine\'s way of counting', async t => {
    const seen: unknown[] = []
    const attempts = watchAttempts(t)
    const { app } = await start(t, {
      tasks,
      target: { type: 'appEngine' },
      queues: quick,
      handlers: {
        work (_, task) {
          seen.push([task.attempt, task.executionCount, task.previousResponse, task.retryReason])
          if (task.attempt < 2) throw new Error('again')
        }
      }
    })
    await app.enqueue('work', { n: 1 })
    await attempts.ended(2)
    t.strictSame(seen, [[1, 0, undefined, undefined], [2, 1, 500, 'App Error']])
  })

  t.test('is a handler\'s second argument, and `this` is the instance with the host\'s decorators', async t => {
    const attempts = watchAttempts(t)
    let mailer: unknown
    const { app } = await start(
      t,
      {
        tasks,
        handlers: {
          work () {
            mailer = (this as FastifyInstance & { mailer: unknown }).mailer
          }
        }
      },
      app => {
        app.decorate('mailer', { name: 'mailer' })
      }
    )
    await app.enqueue('work', { n: 1 })
    await attempts.ended(1)
    t.strictSame(mailer, { name: 'mailer' })
  })
})

t.test('the host', async t => {
  t.test('with raw or odd content-type parsers does not break the routes, nor do they change the host', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(t, { tasks, handlers: { work: () => {} } }, app => {
      app.removeAllContentTypeParsers()
      app.addContentTypeParser('*', (_request, stream, done) => {
        stream.resume()
        stream.on('end', () => { done(null, 'raw') })
      })
      app.post('/mine', async request => ({ got: request.body }))
    })
    await app.enqueue('work', { n: 1 })
    t.hasStrict(await attempts.ended(1), [{ result: 'done' }])
    t.strictSame((await app.inject({ method: 'POST', url: '/mine', payload: { n: 1 } })).json(), { got: 'raw' })
  })

  t.test('with a small body limit and lax prototype settings does not break the routes', async t => {
    const attempts = watchAttempts(t)
    const big = defineTasks({ big: { payload: Type.Object({ text: Type.String() }) } })
    const { app } = await start(t, { tasks: big, handlers: { big: () => {} } }, () => {}, { bodyLimit: 10, onProtoPoisoning: 'ignore' })
    await app.enqueue('big', { text: 'x'.repeat(1_000_000) })
    t.hasStrict(await attempts.ended(1), [{ result: 'done' }])
  })

  t.test('with a time limit for its handlers does not cut attempts short', async t => {
    const attempts = watchAttempts(t)
    const { app } = await start(
      t,
      {
        tasks,
        handlers: {
          work: async () => {
            await new Promise(resolve => setTimeout(resolve, 40))
          }
        }
      },
      () => {},
      { handlerTimeout: 5 }
    )
    await app.enqueue('work', { n: 1 })
    t.hasStrict(await attempts.ended(1), [{ result: 'done', status: 204 }])
  })

  t.test('\'s hooks run on task routes, and onError hears of a failed handler', async t => {
    const heard: string[] = []
    const attempts = watchAttempts(t)
    const { app } = await start(
      t,
      {
        tasks,
        queues: { default: { retryConfig: { maxAttempts: 1 } } },
        handlers: {
          work: () => {
            throw new Error('boom')
          }
        }
      },
      app => {
        app.addHook('onRequest', async () => {
          heard.push('onRequest')
        })
        app.addHook('preHandler', async () => {
          heard.push('preHandler')
        })
        app.addHook('onError', async (_request, _reply, error) => {
          heard.push(`onError ${error.code} ${(error.cause as Error).message}`)
        })
        app.addHook('onResponse', async (_request, reply) => {
          heard.push(`onResponse ${reply.statusCode}`)
        })
      }
    )
    await app.enqueue('work', { n: 1 })
    await attempts.ended(1)
    await app.close()
    t.strictSame(heard, ['onRequest', 'preHandler', 'onError FST_TASKS_ATTEMPT_FAILED boom', 'onResponse 500'])
  })

  t.test('\'s hook that throws keeps its status, and its error handler cannot turn a failure into a success', async t => {
    const { app } = await start(t, { tasks, auth: false, handlers: { work: () => { throw new Error('boom') } } }, app => {
      app.setErrorHandler((_error, _request, reply) => reply.code(200).send('all fine'))
      app.addHook('preHandler', async request => {
        if (request.headers['x-refuse'] !== undefined) throw Object.assign(new Error('busy'), { statusCode: 503 })
      })
    })
    t.equal((await app.inject({ method: 'POST', url: '/tasks/work', payload: { n: 1 } })).statusCode, 500)
    t.equal((await app.inject({ method: 'POST', url: '/tasks/work', headers: { 'x-refuse': '1' }, payload: { n: 1 } })).statusCode, 503)
    app.log.level = 'silent'
  })

  t.test('\'s onSend hook that throws does not change the outcome of an attempt that has run', async t => {
    const { app } = await start(
      t,
      {
        tasks,
        auth: false,
        handlers: {
          work: (_, task) => {
            if (task.request?.headers['x-drop'] !== undefined) task.drop('unwanted')
          }
        }
      },
      app => {
        const failed = new WeakSet()
        app.addHook('onSend', async request => {
          if (failed.has(request)) return
          failed.add(request)
          throw new Error('no compression today')
        })
      }
    )
    for (const [headers, status, result] of [[{}, 204, 'done'], [{ 'x-drop': '1' }, 200, 'dropped']] as const) {
      const response = await app.inject({ method: 'POST', url: '/tasks/work', headers, payload: { n: 1 } })
      t.equal(response.statusCode, status)
      t.equal(response.headers['fastify-cloud-tasks-result'], result)
    }
    t.strictSame(app.tasks.list()[0]?.counts, { done: 1, retry: 0, dropped: 1, postponed: 0, exhausted: 0, expired: 0 })
  })

  t.test('\'s hook that answers for the handler is told in the log, above all when the task ends of it', async t => {
    const { app, log } = await start(
      t,
      {
        tasks,
        queues: { default: { retryConfig: { maxAttempts: 2, minBackoffSeconds: 0.005 } } },
        handlers: {
          work: () => {
            t.fail('must not run')
          }
        }
      },
      app => {
        app.addHook('onRequest', async (request, reply) => await reply.code(401).send({ login: true }))
      }
    )
    await app.enqueue('work', { n: 1 })
    const warned = () => log.filter(line => line.msg.startsWith('an attempt was answered before it reached its handler'))
    while (warned().length < 2) await new Promise(resolve => setTimeout(resolve, 5))
    t.hasStrict(warned(), [{ level: 40, url: '/tasks/work', status: 401, attempt: 1 }, { level: 50, attempt: 2 }])
  })

  t.test('is told of tasks that no handler in this process runs', async t => {
    const two = defineTasks({ here: { payload: Type.Object({}) }, elsewhere: { payload: Type.Object({}) } })
    const { log } = await start(t, { tasks: two, handlers: { here: () => {} } })
    t.hasStrict(log.find(line => line.tasks !== undefined), { level: 40, tasks: ['elsewhere'] })
  })

  t.test('can quieten the task routes', async t => {
    const attempts = watchAttempts(t)
    const { app, log } = await start(t, { tasks, logLevel: 'warn', handlers: { work: (_, task) => { task.log.info('quiet') } } })
    await app.enqueue('work', { n: 1 })
    await attempts.ended(1)
    t.strictSame(log.filter(line => line.msg === 'quiet' || line.msg === 'incoming request'), [])
  })

  t.test('can quieten, or have more of, what a handler logs outside of its queue', async t => {
    const handlers = {
      work: (_: unknown, task: TaskContext) => {
        task.log.debug('detail')
        task.log.info('quiet')
        task.log.warn('loud')
      }
    }
    for (const [logLevel, messages] of [['warn', ['loud']], ['debug', ['detail', 'quiet', 'loud']]] as const) {
      const { app, log } = await start(t, { tasks, logLevel, handlers })
      await app.tasks.run('work', { n: 1 })
      t.strictSame(log.filter(line => line.task === 'work').map(line => line.msg), messages, logLevel)
    }
  })

  t.test('sees the routes in its OpenAPI document only when it asks for it', async t => {
    for (const exposeRoutes of [false, true]) {
      const app = Fastify()
      t.teardown(() => app.close())
      await app.register(swagger)
      await app.register(cloudTasks, { tasks, transport: 'local', exposeRoutes, handlers: { work: () => {} } })
      await app.ready()
      t.strictSame(Object.keys(app.swagger().paths ?? {}), exposeRoutes ? ['/tasks/work'] : [])
    }
  })

  t.test('with a prefix mounts the tasks below it', async t => {
    const attempts = watchAttempts(t)
    const app = Fastify()
    t.teardown(() => app.close())
    app.register(async child => {
      await child.register(cloudTasks, { tasks, transport: 'local', prefix: '', handlers: { work: () => {} } })
      child.addHook('onReady', async () => { await tasksOf(child, tasks).enqueue('work', { n: 1 }) })
    }, { prefix: '/v1' })
    await app.ready()
    t.hasStrict(await attempts.ended(1), [{ result: 'done' }])
    t.equal(app.hasRoute({ method: 'POST', url: '/v1/work' }), true)
    t.equal(app.hasDecorator('enqueue'), false, 'the instance above does not get the decorators')
  })

  t.test('may use other methods', async t => {
    const attempts = watchAttempts(t)
    const put = defineTasks({
      replace: { payload: Type.Object({}), method: 'PUT' },
      change: { payload: Type.Object({}), method: 'PATCH' }
    })
    const { app } = await start(t, {
      tasks: put,
      handlers: {
        replace: (_, task) => {
          t.equal(task.request?.method, 'PUT')
        },
        change: (_, task) => {
          t.equal(task.request?.method, 'PATCH')
        }
      }
    })
    await app.enqueue('replace', {})
    await app.enqueue('change', {})
    t.hasStrict(await attempts.ended(2), [{ result: 'done' }, { result: 'done' }])
  })
})

import swagger from '@fastify/swagger'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import cloudTasks, { defineTasks, tasksOf, type TaskContext } from '../../lib/index.js'
import { testTasks } from '../../lib/testing/index.js'
import { create, start, watchAttempts } from '../support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })

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

  t.test('\'s hooks run on task routes, and onError is called for a failed handler', async t => {
    const called: string[] = []
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
          called.push('onRequest')
        })
        app.addHook('preHandler', async () => {
          called.push('preHandler')
        })
        app.addHook('onError', async (_request, _reply, error) => {
          called.push(`onError ${error.code} ${(error.cause as Error).message}`)
        })
        app.addHook('onResponse', async (_request, reply) => {
          called.push(`onResponse ${reply.statusCode}`)
        })
      }
    )
    await app.enqueue('work', { n: 1 })
    await attempts.ended(1)
    await app.close()
    t.strictSame(called, ['onRequest', 'preHandler', 'onError FST_TASKS_ATTEMPT_FAILED boom', 'onResponse 500'])
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

  t.test('\'s hook that responds instead of the handler is logged, especially if the task is not retried', async t => {
    const { app, log } = await create(
      t,
      {
        tasks,
        queues: { default: { retryConfig: { maxAttempts: 2 } } },
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
    const kit = testTasks(app)
    await app.enqueue('work', { n: 1 })
    t.hasStrict(await kit.drain({ scheduled: true }), [{ result: 'refused', status: 401 }, { result: 'refused', status: 401 }])
    const warned = log.filter(line => line.msg.startsWith('an attempt got a response before it reached its handler'))
    t.hasStrict(warned, [{ level: 40, url: '/tasks/work', status: 401, attempt: 1 }, { level: 50, attempt: 2 }])
  })

  t.test('is warned about tasks without a handler in this process', async t => {
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

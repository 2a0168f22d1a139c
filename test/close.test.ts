import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { ManualClock } from '../lib/clock/manual-clock.js'
import cloudTasks, { defineTasks, type CloudTasksOptions, type TaskContext } from '../lib/index.js'
import { resolveConfig } from '../lib/options/config.js'
import { handleOf } from '../lib/plugin-handle.js'
import { gate, start, watchAttempts } from './support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({}) } })

/** More turns of the event loop than anything needs that waits for no timer. */
async function turns (): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise(resolve => { setImmediate(resolve) })
}

t.test('closing', async t => {
  t.test('allows a running attempt to end within the grace period', async t => {
    const attempts = watchAttempts(t)
    const [started, go] = [gate(), gate()]
    const { app } = await start(t, {
      tasks,
      handlers: {
        async work (_, task) {
          started.open()
          await go.opened
          t.equal(task.signal.aborted, false)
        }
      }
    })
    await app.enqueue('work', {})
    await started.opened
    const closed = app.close()
    await new Promise(resolve => setImmediate(resolve))
    go.open()
    await closed
    t.strictSame(attempts.ends.map(end => [end.result, end.status]), [['done', 204]])
  })

  t.test('aborts an attempt that outlives the grace period; it is answered 503 and would be retried', async t => {
    const attempts = watchAttempts(t)
    const started = gate()
    let reason: unknown
    const { app } = await start(t, {
      tasks,
      closeGraceSeconds: 0.01,
      handlers: {
        async work (_, task) {
          started.open()
          await new Promise<void>(resolve => { task.signal.addEventListener('abort', () => { resolve() }) })
          reason = task.signal.reason
        }
      }
    })
    await app.enqueue('work', {})
    await started.opened
    await app.close()
    t.hasStrict(attempts.ends, [{ result: 'retry', status: 503, error: { code: 'FST_TASKS_ABORTED' } }])
    t.equal(reason, attempts.ends[0]?.error)
  })

  t.test('gives attempts 8 s by default, less than the 10 s after which Cloud Run kills a container', async t => {
    t.equal(resolveConfig({ tasks, transport: 'local' }, {}, true).closeGraceMs, 8000)
    t.equal(resolveConfig({ tasks, transport: 'local', closeGraceSeconds: 25 }, {}, true).closeGraceMs, 25_000)
  })

  t.test('is not held up by a handler that ignores its signal', async t => {
    const started = gate()
    const { app } = await start(t, {
      tasks,
      closeGraceSeconds: 0,
      handlers: {
        async work () {
          started.open()
          await new Promise(() => {})
        }
      }
    })
    await app.enqueue('work', {})
    await started.opened
    await app.close()
    t.pass('closed')
  })

  t.test('aborts app.tasks.run as well', async t => {
    const { app } = await start(t, { tasks, closeGraceSeconds: 0, handlers: { work: async () => await new Promise(() => {}) } })
    const run = app.tasks.run('work', {})
    await new Promise(resolve => setImmediate(resolve))
    await Promise.all([app.close(), t.rejects(run, { code: 'FST_TASKS_ABORTED' })])
  })

  t.test('starts no new attempt', async t => {
    const attempts = watchAttempts(t)
    const [started, go] = [gate(), gate()]
    const { app } = await start(t, {
      tasks,
      queues: { default: { rateLimits: { maxConcurrentDispatches: 1 } } },
      handlers: {
        async work () {
          started.open()
          await go.opened
        }
      }
    })
    await app.enqueue('work', {})
    await app.enqueue('work', {})
    await started.opened
    const closed = app.close()
    await new Promise(resolve => setImmediate(resolve))
    go.open()
    await closed
    t.equal(attempts.ends.length, 1)
  })

  t.test('rejects to enqueue, instead of losing the task silently', async t => {
    const [started, go] = [gate(), gate()]
    let inside: unknown
    const { app } = await start(t, {
      tasks,
      handlers: {
        async work () {
          started.open()
          await go.opened
          inside = await this.enqueue('work', {}).catch((error: unknown) => error)
        }
      }
    })
    await app.enqueue('work', {})
    await started.opened
    const closed = app.close()
    await new Promise(resolve => setImmediate(resolve))
    go.open()
    await closed
    t.hasStrict(inside, { code: 'FST_TASKS_CLOSING', statusCode: 503 })
    await t.rejects(app.enqueue('work', {}), { code: 'FST_TASKS_CLOSING' })
  })

  t.test('says how many tasks were still waiting in memory', async t => {
    const { app, log } = await start(t, { tasks })
    await app.enqueue('work', {}, { scheduleDelaySeconds: 60 })
    await app.enqueue('work', {}, { scheduleDelaySeconds: 2_000_000 })
    await app.close()
    t.hasStrict(log.find(line => line.waiting !== undefined), { waiting: 2, level: 40 })
  })

  t.test('leaves no timer behind', async t => {
    const attempts = watchAttempts(t)
    const before = process.getActiveResourcesInfo().filter(resource => resource === 'Timeout').length
    const { app } = await start(t, {
      tasks,
      handlers: {
        work: (_, task) => {
          if (task.attempt === 1) throw new Error('again')
        }
      },
      queues: { default: { retryConfig: { minBackoffSeconds: 60 } } }
    })
    await app.enqueue('work', {})
    await app.enqueue('work', {}, { scheduleDelaySeconds: 60 })
    await attempts.ended(1)
    await app.close()
    t.equal(process.getActiveResourcesInfo().filter(resource => resource === 'Timeout').length, before)
  })

  t.test('uses the whole grace period regardless of pluginTimeout, and resources of handlers are closed after them', async t => {
    const order: string[] = []
    const started = gate()
    const { app } = await start(t, {
      tasks,
      closeGraceSeconds: 5,
      handlers: {
        async work () {
          started.open()
          await new Promise(resolve => setTimeout(resolve, 150))
          order.push('handler')
        }
      }
    }, app => { app.addHook('onClose', async () => { order.push('database') }) }, { pluginTimeout: 50 })
    await app.enqueue('work', {})
    await started.opened
    await app.close()
    t.strictSame(order, ['handler', 'database'])
  })

  t.test('costs no attempt while the hooks of the host take their time', async t => {
    const attempts = watchAttempts(t)
    const clock = new ManualClock()
    const { app, log } = await start(
      t,
      { tasks, handlers: { work: () => {} }, queues: { default: { retryConfig: { maxAttempts: 1 } } } },
      app => { app.addHook('preClose', async () => { await clock.advance(60_000) }) }
    )
    handleOf(app)!.clock.switchTo(clock)
    await app.enqueue('work', {}, { scheduleDelaySeconds: 30 })
    await app.close()
    t.equal(attempts.ends.length, 0)
    t.hasStrict(log.find(line => line.waiting !== undefined), { waiting: 1 })
  })

  for (const [hook, handler] of [
    ['onDropped', (_: unknown, task: TaskContext) => task.drop('unwanted')],
    ['onExhausted', () => { throw new Error('boom') }]
  ] as const) {
    t.test(`is not held up by an ${hook} that never ends`, async t => {
      const called = gate()
      const { app } = await start(t, {
        tasks,
        closeGraceSeconds: 0,
        queues: { default: { retryConfig: { maxAttempts: 1 } } },
        handlers: { work: handler },
        [hook]: async () => {
          called.open()
          await new Promise(() => {})
        }
      } as CloudTasksOptions<typeof tasks>)
      await app.enqueue('work', {})
      await called.opened
      await app.close()
      t.pass('closed')
    })
  }

  t.test('before the server was ready closes as well', async t => {
    const app = Fastify()
    await app.register(cloudTasks, { tasks, transport: 'local', handlers: { work: () => { t.fail('must not run') } } })
    await app.enqueue('work', {})
    await app.close()
    await app.close()
    t.pass('closed twice')
  })

  t.test('after a boot that failed finds that nothing ran', async t => {
    for (const nested of [false, true]) {
      const app = Fastify()
      const register = async (instance: FastifyInstance): Promise<void> => {
        await instance.register(cloudTasks, { tasks, transport: 'local', handlers: { work: () => { t.fail('must not run') } } })
        await instance.enqueue('work', {})
      }
      if (nested) app.register(async child => { await register(child) })
      else await register(app)
      app.register(async sibling => { sibling.addHook('onReady', async () => { throw new Error('no database') }) })
      await t.rejects(async () => { await app.ready() }, { message: 'no database' })
      await turns()
      await app.close()
    }
  })
})

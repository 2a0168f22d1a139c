import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../lib/clock/manual-clock.js'
import taskConsole from '../lib/console/plugin.js'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../lib/index.js'
import { handleOf } from '../lib/plugin-handle.js'
import { folder } from './support/folder.js'
import { gate } from './support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ mode: Type.Optional(Type.String()) }) } })

/** Who a request is from. Nothing that a task does may see it. */
const tenants = new AsyncLocalStorage<string>()

interface Subject {
  readonly app: FastifyInstance
  readonly enqueue: ReturnType<typeof tasksOf<typeof tasks>>['enqueue']
  readonly run: (payload: { mode?: string }) => Promise<unknown>
  readonly clock: ManualClock
  /** What ran, each with the tenant in whose async context it ran: `handler:undefined` where there was none. */
  readonly seen: string[]
  /** Resolves once that many have been seen, moving the clock on by a second meanwhile wherever nothing happens. */
  readonly saw: (count: number) => Promise<readonly string[]>
}

/** An app whose attempts note in which async context they run, on a clock that the test moves. */
async function start (t: Test, options: Partial<CloudTasksOptions> = {}): Promise<Subject> {
  const seen: string[] = []
  const note = (what: string): void => { seen.push(`${what}:${tenants.getStore()}`) }
  const app = Fastify({
    logger: {
      level: 'debug',
      stream: { write (line: string) { if (JSON.parse(line).task !== undefined) note('log') } },
      mixin: () => ({ tenant: tenants.getStore() })
    }
  })
  t.teardown(() => app.close())
  app.addHook('onRequest', async request => { if (request.url.endsWith('/work')) note('hook') })
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { default: { rateLimits: { maxConcurrentDispatches: 2 }, retryConfig: { maxAttempts: 2, minBackoffSeconds: 1 } } },
    onDropped: () => { note('onDropped') },
    onExhausted: () => { note('onExhausted') },
    handlers: {
      async work ({ mode }, task) {
        note('handler')
        task.signal.addEventListener('abort', () => { note('abort') })
        await new Promise(resolve => setImmediate(resolve))
        note('later')
        if (mode === 'drop') task.drop('unwanted')
        if (mode === 'hang') await new Promise(() => {})
        if (mode === 'fail') throw new Error('no luck')
      }
    },
    ...options
  } as CloudTasksOptions)
  await app.register(taskConsole)
  const clock = new ManualClock()
  handleOf(app)!.clock.switchTo(clock)
  const { enqueue, run } = tasksOf(app, tasks)
  return {
    app,
    enqueue,
    run: async payload => await run('work', payload),
    clock,
    seen,
    async saw (count) {
      for (let round = 0; seen.length < count && round < 1000; round++) await clock.advance(round < 20 ? 0 : 1000)
      return seen
    }
  }
}

/** The distinct entries of what was seen. */
const kinds = (seen: readonly string[]): string[] => [...new Set(seen)].sort()

for (const kind of ['in memory', 'on disk'] as const) {
  t.test(`sixty tenants that enqueue at once on two slots, ${kind}: no attempt runs in the context of any`, async t => {
    const ran = new Set<string>()
    const { app, enqueue, seen, saw } = await start(t, kind === 'on disk' ? { local: { directory: await folder(t) } } : {})
    app.post('/orders', async request => {
      const tenant = String(request.headers.tenant)
      return await tenants.run(tenant, async () => {
        const { id } = await enqueue('work', {})
        ran.add(id)
        return { tenant: tenants.getStore() }
      })
    })
    await app.ready()
    const answers = await Promise.all(
      Array.from(
        { length: 60 },
        async (_, index) => await app.inject({ method: 'POST', url: '/orders', headers: { tenant: `tenant-${index}` } })
      )
    )
    t.strictSame(
      answers.map(answer => answer.json().tenant),
      Array.from({ length: 60 }, (_, index) => `tenant-${index}`),
      'each caller keeps its own context'
    )
    await saw(240)
    t.equal(ran.size, 60)
    t.equal(seen.filter(what => what === 'handler:undefined').length, 60)
    t.strictSame(kinds(seen), ['handler:undefined', 'hook:undefined', 'later:undefined', 'log:undefined'])
  })
}

t.test('no tenant is seen', async t => {
  const ways: Record<
    string,
    {
      readonly options?: Partial<CloudTasksOptions>
      readonly events: readonly string[]
      readonly begin: (subject: Subject) => Promise<unknown>
    }
  > = {
    'by a scheduled task': {
      events: ['hook', 'handler', 'later', 'log'],
      begin: async ({ enqueue }) => await enqueue('work', {}, { scheduleDelaySeconds: 60 })
    },
    'by retries and onExhausted': {
      events: ['hook', 'handler', 'later', 'log', 'onExhausted'],
      begin: async ({ enqueue }) => await enqueue('work', { mode: 'fail' })
    },
    'by onDropped': {
      events: ['hook', 'handler', 'later', 'log', 'onDropped'],
      begin: async ({ enqueue }) => await enqueue('work', { mode: 'drop' })
    },
    'at the deadline of an attempt': {
      events: ['hook', 'handler', 'later', 'log', 'abort', 'onExhausted'],
      begin: async ({ enqueue }) => await enqueue('work', { mode: 'hang' }, { dispatchDeadlineSeconds: 15 })
    },
    'by a task that is run now from the console': {
      events: ['hook', 'handler', 'later', 'log'],
      async begin ({ app, enqueue }) {
        const { id } = await enqueue('work', {}, { scheduleDelaySeconds: 86_400 })
        const name = `${handleOf(app)!.local!.queueName('default')}/tasks/${id}`
        await write(app, 'task/run', { name })
      }
    },
    'by a handler that is run from the form of the console': {
      events: ['handler', 'later'],
      async begin ({ app }) {
        await write(app, 'run', { task: 'work', text: '{}' })
      }
    },
    'by app.tasks.run': {
      events: ['handler', 'later'],
      begin: async ({ run }) => await run({})
    },
    'by tasks that wait for a paused queue which is resumed': {
      events: ['hook', 'handler', 'later', 'log'],
      async begin ({ app, enqueue }) {
        const { engine, queueName } = localOf(app)
        await engine.pauseQueue(queueName)
        await enqueue('work', {})
        await engine.resumeQueue(queueName)
      }
    },
    'by a task that gets the slot of one that was deleted': {
      options: { queues: { default: { rateLimits: { maxConcurrentDispatches: 1 } } } },
      events: ['hook', 'handler', 'later', 'log'],
      async begin ({ app, enqueue }) {
        const { engine, queueName } = localOf(app)
        await engine.pauseQueue(queueName)
        const first = await enqueue('work', {}, { id: 'first' })
        await enqueue('work', {})
        await engine.resumeQueue(queueName)
        await engine.deleteTask(`${queueName}/tasks/${first.id}`)
      }
    }
  }
  for (const [way, { options, events, begin }] of Object.entries(ways)) {
    t.test(way, async t => {
      const subject = await start(t, options)
      const { app, clock, seen } = subject
      await app.ready()
      await tenants.run('tenant', async () => { await begin(subject) })
      for (let round = 0; round < 40; round++) await tenants.run('mover', async () => { await clock.advance(round < 20 ? 10 : 10_000) })
      t.strictSame(kinds(seen), events.map(event => `${event}:undefined`).sort())
    })
  }

  t.test('by what subscribers of the channels of attempts do', async t => {
    const received: string[] = []
    const listener = (_: unknown, channel: string | symbol): void => { received.push(`${String(channel)} ${tenants.getStore()}`) }
    const channels = ['tracing:fastify-cloud-tasks:attempt:start', 'tracing:fastify-cloud-tasks:attempt:asyncEnd']
    for (const channel of channels) subscribe(channel, listener)
    t.teardown(() => { for (const channel of channels) unsubscribe(channel, listener) })
    const { app, enqueue, saw } = await start(t)
    await app.ready()
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) => await tenants.run(`tenant-${index}`, async () => await enqueue('work', {})))
    )
    await saw(40)
    t.equal(received.length, 20)
    t.strictSame([...new Set(received)].sort(), channels.map(channel => `${channel} undefined`).sort())
  })

  t.test('by the start of a server that had tasks waiting, regardless of the caller of ready', async t => {
    const { app, enqueue, seen, saw } = await start(t)
    await enqueue('work', {})
    await tenants.run('tenant', async () => { await app.ready() })
    await saw(4)
    t.strictSame(kinds(seen), ['handler:undefined', 'hook:undefined', 'later:undefined', 'log:undefined'])
  })

  t.test('by handlers that are aborted because the server closes', async t => {
    const { app, clock, enqueue, seen, saw } = await start(t, { closeGraceSeconds: 1 })
    await app.ready()
    await enqueue('work', { mode: 'hang' })
    await saw(3)
    const closed = tenants.run('tenant', async () => { await app.close() })
    await clock.advance(1000)
    await closed
    t.ok(seen.includes('abort:undefined'))
    t.strictSame(kinds(seen).filter(what => !what.endsWith(':undefined')), [])
  })

  t.test('by observers of the engine, nor where errors are reported', async t => {
    const received: string[] = []
    const reported = gate()
    const app = Fastify({
      logger: {
        level: 'error',
        stream: {
          write (line: string) {
            received.push(`error ${JSON.parse(line).tenant}`)
            reported.open()
          }
        },
        mixin: () => ({ tenant: tenants.getStore() ?? 'none' })
      }
    })
    t.teardown(() => app.close())
    await app.register(cloudTasks, { tasks, transport: 'local', handlers: { work () {} } } as CloudTasksOptions)
    await app.ready()
    const { engine, queueName } = localOf(app)
    engine.observe({
      added () { received.push(`added ${tenants.getStore() ?? 'none'}`); throw new Error('a bad observer') },
      ended () { received.push(`ended ${tenants.getStore() ?? 'none'}`) },
      changed () { received.push(`changed ${tenants.getStore() ?? 'none'}`) }
    })
    await tenants.run('tenant', async () => {
      await engine.pauseQueue(queueName)
      const { id } = await tasksOf(app, tasks).enqueue('work', {})
      await engine.deleteTask(`${queueName}/tasks/${id}`)
    })
    await reported.opened
    t.strictSame(received, ['changed none', 'added none', 'error none', 'ended none'])
  })
})

/** A write of the console's page. */
async function write (app: FastifyInstance, path: string, payload: object): Promise<void> {
  const { token } = (await app.inject('/console/api/overview')).json()
  const answer = await app.inject({
    method: 'POST',
    url: `/console/api/${path}`,
    payload,
    headers: { host: 'localhost', origin: 'http://localhost', 'x-console-token': token }
  })
  if (answer.statusCode !== 200) throw new Error(`${path} was answered with ${answer.statusCode}: ${answer.body}`)
}

function localOf (app: FastifyInstance) {
  const local = handleOf(app)!.local!
  return { engine: local.engine, queueName: local.queueName('default') }
}

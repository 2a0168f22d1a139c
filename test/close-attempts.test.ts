import type { AddressInfo } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../lib/clock/manual-clock.js'
import cloudTasks, { defineTasks, tasksOf, type CloudTasksOptions } from '../lib/index.js'
import { handleOf } from '../lib/plugin-handle.js'
import { folder } from './support/folder.js'
import { gate, watchAttempts, type LogLine } from './support/app.js'

const tasks = defineTasks({ work: { payload: Type.Object({ n: Type.Integer() }) } })
const COUNT = 300

interface Subject {
  readonly app: FastifyInstance
  readonly log: LogLine[]
  /** Attempts by the number of their task, as handlers saw them. */
  readonly ran: Map<number, number[]>
  readonly exhausted: number[]
}

/** An app with the plugin, and whatever else `prepare` adds; not ready yet. */
async function create (t: Test, options: object, prepare: (app: FastifyInstance) => void = () => {}): Promise<Subject> {
  const log: LogLine[] = []
  const ran = new Map<number, number[]>()
  const exhausted: number[] = []
  const app = Fastify({ logger: { level: 'debug', stream: { write: (line: string) => { log.push(JSON.parse(line)) } } } })
  t.teardown(() => app.close())
  prepare(app)
  await app.register(cloudTasks, {
    tasks,
    transport: 'local',
    queues: { default: { retryConfig: { maxAttempts: 1 } } },
    onExhausted: ({ n }: { n: number }) => { exhausted.push(n) },
    handlers: { work: async ({ n }: { n: number }, task) => { ran.set(n, [...ran.get(n) ?? [], task.attempt]) } },
    ...options
  } as CloudTasksOptions)
  return { app, log, ran, exhausted }
}

/** A hook of the host that holds each attempt until `release`, then lets it go on, or does what `then` does. */
function holding (then: (request: FastifyRequest, reply: FastifyReply) => unknown = () => {}) {
  const released = gate()
  const entered = gate()
  return {
    hold: (app: FastifyInstance) => {
      app.addHook('onRequest', async (request, reply) => {
        if (!request.url.endsWith('/work')) return
        entered.open()
        await released.opened
        return then(request, reply)
      })
    },
    entered: entered.opened,
    release: released.open
  }
}

async function enqueueAll (app: FastifyInstance): Promise<void> {
  await tasksOf(app, tasks).enqueueMany('work', Array.from({ length: COUNT }, (_, n) => ({ payload: { n } })))
}

const turn = async (): Promise<void> => { await new Promise(resolve => { setImmediate(resolve) }) }
const warnings = (log: readonly LogLine[]): LogLine[] => log.filter(line => line.level >= 40)

for (const [what, then] of [
  ['that hooks of the host hold up', () => {}],
  ['that a hook of the host answers with 503', (_: unknown, reply: FastifyReply) => reply.code(503).send()]
] as const) {
  t.test(`attempts ${what} while the server closes do not count, and all tasks run after the restart`, async t => {
    const local = { directory: await folder(t) }
    const { hold, entered, release } = holding(then)
    const first = await create(t, { local }, hold)
    const ends = watchAttempts(t)
    await enqueueAll(first.app)
    await first.app.ready()
    await entered
    await turn()
    const running = first.app.tasks.counts().default!.running
    const closed = first.app.close()
    await turn()
    release()
    await closed
    t.ok(running > 1, `${running} attempts were on their way to their handlers`)
    t.strictSame([[...first.ran], first.exhausted, ends.ends, warnings(first.log)], [[], [], [], []])
    t.strictSame(first.app.tasks.list()[0]!.counts, { done: 0, retry: 0, dropped: 0, postponed: 0, exhausted: 0, expired: 0 })

    const second = await create(t, { local })
    const pending = second.app.tasks.pending('default', { pageSize: 1000 }).tasks
    t.equal(pending.length, COUNT)
    t.strictSame(pending.filter(task => task.attempts !== 0), [])
    await second.app.ready()
    await ends.ended(COUNT)
    t.strictSame(
      [second.ran.size, [...second.ran.values()].filter(attempts => String(attempts) !== '1'), second.exhausted],
      [COUNT, [], []]
    )
  })
}

t.test('in memory they do not count either, and are reported as waiting', async t => {
  const { hold, entered, release } = holding()
  const { app, log, ran, exhausted } = await create(t, {}, hold)
  await enqueueAll(app)
  await app.ready()
  await entered
  await turn()
  const closed = app.close()
  await turn()
  release()
  await closed
  t.strictSame([ran.size, exhausted], [0, []])
  t.strictSame(warnings(log).map(line => line.waiting), [COUNT])
})

t.test('a task that failed before keeps its earlier attempts, and no more', async t => {
  const local = { directory: await folder(t) }
  const { hold, entered, release } = holding()
  const options = { local, queues: { default: { retryConfig: { maxAttempts: 5, minBackoffSeconds: 1 } } } }
  const clock = new ManualClock(Date.now())
  const before = await create(t, { ...options, handlers: { work () { throw new Error('no luck') } } })
  handleOf(before.app)!.clock.switchTo(clock)
  const { id } = await tasksOf(before.app, tasks).enqueue('work', { n: 1 })
  const ends = watchAttempts(t)
  await before.app.ready()
  await ends.ended(1)
  await before.app.close()

  const first = await create(t, options, hold)
  const [failed] = first.app.tasks.pending().tasks
  clock.step(60_000)
  handleOf(first.app)!.clock.switchTo(clock)
  await first.app.ready()
  await entered
  const closed = first.app.close()
  await turn()
  release()
  await closed
  const second = await create(t, options)
  t.hasStrict(failed, { id, attempts: 1 })
  t.strictSame(second.app.tasks.pending().tasks, [failed])
})

t.test('an attempt that has reached its handler counts, though the server closes before it ends', async t => {
  const local = { directory: await folder(t) }
  const started = gate()
  const first = await create(t, {
    local,
    closeGraceSeconds: 0,
    handlers: {
      async work () {
        started.open()
        await new Promise(() => {})
      }
    }
  })
  await tasksOf(first.app, tasks).enqueue('work', { n: 1 })
  await first.app.ready()
  await started.opened
  await first.app.close()
  t.strictSame(first.exhausted, [1])
  const second = await create(t, { local })
  t.strictSame(second.app.tasks.pending().tasks, [])
})

t.test('with transport cloud, where every delivery counts', async t => {
  const cloud = {
    transport: 'cloud',
    project: 'p',
    location: 'us-central1',
    auth: false,
    target: { type: 'http', url: 'https://example.com', serviceAccountEmail: 'tasks@p.iam.gserviceaccount.com' }
  }
  const call = async (app: FastifyInstance, attempt: number) => {
    const { port } = app.server.address() as AddressInfo
    const response = await fetch(`http://127.0.0.1:${port}/tasks/work`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-cloudtasks-queuename': 'default',
        'x-cloudtasks-taskname': 't',
        'x-cloudtasks-taskretrycount': String(attempt - 1),
        'x-cloudtasks-taskexecutioncount': '0',
        'x-cloudtasks-tasketa': '1'
      },
      body: '{"n":1}'
    })
    await response.arrayBuffer()
    return response
  }

  t.test('an attempt that arrives while the server drains still runs', async t => {
    const { hold, entered, release } = holding()
    const { app, ran } = await create(t, cloud, hold)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const answer = call(app, 1)
    await entered
    const closed = app.close()
    await turn()
    release()
    t.equal((await answer).status, 204)
    await closed
    t.strictSame([...ran], [[1, [1]]])
  })

  t.test('it has what is left of the grace period, then its signal aborts', async t => {
    const { hold, entered, release } = holding()
    const [started, clock] = [gate(), new ManualClock()]
    let reason: unknown
    const { app } = await create(t, {
      ...cloud,
      closeGraceSeconds: 8,
      handlers: {
        async work (_: unknown, task: { signal: AbortSignal }) {
          started.open()
          await new Promise<void>(resolve => { task.signal.addEventListener('abort', () => { reason = task.signal.reason; resolve() }) })
        }
      }
    }, hold)
    handleOf(app)!.clock.switchTo(clock)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const answer = call(app, 1)
    await entered
    const closed = app.close()
    // The grace period begins.
    for (let i = 0; i < 200; i++) await turn()
    await clock.advance(5000)
    release()
    await started.opened
    await clock.advance(2999)
    t.equal(reason, undefined)
    await clock.advance(1)
    t.equal((await answer).status, 503)
    t.hasStrict(reason, { code: 'FST_TASKS_ABORTED' })
    await closed
  })

  t.test('when no time is left it is rejected, and never called the last', async t => {
    const { hold, entered, release } = holding()
    const clock = new ManualClock()
    const { app, ran, exhausted, log } = await create(t, { ...cloud, closeGraceSeconds: 8 }, hold)
    handleOf(app)!.clock.switchTo(clock)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const answer = call(app, 1)
    await entered
    const closed = app.close()
    // The grace period begins.
    for (let i = 0; i < 200; i++) await turn()
    await clock.advance(8000)
    release()
    const { status, headers } = await answer
    t.strictSame([status, headers.get('fastify-cloud-tasks-result'), headers.get('retry-after')], [503, 'closing', '1'])
    await closed
    t.strictSame([ran.size, exhausted], [0, []])
    t.strictSame(app.tasks.list()[0]!.counts, { done: 0, retry: 0, dropped: 0, postponed: 0, exhausted: 0, expired: 0 })
    t.strictSame(warnings(log).filter(line => /last attempt/.test(line.msg)), [])
    t.equal(warnings(log).filter(line => /the server is closing/.test(line.msg)).length, 1)
  })
})
